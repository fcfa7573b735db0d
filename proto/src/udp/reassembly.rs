//! Putting messages together, for all peers of a socket.

use super::peer::Peer;
use super::{Datagram, DatagramError};
use crate::limits::{UDP_BYTES, UDP_PEER_BYTES, UDP_PEER_PARTS, UDP_PEERS, UDP_WINDOW};
use core::net::SocketAddr;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Shortest pause between two sweeps that a full table makes by itself, in milliseconds: a flood of
/// strangers must not make every datagram cost a walk over all peers.
const SWEEP_MS: u64 = 1_000;

/// Why a datagram was dropped. What was collected before is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are not a datagram, or its numbers make no sense.
    #[error(transparent)]
    Datagram(#[from] DatagramError),
    /// The message is older than all that are still accepted.
    #[error("part of a message that is too old")]
    Late,
    /// The message was delivered before, or given up to make room for newer ones.
    #[error("part of a message that is over")]
    Closed,
    /// The part arrived before.
    #[error("part that arrived before")]
    Duplicate,
    /// The part announces another number of parts than those before.
    #[error("message of {announced} parts announced with {got}")]
    Total {
        /// Number announced by the first part that arrived.
        announced: u16,
        /// Number announced by this one.
        got: u16,
    },
    /// The part has another length than those before, and is not the last.
    #[error("part of {got} bytes in a message with parts of {expected}")]
    Length {
        /// Length of the first part that arrived, in bytes.
        expected: usize,
        /// Length of this one, in bytes.
        got: usize,
    },
    /// The message will be longer than [`MAX_FRAME`](crate::limits::MAX_FRAME).
    #[error("message is too long")]
    TooLong,
    /// No memory is left for incomplete messages, of this peer or of all.
    #[error("too much waits for missing parts")]
    Full,
    /// Too many other peers were heard of lately. Messages of one part are delivered all the same.
    #[error("too many peers")]
    TooManyPeers,
}

/// Limits and times of a [`Reassembler`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Consecutive messages of one peer that may be incomplete at a time; at least 1.
    pub window: u16,
    /// Most peers that something is remembered of.
    pub peers: usize,
    /// Most parts kept for one peer.
    pub peer_parts: usize,
    /// Most memory for incomplete messages of one peer, in bytes.
    pub peer_bytes: usize,
    /// Most memory for incomplete messages of all peers, in bytes.
    pub bytes: usize,
    /// A message that gets no new part for this long is forgotten, in milliseconds.
    pub stale_ms: u64,
    /// A peer of whom nothing was accepted for this long is forgotten, in milliseconds. Until then
    /// a peer that starts again with an older number is not heard.
    pub idle_ms: u64,
}

impl Default for Config {
    /// The limits of [`crate::limits`], 5 s and 60 s.
    fn default() -> Self {
        Self {
            window: UDP_WINDOW,
            peers: UDP_PEERS,
            peer_parts: UDP_PEER_PARTS,
            peer_bytes: UDP_PEER_BYTES,
            bytes: UDP_BYTES,
            stale_ms: 5_000,
            idle_ms: 60_000,
        }
    }
}

/// What a datagram led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// The part was kept; others are missing.
    Stored,
    /// A message is complete: borrowed from the datagram if that was all of it. Whether it can be
    /// read is not known yet.
    Message(Cow<'a, [u8]>),
}

/// What was forgotten because of its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Expired {
    /// Messages that will never be complete.
    pub messages: usize,
    /// Peers.
    pub peers: usize,
}

/// Puts the messages of many peers together from their datagrams.
///
/// Parts may arrive in any order, twice, or never. Each message is delivered at most once while its
/// peer is remembered. `K` tells peers apart: where the datagram came from, in
/// [canonical](super::canonical) form.
///
/// Nothing proves where a datagram comes from. Who can forge the source of a peer can make its
/// messages late or incomplete, here as in the reference; the layer above notices, or loses them as
/// UDP may anyway.
#[derive(Debug)]
pub struct Reassembler<K = SocketAddr> {
    config: Config,
    peers: BTreeMap<K, Peer>,
    bytes: usize,
    swept_ms: Option<u64>,
}

impl<K: Ord> Reassembler<K> {
    /// A reassembler that has heard nothing.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            peers: BTreeMap::new(),
            bytes: 0,
            swept_ms: None,
        }
    }

    /// Takes one datagram from `from` at `now_ms`, in milliseconds of any clock that does not go
    /// back.
    ///
    /// # Errors
    /// [`Refusal`] when it was dropped. Others are not affected.
    pub fn receive<'a>(
        &mut self,
        now_ms: u64,
        from: K,
        datagram: &'a [u8],
    ) -> Result<Received<'a>, Refusal> {
        let datagram = Datagram::decode(datagram)?;
        datagram.check()?;
        if !self.peers.contains_key(&from) && !self.has_room_for_peer(now_ms) {
            return match datagram.total {
                1 => Ok(Received::Message(Cow::Borrowed(datagram.part))),
                _ => Err(Refusal::TooManyPeers),
            };
        }
        let window = self.config.window;
        let peer = self
            .peers
            .entry(from)
            .or_insert_with(|| Peer::new(datagram.number, window));
        let others = self.bytes - peer.bytes();
        if now_ms.saturating_sub(peer.heard_ms()) >= self.config.idle_ms {
            *peer = Peer::new(datagram.number, window);
        }
        let free = self.config.bytes.saturating_sub(others);
        let most = self.config.peer_bytes.min(free);
        let result = peer.receive(&self.config, most, now_ms, &datagram);
        self.bytes = others + peer.bytes();
        result
    }

    fn has_room_for_peer(&mut self, now_ms: u64) -> bool {
        let may_sweep = self
            .swept_ms
            .is_none_or(|swept| now_ms.saturating_sub(swept) >= SWEEP_MS);
        if self.peers.len() >= self.config.peers && may_sweep {
            self.expire(now_ms);
        }
        self.peers.len() < self.config.peers
    }

    /// Forgets what is too old. To be called every second or so while anything is
    /// [remembered](Self::peers): memory of lost messages is not given back otherwise.
    pub fn expire(&mut self, now_ms: u64) -> Expired {
        let Self { config, peers, .. } = self;
        let mut expired = Expired::default();
        let before = peers.len();
        peers.retain(|_, peer| {
            expired.messages += peer.expire(config, now_ms);
            now_ms.saturating_sub(peer.heard_ms()) < config.idle_ms
        });
        expired.peers = before - peers.len();
        self.bytes = peers.values().map(Peer::bytes).sum();
        self.swept_ms = Some(now_ms);
        expired
    }

    /// Number of peers that something is remembered of.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Memory of all incomplete messages, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}
