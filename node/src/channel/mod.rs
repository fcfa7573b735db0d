//! Secure channels inside the node: one end each (`protocol/13-secure-channel.md`).
//!
//! A channel has two addresses. Ciphertexts of the peer come to the *decryptor* address; what is
//! sent to the *encryptor* address leaves encrypted. Both are on the shard of the link that
//! carries the channel, which it never leaves.

mod attested;
mod listener;
mod messages;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use culvert_crypto::Identifier;
use culvert_crypto::channel::{HandshakeError, Initiator, Opener, Responder, Sealer};
use culvert_crypto::credential::VerifiedCredential;
use culvert_crypto::identity::Histories;
use culvert_crypto::trust::Trust;
use culvert_proto::route::Route;
use culvert_proto::secure_channel::inner;

pub use listener::{API, ChannelListener, KEY_EXCHANGER};
use messages::Around;

use crate::identity::OwnIdentity;
use crate::key::{self, LocalAddress};
use crate::link::Link;
use crate::notify::Notify;
use crate::packet::{Packet, Producer};
use crate::policy::{Basis, Guard};
use crate::random;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::table::Entry;
use crate::worker::{ECHO, Outcome, Worker};

/// A peer that is quiet for this long is asked whether it is there.
const QUIET_MS: u64 = 1_000;
/// An Ockam peer answers nothing while one of its streams is stuck, and its own sessions wait this
/// long before they give a peer up (`protocol/03-portals.md` 9).
const OCKAM_DEAD_MS: u64 = 35_000;
/// A peer that has left so many questions unanswered, and never answered one, has no `echo`.
const ENOUGH_QUESTIONS: u32 = 4;

/// What this node shows and demands in handshakes.
#[derive(Clone)]
pub struct Credentials {
    /// Own identity, static key and credentials.
    pub own: OwnIdentity,
    /// Who may be at the other end.
    pub trust: Trust,
    /// Change histories seen so far; those of the authorities among them.
    pub histories: Rc<RefCell<dyn Histories>>,
    /// Whose statements about peers are believed; none by default.
    pub authorities: Rc<[Identifier]>,
}

impl Credentials {
    /// Shows `own`, to those whom `trust` allows; believes no authority.
    pub fn new(
        own: impl Into<OwnIdentity>,
        trust: Trust,
        histories: impl Histories + 'static,
    ) -> Self {
        Self {
            own: own.into(),
            trust,
            histories: Rc::new(RefCell::new(histories)),
            authorities: Rc::default(),
        }
    }
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
    /// Nonce of the message that comes next.
    next_nonce: Cell<u64>,
    /// Nonce of the message the route was last learnt from (responder).
    route_nonce: Cell<u64>,
    started_ms: u64,
    heard_ms: Cell<u64>,
    pinged_ms: Cell<u64>,
    unanswered: Cell<u32>,
    /// When the first of these was asked.
    asked_ms: Cell<u64>,
    /// Until when this node did not read what the peer said.
    deaf_ms: Cell<u64>,
    /// Whether the peer has ever answered a question.
    answers: Cell<bool>,
    /// Whether the peer is Culvert: its addresses show it.
    culvert: Cell<bool>,
    /// Whether another channel took over: this one ends with its streams.
    retired: Cell<bool>,
    /// Whether all that the peer wants is the handshake.
    keys_only: Cell<bool>,
    users: Cell<u32>,
    /// What authorities say about the peer, one credential of each.
    attested: RefCell<Vec<VerifiedCredential>>,
    attested_version: Cell<u64>,
    /// The version of [`OwnIdentity`] that the peer knows.
    shown: Cell<u64>,
    /// What decides whether the peer may have it, and what that was based on.
    guard: OnceCell<Guard>,
    basis: Cell<Basis>,
    /// The accepted link whose peer is known by this channel.
    vouched: RefCell<Option<Rc<Link>>>,
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
            &credentials.own.endpoint(),
            credentials.trust.clone(),
            random::bytes(),
        );
        let producer = Producer {
            id: shard.new_flow_id(),
            spawner: Some(shard.opened_channels_flow()),
        };
        let state = State::Initiating(Box::new(machine));
        let channel = Self::insert(shard, credentials, producer, state, route.clone())
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
                next_nonce: Cell::new(0),
                route_nonce: Cell::new(0),
                started_ms: now,
                heard_ms: Cell::new(now),
                pinged_ms: Cell::new(now),
                unanswered: Cell::new(0),
                asked_ms: Cell::new(now),
                deaf_ms: Cell::new(0),
                answers: Cell::new(false),
                culvert: Cell::new(false),
                retired: Cell::new(false),
                keys_only: Cell::new(false),
                users: Cell::new(0),
                attested: RefCell::default(),
                attested_version: Cell::new(0),
                shown: Cell::new(credentials.own.generation()),
                guard: OnceCell::new(),
                basis: Cell::default(),
                vouched: RefCell::default(),
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

    /// When it began, in milliseconds of the node.
    pub(crate) fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Whether the peer began it.
    pub fn is_accepted(&self) -> bool {
        !self.initiator
    }

    /// Whether the handshake is still under way.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.peer.get().is_none() && self.end.get().is_none()
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

    /// Milliseconds since a message of the peer last verified, or could have been read.
    pub fn quiet_ms(&self, shard: &Shard) -> u64 {
        let last = self.heard_ms.get().max(self.deaf_ms.get());
        shard.now_ms().saturating_sub(last)
    }

    /// Whether silence for a second shows that the peer is gone.
    pub(crate) fn is_prompt(&self) -> bool {
        self.culvert.get()
    }

    /// Whether the peer is known to answer questions, so that it means something when it does not.
    pub(crate) fn is_answering(&self) -> bool {
        self.answers.get() || self.culvert.get()
    }

    /// Has the channel end when the last stream that uses it has.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
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

    /// Asks the peer for a sign of life, through the channel.
    pub fn ping(&self, shard: &Shard) {
        let mut route = Shard::route_to(self.encryptor);
        route.push_back(culvert_proto::address::AddressRef::local(ECHO));
        let now = shard.now_ms();
        self.pinged_ms.set(now);
        if self.unanswered.get() == 0 {
            self.asked_ms.set(now);
        }
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
        if self.retired.get() && !self.used() {
            self.close(shard, CloseReason::Replaced);
            return;
        }
        self.expire(shard.now_s());
        self.show_again(shard);
        if !self.is_admitted(shard) {
            return self.close(shard, CloseReason::Denied);
        }
        let carrier = shard.carrier(self.encryptor.key);
        // What waits to be sent or read may be the question or its answer: a slow line is not a
        // silent peer, and a line that takes nothing at all ends by itself.
        let is_behind = match carrier {
            Some(link) => link.is_unread() || link.is_behind(),
            None => shard.is_behind(self.next_hop()),
        };
        if is_behind {
            self.deaf_ms.set(now);
            self.unanswered.set(0);
            return;
        }
        let quiet = self.quiet_ms(shard);
        let limit = shard.limits().dead_after_ms;
        let (ask_after, pause, dead_after) = match (self.is_prompt(), self.used()) {
            (true, true) => (QUIET_MS, QUIET_MS / 4, limit),
            (true, false) => (10 * QUIET_MS, 2 * QUIET_MS, 6 * limit),
            (false, true) => (QUIET_MS, QUIET_MS, OCKAM_DEAD_MS),
            (false, false) => (10 * QUIET_MS, 10 * QUIET_MS, OCKAM_DEAD_MS),
        };
        let asked = self.unanswered.get();
        // Counted from the first question, which comes after a time of quiet: an idle peer is not dead.
        let silent = now.saturating_sub(self.asked_ms.get()) + QUIET_MS > dead_after;
        if silent && asked >= 3 && self.is_answering() {
            self.close(shard, CloseReason::PeerSilent);
        } else if quiet > ask_after
            && now.saturating_sub(self.pinged_ms.get()) > pause
            && (self.is_answering() || asked < ENOUGH_QUESTIONS)
        {
            self.ping(shard);
        }
    }

    /// Sends an inner message that is no payload.
    pub(super) fn tell(&self, shard: &Shard, message: &[u8], what: &'static str) {
        let head = crate::buffer::HEADROOM;
        let mut buffer = shard.pool().small(head + message.len() + 64);
        buffer.truncate(head);
        buffer.extend_from_slice(message);
        let outcome = self.seal_and_send(shard, buffer, head - 8, Around::default());
        shard.settle(outcome, what);
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
                self.tell(shard, &inner::CLOSE, "close message");
            }
            self.stop_vouching(shard);
            shard.counters().channels.sub(1);
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

/// Takes anything: answers to pings end here.
pub(crate) struct Sink;

impl Worker for Sink {
    fn handle(&self, shard: &Shard, _: LocalAddress, packet: Packet) -> Outcome {
        if let Some(via) = packet.via
            && let Some((_, Entry::Encryptor(channel))) = shard.table().by_key(via.key)
        {
            channel.answers.set(true);
        }
        Outcome::Done
    }
}
