//! Secure channels inside the node: one end each (`protocol/13-secure-channel.md`).
//!
//! A channel has two addresses. Ciphertexts of the peer come to the *decryptor* address; what is
//! sent to the *encryptor* address leaves encrypted. Both are on the shard of the link that
//! carries the channel, which it never leaves.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use culvert_crypto::Identifier;
use culvert_crypto::channel::{
    Endpoint, Established, HandshakeError, Initiator, OVERHEAD, OpenError, Opener, Responder,
    Sealer,
};
use culvert_crypto::identity::Histories;
use culvert_crypto::trust::Trust;
use culvert_proto::frame;
use culvert_proto::message::header_len;
use culvert_proto::route::Route;
use culvert_proto::secure_channel::inner::{self, Inner};

use crate::key::{self, Key, LocalAddress};
use crate::notify::Notify;
use crate::packet::{MAX_DEPTH, Packet, Producer};
use crate::random;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::table::Entry;
use crate::worker::{ECHO, Outcome, Worker};

/// A peer that is quiet for this long is asked whether it is there.
const QUIET_MS: u64 = 1_000;

/// What this node shows and demands in handshakes.
#[derive(Clone)]
pub struct Credentials {
    /// Own identity and static key.
    pub endpoint: Endpoint,
    /// Who may be at the other end.
    pub trust: Trust,
    /// Change histories seen so far.
    pub histories: Rc<RefCell<dyn Histories>>,
}

enum State {
    Initiating(Box<Initiator>),
    Responding(Box<Responder>),
    Up(Box<Keys>),
    Closed,
}

struct Keys {
    seal: Sealer,
    open: Opener,
}

/// Why a channel did not come up.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The peer's handshake message was refused.
    #[error("handshake failed: {0}")]
    Handshake(HandshakeError),
    /// The first message could not be sent.
    #[error("cannot reach the peer: {0}")]
    Route(Refusal),
    /// The channel ended before it was up.
    #[error("the channel ended: {0}")]
    Ended(CloseReason),
    /// No answer in time.
    #[error(
        "no answer to the handshake within {0} ms (is the far side up, and does it allow this identity?)"
    )]
    Timeout(u64),
}

/// One end of a secure channel.
pub struct Channel {
    /// Where ciphertexts come in.
    pub decryptor: LocalAddress,
    /// The hop that leads through the channel.
    pub encryptor: LocalAddress,
    producer: Producer,
    initiator: bool,
    credentials: Credentials,
    state: RefCell<State>,
    peer: Cell<Option<Identifier>>,
    failure: RefCell<Option<HandshakeError>>,
    end: Cell<Option<CloseReason>>,
    /// The way to the peer's decryptor, first local hop included.
    route: RefCell<Route>,
    /// Nonce of the message the route was last learnt from (responder).
    route_nonce: Cell<u64>,
    started_ms: u64,
    heard_ms: Cell<u64>,
    pinged_ms: Cell<u64>,
    unanswered: Cell<u32>,
    users: Cell<u32>,
    /// The listener's count of unfinished handshakes, while this is one of them.
    counted: RefCell<Option<Rc<Cell<usize>>>>,
    changed: Notify,
}

impl Channel {
    /// Starts a handshake with the listener at the end of `route`.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Route`] when the first hop does not exist.
    pub fn initiate(
        shard: &Shard,
        credentials: &Credentials,
        route: &Route,
    ) -> Result<Rc<Self>, ChannelError> {
        let (machine, message) = Initiator::start(
            &credentials.endpoint,
            credentials.trust.clone(),
            random::bytes(),
        );
        let producer = Producer {
            id: shard.new_flow_id(),
            spawner: Some(shard.outgoing_flow()),
        };
        let state = State::Initiating(Box::new(machine));
        let channel = Self::insert(shard, credentials, producer, state, route.clone(), None)
            .map_err(ChannelError::Route)?;
        let Some(first) = shard.first_key(route) else {
            channel.close(shard, CloseReason::CarrierLost);
            return Err(ChannelError::Route(Refusal::UnknownAddress));
        };
        shard.depend(first, channel.decryptor.key);
        shard.permit_answers(first, channel.decryptor.key);
        match shard.send(route, &Shard::route_to(channel.decryptor), &message) {
            Outcome::Refused(reason) => {
                channel.close(shard, CloseReason::CarrierLost);
                Err(ChannelError::Route(reason))
            }
            _ => Ok(channel),
        }
    }

    fn insert(
        shard: &Shard,
        credentials: &Credentials,
        producer: Producer,
        state: State,
        route: Route,
        counted: Option<Rc<Cell<usize>>>,
    ) -> Result<Rc<Self>, Refusal> {
        // Both addresses are minted first, because each entry holds the channel that knows both.
        let placeholder: Rc<dyn Worker> = Rc::new(Sink);
        let encryptor = shard.add_worker(placeholder)?;
        let now = shard.now_ms();
        let channel = shard.insert(|decryptor| {
            let channel = Rc::new(Self {
                decryptor,
                encryptor,
                producer,
                initiator: matches!(state, State::Initiating(_)),
                credentials: credentials.clone(),
                state: RefCell::new(state),
                peer: Cell::new(None),
                failure: RefCell::new(None),
                end: Cell::new(None),
                route: RefCell::new(route),
                route_nonce: Cell::new(0),
                started_ms: now,
                heard_ms: Cell::new(now),
                pinged_ms: Cell::new(now),
                unanswered: Cell::new(0),
                users: Cell::new(0),
                counted: RefCell::new(counted),
                changed: Notify::default(),
            });
            (Entry::Decryptor(Rc::clone(&channel)), channel)
        });
        let channel = match channel {
            Ok(channel) => channel,
            Err(reason) => {
                shard.remove(encryptor.key);
                return Err(reason);
            }
        };
        shard.replace(encryptor.key, Entry::Encryptor(Rc::clone(&channel)));
        shard.flow(|f| {
            // A full table only means that the channel reaches nothing.
            let _ = f.add_producer(encryptor.key, producer.id, producer.spawner);
        });
        Ok(channel)
    }

    /// The authenticated peer, once the channel is up.
    pub fn peer(&self) -> Option<Identifier> {
        self.peer.get()
    }

    /// Whether messages can be sent.
    pub fn is_up(&self) -> bool {
        self.peer.get().is_some() && self.end.get().is_none()
    }

    /// Why it ended.
    pub fn ended(&self) -> Option<CloseReason> {
        self.end.get()
    }

    /// The first local hop on the way to the peer.
    pub(crate) fn next_hop(&self) -> Option<LocalAddress> {
        self.route.borrow().first().and_then(key::minted)
    }

    /// The hops to the peer's node, first local hop included.
    pub(crate) fn way_to_peer(&self) -> Route {
        self.route.borrow().without_last()
    }

    /// The flow control ids of what comes out of the channel.
    pub fn producer(&self) -> Producer {
        self.producer
    }

    /// Notes that a stream uses the channel (`true`) or has stopped to: a channel in use finds out
    /// sooner that its peer is gone.
    pub(crate) fn in_use(&self, on: bool) {
        let users = self.users.get();
        self.users.set(if on {
            users + 1
        } else {
            users.saturating_sub(1)
        });
    }

    /// Whether streams use it.
    pub(crate) fn used(&self) -> bool {
        self.users.get() > 0
    }

    /// When a message of the peer last verified, in shard milliseconds.
    pub(crate) fn heard_at(&self) -> u64 {
        self.heard_ms.get()
    }

    /// Waits until a message of the peer verifies, at `since` or later.
    pub(crate) async fn heard_since(&self, since: u64) {
        while self.heard_ms.get() < since {
            monoio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Milliseconds since a message of the peer last verified.
    pub fn quiet_ms(&self, shard: &Shard) -> u64 {
        shard.now_ms().saturating_sub(self.heard_ms.get())
    }

    /// Waits until the channel is up.
    ///
    /// # Errors
    ///
    /// [`ChannelError`] if it ends first, or nothing happens in time. The channel is closed then.
    pub async fn wait_up(
        &self,
        shard: &Shard,
        timeout_ms: u64,
    ) -> Result<Identifier, ChannelError> {
        let limit = std::time::Duration::from_millis(timeout_ms);
        let settled = self.changed.until(|| {
            if let Some(reason) = self.end.get() {
                let failure = self.failure.borrow_mut().take();
                return Some(Err(
                    failure.map_or(ChannelError::Ended(reason), ChannelError::Handshake)
                ));
            }
            self.peer.get().map(Ok)
        });
        match monoio::time::timeout(limit, settled).await {
            Ok(result) => result,
            Err(_) => {
                self.close(shard, CloseReason::PeerSilent);
                Err(ChannelError::Timeout(timeout_ms))
            }
        }
    }

    /// Waits until the channel has ended.
    pub async fn wait_end(&self) -> CloseReason {
        self.changed.until(|| self.end.get()).await
    }

    /// Takes a message for the decryptor address.
    pub(crate) fn receive(&self, shard: &Shard, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        if packet.depth >= MAX_DEPTH {
            return Outcome::Refused(Refusal::TooManyLayers);
        }
        let mut state = self.state.borrow_mut();
        match &mut *state {
            State::Closed => Outcome::Refused(Refusal::ChannelDown),
            State::Up(_) => {
                drop(state);
                self.receive_transport(shard, packet)
            }
            State::Initiating(machine) => {
                let mut known = self.credentials.histories.borrow_mut();
                let result = machine.read_message2(packet.payload(), &mut *known, shard.now_s());
                drop((state, known));
                match result {
                    Ok((established, message)) => {
                        let route = packet.return_route();
                        self.route.replace(route.clone());
                        let answer = shard.send(&route, &Shard::route_to(self.decryptor), &message);
                        shard.settle(answer, "handshake message 3");
                        self.up(shard, established);
                        Outcome::Done
                    }
                    Err(error) => self.failed(shard, error),
                }
            }
            State::Responding(machine) => {
                let mut known = self.credentials.histories.borrow_mut();
                let result = machine.read_message3(packet.payload(), &mut *known, shard.now_s());
                drop((state, known));
                match result {
                    Ok(established) => {
                        self.up(shard, established);
                        Outcome::Done
                    }
                    Err(error) => self.failed(shard, error),
                }
            }
        }
    }

    fn failed(&self, shard: &Shard, error: HandshakeError) -> Outcome {
        if error.is_recoverable() {
            // Not from the peer: the right message may still come.
            return Outcome::Refused(Refusal::HandshakeFailed);
        }
        tracing::info!(%error, "secure channel handshake refused");
        let denied = matches!(error, HandshakeError::NotTrusted(_));
        self.failure.replace(Some(error));
        self.close(shard, CloseReason::Local);
        Outcome::Refused(if denied {
            Refusal::IdentityNotAllowed
        } else {
            Refusal::HandshakeFailed
        })
    }

    fn up(&self, shard: &Shard, established: Established) {
        let Established {
            peer, seal, open, ..
        } = established;
        self.state.replace(State::Up(Box::new(Keys { seal, open })));
        self.peer.set(Some(peer));
        self.heard_ms.set(shard.now_ms());
        self.settled();
        shard.counters().channels.add(1);
        shard.counters().channels_opened.add(1);
        tracing::debug!(%peer, initiator = self.initiator, "secure channel up");
        self.changed.notify();
    }

    /// The handshake is over, one way or the other.
    fn settled(&self) {
        if let Some(count) = self.counted.take() {
            count.set(count.get().saturating_sub(1));
        }
    }

    fn receive_transport(&self, shard: &Shard, packet: Packet) -> Outcome {
        // The responder follows the initiator when its path changes (13, 10).
        let moved =
            (!self.initiator && !self.came_by_known_route(&packet)).then(|| packet.return_route());
        let depth = packet.depth + 1;
        let (mut buffer, range) = packet.into_payload();
        let opened = {
            let mut state = self.state.borrow_mut();
            let State::Up(keys) = &mut *state else {
                return Outcome::Refused(Refusal::ChannelDown);
            };
            match keys.open.open(&mut buffer[range.clone()]) {
                Ok(opened) => opened,
                Err(error) => return Outcome::Refused(refusal(&error)),
            }
        };
        self.heard_ms.set(shard.now_ms());
        self.unanswered.set(0);
        let start = range.start + opened.plaintext.start;
        let end = range.start + opened.plaintext.end;
        match inner::parse(&buffer[start..end]) {
            Ok(Inner::Payload { message }) => {
                if let Some(route) = moved
                    && opened.nonce > self.route_nonce.get()
                {
                    self.follow(&route);
                    self.route_nonce.set(opened.nonce);
                }
                buffer.truncate(start + message.end);
                let Ok(mut inside) = Packet::parse(buffer, start + message.start) else {
                    return Outcome::Refused(Refusal::ChannelContent);
                };
                inside.via = Some(self.encryptor);
                inside.producer = Some(self.producer);
                inside.identity = self.peer.get();
                inside.depth = depth;
                shard.dispatch(inside)
            }
            Ok(Inner::Close) => {
                self.end(shard, CloseReason::PeerClosed, false);
                Outcome::Done
            }
            // Credentials are not looked at yet; the channel goes on as it is.
            Ok(Inner::Refresh { .. }) => Outcome::Done,
            Err(_) => Outcome::Refused(Refusal::ChannelContent),
        }
    }

    /// Whether the message came the way this end sends: compares bytes, takes no memory.
    fn came_by_known_route(&self, packet: &Packet) -> bool {
        let route = self.route.borrow();
        let mut rest = route.elements();
        if let Some(via) = packet.via {
            match rest.strip_prefix(&via.encoded()[..]) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        let outer = packet.outer_return_route();
        rest.starts_with(outer.elements())
            && route.hops() == usize::from(packet.via.is_some()) + outer.hops() + 1
    }

    /// Sends by another way from now on: the new hops, then the peer's decryptor as before.
    fn follow(&self, hops: &Route) {
        let mut route = hops.clone();
        let mut current = self.route.borrow_mut();
        if let Some(last) = current.last() {
            route.push_back(last);
        }
        *current = route;
    }

    /// Takes a message for the encryptor address and sends it encrypted.
    pub(crate) fn send(&self, shard: &Shard, mut packet: Packet) -> Outcome {
        if !self.is_up() {
            return Outcome::Refused(Refusal::ChannelDown);
        }
        let (pool, counters) = (shard.pool(), shard.counters());
        if let Err(reason) = packet.advance(shard, culvert_proto::route::RouteView::EMPTY) {
            return Outcome::Refused(reason);
        }
        let depth = packet.depth + 1;
        if depth > MAX_DEPTH {
            return Outcome::Refused(Refusal::TooManyLayers);
        }
        let head = 8 + inner::PAYLOAD_PREFIX.len();
        let outer = header_len(&self.route.borrow(), &Route::new(), u32::MAX as usize) + frame::LEN;
        let (mut buffer, message) = packet.into_inner(outer + head, 17, pool, counters);
        buffer.extend_from_slice(&inner::PAYLOAD_SUFFIX);
        let start = message.start - head;
        buffer[start + 8..message.start].copy_from_slice(&inner::PAYLOAD_PREFIX);
        self.seal_and_send(shard, buffer, start, depth)
    }

    /// Seals the plaintext that lies 8 bytes behind `start` and ends with the buffer.
    fn seal_and_send(
        &self,
        shard: &Shard,
        mut buffer: bytes::BytesMut,
        start: usize,
        depth: u8,
    ) -> Outcome {
        buffer.resize(buffer.len() + OVERHEAD - 8, 0);
        let sealed = match &mut *self.state.borrow_mut() {
            State::Up(keys) => keys.seal.seal(&mut buffer[start..]).is_ok(),
            _ => false,
        };
        if !sealed {
            return Outcome::Refused(Refusal::ChannelDown);
        }
        let mut packet = Packet::wrap(
            buffer,
            start,
            &self.route.borrow(),
            &Route::new(),
            shard.pool(),
        );
        packet.depth = depth;
        shard.dispatch(packet)
    }

    /// Asks the peer for a sign of life, through the channel.
    pub fn ping(&self, shard: &Shard) {
        let mut route = Shard::route_to(self.encryptor);
        route.push_back(culvert_proto::address::AddressRef::local(ECHO));
        self.pinged_ms.set(shard.now_ms());
        self.unanswered.set(self.unanswered.get().saturating_add(1));
        let outcome = shard.send(&route, &Shard::route_to(shard.sink()), &PING);
        shard.settle(outcome, "ping");
    }

    /// Keeps deadlines: unfinished handshakes, silent peers.
    pub(crate) fn tick(&self, shard: &Shard) {
        let now = shard.now_ms();
        if !self.is_up() {
            let limit = shard.limits().handshake_timeout_ms;
            if !self.initiator && now.saturating_sub(self.started_ms) > limit {
                shard.refuse(Refusal::HandshakeTimeout, "secure channel");
                self.close(shard, CloseReason::PeerSilent);
            }
            return;
        }
        let quiet = now.saturating_sub(self.heard_ms.get());
        let (ask_after, dead_after) = match self.users.get() {
            0 => (10 * QUIET_MS, 6 * shard.limits().dead_after_ms),
            _ => (QUIET_MS, shard.limits().dead_after_ms),
        };
        if quiet > dead_after && self.unanswered.get() >= 3 {
            self.close(shard, CloseReason::PeerSilent);
        } else if quiet > ask_after && now.saturating_sub(self.pinged_ms.get()) > ask_after / 4 {
            self.ping(shard);
        }
    }

    /// Ends the channel and what depends on it; the peer is told if that is still possible.
    pub fn close(&self, shard: &Shard, reason: CloseReason) {
        self.end(shard, reason, reason != CloseReason::CarrierLost);
    }

    fn end(&self, shard: &Shard, reason: CloseReason, tell: bool) {
        if self.end.get().is_some() {
            return;
        }
        if self.is_up() {
            if tell {
                let head = crate::buffer::HEADROOM;
                let mut buffer = shard.pool().small(head + inner::CLOSE.len() + 64);
                buffer.truncate(head);
                buffer.extend_from_slice(&inner::CLOSE);
                let outcome = self.seal_and_send(shard, buffer, head - 8, 0);
                shard.settle(outcome, "close message");
            }
            shard.counters().channels.sub(1);
        } else {
            self.settled();
        }
        self.end.set(Some(reason));
        self.state.replace(State::Closed);
        shard.counters().close(reason);
        shard.remove(self.encryptor.key);
        shard.remove(self.decryptor.key);
        self.changed.notify();
    }
}

/// Session pings carry a CBOR number that comes back unchanged (`protocol/03-portals.md` 9).
const PING: [u8; 9] = [0x1b, 0x43, 0x75, 0x6c, 0x76, 0x65, 0x72, 0x74, 0x21];

fn refusal(error: &OpenError) -> Refusal {
    match error {
        OpenError::Replayed | OpenError::TooOld | OpenError::TooFarAhead => Refusal::ChannelReplay,
        OpenError::TooShort | OpenError::Forged => Refusal::ChannelForged,
    }
}

/// Takes anything and does nothing: answers to pings end here.
pub(crate) struct Sink;

impl Worker for Sink {
    fn handle(&self, _: &Shard, _: LocalAddress, _: Packet) -> Outcome {
        Outcome::Done
    }
}

/// Accepts secure channels: one responder per message it receives.
pub struct ChannelListener {
    credentials: Credentials,
    flow: culvert_proto::flow_control::FlowId,
    handshakes: Rc<Cell<usize>>,
}

/// Usual address of a secure channel listener.
pub const API: &[u8] = b"api";

impl ChannelListener {
    /// A listener that shows and demands these credentials. What is a consumer of `flow` can be
    /// reached through the channels it accepts.
    pub fn new(credentials: Credentials, flow: culvert_proto::flow_control::FlowId) -> Self {
        Self {
            credentials,
            flow,
            handshakes: Rc::default(),
        }
    }
}

impl Worker for ChannelListener {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        if self.handshakes.get() >= shard.limits().handshakes {
            return Outcome::Refused(Refusal::TooManyHandshakes);
        }
        let credentials = &self.credentials;
        let accepted = Responder::accept(
            &credentials.endpoint,
            credentials.trust.clone(),
            random::bytes(),
            packet.payload(),
        );
        let (machine, message) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "handshake message 1 refused");
                return Outcome::Refused(Refusal::HandshakeFailed);
            }
        };
        let route = packet.return_route();
        let Some(first) = route.first().and_then(key::minted).map(|a| a.key) else {
            return Outcome::Refused(Refusal::UnknownAddress);
        };
        let producer = Producer {
            id: shard.new_flow_id(),
            spawner: Some(self.flow),
        };
        let state = State::Responding(Box::new(machine));
        let counted = Some(Rc::clone(&self.handshakes));
        let channel =
            match Channel::insert(shard, credentials, producer, state, route.clone(), counted) {
                Ok(channel) => channel,
                Err(reason) => return Outcome::Refused(reason),
            };
        self.handshakes.set(self.handshakes.get() + 1);
        let me = channel.decryptor.key;
        self.permit(shard, first, me, &packet);
        if !shard.depend(first, me) && first.shard() == shard.number() {
            channel.close(shard, CloseReason::CarrierLost);
            return Outcome::Refused(Refusal::UnknownAddress);
        }
        shard.send(&route, &Shard::route_to(channel.decryptor), &message)
    }
}

impl ChannelListener {
    /// The peer must be able to reach the new channel the way it came, and by any other link
    /// that the same listener accepted (`protocol/02-routing.md` 6.3).
    fn permit(&self, shard: &Shard, first: Key, channel: Key, packet: &Packet) {
        shard.permit_answers(first, channel);
        if let Some(spawner) = packet.producer.and_then(|p| p.spawner) {
            shard.flow(|f| {
                let _ = f.add_consumer(spawner, channel);
            });
        }
    }
}
