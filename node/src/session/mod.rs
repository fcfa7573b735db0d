//! Sessions: what keeps links, channels, registrations and paths up.
//!
//! A session reacts to the end of what it supervises at once, and tries again with jittered,
//! growing pauses of at most a second.
//!
//! A node of several shards keeps one link and channel on each of them to the same peer: its *lanes*.

mod connect;
mod direct;
mod keep;
mod message;
mod name;
mod next;
mod path;
mod registration;
pub mod request;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use culvert_crypto::Identifier;

use crate::random;
use crate::shard::Shard;

pub use connect::connect_link;
pub use message::{LONGEST_MESSAGE, MessageError, Recipient, send_message};
pub use next::{NextPlan, keep_next};
pub use path::{Leg, PathPlan, keep_channel, keep_path};
pub use registration::{Lanes, RegistrationPlan, keep_registered};

/// First pause.
const FIRST: Duration = Duration::from_millis(50);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// What an operator wants to know about a session.
#[derive(Clone, Debug)]
pub enum Event {
    /// The relay knows this node by a name.
    Registered {
        /// The address others send to: `forward_to_` and the name.
        address: String,
        /// The relay's transport address.
        relay: String,
        /// The relay's identity, if the registration went through a channel.
        identity: Option<Identifier>,
    },
    /// The way to the far side works.
    Up {
        /// Who is there.
        peer: Option<Identifier>,
    },
    /// New streams go straight to the far side, or one of those there can.
    Direct {
        /// Where it is reached over UDP.
        to: SocketAddr,
    },
    /// They go through the relay, though a direct path was asked for.
    Relayed {
        /// Why.
        reason: String,
    },
    /// It does not work (any more).
    Down {
        /// Why, and what is done about it.
        reason: String,
        /// How long it is until the next attempt; none while one is under way.
        retry_in: Option<Duration>,
    },
    /// Another attempt came to the same; nothing new but when the next one is.
    Retry {
        /// How long it is until then.
        retry_in: Duration,
    },
}

/// Where the lanes of one portal report to, until they end or are stopped together. They are one to the operator: it is up when the first of
/// them is and down when the last of them is. A slow reader loses the oldest news, never blocks a
/// session.
#[derive(Clone)]
pub struct Reporter {
    events: async_channel::Sender<Event>,
    /// Held while an event is reported, so that the news come in order.
    up: Arc<Mutex<usize>>,
    /// Lanes with a direct path; held like the other.
    direct: Arc<Mutex<usize>>,
}

impl Reporter {
    /// A reporter and the end to read from.
    pub fn new() -> (Self, async_channel::Receiver<Event>) {
        let (events, receiver) = async_channel::bounded(256);
        let (up, direct) = Default::default();
        (Self { events, up, direct }, receiver)
    }

    fn report(&self, event: Event) {
        let _ = self.events.force_send(event);
    }

    fn up(&self) -> MutexGuard<'_, usize> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn direct(&self) -> MutexGuard<'_, usize> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane works.
    fn went_up(&self, event: Event) {
        let mut up = self.up();
        *up += 1;
        if *up == 1 {
            self.report(event);
        }
    }

    /// A lane that worked does not any more.
    fn went_down(&self, reason: &str, retry_in: Option<Duration>) {
        let mut up = self.up();
        *up = up.saturating_sub(1);
        if *up == 0 {
            self.report(Event::Down {
                reason: reason.to_owned(),
                retry_in,
            });
        }
    }

    /// A lane has a direct path.
    pub(crate) fn went_direct(&self, event: Event) {
        let mut direct = self.direct();
        *direct += 1;
        if *direct == 1 {
            self.report(event);
        }
    }

    /// A lane has it no more.
    pub(crate) fn left_direct(&self) {
        let mut direct = self.direct();
        *direct = direct.saturating_sub(1);
    }

    /// A lane has none (any more). It is news when no other has one.
    pub(crate) fn relayed(&self, shard: &Shard, was_up: bool, reason: &str) {
        let speaks = was_up || shard.number() == 0;
        let direct = self.direct();
        if speaks && *direct == 0 {
            self.report(Event::Relayed {
                reason: reason.to_owned(),
            });
        }
    }

    /// Another attempt of a lane came to the same.
    fn failed_again(&self, shard: &Shard, retry_in: Duration) {
        if shard.number() == 0 && *self.up() == 0 {
            self.report(Event::Retry { retry_in });
        }
    }

    /// A lane could not be made to work. The first speaks for all: they fail alike.
    fn failed(&self, shard: &Shard, reason: &str, retry_in: Option<Duration>) {
        if shard.number() == 0 && *self.up() == 0 {
            self.report(Event::Down {
                reason: reason.to_owned(),
                retry_in,
            });
        }
    }
}

/// Pauses between attempts: grow by half each time, with jitter so that many nodes that lost the
/// same relay do not come back in step.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: i32,
}

impl Backoff {
    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST
            .mul_f64(1.5f64.powi(self.attempts.min(20)))
            .min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        full.mul_f64(0.5 + 0.5 * (random::u64() as f64 / u64::MAX as f64))
    }

    /// Starts over after a success.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_start_over() {
        let mut backoff = Backoff::default();
        for _ in 0..50 {
            assert!(backoff.next() <= LONGEST);
        }
        assert!(backoff.next() >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
