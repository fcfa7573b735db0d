//! Two nodes behind NATs, a rendezvous and a relay, under a virtual clock.

use crate::nat::{Kind, Nat};
use crate::reference::Reference;
use crate::support::{RENDEZVOUS, socket};
use core::net::{IpAddr, SocketAddr};
use culvert_proto::message::Message;
use culvert_proto::puncture::{Output, Phase, Puncture, Received, Transmit};
use culvert_proto::rendezvous::{self, Service, asker};
use culvert_proto::route::Route;
use culvert_proto::udp::{self, Reassembler, RoutingNumber, Splitter, peer_address};
use std::collections::BTreeMap;

/// What a network does to datagrams.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    /// Of a hundred datagrams, so many are lost.
    pub(crate) lost: u32,
    /// Of a hundred, so many arrive twice.
    pub(crate) repeated: u32,
    /// Most milliseconds that one takes; at least 1. Later ones overtake earlier ones.
    pub(crate) slowest_ms: u32,
}

pub(crate) const CALM: Weather = Weather {
    lost: 0,
    repeated: 0,
    slowest_ms: 1,
};

/// Milliseconds through the relay, which loses nothing.
const RELAY_MS: u64 = 20;

/// One end of a puncture: ours, or one that behaves as the reference.
pub(crate) enum End {
    Ours(Box<Puncture>),
    Reference(Reference),
}

impl End {
    fn poll(&mut self, now_ms: u64) -> Option<Output> {
        match self {
            Self::Ours(puncture) => puncture.poll(now_ms),
            Self::Reference(reference) => reference.poll(now_ms),
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        match self {
            Self::Ours(puncture) => puncture.deadline_ms(),
            Self::Reference(reference) => reference.deadline_ms(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Ours(puncture) => puncture.phase() == Phase::Open,
            Self::Reference(reference) => reference.is_open(),
        }
    }

    pub(crate) fn wrap(&self, payload: &[u8]) -> Option<Transmit> {
        let (onward, back) = (
            crate::support::route("echoer"),
            crate::support::route("asker"),
        );
        match self {
            Self::Ours(puncture) => puncture.wrap(&onward, &back, payload).ok(),
            Self::Reference(reference) => reference.wrap(&onward, &back, payload),
        }
    }
}

/// A host with a socket.
pub(crate) struct Node {
    /// Missing on the side that was not asked yet.
    pub(crate) end: Option<End>,
    pub(crate) nat: Nat,
    inside: SocketAddr,
    splitter: Splitter,
    reassembler: Reassembler,
    /// Payloads that came through the path.
    pub(crate) delivered: Vec<Vec<u8>>,
    /// When it was first open, and where the path led, one place after the other.
    pub(crate) opened_ms: Option<u64>,
    pub(crate) paths: Vec<SocketAddr>,
    /// Datagrams sent.
    pub(crate) sent: usize,
}

enum Event {
    /// A datagram on the public network.
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// A payload through the relay.
    Relayed { node: usize, payload: Vec<u8> },
}

/// Makes the responder's end out of an Initiate.
pub(crate) type Accept = Box<dyn Fn(&[u8], u64) -> Option<End>>;

pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) nodes: [Node; 2],
    pub(crate) weather: Weather,
    pub(crate) rendezvous_is_up: bool,
    pub(crate) relay_is_up: bool,
    service: Service,
    service_splitter: Splitter,
    service_reassembler: Reassembler,
    accept: Accept,
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    random: u32,
}

impl World {
    /// The initiator, the responder-to-be and their NATs.
    pub(crate) fn new(initiator: End, accept: Accept, kinds: [Kind; 2], seed: u32) -> Self {
        let node = |host: u8, kind, end| {
            let public = IpAddr::from([198, 51, 100, host]);
            let inside = match kind {
                Kind::None => SocketAddr::new(public, 4_000),
                _ => SocketAddr::from(([10, 0, host, 2], 4_000)),
            };
            Node {
                end,
                nat: Nat::new(kind, public),
                inside,
                splitter: Splitter::new(RoutingNumber(65_000 + u16::from(host))),
                reassembler: Reassembler::new(udp::Config::default()),
                delivered: Vec::new(),
                opened_ms: None,
                paths: Vec::new(),
                sent: 0,
            }
        };
        Self {
            now_ms: 0,
            nodes: [node(1, kinds[0], Some(initiator)), node(2, kinds[1], None)],
            weather: CALM,
            rendezvous_is_up: true,
            relay_is_up: true,
            service: Service::new(rendezvous::Config::default()),
            service_splitter: Splitter::new(RoutingNumber(0)),
            service_reassembler: Reassembler::new(udp::Config::default()),
            accept,
            events: BTreeMap::new(),
            serial: 0,
            random: seed.wrapping_mul(2_654_435_761) | 1,
        }
    }

    fn random(&mut self, below: u32) -> u32 {
        // Numerical Recipes' generator: the same every time is the point.
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        (self.random >> 8) % below.max(1)
    }

    fn schedule(&mut self, after_ms: u64, event: Event) {
        self.serial += 1;
        self.events
            .insert((self.now_ms + after_ms, self.serial), event);
    }

    /// Puts a datagram on the public network.
    fn cast(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let copies = match self.random(100) < self.weather.repeated {
            true => 2,
            false => 1,
        };
        for _ in 0..copies {
            if self.random(100) < self.weather.lost {
                continue;
            }
            let after_ms = 1 + u64::from(self.random(self.weather.slowest_ms));
            let bytes = bytes.to_vec();
            self.schedule(after_ms, Event::Datagram { from, to, bytes });
        }
    }

    /// Sends a message from a node's socket.
    pub(crate) fn send(&mut self, node: usize, transmit: &Transmit) {
        let now_ms = self.now_ms;
        let Node {
            splitter,
            nat,
            inside,
            sent,
            ..
        } = &mut self.nodes[node];
        let mut datagrams = Vec::new();
        for datagram in splitter.split(&transmit.message).unwrap() {
            let mut bytes = Vec::new();
            datagram.encode_into(&mut bytes);
            datagrams.push(bytes);
        }
        *sent += datagrams.len();
        let from = nat.outbound(now_ms, *inside, transmit.to);
        for bytes in datagrams {
            self.cast(from, transmit.to, &bytes);
        }
    }

    /// Lets time pass until `until_ms`.
    pub(crate) fn run(&mut self, until_ms: u64) {
        loop {
            for node in 0..2 {
                self.poll(node);
            }
            let event = self.events.keys().next().map(|(at_ms, _)| *at_ms);
            let deadlines = self
                .nodes
                .iter()
                .filter_map(|n| n.end.as_ref()?.deadline_ms());
            let next_ms = deadlines.chain(event).min().unwrap_or(u64::MAX);
            if next_ms > until_ms {
                self.now_ms = until_ms;
                return;
            }
            self.now_ms = self.now_ms.max(next_ms);
            let due = self
                .events
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now_ms);
            match due.map(|entry| entry.remove()) {
                Some(Event::Datagram { from, to, bytes }) => self.arrive(from, to, &bytes),
                Some(Event::Relayed { node, payload }) => self.relayed(node, &payload),
                None => {}
            }
        }
    }

    fn poll(&mut self, node: usize) {
        let now_ms = self.now_ms;
        let mut rounds = 0;
        while let Some(output) = self.nodes[node]
            .end
            .as_mut()
            .and_then(|end| end.poll(now_ms))
        {
            rounds += 1;
            assert!(rounds < 10, "it never stops talking");
            match output {
                Output::Datagrams(transmit) => self.send(node, &transmit),
                Output::Negotiate(payload) if self.relay_is_up => {
                    let node = 1 - node;
                    self.schedule(RELAY_MS, Event::Relayed { node, payload });
                }
                Output::Negotiate(_) => {}
            }
        }
        let node = &mut self.nodes[node];
        if node.opened_ms.is_none() && node.end.as_ref().is_some_and(End::is_open) {
            node.opened_ms = Some(now_ms);
        }
        if let Some(End::Ours(puncture)) = &node.end
            && let Some(path) = puncture.path()
            && node.paths.last() != Some(&path)
        {
            node.paths.push(path);
        }
    }

    fn relayed(&mut self, node: usize, payload: &[u8]) {
        let now_ms = self.now_ms;
        match &mut self.nodes[node].end {
            None => self.nodes[node].end = (self.accept)(payload, now_ms),
            Some(End::Ours(puncture)) => puncture.on_acknowledge(now_ms, payload).unwrap(),
            Some(End::Reference(reference)) => reference.on_acknowledge(now_ms, payload),
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if to == socket(RENDEZVOUS) {
            return self.serve(from, bytes);
        }
        let now_ms = self.now_ms;
        for index in 0..2 {
            let node = &mut self.nodes[index];
            if node.nat.inbound(now_ms, from, to) != Some(node.inside) {
                continue;
            }
            if let Ok(udp::Received::Message(message)) =
                node.reassembler.receive(now_ms, from, bytes)
            {
                let message = message.into_owned();
                self.hear(index, from, &message);
            }
            return;
        }
    }

    fn hear(&mut self, index: usize, from: SocketAddr, message: &[u8]) {
        let now_ms = self.now_ms;
        let node = &mut self.nodes[index];
        let answer = match &mut node.end {
            None => return,
            Some(End::Reference(reference)) => {
                let (answer, payload) = reference.on_message(now_ms, from, message);
                node.delivered.extend(payload);
                answer
            }
            Some(End::Ours(puncture)) => match puncture.on_message(now_ms, from, message) {
                Ok(Received::Answer(transmit)) => Some(transmit),
                Ok(Received::Payload(payload)) => {
                    node.delivered.push(payload.data.to_vec());
                    None
                }
                Ok(_) | Err(_) => None,
            },
        };
        if let Some(answer) = answer {
            self.send(index, &answer);
        }
    }

    /// The rendezvous answers.
    fn serve(&mut self, from: SocketAddr, bytes: &[u8]) {
        if !self.rendezvous_is_up {
            return;
        }
        let received = self.service_reassembler.receive(self.now_ms, from, bytes);
        let Ok(udp::Received::Message(message)) = received else {
            return;
        };
        let message = Message::decode(&message).unwrap();
        let mut back = message.return_route.clone();
        back.push_front(peer_address(from).as_ref());
        let response = self
            .service
            .on_request(self.now_ms, asker(back.view()), &message.payload)
            .unwrap();
        let answer = Message {
            onward: message.return_route,
            return_route: "rendezvous".parse::<Route>().unwrap(),
            payload: response.encode(),
            tracing: None,
        };
        let mut bytes = Vec::new();
        for datagram in self.service_splitter.split(&answer.encode()).unwrap() {
            datagram.encode_into(&mut bytes);
        }
        self.cast(socket(RENDEZVOUS), from, &bytes);
    }
}
