//! The session machine of one TCP connection (`protocol/03-portals.md` 2 to 6).

mod local;
mod output;

use core::ops::Range;

use super::codec::decode_payload;
use super::credit::{ReceiveCredit, SendCredit};
use super::{Config, Extension, Features, Kind, MAX_WINDOW, PortalError, PortalMessage};
use crate::limits::PORTAL_PAYLOAD;

/// What a message means for the socket, see [`Stream::on_message`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Nothing to do.
    Ignored,
    /// Inlet: the Pong. Keep its return route, send everything from now on along it.
    Opened,
    /// Write these bytes of the message to the socket, and report them with
    /// [`Stream::on_written`]. Never empty.
    Data(Range<usize>),
    /// Shut down the socket's write side after the bytes delivered so far; reading goes on.
    Finish,
    /// The stream is over. Stop reading; write what was delivered and close the socket, or with
    /// `abort` discard it and reset the connection.
    Close {
        /// Whether the other end broke instead of closing.
        abort: bool,
    },
    /// The peer returned credit: [`Stream::can_read`] may have grown.
    Credit,
}

/// Where a stream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Inlet: no Pong yet. Outlet: the target is not connected yet.
    Opening,
    /// Data may flow.
    Open,
    /// Over, but for the messages in line.
    Closed,
}

/// Which end of the portal, and whether Ping and Pong open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Inlet,
    Outlet,
    /// Outlet in skip-handshake mode: sends no Pong, takes data before it is connected.
    SilentOutlet,
}

/// How the local socket ended, kept until the peer can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LocalEnd {
    Eof,
    Broken,
    Stopped,
}

/// Control messages in line, one bit each. Credit is not here: it is computed when drained.
#[derive(Debug, Clone, Copy, Default)]
struct Due(u8);

impl Due {
    const PING: u8 = 1;
    const PONG: u8 = 1 << 1;
    const EOF: u8 = 1 << 2;
    const RESET: u8 = 1 << 3;
    const DISCONNECT: u8 = 1 << 4;

    fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    fn add(&mut self, bit: u8) {
        self.0 |= bit;
    }

    fn take(&mut self, bit: u8) -> bool {
        let had = self.has(bit);
        self.0 &= !bit;
        had
    }
}

/// One TCP connection through a portal: the protocol, without the socket.
///
/// The same type serves both ends; [`Stream::inlet`], [`Stream::outlet`] and
/// [`Stream::outlet_skip_handshake`] differ in how it opens. A stream holds no data: bytes stay in
/// the caller's buffers, and no method allocates, blocks or panics.
///
/// # Methods
///
/// * **(A) Inputs from the peer**: [`on_message`](Self::on_message), for every routed message to
///   this stream's address, in order, after the checks that need the routed message.
/// * **(B) Inputs from the socket**: [`connected`](Self::connected) and [`refused`](Self::refused)
///   (outlet, one of them, once), [`on_read`](Self::on_read), [`on_eof`](Self::on_eof),
///   [`on_read_error`](Self::on_read_error), [`on_written`](Self::on_written),
///   [`on_write_error`](Self::on_write_error).
/// * **(C) Inputs from elsewhere**: [`on_timeout`](Self::on_timeout), [`stop`](Self::stop),
///   [`lost`](Self::lost).
/// * **(D) Outputs**: [`poll_send`](Self::poll_send), [`is_done`](Self::is_done),
///   [`aborts`](Self::aborts), [`can_read`](Self::can_read), [`deadline_ms`](Self::deadline_ms).
///
/// # Order
///
/// After construction and after each call of (A), (B) or (C), the caller
///
/// 1. does what the call returned (write the data, switch the route, ...);
/// 2. sends what [`poll_send`](Self::poll_send) yields, until it yields nothing;
/// 3. if [`is_done`](Self::is_done): stops reading, closes the socket and drops the stream. Bytes
///    delivered earlier are written first, unless [`aborts`](Self::aborts), which discards them and
///    resets the TCP connection;
/// 4. otherwise reads at most [`can_read`](Self::can_read) bytes when that is not zero, and sends
///    them at once, behind everything of step 2, as one Payload ([`payload_header`] in front);
/// 5. sets its timer to [`deadline_ms`](Self::deadline_ms).
///
/// Messages sent earlier must leave earlier. Time is monotone, in milliseconds of any origin.
///
/// [`payload_header`]: super::payload_header
///
/// # Ends
///
/// | event | Ockam peer | Culvert peer |
/// |---|---|---|
/// | EOF read | Disconnect, done | Eof; done when the other direction has ended too |
/// | read or write error | Disconnect, done, aborts | Reset, done, aborts |
/// | target refused | Pong, Disconnect, done | the same |
/// | [`stop`](Self::stop) | Disconnect, done | the same |
/// | fatal [`PortalError`] | Disconnect, done | Reset, done, aborts |
/// | Disconnect received | done, nothing is sent | the same |
/// | Eof received | (not sent) | [`Received::Finish`] |
/// | Reset received | (not sent) | done, aborts |
/// | no Pong in time | done, aborts, nothing is sent | the same |
///
/// Unlike the reference, nothing lingers for 2 s: an end that has sent its last message is done.
///
/// # Invariants
///
/// * Bytes delivered and not yet written never exceed our window when credit was agreed on.
/// * Bytes read never exceed the peer's window, whatever the socket offers.
/// * At most one Ping, Pong, Eof, Reset and Disconnect is sent; nothing follows Disconnect or Reset.
/// * After Closed every message is ignored, however broken.
#[derive(Debug)]
pub struct Stream {
    role: Role,
    phase: Phase,
    due: Due,
    /// What we name in Ping or Pong.
    offer: Option<Extension>,
    /// What both named.
    agreed: Features,
    culvert: bool,
    send: Option<SendCredit>,
    receive: Option<ReceiveCredit>,
    max_payload: usize,
    /// Delivered and not yet reported as written.
    unwritten: usize,
    /// Counter the next counted payload must carry.
    next_counter: u16,
    read_ended: bool,
    receive_ended: bool,
    local_end: Option<LocalEnd>,
    aborts: bool,
    deadline_ms: Option<u64>,
}

impl Stream {
    /// The inlet's end of a TCP connection just accepted. A Ping becomes due.
    #[must_use]
    pub fn inlet(cfg: &Config, now_ms: u64) -> Self {
        let mut stream = Self::new(cfg, Role::Inlet);
        stream.due.add(Due::PING);
        if cfg.skip_handshake {
            stream.phase = Phase::Open;
            stream.offer = None;
        } else if cfg.pong_timeout_ms > 0 {
            stream.deadline_ms = Some(now_ms.saturating_add(cfg.pong_timeout_ms));
        }
        stream
    }

    /// The outlet's end, made from the Ping that reached the outlet listener. Connect to the
    /// target, then call [`connected`](Self::connected) or [`refused`](Self::refused).
    ///
    /// Any other message opens nothing: such a stream is born done and never sends.
    #[must_use]
    pub fn outlet(cfg: &Config, ping: &PortalMessage<'_>) -> Self {
        let mut stream = Self::new(cfg, Role::Outlet);
        match ping {
            PortalMessage::Ping { ext } => stream.agree(*ext),
            _ => stream.phase = Phase::Closed,
        }
        stream
    }

    /// The outlet's end in skip-handshake mode, made for the first message of an unknown inlet
    /// whatever it is; hand that message to [`on_message`](Self::on_message) too.
    ///
    /// Sends no Pong, and delivers data before [`connected`](Self::connected): the caller holds it
    /// until the target is connected and bounds what it holds.
    #[must_use]
    pub fn outlet_skip_handshake(cfg: &Config) -> Self {
        let mut stream = Self::new(cfg, Role::SilentOutlet);
        stream.offer = None;
        stream
    }

    fn new(cfg: &Config, role: Role) -> Self {
        Self {
            role,
            phase: Phase::Opening,
            due: Due::default(),
            offer: cfg.offer(),
            agreed: Features::default(),
            culvert: false,
            send: None,
            receive: None,
            max_payload: cfg.max_payload.clamp(1, PORTAL_PAYLOAD),
            unwritten: 0,
            next_counter: 0,
            read_ended: false,
            receive_ended: false,
            local_end: None,
            aborts: false,
            deadline_ms: None,
        }
    }

    /// Intersects what the peer names with what we offer. Without both, the peer is as Ockam.
    fn agree(&mut self, theirs: Option<Extension>) {
        let theirs = theirs.filter(|ext| ext.window > 0);
        let (Some(offer), Some(theirs)) = (self.offer, theirs) else {
            self.offer = None;
            return;
        };
        self.culvert = true;
        self.agreed = offer.features & theirs.features;
        if self.agreed.contains(Features::CREDIT) {
            self.send = Some(SendCredit::new(theirs.window.min(MAX_WINDOW)));
            self.receive = Some(ReceiveCredit::new(offer.window, self.max_payload));
        }
    }

    // (A) Inputs from the peer.

    /// Takes the payload of one routed message.
    ///
    /// # Errors
    ///
    /// A [`PortalError`] drops the message. Unless it [is fatal](PortalError::is_fatal), nothing
    /// else happens.
    pub fn on_message(&mut self, payload: &[u8]) -> Result<Received, PortalError> {
        if self.phase == Phase::Closed {
            return Ok(Received::Ignored);
        }
        let result = if payload.first() == Some(&(Kind::Payload as u8)) {
            decode_payload(payload).and_then(|(data, counter)| self.on_payload(data, counter))
        } else {
            PortalMessage::decode(payload).and_then(|message| self.on_control(message))
        };
        if result.as_ref().is_err_and(|error| error.is_fatal()) {
            self.break_off(self.agreed.contains(Features::RESET));
        }
        result
    }

    fn on_payload(
        &mut self,
        data: Range<usize>,
        counter: Option<u16>,
    ) -> Result<Received, PortalError> {
        self.check_expected(Kind::Payload)?;
        if self.receive_ended {
            return Err(PortalError::AfterEnd(Kind::Payload));
        }
        if let Some(got) = counter {
            let expected = self.next_counter;
            if got != expected {
                return Err(PortalError::WrongCounter { expected, got });
            }
            self.next_counter = expected.wrapping_add(1);
        }
        if let Some(receive) = &mut self.receive {
            receive.accept(data.len())?;
        }
        if data.is_empty() {
            return Ok(Received::Ignored);
        }
        self.unwritten = self.unwritten.saturating_add(data.len());
        Ok(Received::Data(data))
    }

    fn on_control(&mut self, message: PortalMessage<'_>) -> Result<Received, PortalError> {
        self.check_expected(message.kind())?;
        match message {
            PortalMessage::Pong { ext } if self.phase == Phase::Opening => {
                self.agree(ext);
                self.open();
                Ok(Received::Opened)
            }
            PortalMessage::Disconnect => Ok(self.closed_by_peer(false)),
            PortalMessage::Reset => Ok(self.closed_by_peer(true)),
            PortalMessage::Credit { bytes } => {
                if let Some(send) = &mut self.send {
                    send.grant(bytes)?;
                }
                Ok(Received::Credit)
            }
            PortalMessage::Eof if self.receive_ended => Err(PortalError::AfterEnd(Kind::Eof)),
            PortalMessage::Eof => {
                self.receive_ended = true;
                self.close_if_both_ended();
                Ok(Received::Finish)
            }
            PortalMessage::Ping { .. }
            | PortalMessage::Pong { .. }
            | PortalMessage::Payload { .. } => Ok(Received::Ignored),
        }
    }

    /// The table of `protocol/03-portals.md` 2 rule 7. Ping and Pong pass in more states than they
    /// mean something in: they are ignored there, and no error.
    fn check_expected(&self, kind: Kind) -> Result<(), PortalError> {
        let needs = match kind {
            Kind::Credit => Features::CREDIT,
            Kind::Eof => Features::HALF_CLOSE,
            Kind::Reset => Features::RESET,
            Kind::Ping | Kind::Pong | Kind::Disconnect | Kind::Payload => Features::default(),
        };
        if !self.agreed.contains(needs) {
            return Err(PortalError::UnknownKind(kind as u8));
        }
        let expected = match (self.phase, self.role) {
            (Phase::Open | Phase::Closed, _) => true,
            (Phase::Opening, Role::Inlet) => kind == Kind::Pong,
            (Phase::Opening, Role::Outlet) => kind == Kind::Disconnect,
            (Phase::Opening, Role::SilentOutlet) => true,
        };
        if !expected {
            return Err(PortalError::Unexpected(kind));
        }
        Ok(())
    }

    fn closed_by_peer(&mut self, abort: bool) -> Received {
        self.due = Due::default();
        self.close(abort);
        Received::Close { abort }
    }

    // Transitions.

    fn announce(&mut self, end: LocalEnd) {
        match end {
            LocalEnd::Eof if self.read_ended => {}
            LocalEnd::Eof if self.agreed.contains(Features::HALF_CLOSE) => {
                self.read_ended = true;
                self.due.add(Due::EOF);
                self.close_if_both_ended();
            }
            LocalEnd::Eof | LocalEnd::Stopped => {
                self.due.add(Due::DISCONNECT);
                self.close(false);
            }
            LocalEnd::Broken => self.break_off(true),
        }
    }

    fn open(&mut self) {
        self.phase = Phase::Open;
        self.deadline_ms = None;
        if let Some(end) = self.local_end {
            self.announce(end);
        }
    }

    /// Ends both directions, telling the peer as precisely as it understands.
    fn break_off(&mut self, aborts: bool) {
        self.due.add(if self.agreed.contains(Features::RESET) {
            Due::RESET
        } else {
            Due::DISCONNECT
        });
        self.close(aborts);
    }

    fn close_if_both_ended(&mut self) {
        if self.read_ended && self.receive_ended {
            self.close(false);
        }
    }

    fn close(&mut self, aborts: bool) {
        self.phase = Phase::Closed;
        self.aborts = aborts;
        self.deadline_ms = None;
    }
}
