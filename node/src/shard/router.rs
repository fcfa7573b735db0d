//! How messages find their way inside a shard (`protocol/02-routing.md` 4).

use std::rc::Rc;

use culvert_proto::address::LOCAL;
use culvert_proto::route::{Route, RouteView};

use super::Shard;
use crate::key::{self, Key, LocalAddress};
use crate::link::Link;
use crate::packet::Packet;
use crate::reason::Refusal;
use crate::table::{Entry, Table};
use crate::worker::Outcome;

/// The key behind a name, for a message that came in by `via`. A link that is new may still go to
/// any shard, so it is given the least used target wherever that is; every link keeps to the target
/// it was given, so that its messages stay in order.
fn named(table: &Table, name: &[u8], via: Option<LocalAddress>) -> Option<Key> {
    let targets = table.targets(name)?;
    if let Some(via) = via
        && let Some((_, Entry::Link(link))) = table.by_key(via.key)
    {
        let kept = link.kept(|key| targets.include(key));
        if kept.is_some() {
            return kept;
        }
        if let Some(place) = targets.place(link.movable()) {
            let key = place.key;
            link.keep_to(place);
            return Some(key);
        }
    }
    targets.of_source(via.map(|via| via.key))
}

impl Shard {
    /// Delivers a message to its first onward hop (`protocol/02-routing.md` 4).
    pub fn dispatch(&self, packet: Packet) -> Outcome {
        let (entry, address) = {
            let Some(first) = packet.onward().first() else {
                return Outcome::Refused(Refusal::UnknownAddress);
            };
            if first.transport != LOCAL {
                return Outcome::Refused(Refusal::NotLocal);
            }
            let table = self.0.table.borrow();
            let key = match key::minted(first) {
                Some(address) if address.key.shard() == self.0.number => match table.get(address) {
                    Some(_) => Some(address.key),
                    None => named(&table, first.value, packet.via),
                },
                // A name may look like an address of another shard.
                Some(address) if address.key.shard() < self.shards() => {
                    named(&table, first.value, packet.via).or(Some(address.key))
                }
                _ => named(&table, first.value, packet.via),
            };
            let Some(key) = key else {
                return Outcome::Refused(Refusal::UnknownAddress);
            };
            if let Some(producer) = packet.producer
                && !self.may_reach(producer, key)
            {
                return Outcome::Refused(Refusal::NotPermitted);
            }
            if key.shard() != self.0.number {
                drop(table);
                return self.to_other_shard(key, packet);
            }
            match table.by_key(key) {
                Some((address, entry)) => (entry.clone(), address),
                None => return Outcome::Refused(Refusal::UnknownAddress),
            }
        };
        self.deliver(&entry, address, packet)
    }

    fn deliver(&self, entry: &Entry, address: LocalAddress, packet: Packet) -> Outcome {
        match entry {
            Entry::Link(link) => {
                if let Some(source) = self.expose(packet.via) {
                    source.remember(self, &packet, link, RouteView::EMPTY);
                }
                link.transmit(self, packet, RouteView::EMPTY)
            }
            Entry::Decryptor(channel) => channel.receive(self, packet),
            Entry::Encryptor(channel) => channel.send(self, packet),
            Entry::Stream(stream) => stream.receive(self, packet),
            Entry::Worker(worker) => {
                if let Some(via) = packet.via
                    && let Some(to) = worker.place(self, &packet)
                    && to != self.0.number
                    && self.link(via.key).is_some_and(|link| link.movable())
                {
                    return Outcome::Move(Box::new((to, packet)));
                }
                self.expose(packet.via);
                worker.handle(self, address, packet)
            }
        }
    }

    /// Sends a message on with its first onward hop replaced by `way`, on behalf of a worker that
    /// may send there. Nothing of the message is moved when the way leads over a link.
    pub fn forward(&self, mut packet: Packet, way: &Route) -> Outcome {
        if let Some(link) = self.first_key(way).and_then(|key| self.link(key)) {
            self.expose(packet.via);
            return link.transmit(self, packet, way.view().without_first());
        }
        match packet.advance(self, way.view()) {
            Ok(()) => self.dispatch(packet),
            Err(reason) => Outcome::Refused(reason),
        }
    }

    /// The same for a worker that would do this with every message from the same link: further ones are
    /// sent on without it, for as long as no address, name or permission of the shard changes.
    pub fn forward_all(&self, packet: Packet, way: &Route) -> Outcome {
        if let Some(to) = self.first_key(way).and_then(|key| self.link(key))
            && let Some(source) = packet.via.and_then(|via| self.link(via.key))
        {
            source.remember(self, &packet, &to, way.view().without_first());
        }
        self.forward(packet, way)
    }

    /// The link with a key, if it is one of this shard.
    fn link(&self, key: Key) -> Option<Rc<Link>> {
        match self.0.table.borrow().by_key(key) {
            Some((_, Entry::Link(link))) => Some(Rc::clone(link)),
            _ => None,
        }
    }

    /// Notes that others may know the link that something came by, and gives it.
    fn expose(&self, via: Option<LocalAddress>) -> Option<Rc<Link>> {
        let link = self.link(via?.key)?;
        link.expose();
        Some(link)
    }

    /// Early on a link follows its first message to the shard of its destination; later only
    /// the message does (`docs/architecture.md`, Shards).
    fn to_other_shard(&self, key: Key, mut packet: Packet) -> Outcome {
        let to = key.shard();
        if let Some(via) = packet.via
            && let Some((_, Entry::Link(link))) = self.0.table.borrow().by_key(via.key)
        {
            if link.movable() {
                return Outcome::Move(Box::new((to, packet)));
            }
            link.expose();
        }
        // Permission was decided here, by the shard that knows the producer.
        packet.producer = None;
        self.0.counters.handoffs.add(1);
        match self.0.peers[to as usize].put_packet(packet) {
            None => Outcome::Done,
            Some(packet) => Outcome::Later(Box::new((to, packet))),
        }
    }

    /// Delivers a message that was just composed, if it could be.
    pub(crate) fn dispatch_made(&self, packet: Result<Packet, Refusal>) -> Outcome {
        match packet {
            Ok(packet) => self.dispatch(packet),
            Err(reason) => Outcome::Refused(reason),
        }
    }

    /// Sends a small message that originates here. The outcome tells whether to slow down.
    pub fn send(&self, onward: &Route, return_route: &Route, payload: &[u8]) -> Outcome {
        self.dispatch_made(Packet::compose(onward, return_route, payload, &self.0.pool))
    }

    /// Sends the payload of a message back where it came from, as the worker called `name`.
    pub fn reply(&self, packet: Packet, name: &[u8]) -> Outcome {
        let own = Self::named_route(name);
        let depth = packet.depth;
        let link = packet.came_by().and_then(|key| self.link(key));
        // Over a link the answer is composed as the peer will see it, so that it may be as long as
        // the question was.
        let route = match link {
            Some(_) => packet.outer_return_route().to_owned(),
            None => packet.return_route(),
        };
        let (mut buffer, range) = packet.into_payload();
        buffer.truncate(range.end);
        let mut answer = Packet::wrap(buffer, range.start, &route, &own);
        if let Some(link) = link {
            return match answer {
                Ok(answer) => link.transmit_composed(self, answer),
                Err(reason) => Outcome::Refused(reason),
            };
        }
        if route.is_empty() {
            return Outcome::Done;
        }
        if let Ok(answer) = &mut answer {
            answer.depth = depth + 1;
        }
        self.dispatch_made(answer)
    }

    /// Counts and logs a refusal.
    pub fn refuse(&self, reason: Refusal, what: &str) {
        self.0.counters.refuse(reason);
        tracing::debug!(reason = reason.name(), what, "refused");
    }

    pub(crate) fn refuse_from(&self, reason: Refusal, link: &Link) {
        self.0.counters.refuse(reason);
        tracing::debug!(reason = reason.name(), peer = %link.peer, "refused a message");
    }

    /// What to do with the outcome of a message nobody waits for.
    pub fn settle(&self, outcome: Outcome, what: &'static str) -> bool {
        match outcome {
            Outcome::Done | Outcome::Wait(_) => true,
            Outcome::Refused(reason) => {
                self.refuse(reason, what);
                false
            }
            Outcome::Later(boxed) => {
                let (shard, (to, packet)) = (self.clone(), *boxed);
                monoio::spawn(async move { shard.hand_over_waiting(to, packet).await });
                true
            }
            Outcome::Move(_) | Outcome::Close(_) => false,
        }
    }
}
