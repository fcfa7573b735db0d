//! The harness of Culvert's end-to-end tests: real processes on loopback, each started and ended
//! by its own id, and awaited by what they say rather than by how long they usually take.
//!
//! * [`bins`] finds and builds `culvert-relay` and `culvert-edge`.
//! * [`process`] runs a program and reads the JSON events it prints.
//! * [`chain`] puts relay, outlet edge and inlet edge together.
//! * [`postgres`] runs a throw-away PostgreSQL.
//! * [`service`] has small TCP services to put behind an outlet.
//! * [`wire`] speaks the transport protocol by hand; [`tap`] listens in on, and meddles with, a leg;
//!   [`taps`] puts one on each.
//! * [`nat`] is a network for UDP that loses what it is told to.
//! * [`netns`] makes networks with real NATs, where it may.
//! * [`metrics`] and [`proc`] look at a process from outside; [`http`] and [`socket`] ask its management listener,
//!   and [`browser`] looks at its status page.
//! * [`transcript`] pins what commands print.
//!
//! A helper that cannot do what a test asked for panics and says why: that fails the test.

pub mod bins;
pub mod browser;
pub mod chain;
pub mod http;
pub mod metrics;
pub mod nat;
pub mod net;
pub mod netns;
pub mod postgres;
pub mod proc;
pub mod process;
pub mod service;
pub mod socket;
pub mod tap;
pub mod taps;
pub mod transcript;
pub mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a test waits for something that has no deadline of its own: far longer than it takes
/// on a busy machine with two cores, so that only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Lets one test of a test binary run at a time: for tests that assert a deadline or fill the
/// machine. A test that failed does not stop the next one.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
