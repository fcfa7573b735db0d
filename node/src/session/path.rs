//! Keeping the way from an inlet to an outlet up.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_crypto::trust::Trust;
use culvert_proto::address::AddressRef;
use culvert_proto::route::Route;

use super::connect::connect_channel;
use super::direct::Upgrade;
use super::keep::{Kept, Lost};
use super::name::{Name, Where};
use super::{Backoff, Event, Reporter};
use crate::channel::{API, Channel, Credentials};
use crate::link::Link;
use crate::portal::{Path, PathWatch, Suspicion};
use crate::reason::CloseReason;
use crate::shard::Shard;
use crate::stop::Stop;
use crate::udp::RendezvousAt;

/// A channel with streams that is quiet for longer than this is looked into.
const QUIET_MS: u64 = 1_500;
/// How long a far side without `echo` may take for anything else.
const NO_ECHO: Duration = Duration::from_secs(5);
/// How often quietness is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// One secure channel of a path: the hops from where the one before ends to its listener.
#[derive(Clone, Debug)]
pub struct Leg {
    /// Local addresses on the nodes passed.
    pub hops: Vec<Vec<u8>>,
    /// Address of the channel listener.
    pub listener: Vec<u8>,
    /// Who may answer.
    pub trust: Trust,
}

/// How to get from this node to an outlet.
#[derive(Clone, Debug)]
pub struct PathPlan {
    /// Host of the first node.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Prove to the first node who this one is, before anything is sent by way of it. It must be one of
    /// these. Relays that forward for nobody else need it.
    pub admission: Option<Trust>,
    /// The channels on the way, outermost first; none for a portal in clear.
    pub legs: Vec<Leg>,
    /// Hops behind the last channel, ending with the outlet.
    pub tail: Vec<Vec<u8>>,
    /// Try for a direct path to the end of the last channel, with the help of this rendezvous.
    pub direct: Option<RendezvousAt>,
}

/// A path with what it stands on.
struct Built {
    path: Path,
    /// Route to the listener of the last channel, to make another one.
    listener: Option<(Route, Credentials)>,
}

/// Keeps a path up until it is stopped or the node ends: connects, watches, reconnects, and reports
/// what changes. When it is stopped the streams over it end, and their far sides are told.
pub async fn keep_path(
    shard: Shard,
    plan: PathPlan,
    credentials: Credentials,
    paths: Rc<PathWatch>,
    reporter: Reporter,
    stop: Stop,
) {
    let session = Session {
        shard: &shard,
        plan: &plan,
        credentials: &credentials,
        paths: &paths,
        reporter: &reporter,
        name: None,
    };
    session.keep(&stop).await;
}

/// Keeps a secure channel up until it is stopped or the node ends: the last of the plan, whose tail is
/// not looked at. While it is up `name` leads into it on every shard.
pub async fn keep_channel(
    shard: Shard,
    plan: PathPlan,
    name: Vec<u8>,
    credentials: Credentials,
    reporter: Reporter,
    stop: Stop,
) {
    let plan = PathPlan {
        tail: Vec::new(),
        direct: None,
        ..plan
    };
    let session = Session {
        shard: &shard,
        plan: &plan,
        credentials: &credentials,
        paths: &Rc::new(PathWatch::alone()),
        reporter: &reporter,
        name: Some(Name::new(&shard, &name, Where::Everywhere)),
    };
    session.keep(&stop).await;
}

/// What the steps of keeping one lane of a path up share.
struct Session<'a> {
    shard: &'a Shard,
    plan: &'a PathPlan,
    credentials: &'a Credentials,
    paths: &'a PathWatch,
    reporter: &'a Reporter,
    /// Of the channel.
    name: Option<Name<'a>>,
}

impl Session<'_> {
    async fn keep(&self, stop: &Stop) {
        let over_link = async |link: &Rc<Link>, backoff: &mut Backoff| {
            let lost = self.over_link(link, backoff).await;
            self.publish(None);
            lost
        };
        let kept = Kept {
            shard: self.shard,
            place: (&self.plan.host, self.plan.port),
            reporter: self.reporter,
            stop,
        };
        let leave = || {
            self.paths.break_off(self.shard);
            self.publish(None);
        };
        kept.keep(over_link, leave).await;
    }

    /// Sets or clears what is up.
    fn publish(&self, path: Option<&Path>) {
        if let Some(name) = &self.name {
            let channel = path.and_then(|path| path.channel.as_ref());
            name.lead_to(channel.map(|channel| channel.encryptor.key));
        }
        self.paths.set(path.cloned());
    }

    /// Uses one link until it ends.
    async fn over_link(&self, link: &Rc<Link>, backoff: &mut Backoff) -> Lost {
        let Some(trust) = &self.plan.admission else {
            return self.over_open_link(link, backoff).await;
        };
        let admission = match self.ask_admission(link, trust).await {
            Ok(admission) => admission,
            Err(reason) => {
                let was_up = false;
                return Lost { reason, was_up };
            }
        };
        monoio::select! {
            lost = self.over_open_link(link, backoff) => lost,
            reason = admission.wait_end() => Lost {
                reason: format!("the relay ended the secure channel with this node: {reason}"),
                was_up: self.paths.is_up(),
            },
        }
    }

    /// Opens the channel that proves to the first node who this one is.
    async fn ask_admission(&self, link: &Rc<Link>, trust: &Trust) -> Result<Rc<Channel>, String> {
        let mut route = Shard::route_to(link.address);
        route.push_back(AddressRef::local(API));
        let credentials = Credentials {
            trust: trust.clone(),
            ..self.credentials.clone()
        };
        connect_channel(self.shard, &credentials, &route, 5, || ())
            .await
            .map(|(channel, _)| channel)
            .map_err(|error| format!("the relay does not admit this node: {error}"))
    }

    /// Uses a link that may be used until it ends.
    async fn over_open_link(&self, link: &Rc<Link>, backoff: &mut Backoff) -> Lost {
        let shard = self.shard;
        loop {
            let built = monoio::select! {
                reason = link.wait_end() => return Lost::link(reason, false),
                built = self.build(link) => built,
            };
            let built = match built {
                Ok(built) => built,
                Err(reason) => {
                    if link.ended().is_some() || shard.is_ending() {
                        let was_up = false;
                        return Lost { reason, was_up };
                    }
                    tracing::warn!(lane = shard.number(), reason, "no path to the outlet yet");
                    let pause = backoff.next();
                    self.reporter.failed(shard, &reason, Some(pause));
                    monoio::time::sleep(pause).await;
                    continue;
                }
            };
            backoff.reset();
            // As Ockam's sessions do; from then on it is known whether the far side answers.
            if let Some(channel) = &built.path.channel {
                channel.ping(shard);
            }
            self.publish(Some(&built.path));
            self.reporter.went_up(Event::Up {
                peer: built.path.peer,
            });
            let listener = built.listener.clone();
            let reason = monoio::select! {
                reason = self.supervise(built, link) => reason,
                never = self.upgrade(listener) => match never {},
            };
            self.publish(None);
            if let Some(reason) = link.ended() {
                return Lost::link(reason, true);
            }
            if shard.is_ending() {
                let was_up = true;
                return Lost { reason, was_up };
            }
            self.reporter.went_down(&reason, None);
        }
    }

    /// Tries for direct paths; never ends.
    async fn upgrade(&self, listener: Option<(Route, Credentials)>) -> Infallible {
        if let (Some(rendezvous), Some((listener, credentials))) = (&self.plan.direct, &listener) {
            let upgrade = Upgrade {
                shard: self.shard,
                rendezvous,
                paths: self.paths,
                reporter: self.reporter,
                listener,
                credentials,
            };
            upgrade.keep().await;
        }
        core::future::pending().await
    }

    async fn build(&self, link: &Rc<Link>) -> Result<Built, String> {
        let mut route = Shard::route_to(link.address);
        let mut channel: Option<Rc<Channel>> = None;
        let mut peer: Option<Identifier> = None;
        let mut listener = None;
        for leg in &self.plan.legs {
            extend(&mut route, &leg.hops);
            route.push_back(AddressRef::local(&leg.listener));
            let credentials = Credentials {
                trust: leg.trust.clone(),
                ..self.credentials.clone()
            };
            let unanswered = || {
                let mut reason = format!("no answer yet from {route}");
                if self.plan.admission.is_none() {
                    reason += " (some relays forward only for those who start with --authenticate)";
                }
                tracing::warn!(
                    lane = self.shard.number(),
                    reason,
                    "no path to the outlet yet"
                );
                self.reporter.failed(self.shard, &reason, None);
            };
            let (up, who) = connect_channel(self.shard, &credentials, &route, 10, unanswered)
                .await
                .map_err(|error| format!("secure channel to {route}: {error}"))?;
            listener = Some((route, credentials));
            route = Shard::route_to(up.encryptor);
            (channel, peer) = (Some(up), Some(who));
        }
        extend(&mut route, &self.plan.tail);
        Ok(Built {
            path: Path {
                route,
                channel,
                peer,
            },
            listener,
        })
    }

    /// Watches a path until its channel or link has ended; replaces the channel when the far side
    /// turns out to be another process.
    async fn supervise(&self, mut built: Built, link: &Rc<Link>) -> String {
        let shard = self.shard;
        loop {
            let Some(channel) = built.path.channel.clone() else {
                let reason = link.wait_end().await;
                return format!("the connection ended: {reason}");
            };
            let suspected = monoio::select! {
                reason = link.wait_end() => return format!("the connection ended: {reason}"),
                reason = channel.wait_end() => return format!("the secure channel ended: {reason}"),
                why = self.paths.suspected() => Some(why),
                () = shard.next_tick() => {
                    let used = channel.used() && channel.is_answering();
                    (used && channel.quiet_ms(shard) > QUIET_MS).then_some(Suspicion::NoAnswer)
                }
            };
            let Some(why) = suspected else { continue };
            if why == Suspicion::NoAnswer {
                self.paths.warn_others();
            }
            // What is looked into is watched as closely as if it had streams.
            channel.in_use(true);
            let fresh = self.examine(&built, &channel, link).await;
            channel.in_use(false);
            if let Some(path) = fresh {
                tracing::info!("the far side does not answer: using a new secure channel");
                if channel.is_prompt() {
                    channel.close(shard, CloseReason::Replaced);
                } else {
                    // The far side may only be stuck; then its streams go on where they are.
                    channel.retire();
                }
                built.path = path;
                if let Some(channel) = &built.path.channel {
                    channel.ping(shard);
                }
                self.publish(Some(&built.path));
            }
        }
    }

    /// Finds out whether the far side of a channel is still there: asks it through the channel, and in
    /// the same moment starts another handshake. Messages keep their order on the way, so if the
    /// handshake is answered and the question is not, whoever held the old keys is gone. Inside an
    /// Ockam node they do not keep it: a stream that is stuck there holds back the answer, not the
    /// handshake.
    ///
    /// Gives the new path in that case.
    async fn examine(&self, built: &Built, channel: &Rc<Channel>, link: &Rc<Link>) -> Option<Path> {
        let shard = self.shard;
        let (listener, credentials) = built.listener.as_ref()?;
        let asked = shard.now_ms();
        channel.ping(shard);
        // A far side that is only busy mostly answers before another handshake is worth its price. One
        // that is not known to answer at all may just be connecting to its service.
        loop {
            let heard = monoio::time::timeout(LOOK, channel.heard_since(asked)).await;
            let answers = self.paths.answers(channel.is_answering());
            if heard.is_ok() || channel.ended().is_some() {
                return None;
            }
            let waited = Duration::from_millis(shard.now_ms().saturating_sub(asked));
            if answers || waited >= NO_ECHO {
                break;
            }
        }
        let fresh = monoio::select! {
            _ = link.wait_end() => return None,
            _ = channel.wait_end() => return None,
            () = channel.heard_since(asked) => return None,
            fresh = connect_channel(shard, credentials, listener, 10, || ()) => fresh,
        };
        let (fresh, peer) = fresh.ok()?;
        if channel.ended().is_some() || channel.heard_at() >= asked {
            fresh.close(shard, CloseReason::Replaced);
            return None;
        }
        let mut route = Shard::route_to(fresh.encryptor);
        for hop in built.path.route.iter().skip(1) {
            route.push_back(hop);
        }
        Some(Path {
            route,
            channel: Some(fresh),
            peer: Some(peer),
        })
    }
}

fn extend(route: &mut Route, hops: &[Vec<u8>]) {
    for hop in hops {
        route.push_back(AddressRef::local(hop));
    }
}
