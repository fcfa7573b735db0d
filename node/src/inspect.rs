//! What a node has open at the moment, for operators: links, channels, streams.
//!
//! Nothing is kept for this beside a few numbers of each. A shard that is asked looks through its
//! addresses once, between two messages.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use culvert_crypto::Identifier;
use serde::{Serialize, Serializer};

use crate::channel::Channel;
use crate::link::Link;
use crate::portal::Role;
use crate::shard::{Handoff, Inbox, Shard};
use crate::table::Entry;

/// Most links, channels and streams that are described, of each kind.
pub const MOST: usize = 1000;
/// Most attributes of a peer that are described, and characters of each name and value.
const ATTRIBUTES: usize = 32;
const CHARACTERS: usize = 256;

/// What a node has open at one moment. The lists are cut at [`MOST`]; the totals are not.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// How many links there are.
    pub links_total: usize,
    /// How many secure channels there are, handshakes under way included.
    pub channels_total: usize,
    /// How many streams there are.
    pub streams_total: usize,
    /// Connections with other nodes.
    pub links: Vec<LinkView>,
    /// Secure channels.
    pub channels: Vec<ChannelView>,
    /// TCP connections inside portals.
    pub streams: Vec<StreamView>,
    /// How many streams each resource has at this end; not cut.
    #[serde(skip)]
    pub streams_of: BTreeMap<(Role, String), u64>,
}

/// One TCP connection with another node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkView {
    /// Its shard.
    pub shard: u8,
    /// The peer's transport address.
    pub peer: SocketAddr,
    /// Whether this node accepted it, else it opened it.
    pub accepted: bool,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub since_ms: u64,
    /// Bytes received from the peer.
    pub bytes_in: u64,
    /// Bytes written to the peer.
    pub bytes_out: u64,
    /// Bytes that wait to be written.
    pub waiting: usize,
}

/// One end of a secure channel.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChannelView {
    /// Its shard.
    pub shard: u8,
    /// Who is at the other end; none while the handshake is under way.
    #[serde(serialize_with = "identifier")]
    pub peer: Option<Identifier>,
    /// Whether the peer began it.
    pub accepted: bool,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub since_ms: u64,
    /// What accepted authorities say about the peer: names and values. Bytes that are no UTF-8 are
    /// replaced.
    pub attributes: Vec<(String, String)>,
}

/// One TCP connection inside a portal.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StreamView {
    /// Its shard.
    pub shard: u8,
    /// Name of the inlet or outlet in policies; empty where no guard was given.
    pub resource: String,
    /// Which end this is.
    pub role: Role,
    /// Who is at the other end; none in a portal in clear.
    #[serde(serialize_with = "identifier")]
    pub peer: Option<Identifier>,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub since_ms: u64,
    /// Bytes that came from the far side.
    pub bytes_in: u64,
    /// Bytes sent to the far side.
    pub bytes_out: u64,
}

/// Writes an identifier as its text.
pub(crate) fn identifier<S: Serializer>(
    identifier: &Option<Identifier>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match identifier {
        Some(identifier) => serializer.collect_str(identifier),
        None => serializer.serialize_none(),
    }
}

/// Looks into a running node; may be used on any thread and cloned.
#[derive(Clone)]
pub struct Inspector {
    inboxes: Vec<Inbox>,
}

impl Inspector {
    pub(crate) fn new(inboxes: Vec<Inbox>) -> Self {
        Self { inboxes }
    }

    /// What the node has open now. Blocks until all shards have answered: not to be called on a shard.
    ///
    /// # Errors
    ///
    /// When a shard has ended, or does not answer within `limit`; one of a node that was shut down never
    /// does.
    pub fn inspect(&self, limit: Duration) -> io::Result<Inspection> {
        let deadline = Instant::now() + limit;
        let (answer, answers) = mpsc::channel();
        // Each shard shows its share, so that a full one does not hide the others.
        let most = MOST / self.inboxes.len().max(1);
        for inbox in &self.inboxes {
            let answer = answer.clone();
            let look = move |shard: &Shard| drop(answer.send(look(shard, most)));
            if !inbox.put(Handoff::Run(Box::new(look))) {
                return Err(io::Error::other("the node has ended"));
            }
        }
        drop(answer);
        let mut all = Inspection::default();
        for _ in &self.inboxes {
            let left = deadline.saturating_duration_since(Instant::now());
            let one = answers.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => {
                    let what = "a shard does not answer: the node is overloaded or stuck";
                    io::Error::new(io::ErrorKind::TimedOut, what)
                }
                RecvTimeoutError::Disconnected => io::Error::other("the node has ended"),
            })?;
            all.links_total += one.links_total;
            all.channels_total += one.channels_total;
            all.streams_total += one.streams_total;
            all.links.extend(one.links);
            all.channels.extend(one.channels);
            all.streams.extend(one.streams);
            for (resource, streams) in one.streams_of {
                *all.streams_of.entry(resource).or_default() += streams;
            }
        }
        Ok(all)
    }
}

/// What one shard has open, at most `most` of each kind described.
fn look(shard: &Shard, most: usize) -> Inspection {
    let mut found = Inspection::default();
    for (_, entry) in shard.table().entries() {
        match entry {
            Entry::Link(link) => {
                found.links_total += 1;
                if found.links.len() < most {
                    found.links.push(link_view(shard, link));
                }
            }
            Entry::Decryptor(channel) => {
                found.channels_total += 1;
                if found.channels.len() < most {
                    found.channels.push(channel_view(shard, channel));
                }
            }
            Entry::Stream(stream) => {
                found.streams_total += 1;
                let view = stream.view(shard);
                let resource = (view.role, view.resource.clone());
                *found.streams_of.entry(resource).or_default() += 1;
                if found.streams.len() < most {
                    found.streams.push(view);
                }
            }
            Entry::Encryptor(_) | Entry::Worker(_) => {}
        }
    }
    found
}

fn link_view(shard: &Shard, link: &Link) -> LinkView {
    let past = link.past();
    LinkView {
        shard: shard.number(),
        peer: link.peer,
        accepted: link.is_accepted(),
        since_ms: shard.unix_ms(past.since_ms),
        bytes_in: past.bytes_in,
        bytes_out: past.bytes_out,
        waiting: link.queued(),
    }
}

fn channel_view(shard: &Shard, channel: &Channel) -> ChannelView {
    let attested = channel.attested();
    let pairs = attested.iter().flat_map(|one| &one.attributes.map);
    let attributes = pairs
        .take(ATTRIBUTES)
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    ChannelView {
        shard: shard.number(),
        peer: channel.peer(),
        accepted: channel.is_accepted(),
        since_ms: shard.unix_ms(channel.started_ms()),
        attributes,
    }
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(CHARACTERS).collect()
}
