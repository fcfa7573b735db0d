//! Inputs of a stream from this side: its socket, its timer, its operator.

use super::{Due, LocalEnd, Phase, Role, Stream};

impl Stream {
    // (B) Inputs from the socket.

    /// Outlet: the target is connected. A Pong becomes due, except in skip-handshake mode.
    pub fn connected(&mut self) {
        if self.phase != Phase::Opening || self.role == Role::Inlet {
            return;
        }
        if self.role == Role::Outlet {
            self.due.add(Due::PONG);
        }
        self.open();
    }

    /// Outlet: the target cannot be connected. Pong, then Disconnect become due, which an Ockam
    /// inlet takes for a connection closed at once (`protocol/03-portals.md` 5).
    pub fn refused(&mut self) {
        if self.phase != Phase::Opening || self.role == Role::Inlet {
            return;
        }
        if self.role == Role::Outlet {
            self.due.add(Due::PONG);
        }
        self.due.add(Due::DISCONNECT);
        self.close(false);
    }

    /// `n` bytes, at most [`can_read`](Self::can_read), were read and are sent as one Payload.
    pub fn on_read(&mut self, n: usize) {
        if let Some(send) = &mut self.send {
            send.spend(n);
        }
    }

    /// The socket has no more bytes. All bytes read before have been sent.
    ///
    /// Before the stream is open this waits for the Pong: the outlet cannot be told earlier.
    pub fn on_eof(&mut self) {
        self.end_locally(LocalEnd::Eof);
    }

    /// Reading failed: the TCP connection is broken.
    pub fn on_read_error(&mut self) {
        self.end_locally(LocalEnd::Broken);
    }

    /// Writing failed: the TCP connection is broken.
    pub fn on_write_error(&mut self) {
        self.end_locally(LocalEnd::Broken);
    }

    /// `n` of the bytes delivered as [`Received::Data`](super::Received::Data) left to the socket. More than were
    /// delivered counts as all of them.
    pub fn on_written(&mut self, n: usize) {
        let n = n.min(self.unwritten);
        self.unwritten -= n;
        if let Some(receive) = &mut self.receive {
            receive.written(n);
        }
    }

    // (C) Inputs from elsewhere.

    /// Ends the wait for a Pong if [`deadline_ms`](Self::deadline_ms) has come, and says whether it
    /// did: the stream is then done, and the client's connection is to be reset.
    pub fn on_timeout(&mut self, now_ms: u64) -> bool {
        let expired = self.deadline_ms.is_some_and(|deadline| deadline <= now_ms);
        if expired {
            self.lost();
        }
        expired
    }

    /// This end is being shut down by its operator: the peer is told, then the stream is done.
    pub fn stop(&mut self) {
        self.end_locally(LocalEnd::Stopped);
    }

    /// The route to the peer is gone for good: done at once, nothing can be sent.
    pub fn lost(&mut self) {
        if self.phase != Phase::Closed {
            self.due = Due::default();
            self.close(true);
        }
    }

    fn end_locally(&mut self, end: LocalEnd) {
        match (self.phase, self.role) {
            (Phase::Closed, _) => {}
            (Phase::Opening, Role::Inlet) => self.local_end = self.local_end.max(Some(end)),
            (Phase::Opening, Role::Outlet | Role::SilentOutlet) => self.refused(),
            (Phase::Open, _) => self.announce(end),
        }
    }
}
