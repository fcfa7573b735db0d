//! Either side of one puncture.

use super::message::encode_segment;
use super::negotiation::is_usable;
use super::paths::Paths;
use super::{
    Endpoint, Failure, Output, PING, PONG, Phase, PunctureError, PunctureMessage, Received, Role,
    Setup, Transmit, payload_len, put_payload,
};
use crate::address::AddressRef;
use crate::limits::{MAX_ADDRESS, MAX_FRAME};
use crate::message::{Layout, Message};
use crate::rendezvous::{self, Request, Response};
use crate::route::{Route, RouteView};
use crate::udp;
use core::mem;
use core::net::SocketAddr;

/// What is known of the peer.
#[derive(Clone, Debug)]
struct Peer {
    worker: Vec<u8>,
    paths: Paths,
}

/// Either side of one puncture, without its socket.
///
/// After a constructor or any other call, and when [`Self::deadline_ms`] has passed, call
/// [`Self::poll`] until it returns `None`, and do what it says. Feed every message that arrives on
/// the socket, put together, to [`Self::on_message`], and on the initiator the answer from the
/// relay to [`Self::on_acknowledge`]. Look at [`Self::phase`] after each. Times are milliseconds of
/// any clock that does not go back.
///
/// Nothing is queued, so state is of fixed size: each message that comes leads to at most one that
/// goes. Messages for the peer before the path is open are the caller's to keep, or to send through
/// the relay.
#[derive(Clone, Debug)]
pub struct Puncture {
    role: Role,
    setup: Setup,
    phase: Phase,
    public: Option<SocketAddr>,
    peer: Option<Peer>,
    /// When the phase ends, unless something comes.
    give_up_ms: u64,
    /// When to ask, or to ping, again.
    next_ms: u64,
    /// Pings of this round that were not sent yet.
    round: [Option<SocketAddr>; 2],
    /// The Initiate or the Acknowledge was not sent yet.
    owes_negotiation: bool,
    /// The peer's worker exists: a Ping of it came.
    heard_ping: bool,
}

impl Puncture {
    /// The side that proposes. It begins with asking the rendezvous.
    ///
    /// # Errors
    /// [`PunctureError`] when the setup cannot work.
    pub fn initiator(setup: Setup, now_ms: u64) -> Result<Self, PunctureError> {
        Self::new(Role::Initiator, setup, None, now_ms)
    }

    /// The side that got an Initiate with this payload. It too begins with asking the rendezvous.
    ///
    /// # Errors
    /// [`PunctureError`] when the payload is no Initiate, or the setup cannot work.
    pub fn responder(setup: Setup, initiate: &[u8], now_ms: u64) -> Result<Self, PunctureError> {
        let peer = Endpoint::decode(initiate)?;
        Self::new(Role::Responder, setup, Some(peer), now_ms)
    }

    fn new(
        role: Role,
        mut setup: Setup,
        peer: Option<Endpoint>,
        now_ms: u64,
    ) -> Result<Self, PunctureError> {
        for value in [&setup.worker, &setup.reply_to] {
            if value.is_empty() || value.len() > MAX_ADDRESS {
                return Err(PunctureError::Worker(value.len()));
            }
        }
        if setup.worker == setup.reply_to {
            return Err(PunctureError::SameAddress);
        }
        setup.rendezvous = udp::canonical(setup.rendezvous);
        if !is_usable(setup.rendezvous) {
            return Err(PunctureError::PublicAddress);
        }
        Ok(Self {
            role,
            phase: Phase::Locating,
            public: None,
            peer: peer.map(Peer::new),
            give_up_ms: now_ms.saturating_add(setup.config.rendezvous_ms),
            next_ms: now_ms,
            round: [None; 2],
            owes_negotiation: true,
            heard_ping: false,
            setup,
        })
    }

    /// Which side this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// How far it is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Our public address, once the rendezvous told it.
    #[must_use]
    pub const fn public(&self) -> Option<SocketAddr> {
        self.public
    }

    /// Where an open path leads.
    #[must_use]
    pub fn path(&self) -> Option<SocketAddr> {
        match self.phase {
            Phase::Open => self.peer.as_ref()?.paths.answering(),
            _ => None,
        }
    }

    /// When [`Self::poll`] has something to do without being told anything; `None` when it is over.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Failed(_) => None,
            Phase::Negotiating => Some(self.give_up_ms),
            _ => Some(self.give_up_ms.min(self.next_ms)),
        }
    }

    /// What to do now: to be called until it returns `None`.
    pub fn poll(&mut self, now_ms: u64) -> Option<Output> {
        if now_ms >= self.give_up_ms {
            self.give_up();
        }
        match self.phase {
            Phase::Failed(_) => None,
            Phase::Locating => self.ask_rendezvous(now_ms).map(Output::Datagrams),
            Phase::Negotiating => self.negotiate().map(Output::Negotiate),
            // A Ping opens our NAT: it goes before the message that makes the peer send one.
            Phase::Probing | Phase::Open => match self.ping(now_ms) {
                Some(ping) => Some(Output::Datagrams(ping)),
                None => self.negotiate().map(Output::Negotiate),
            },
        }
    }

    fn give_up(&mut self) {
        let failure = match self.phase {
            Phase::Locating => Failure::NoRendezvous,
            Phase::Negotiating => Failure::NoAcknowledge,
            Phase::Probing => Failure::NotOpened,
            Phase::Open => Failure::Silent,
            Phase::Failed(_) => return,
        };
        self.phase = Phase::Failed(failure);
    }

    fn ask_rendezvous(&mut self, now_ms: u64) -> Option<Transmit> {
        if now_ms < self.next_ms {
            return None;
        }
        self.next_ms = now_ms.saturating_add(self.setup.config.probe_ms.max(1));
        Some(Transmit {
            to: self.setup.rendezvous,
            message: message(
                to_local(rendezvous::SERVICE.as_bytes()),
                &self.setup.reply_to,
                &Request::GetMyAddress.encode(),
            ),
        })
    }

    fn negotiate(&mut self) -> Option<Vec<u8>> {
        let public = self.public?;
        let owed = mem::take(&mut self.owes_negotiation);
        owed.then(|| {
            let worker = self.setup.worker.clone();
            Endpoint { public, worker }.encode()
        })
    }

    fn ping(&mut self, now_ms: u64) -> Option<Transmit> {
        let peer = self.peer.as_mut()?;
        if now_ms >= self.next_ms {
            let pause_ms = match self.phase {
                Phase::Open => self.setup.config.keep_alive_ms,
                _ => self.setup.config.probe_ms,
            };
            self.next_ms = now_ms.saturating_add(pause_ms.max(1));
            self.round = peer.paths.round();
        }
        let to = self.round.iter_mut().find_map(Option::take)?;
        // The initiator has no worker yet that could be addressed: its node ignores these, but they
        // open the way for its own.
        let onward = match self.role == Role::Responder && !self.heard_ping {
            true => Route::new(),
            false => to_local(&peer.worker),
        };
        Some(Transmit {
            to,
            message: message(onward, &self.setup.worker, &PING),
        })
    }

    /// Takes the payload that answers our Initiate.
    ///
    /// # Errors
    /// [`PunctureError`] when there is nothing to acknowledge, which changes nothing; or when it
    /// has no usable address, which is the end.
    pub fn on_acknowledge(&mut self, now_ms: u64, payload: &[u8]) -> Result<(), PunctureError> {
        if self.phase != Phase::Negotiating || self.owes_negotiation {
            return Err(PunctureError::Unexpected);
        }
        match Endpoint::decode(payload) {
            Ok(endpoint) => self.peer = Some(Peer::new(endpoint)),
            Err(error) => {
                self.phase = Phase::Failed(Failure::BadAcknowledge);
                return Err(error);
            }
        }
        self.start_probing(now_ms)
    }

    fn start_probing(&mut self, now_ms: u64) -> Result<(), PunctureError> {
        if let (Some(ours), Some(peer)) = (self.public, &self.peer) {
            let theirs = peer.paths.told();
            if ours.is_ipv4() != theirs.is_ipv4() {
                self.phase = Phase::Failed(Failure::Family);
                return Err(PunctureError::Family { ours, theirs });
            }
        }
        self.phase = Phase::Probing;
        self.next_ms = now_ms;
        self.give_up_ms = now_ms.saturating_add(self.setup.config.open_ms);
        Ok(())
    }

    /// Takes one transport message that came from `source` over the puncture's socket.
    ///
    /// # Errors
    /// [`PunctureError`] when it was dropped.
    pub fn on_message<'a>(
        &mut self,
        now_ms: u64,
        source: SocketAddr,
        msg: &'a [u8],
    ) -> Result<Received<'a>, PunctureError> {
        let source = udp::canonical(source);
        let layout = Layout::parse(msg)?;
        let return_route = layout.return_route(msg);
        let payload = layout.payload(msg);
        let Some(first) = layout.onward(msg).first() else {
            self.on_nobodys(now_ms, source, return_route);
            return Ok(Received::Nothing);
        };
        if first == AddressRef::local(&self.setup.reply_to) {
            self.on_rendezvous(now_ms, source, payload)?;
            return Ok(Received::Nothing);
        }
        if first != AddressRef::local(&self.setup.worker) {
            return Err(PunctureError::OtherAddress);
        }
        if !matches!(self.phase, Phase::Probing | Phase::Open) {
            return Err(PunctureError::Unexpected);
        }
        match PunctureMessage::decode(payload)? {
            PunctureMessage::Ping => Ok(self.on_ping(now_ms, source, return_route)),
            PunctureMessage::Pong => {
                self.on_pong(now_ms, source);
                Ok(Received::Nothing)
            }
            PunctureMessage::Payload(payload) => {
                self.on_heard(now_ms, source);
                Ok(Received::Payload(payload))
            }
            PunctureMessage::Segment(segment) => {
                self.on_heard(now_ms, source);
                Ok(Received::Segment(segment))
            }
        }
    }

    /// A message to no worker: from a responder that has not heard us. If it names the worker that
    /// the peer told, it shows where the peer is.
    fn on_nobodys(&mut self, now_ms: u64, source: SocketAddr, return_route: RouteView<'_>) {
        let is_peer = match (&self.peer, return_route.first()) {
            (Some(peer), Some(first)) => first == AddressRef::local(&peer.worker),
            _ => false,
        };
        if is_peer {
            self.on_heard(now_ms, source);
        }
    }

    fn on_rendezvous(
        &mut self,
        now_ms: u64,
        source: SocketAddr,
        payload: &[u8],
    ) -> Result<(), PunctureError> {
        if source != self.setup.rendezvous {
            return Err(PunctureError::NotTheRendezvous(source));
        }
        let public = match Response::decode(payload)? {
            Response::GetMyAddress(public) if is_usable(public) => public,
            Response::GetMyAddress(_) => return Err(PunctureError::PublicAddress),
            Response::Pong => return Err(PunctureError::Unexpected),
        };
        // The answer to a question that was asked again.
        if self.phase != Phase::Locating {
            return Ok(());
        }
        self.public = Some(public);
        match self.role {
            Role::Initiator => {
                self.phase = Phase::Negotiating;
                self.give_up_ms = now_ms.saturating_add(self.setup.config.acknowledge_ms);
            }
            Role::Responder => self.start_probing(now_ms)?,
        }
        Ok(())
    }

    fn on_ping(
        &mut self,
        now_ms: u64,
        source: SocketAddr,
        return_route: RouteView<'_>,
    ) -> Received<'static> {
        self.on_heard(now_ms, source);
        if !mem::replace(&mut self.heard_ping, true) {
            self.keep_open();
            self.ping_soon(now_ms);
        }
        if return_route.is_empty() {
            return Received::Nothing;
        }
        Received::Answer(Transmit {
            to: source,
            message: message(return_route.to_owned(), &self.setup.worker, &PONG),
        })
    }

    fn on_pong(&mut self, now_ms: u64, source: SocketAddr) {
        let patience_ms = self.setup.config.keep_alive_ms.saturating_mul(2);
        let Some(peer) = &mut self.peer else { return };
        match peer.paths.on_pong(now_ms, source, patience_ms) {
            true => self.keep_open(),
            false => self.on_heard(now_ms, source),
        }
    }

    /// Opens a path that works both ways, and puts off its end.
    ///
    /// The peer needs an answer of ours as we need one of its: an end of the reference keeps
    /// messages until then. If its Pings do not come, there can be none.
    fn keep_open(&mut self) {
        let heard_ms = self.peer.as_ref().and_then(|peer| peer.paths.heard_ms());
        let Some(heard_ms) = heard_ms.filter(|_| self.heard_ping) else {
            return;
        };
        self.phase = Phase::Open;
        self.give_up_ms = heard_ms.saturating_add(self.setup.config.silence_ms);
    }

    /// The peer sent something from `source`.
    fn on_heard(&mut self, now_ms: u64, source: SocketAddr) {
        let Some(peer) = &mut self.peer else { return };
        if peer.paths.on_message(source) {
            self.ping_soon(now_ms);
        }
    }

    /// Does not wait for the next round while there is no path.
    fn ping_soon(&mut self, now_ms: u64) {
        if self.phase == Phase::Probing {
            self.next_ms = now_ms;
        }
    }

    /// Wraps a transport message for the peer. `onward` starts with the first address on its node.
    ///
    /// # Errors
    /// [`PunctureError::NotOpen`] and [`PunctureError::TooLong`]: then it can go through the relay.
    pub fn wrap(
        &self,
        onward: &Route,
        return_route: &Route,
        payload: &[u8],
    ) -> Result<Transmit, PunctureError> {
        let (Some(to), Some(peer)) = (self.path(), &self.peer) else {
            return Err(PunctureError::NotOpen);
        };
        let mut wrapped = Vec::new();
        let length = payload_len(onward, return_route, payload);
        if length > MAX_FRAME {
            return Err(PunctureError::TooLong(length));
        }
        put_payload(&mut wrapped, onward, return_route, payload);
        let message = Message {
            onward: to_local(&peer.worker),
            payload: wrapped,
            tracing: Some(String::from("{}")),
            ..Message::default()
        };
        let message = message.encode();
        match message.len() > MAX_FRAME {
            true => Err(PunctureError::TooLong(message.len())),
            false => Ok(Transmit { to, message }),
        }
    }

    /// Wraps a segment for a peer that knows them.
    ///
    /// # Errors
    /// [`PunctureError::NotOpen`].
    pub fn wrap_segment(&self, segment: &[u8]) -> Result<Transmit, PunctureError> {
        let (Some(to), Some(peer)) = (self.path(), &self.peer) else {
            return Err(PunctureError::NotOpen);
        };
        let message = Message {
            onward: to_local(&peer.worker),
            payload: encode_segment(segment),
            ..Message::default()
        };
        let message = message.encode();
        Ok(Transmit { to, message })
    }

    /// Value of the address of the peer's worker, once it is known.
    #[must_use]
    pub fn peer_worker(&self) -> Option<&[u8]> {
        self.peer.as_ref().map(|peer| &peer.worker[..])
    }
}

impl Peer {
    fn new(endpoint: Endpoint) -> Self {
        Self {
            worker: endpoint.worker,
            paths: Paths::new(endpoint.public),
        }
    }
}

fn to_local(value: &[u8]) -> Route {
    [AddressRef::local(value)].into_iter().collect()
}

/// A message as the reference writes it, with a tracing context that says nothing.
fn message(onward: Route, from: &[u8], payload: &[u8]) -> Vec<u8> {
    let message = Message {
        onward,
        return_route: to_local(from),
        payload: payload.to_vec(),
        tracing: Some(String::from("{}")),
    };
    message.encode()
}
