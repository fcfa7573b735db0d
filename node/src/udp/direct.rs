//! One end of a direct path to another node (`protocol/01-transport.md` 5.2 and 5.3).

mod tasks;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use bytes::BytesMut;
use culvert_crypto::Identifier;
use culvert_proto::puncture::{
    Failure, Output, Payload, Phase, Puncture, PunctureError, Received, Transmit,
};
use culvert_proto::route::Route;
use culvert_proto::steady::{Steady, SteadyError};
use culvert_proto::udp;

use super::socket::Socket;
use crate::buffer::{HEADROOM, TAILROOM};
use crate::key::{self, LocalAddress};
use crate::notify::{Gate, Notify};
use crate::packet::Packet;
use crate::reason::Refusal;
use crate::shard::Shard;
use crate::table::Entry;
use crate::worker::{Outcome, Worker};
use tasks::{keep_time, receive, setup};

/// Messages that wait for the path to open: the other end may know sooner that it has.
const HELD: usize = 64;
/// Longest datagram to a Culvert node, in bytes: a segment with what is around it.
const DATAGRAM: usize = 1_200;
/// Above this many bytes that wait to be sent their sources are told to wait.
const HIGH_WATER: usize = 256 << 10;
/// At most this part of the memory of a shard may wait on one path.
const SHARE: usize = 4;
/// Memory for incomplete messages of the peer, in bytes.
const PARTS: usize = 4 << 20;

/// Why there is no direct path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectError {
    /// No socket could be bound, or no address is left.
    #[error("cannot bind a UDP socket: {0}")]
    Bind(io::Error),
    /// The peer's proposal, or the rendezvous' address, is no good.
    #[error(transparent)]
    Puncture(#[from] PunctureError),
    /// It was not opened, or fell silent.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// How the two ends talk before the path is open.
pub(super) struct Negotiation {
    /// Where the Initiate or the Acknowledge goes.
    pub(super) onward: Route,
    /// Where the answer is to go.
    pub(super) back: Route,
}

/// One end of a direct path: a worker that carries what is sent to it to the other end, on a
/// socket of its own.
///
/// What comes along the path reaches the secure channels of this node with the same peer, and
/// nothing else: datagrams can be forged, ciphertexts cannot.
pub(crate) struct Direct {
    address: Cell<Option<LocalAddress>>,
    socket: Rc<Socket>,
    machine: RefCell<Puncture>,
    peer: Identifier,
    negotiation: RefCell<Option<Negotiation>>,
    held: RefCell<VecDeque<Packet>>,
    /// Repairs what is lost on the way to and from a Culvert node.
    steady: RefCell<Steady>,
    /// Whether the peer is one: its addresses show it.
    is_culvert: Cell<bool>,
    /// Where those wait who have sent more than the path takes at present.
    gate: Rc<Gate>,
    was_open: Cell<bool>,
    removed: Cell<bool>,
    changed: Notify,
    /// When the task that keeps the deadlines wakes, in shard milliseconds.
    wake_at: Cell<u64>,
    sooner: Notify,
    /// What counts it, at whoever limits how many there are.
    _place: Option<Rc<()>>,
}

impl Direct {
    /// The side that proposes; [`Self::negotiate_by`] has to follow at once.
    pub(crate) fn initiate(
        shard: &Shard,
        rendezvous: SocketAddr,
        peer: Identifier,
    ) -> Result<Rc<Self>, DirectError> {
        let machine = Puncture::initiator(setup(shard, rendezvous), shard.now_ms())?;
        Self::start(shard, machine, rendezvous, peer, None)
    }

    /// The side that got a proposal. `place` is dropped when the path has ended.
    pub(super) fn respond(
        shard: &Shard,
        rendezvous: SocketAddr,
        peer: Identifier,
        proposal: (&[u8], Negotiation),
        place: Rc<()>,
    ) -> Result<Rc<Self>, DirectError> {
        let (initiate, negotiation) = proposal;
        let machine = Puncture::responder(setup(shard, rendezvous), initiate, shard.now_ms())?;
        let direct = Self::start(shard, machine, rendezvous, peer, Some(place))?;
        direct.negotiate_by(negotiation);
        Ok(direct)
    }

    fn start(
        shard: &Shard,
        machine: Puncture,
        rendezvous: SocketAddr,
        peer: Identifier,
        place: Option<Rc<()>>,
    ) -> Result<Rc<Self>, DirectError> {
        let any = match udp::canonical(rendezvous).ip() {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let limits = udp::Config {
            peers: 16,
            peer_bytes: PARTS,
            bytes: PARTS,
            ..udp::Config::default()
        };
        let socket =
            Socket::bind(shard, SocketAddr::new(any, 0), limits).map_err(DirectError::Bind)?;
        let direct = Rc::new(Self {
            address: Cell::new(None),
            socket: Rc::clone(&socket),
            machine: RefCell::new(machine),
            peer,
            negotiation: RefCell::new(None),
            held: RefCell::default(),
            steady: RefCell::default(),
            is_culvert: Cell::new(false),
            gate: Rc::default(),
            was_open: Cell::new(false),
            removed: Cell::new(false),
            changed: Notify::default(),
            wake_at: Cell::new(u64::MAX),
            sooner: Notify::default(),
            _place: place,
        });
        let worker: Rc<dyn Worker> = Rc::<Self>::clone(&direct);
        let address = shard.add_worker(worker).map_err(|reason| {
            socket.close();
            DirectError::Bind(io::Error::other(reason.name()))
        })?;
        direct.address.set(Some(address));
        monoio::spawn(receive(shard.clone(), Rc::clone(&direct)));
        monoio::spawn(keep_time(shard.clone(), Rc::clone(&direct), address.key));
        Ok(direct)
    }

    /// Says how to reach the peer before the path is open.
    pub(super) fn negotiate_by(&self, negotiation: Negotiation) {
        self.negotiation.replace(Some(negotiation));
        self.changed.notify();
    }

    /// The hop that leads along the path.
    pub(crate) fn address(&self) -> Option<LocalAddress> {
        self.address.get().filter(|_| !self.removed.get())
    }

    /// Where the path leads, once it is open.
    pub(crate) fn leads_to(&self) -> Option<SocketAddr> {
        self.machine.borrow().path()
    }

    /// Ends it, and the channels that use it.
    pub(crate) fn close(&self, shard: &Shard) {
        if let Some(address) = self.address() {
            shard.remove(address.key);
        }
    }

    /// Waits until the path is open, and says where it leads.
    pub(crate) async fn wait_open(&self) -> Result<SocketAddr, Failure> {
        let ended = async { self.ended().await };
        let open = self.changed.until(|| self.leads_to());
        monoio::select! {
            failure = ended => Err(failure),
            to = open => Ok(to),
        }
    }

    /// Waits until the path has ended.
    pub(crate) async fn ended(&self) -> Failure {
        self.changed
            .until(|| match self.machine.borrow().phase() {
                Phase::Failed(failure) => Some(failure),
                _ => self.removed.get().then_some(Failure::Silent),
            })
            .await
    }

    /// Takes the payload of the peer's answer.
    pub(super) fn on_acknowledge(&self, shard: &Shard, payload: &[u8]) -> Outcome {
        let taken = self
            .machine
            .borrow_mut()
            .on_acknowledge(shard.now_ms(), payload);
        self.poll(shard);
        match taken {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::Refused(Refusal::Puncture),
        }
    }

    /// Does what the machine wants done now.
    fn poll(&self, shard: &Shard) {
        let now = shard.now_ms();
        loop {
            let output = self.machine.borrow_mut().poll(now);
            match output {
                Some(Output::Datagrams(transmit)) => self.transmit(shard, transmit),
                Some(Output::Negotiate(payload)) => {
                    if let Some(by) = &*self.negotiation.borrow() {
                        let outcome = shard.send(&by.onward, &by.back, &payload);
                        shard.settle(outcome, "negotiation of a direct path");
                    }
                }
                None => break,
            }
        }
        let path = self.machine.borrow().path();
        if path.is_some() {
            self.socket.favour(path);
            if !self.was_open.replace(true) {
                let machine = self.machine.borrow();
                if machine
                    .peer_worker()
                    .and_then(LocalAddress::parse)
                    .is_some()
                {
                    self.is_culvert.set(true);
                    self.socket.take_any_number(DATAGRAM);
                }
                shard.counters().direct_paths.add(1);
                shard.counters().direct_opened.add(1);
            }
            loop {
                let Some(packet) = self.held.borrow_mut().pop_front() else {
                    break;
                };
                let outcome = self.carry(shard, packet);
                shard.settle(outcome, "message that waited for a direct path");
            }
        }
        self.changed.notify();
        self.keep_deadline();
    }

    /// When something has to be done next, in shard milliseconds; `None` once it has ended.
    fn deadline_ms(&self) -> Option<u64> {
        if self.removed.get() {
            return None;
        }
        let deadline = self.machine.borrow().deadline_ms()?;
        let resend = self.steady.borrow().deadline_ms();
        Some(resend.map_or(deadline, |resend| resend.min(deadline)))
    }

    fn wakes_sooner(&self) -> bool {
        self.deadline_ms().is_none_or(|at| at < self.wake_at.get())
    }

    /// To be called after whatever may have brought a deadline closer.
    fn keep_deadline(&self) {
        if self.wakes_sooner() {
            self.sooner.notify();
        }
    }

    fn transmit(&self, shard: &Shard, transmit: Transmit) {
        let outcome = self.socket.send(transmit.to, transmit.message);
        shard.settle(outcome, "message of a puncture");
    }

    /// Sends a message along the open path.
    fn carry(&self, shard: &Shard, packet: Packet) -> Outcome {
        if self.is_culvert.get() {
            return self.carry_steadily(shard, packet);
        }
        let onward = packet.onward().without_first().to_owned();
        let wrapped = self
            .machine
            .borrow()
            .wrap(&onward, &packet.return_route(), packet.payload());
        match wrapped {
            Ok(transmit) => self.socket.send(transmit.to, transmit.message),
            Err(PunctureError::TooLong(_)) => Outcome::Refused(Refusal::MessageTooLong),
            Err(_) => Outcome::Refused(Refusal::PathNotOpen),
        }
    }

    fn carry_steadily(&self, shard: &Shard, packet: Packet) -> Outcome {
        // Those who were told to wait do, but there may be many of them.
        let most = shard.limits().memory / usize::from(shard.shards()).max(1) / SHARE;
        if self.steady.borrow().waiting() > most {
            return Outcome::Refused(Refusal::UdpFull);
        }
        let message = match packet.into_message(1, shard.pool()) {
            Ok(message) => message,
            Err(reason) => return Outcome::Refused(reason),
        };
        if self.steady.borrow_mut().push(message).is_err() {
            return Outcome::Refused(Refusal::MessageTooLong);
        }
        self.send_segments(shard);
        if self.steady.borrow().waiting() <= HIGH_WATER {
            return Outcome::Done;
        }
        self.gate.shut();
        Outcome::Wait(Rc::clone(&self.gate))
    }

    /// Sends what may be sent now of what waits.
    fn send_segments(&self, shard: &Shard) {
        let before = self.steady.borrow().sent_again();
        loop {
            let segment = self.steady.borrow_mut().poll(shard.now_ms());
            let Some(segment) = segment else { break };
            // What cannot be sent counts as lost, and is sent again.
            if let Ok(transmit) = self.machine.borrow().wrap_segment(&segment) {
                self.transmit(shard, transmit);
            }
        }
        let steady = self.steady.borrow();
        let again = steady.sent_again() - before;
        shard.counters().segments_again.add(again);
        if steady.waiting() < HIGH_WATER / 4 {
            self.gate.open();
        }
        drop(steady);
        self.keep_deadline();
    }

    fn on_segment(&self, shard: &Shard, segment: &[u8]) -> Outcome {
        let taken = self.steady.borrow_mut().on_segment(shard.now_ms(), segment);
        match taken {
            Ok(()) => {}
            Err(SteadyError::TooLong) => {
                self.close(shard);
                return Outcome::Refused(Refusal::MessageTooLong);
            }
            Err(_) => return Outcome::Refused(Refusal::Puncture),
        }
        let mut full = Outcome::Done;
        loop {
            let message = self.steady.borrow_mut().next_message();
            let Some(message) = message else { break };
            match self.deliver_whole(shard, &message) {
                Outcome::Done => {}
                Outcome::Wait(gate) => full = Outcome::Wait(gate),
                other => drop(shard.settle(other, "message along a direct path")),
            }
        }
        self.send_segments(shard);
        full
    }

    fn deliver_whole(&self, shard: &Shard, message: &[u8]) -> Outcome {
        let mut buffer = BytesMut::with_capacity(HEADROOM + message.len() + TAILROOM);
        buffer.resize(HEADROOM, 0);
        buffer.extend_from_slice(message);
        match Packet::parse(buffer, HEADROOM) {
            Ok(packet) => self.deliver(shard, packet),
            Err(_) => Outcome::Refused(Refusal::UdpMessage),
        }
    }

    /// Takes a message that came over the socket.
    fn take(&self, shard: &Shard, from: SocketAddr, message: &[u8]) -> Outcome {
        let received = self
            .machine
            .borrow_mut()
            .on_message(shard.now_ms(), from, message);
        let outcome = match received {
            Ok(Received::Nothing) => Outcome::Done,
            Ok(Received::Answer(transmit)) => self.socket.send(transmit.to, transmit.message),
            Ok(Received::Payload(payload)) => self.deliver_payload(shard, payload),
            Ok(Received::Segment(segment)) => self.on_segment(shard, segment),
            Err(_) => Outcome::Refused(Refusal::Puncture),
        };
        self.poll(shard);
        outcome
    }

    fn deliver_payload(&self, shard: &Shard, payload: Payload<'_>) -> Outcome {
        let mut data = Vec::with_capacity(HEADROOM + payload.data.len() + TAILROOM);
        data.resize(HEADROOM, 0);
        payload.data.append_to(&mut data);
        let buffer = BytesMut::from(bytes::Bytes::from(data));
        let (onward, back) = (payload.onward.to_owned(), payload.return_route.to_owned());
        match Packet::wrap(buffer, HEADROOM, &onward, &back) {
            Ok(packet) => self.deliver(shard, packet),
            Err(reason) => Outcome::Refused(reason),
        }
    }

    /// Hands a message of the peer to the channel with it.
    fn deliver(&self, shard: &Shard, mut packet: Packet) -> Outcome {
        let to = packet.onward().first().and_then(key::minted);
        let is_channel = to.is_some_and(|to| {
            matches!(shard.table().get(to), Some(Entry::Decryptor(channel))
                if channel.peer() == Some(self.peer))
        });
        if !is_channel {
            return Outcome::Refused(Refusal::NotPermitted);
        }
        packet.via = self.address();
        shard.dispatch(packet)
    }
}

impl Worker for Direct {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() < 2 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        let phase = self.machine.borrow().phase();
        match phase {
            Phase::Open => self.carry(shard, packet),
            Phase::Probing if self.held.borrow().len() < HELD => {
                self.held.borrow_mut().push_back(packet);
                Outcome::Done
            }
            _ => Outcome::Refused(Refusal::PathNotOpen),
        }
    }

    fn is_behind(&self) -> bool {
        !self.steady.borrow().is_idle()
    }

    fn tick(&self, shard: &Shard, _me: LocalAddress) {
        self.socket.expire(shard);
    }

    fn removed(&self, shard: &Shard, _me: LocalAddress) {
        self.removed.set(true);
        if self.was_open.get() {
            shard.counters().direct_paths.sub(1);
        }
        self.held.borrow_mut().clear();
        self.gate.open();
        self.socket.close();
        self.changed.notify();
        self.sooner.notify();
    }
}
