//! Outputs of a stream.

use super::{Due, Phase, Stream};
use crate::portal::{Control, Extension, Features};

impl Stream {
    // (D) Outputs.

    /// The next control message to send now, in order; nothing when all are sent.
    #[must_use]
    pub fn poll_send(&mut self) -> Option<Control> {
        if self.due.take(Due::PING) {
            return Some(Control::Ping(self.offer));
        }
        if self.due.take(Due::PONG) {
            return Some(Control::Pong(self.offer.map(|offer| Extension {
                features: self.agreed,
                ..offer
            })));
        }
        if let Some(credit) = self.credit_due() {
            return Some(Control::Credit(credit));
        }
        if self.due.take(Due::EOF) {
            return Some(Control::Eof);
        }
        if self.due.take(Due::RESET) {
            return Some(Control::Reset);
        }
        self.due
            .take(Due::DISCONNECT)
            .then_some(Control::Disconnect)
    }

    /// A peer that has ended its data needs no credit, and a closed stream gives none.
    fn credit_due(&mut self) -> Option<u32> {
        if self.phase != Phase::Open || self.receive_ended {
            return None;
        }
        self.receive.as_mut()?.take_due(self.unwritten == 0)
    }

    /// Bytes that may be read from the socket now and sent as one Payload; zero means do not read.
    ///
    /// Zero until the stream is open and [`poll_send`](Self::poll_send) has yielded the Ping or
    /// Pong, so that data never overtakes them.
    #[must_use]
    pub fn can_read(&self) -> usize {
        if self.phase != Phase::Open || self.read_ended || self.due.has(Due::PING | Due::PONG) {
            return 0;
        }
        match &self.send {
            Some(send) => self.max_payload.min(send.left() as usize),
            None => self.max_payload,
        }
    }

    /// When to call [`on_timeout`](Self::on_timeout), if anything is waited for.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        self.deadline_ms
    }

    /// Whether the stream is over and everything due has been sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Closed && self.due.0 == 0
    }

    /// Whether a stream that [is done](Self::is_done) resets its TCP connection, discarding what
    /// was not written yet, instead of closing it behind the last byte.
    #[must_use]
    pub fn aborts(&self) -> bool {
        self.aborts
    }

    /// Bytes delivered and not yet reported as written.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.unwritten
    }

    /// Whether the peer is a Culvert node with which the extension was agreed on.
    #[must_use]
    pub fn peer_is_culvert(&self) -> bool {
        self.culvert
    }

    /// What both ends agreed on; nothing before the stream is open, and with an Ockam peer.
    #[must_use]
    pub fn features(&self) -> Features {
        self.agreed
    }
}
