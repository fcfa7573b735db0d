//! Times and addresses of one puncture.

use core::net::SocketAddr;

/// How long things may take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most time for the answer of the rendezvous. The reference waits 3 s.
    pub rendezvous_ms: u64,
    /// Most time for the Acknowledge. The reference waits 10 s; its responder needs up to 3 of
    /// them.
    pub acknowledge_ms: u64,
    /// Most time until the path is open, once both addresses are known. The reference's inlet waits
    /// 10 s, its responder for ever.
    pub open_ms: u64,
    /// An open path without a Pong for this long is closed. As in the reference.
    pub silence_ms: u64,
    /// Pause between two requests to the rendezvous, and between two Pings until the path is open;
    /// at least 1. The reference asks the rendezvous once and pings once a second.
    pub probe_ms: u64,
    /// Pause between two Pings along an open path; at least 1. As in the reference. A NAT forgets
    /// an idle path after 30 s or more, and the reference's end needs our answers, not our
    /// questions.
    pub keep_alive_ms: u64,
}

impl Default for Config {
    /// The times of the reference, but for the pause until the path is open: 250 ms.
    fn default() -> Self {
        Self {
            rendezvous_ms: 3_000,
            acknowledge_ms: 10_000,
            open_ms: 10_000,
            silence_ms: 10_000,
            probe_ms: 250,
            keep_alive_ms: 1_000,
        }
    }
}

/// What the caller chose for one puncture. Its socket is for this puncture alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Where the rendezvous listens.
    pub rendezvous: SocketAddr,
    /// Value of our worker's address: random, so that nobody but the peer can write to it.
    pub worker: Vec<u8>,
    /// Value of the address that the rendezvous answers to: random, and another.
    pub reply_to: Vec<u8>,
    /// Times.
    pub config: Config,
}
