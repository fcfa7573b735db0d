//! Upgrading the path of an inlet to a direct one, and going back (`protocol/03-portals.md` 10).

use std::rc::Rc;
use std::time::Duration;

use culvert_proto::route::Route;

use super::connect::connect_channel;
use super::{Event, Reporter};
use crate::channel::{Channel, Credentials};
use crate::portal::{Path, PathWatch};
use crate::reason::CloseReason;
use crate::shard::Shard;
use crate::udp::{Direct, RendezvousAt, propose};

/// Pause before the second attempt; doubles up to the longest.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(300);
/// A path that worked for so long was worth it: the next attempt follows soon.
const WORTH_IT_MS: u64 = 60_000;
/// How often a path in use is looked at, and how long its channel may be quiet.
const LOOK: Duration = Duration::from_millis(250);
const QUIET_MS: u64 = 1_000;
/// How long the far side may take to answer through the channel.
const ANSWER: Duration = Duration::from_secs(2);

/// What keeping a direct path up needs.
pub(super) struct Upgrade<'a> {
    pub(super) shard: &'a Shard,
    pub(super) rendezvous: &'a RendezvousAt,
    pub(super) paths: &'a PathWatch,
    pub(super) reporter: &'a Reporter,
    /// Route to the far side's channel listener through the relay.
    pub(super) listener: &'a Route,
    pub(super) credentials: &'a Credentials,
}

/// A path that is being opened or used; closed when nobody needs it any more.
struct Lease<'a> {
    shard: &'a Shard,
    paths: &'a PathWatch,
    reporter: &'a Reporter,
    direct: Rc<Direct>,
    channel: Option<Rc<Channel>>,
    reported: bool,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.paths.set_direct(None);
        if let Some(channel) = &self.channel {
            channel.close(self.shard, CloseReason::Replaced);
        }
        self.direct.close(self.shard);
        if self.reported {
            self.reporter.left_direct();
        }
    }
}

impl Upgrade<'_> {
    /// Tries for a direct path as long as there is one through the relay.
    pub(super) async fn keep(&self) {
        let mut pause = PAUSE;
        let mut told = String::new();
        loop {
            let relayed = self.paths.relayed().await;
            let began = self.shard.now_ms();
            let (reason, was_up) = self.attempt(&relayed).await;
            let lane = self.shard.number();
            if was_up || told != reason {
                tracing::info!(lane, reason, "not on a direct path");
                self.reporter.relayed(self.shard, was_up, &reason);
            }
            told = reason;
            if self.shard.now_ms().saturating_sub(began) > WORTH_IT_MS {
                pause = PAUSE;
            }
            monoio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST);
        }
    }

    /// Opens a direct path and uses it until it fails. Says why, and whether it was up.
    async fn attempt(&self, relayed: &Path) -> (String, bool) {
        let mut lease = match self.open(relayed).await {
            Ok(lease) => lease,
            Err(reason) => return (reason, false),
        };
        let channel = match self.move_channel(&mut lease, relayed).await {
            Ok(channel) => channel,
            Err(reason) => return (reason, false),
        };
        let mut route = Shard::route_to(channel.encryptor);
        for hop in relayed.route.iter().skip(1) {
            route.push_back(hop);
        }
        let Some(to) = lease.direct.leads_to() else {
            return ("the direct path ended".to_owned(), false);
        };
        self.reporter.went_direct(Event::Direct { to });
        lease.reported = true;
        self.paths.set_direct(Some(Path {
            route,
            channel: Some(Rc::clone(&channel)),
            peer: relayed.peer,
        }));
        (self.watch(&lease.direct, &channel).await, true)
    }

    async fn open(&self, relayed: &Path) -> Result<Lease<'_>, String> {
        let (Some(channel), Some(peer)) = (&relayed.channel, relayed.peer) else {
            return Err("there is no secure channel to agree on a direct path".to_owned());
        };
        let RendezvousAt { host, port } = self.rendezvous;
        let at = self.rendezvous.resolve().await;
        let at =
            at.map_err(|error| format!("cannot find the rendezvous {host}:{port}: {error}"))?;
        let direct = propose(self.shard, at, channel, peer).map_err(|error| error.to_string())?;
        let lease = Lease {
            shard: self.shard,
            paths: self.paths,
            reporter: self.reporter,
            direct,
            channel: None,
            reported: false,
        };
        let open = lease.direct.wait_open().await;
        open.map_err(|failure| failure.to_string())?;
        Ok(lease)
    }

    /// Makes a channel through the relay and moves it onto the path. Streams of the one that stays
    /// with the relay do not notice.
    async fn move_channel(
        &self,
        lease: &mut Lease<'_>,
        relayed: &Path,
    ) -> Result<Rc<Channel>, String> {
        let shard = self.shard;
        let made = connect_channel(shard, self.credentials, self.listener, 3, || ()).await;
        let (channel, peer) = made.map_err(|error| format!("second secure channel: {error}"))?;
        lease.channel = Some(Rc::clone(&channel));
        if Some(peer) != relayed.peer {
            return Err("another identity answers through the relay now".to_owned());
        }
        // Messages under way by one route could be overtaken by those on the other: the last of
        // the old route is answered before the first takes the new one.
        answered(shard, &channel, "the relay").await?;
        let Some(address) = lease.direct.address() else {
            return Err("the direct path ended".to_owned());
        };
        channel.move_to(shard, &Shard::route_to(address));
        answered(shard, &channel, "the direct path").await?;
        Ok(channel)
    }

    /// Stays until the path or the channel has ended, or the far side does not answer.
    async fn watch(&self, direct: &Direct, channel: &Channel) -> String {
        loop {
            monoio::select! {
                failure = direct.ended() => return failure.to_string(),
                reason = channel.wait_end() => {
                    return format!("the secure channel on the direct path ended: {reason}");
                }
                () = monoio::time::sleep(LOOK) => {}
            }
            if channel.used()
                && channel.quiet_ms(self.shard) > QUIET_MS
                && let Err(reason) = answered(self.shard, channel, "the direct path").await
                // The question may wait behind much data; then the path itself is what answers.
                && channel.quiet_ms(self.shard) > QUIET_MS
            {
                return reason;
            }
        }
    }
}

/// Asks the far side through the channel and waits for its answer.
async fn answered(shard: &Shard, channel: &Channel, way: &str) -> Result<(), String> {
    let asked = shard.now_ms();
    // A millisecond later, so that what was heard before does not count.
    monoio::time::sleep(Duration::from_millis(2)).await;
    channel.ping(shard);
    monoio::select! {
        reason = channel.wait_end() => Err(format!("the secure channel ended: {reason}")),
        heard = monoio::time::timeout(ANSWER, channel.heard_since(asked + 1)) => {
            heard.map_err(|_| format!("the far side does not answer along {way}"))
        }
    }
}
