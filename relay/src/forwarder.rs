//! Forwarders: names that lead to the nodes that registered them (`protocol/04-relay.md`).

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use culvert_manage::events::Events;
use culvert_node::key::{Key, LocalAddress};
use culvert_node::packet::Packet;
use culvert_node::policy::Basis;
use culvert_node::random_bytes;
use culvert_node::reason::{CloseReason, Refusal};
use culvert_node::shard::{Load, Shard};
use culvert_node::worker::{Outcome, Worker};
use culvert_proto::bare;
use culvert_proto::forwarder::{self, Extension, ForwarderError, Registration, Reply, Request};
use culvert_proto::route::Route;
use serde_json::json;

use crate::admission::Admission;
use crate::probe;
use crate::registry::{Claim, Claimant, Member, Registry};

/// What all shards of a relay share.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Who holds which name.
    pub registry: Registry,
    /// Whether nodes may register without a secure channel.
    pub allow_plain: AtomicBool,
    /// Who may register.
    pub admission: Admission,
    /// What happens to names, for operators.
    pub events: Events,
    /// Whether only those may send to names who have a secure channel with the relay, on the same
    /// connection.
    pub require_authentication: bool,
}

impl Relay {
    /// Tells operators what happened to a name.
    fn tell(&self, name: &str, event: &str, detail: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.events.publish(&json!({
            "at-ms": now.map_or(0, |since| since.as_millis() as u64),
            "resource": "forwarder",
            "name": name,
            "event": event,
            "detail": detail,
        }));
    }
}

/// The forwarding service: takes registrations.
pub(crate) struct ForwardingService(pub Arc<Relay>);

impl Worker for ForwardingService {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        let Some(came_by) = packet.came_by() else {
            return Outcome::Refused(Refusal::NotAuthenticated);
        };
        let (name, extension) = match Request::decode(packet.payload()) {
            Ok(Request {
                registration: Registration::Named(name),
                extension,
            }) => (name.to_owned(), extension),
            Ok(Request { extension, .. }) => (hex::encode(random_bytes::<16>()), extension),
            Err(ForwarderError::Bare(_)) => return Outcome::Refused(Refusal::BadPayload),
            Err(error) => {
                tracing::info!(%error, "a registration was refused");
                self.explain_bad_name(shard, &packet);
                return Outcome::Refused(Refusal::RelayName);
            }
        };
        let request = Asked {
            relay: Arc::clone(&self.0),
            name,
            extension,
            claimant: Claimant {
                came_by,
                identity: packet.identity,
                lane: extension.and_then(|extension| extension.lane),
            },
            back: packet.return_route(),
        };
        if packet.identity.is_none() && !self.0.allow_plain.load(Ordering::Relaxed) {
            request.refuse(shard, forwarder::Refusal::NotAllowed);
            return Outcome::Refused(Refusal::PlainRegistration);
        }
        let channel = shard.channel(came_by);
        if let Err(reason) = self.0.admission.decide(&request.name, channel.as_deref()) {
            request.deny(shard, &reason);
            request.refuse(shard, forwarder::Refusal::NotAllowed);
            return Outcome::Refused(Refusal::PolicyDenied);
        }
        match self.0.registry.claim(&request.name, &request.claimant) {
            Claim::Free => request.grant(shard, None),
            Claim::Probe(owner) => {
                // One question at a time: who asks again meanwhile is answered as if it was held.
                if !self.0.registry.begin_probe(&request.name) {
                    return request.taken(shard);
                }
                probe::ask(shard, owner, request);
                Outcome::Done
            }
            Claim::Taken => request.taken(shard),
            Claim::Later => {
                request.refuse(shard, forwarder::Refusal::Later);
                Outcome::Refused(Refusal::RelayNameTaken)
            }
            Claim::Full => {
                request.refuse(shard, forwarder::Refusal::Full);
                Outcome::Refused(Refusal::TooManyForwarders)
            }
        }
    }
}

/// Address of the service that a link of an edge begins with.
pub(crate) const PLACEMENT: &[u8] = forwarder::PLACEMENT.as_bytes();

/// Has the links of an edge go to different shards. The first message of such a link is what its
/// registration will be.
pub(crate) struct Placement(pub Arc<Relay>);

impl Worker for Placement {
    fn place(&self, shard: &Shard, packet: &Packet) -> Option<u8> {
        let request = Request::decode(packet.payload()).ok()?;
        let (Registration::Named(name), Some(lane)) =
            (request.registration, request.extension.and_then(|e| e.lane))
        else {
            return None;
        };
        Some(self.0.registry.shard_for(name, lane, shard.shards()))
    }

    fn handle(&self, _: &Shard, _: LocalAddress, _: Packet) -> Outcome {
        Outcome::Done
    }
}

impl ForwardingService {
    /// A Culvert edge is told that its name is not valid; the reference would take any answer for a
    /// confirmation.
    fn explain_bad_name(&self, shard: &Shard, packet: &Packet) {
        let Ok((name, rest)) = bare::read_string(packet.payload()) else {
            return;
        };
        if !rest.starts_with(forwarder::MARKER) {
            return;
        }
        let reason = forwarder::Refusal::BadName;
        let answer = Reply::Refused { name, reason }.encode();
        let service = forwarder::STATIC_FORWARDING_SERVICE.as_bytes();
        let own = Shard::named_route(service);
        let outcome = shard.send(&packet.return_route(), &own, &answer);
        shard.settle(outcome, "refusal of a registration");
    }
}

/// One registration under way. It may wait for a probe on another shard, so it owns what it needs.
pub(crate) struct Asked {
    relay: Arc<Relay>,
    name: String,
    extension: Option<Extension>,
    claimant: Claimant,
    back: Route,
}

impl Asked {
    /// Makes the forwarder and confirms; runs on the shard the registration came to.
    fn grant(&self, shard: &Shard, instead_of: Option<Key>) -> Outcome {
        let Some(way) = self.way(shard) else {
            return Outcome::Refused(Refusal::UnknownAddress);
        };
        let made = shard.add_worker(Rc::new(Forwarder {
            relay: Arc::clone(&self.relay),
            name: self.name.clone(),
            way: way.clone(),
            came_by: self.claimant.came_by,
            // Decided on what is known now, and again at the first tick.
            basis: Cell::default(),
            last: Cell::new(None),
            granted: RefCell::default(),
        }));
        let address = match made {
            Ok(address) => address,
            Err(reason) => return Outcome::Refused(reason),
        };
        shard.counters().forwarders.add(1);
        let Claimant { came_by, lane, .. } = self.claimant;
        let member = Member {
            forwarder: address.key,
            came_by,
            way,
            lane: lane.map_or(0, |lane| lane.number),
            is_told: lane.is_some(),
        };
        let registry = &self.relay.registry;
        let Ok(replaced) = registry.give(&self.name, &self.claimant, member, instead_of) else {
            shard.remove(address.key);
            return self.taken(shard);
        };
        if !shard.depend(came_by, address.key) {
            // The registrant has left meanwhile.
            shard.remove(address.key);
            return Outcome::Refused(Refusal::UnknownAddress);
        }
        for old in &replaced {
            retire(shard, old, came_by);
        }
        let replaced = replaced.into_iter().map(|old| old.forwarder).collect();
        let lane = lane.map(|lane| lane.number);
        tracing::info!(name = self.name, identity = self.who(), lane, "registered");
        self.relay.tell(&self.name, "registered", &self.who());
        self.publish(shard, address.key, replaced);
        Outcome::Done
    }

    /// Makes the name known on every shard, then confirms: who learns of the registration can use
    /// it over whatever shard its own link is on.
    fn publish(&self, shard: &Shard, key: Key, replaced: Vec<Key>) {
        let name = forwarder::worker_name(&self.name);
        let (back, extension, text) = (self.back.clone(), self.extension, name.clone());
        let load = Load::default();
        let require_authentication = self.relay.require_authentication;
        let set_name = move |shard: &Shard| {
            for old in &replaced {
                shard.clear_name(name.as_bytes(), *old);
            }
            shard.add_target(name.as_bytes(), key, load.clone());
            match require_authentication {
                true => shard.open_to_authenticated(key),
                false => shard.open_to_all(key),
            }
            shard.open_to_channels(key);
        };
        set_name(shard);
        shard.tell_others_then(set_name, move |shard| {
            let answer = Reply::Confirmed {
                text: &text,
                extension,
            }
            .encode();
            let outcome = shard.send(&back, &Shard::named_route(text.as_bytes()), &answer);
            shard.settle(outcome, "confirmation of a registration");
        });
    }

    fn who(&self) -> String {
        let identity = self.claimant.identity;
        identity.map_or_else(|| "none".into(), |who| who.to_string())
    }

    /// The hops to put in front of forwarded messages: the way back without the registrant's own
    /// worker. Culvert edges ask for the link instead of the channel, because the end-to-end
    /// channel inside protects the messages already.
    fn way(&self, shard: &Shard) -> Option<Route> {
        if self.extension.is_some_and(|asked| asked.over_link) && self.back.hops() == 2 {
            return shard.way_to_peer(self.claimant.came_by);
        }
        Some(self.back.without_last())
    }

    /// The owner was asked whether it is there.
    pub(crate) fn probed(&self, shard: &Shard, alive: bool, owner: Key) -> Outcome {
        self.relay.registry.end_probe(&self.name);
        if alive {
            self.taken(shard)
        } else {
            self.grant(shard, Some(owner))
        }
    }

    /// Tells the operator why it is not allowed.
    fn deny(&self, shard: &Shard, reason: &str) {
        let (relay, who) = (&self.relay, self.claimant.identity);
        let guard = relay.admission.guard.of(&self.name);
        guard.note_denial(shard, who, reason);
        relay.tell(&self.name, "denied", reason);
        tracing::warn!(
            name = self.name,
            claimant = self.who(),
            reason,
            "a registration was denied"
        );
    }

    /// Refuses because the name belongs to somebody else.
    fn taken(&self, shard: &Shard) -> Outcome {
        tracing::warn!(
            name = self.name,
            claimant = self.who(),
            "a registration was refused: the name is held by somebody else"
        );
        self.refuse(shard, forwarder::Refusal::Taken);
        Outcome::Refused(Refusal::RelayNameTaken)
    }

    /// Explains a refusal to a node that understands it; the reference is told nothing.
    fn refuse(&self, shard: &Shard, reason: forwarder::Refusal) {
        if self.extension.is_none() {
            return;
        }
        let service = forwarder::STATIC_FORWARDING_SERVICE.as_bytes();
        let answer = Reply::Refused {
            name: &self.name,
            reason,
        }
        .encode();
        let outcome = shard.send(&self.back, &Shard::named_route(service), &answer);
        shard.settle(outcome, "refusal of a registration");
    }
}

/// Takes the name from a connection that held it. A Culvert edge learns of it by the end of its
/// channel, and asks again: it gets the name back when who has it now leaves.
fn retire(shard: &Shard, old: &Member, instead: Key) {
    let (forwarder, came_by) = (old.forwarder, old.came_by);
    let is_told = old.is_told && came_by != instead;
    shard.tell(forwarder.shard(), move |shard| {
        shard.remove(forwarder);
        if is_told {
            shard.close_source(came_by, CloseReason::Replaced);
        }
    });
}

/// Sources a forwarder remembers; when there are more, permissions are granted again.
const GRANTED: usize = 4096;

/// One name: passes messages on to the node that registered it (`protocol/04-relay.md` 3).
struct Forwarder {
    relay: Arc<Relay>,
    name: String,
    way: Route,
    /// The link or channel the registration came by.
    came_by: Key,
    /// What was known when it was decided last that it may be here.
    basis: Cell<Basis>,
    /// The source of the last message, whose permissions need no look.
    last: Cell<Option<Key>>,
    /// Sources that permissions were granted for.
    granted: RefCell<HashSet<Key>>,
}

impl Worker for Forwarder {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        let came_by = packet.came_by();
        if let Some(from) = came_by
            && self.last.replace(came_by) != came_by
            && let Some(to) = shard.first_key(&self.way)
        {
            let mut granted = self.granted.borrow_mut();
            if granted.len() >= GRANTED {
                granted.clear();
            }
            if granted.insert(from) {
                shard.grant(from, to);
            }
        }
        shard.forward_all(packet, &self.way)
    }

    /// Takes the name back from who may not have it any more; that one learns of it by the end of its
    /// channel.
    fn tick(&self, shard: &Shard, me: LocalAddress) {
        let channel = shard.channel(self.came_by);
        let basis = self.relay.admission.guard.basis(channel.as_deref());
        if self.basis.replace(basis) == basis {
            return;
        }
        let Err(reason) = self.relay.admission.decide(&self.name, channel.as_deref()) else {
            return;
        };
        tracing::warn!(
            name = self.name,
            reason,
            "a registration is not allowed any more"
        );
        shard.refuse(Refusal::PolicyDenied, "registered name");
        let guard = self.relay.admission.guard.of(&self.name);
        guard.note_denial(shard, channel.and_then(|channel| channel.peer()), &reason);
        shard.remove(me.key);
        shard.close_source(self.came_by, CloseReason::Denied);
    }

    fn lost(&self, shard: &Shard, me: LocalAddress, _what: Key) {
        shard.remove(me.key);
    }

    fn removed(&self, shard: &Shard, me: LocalAddress) {
        let key = me.key;
        shard.counters().forwarders.sub(1);
        self.relay.tell(&self.name, "released", "");
        self.relay.registry.release(&self.name, key);
        let name = forwarder::worker_name(&self.name);
        forget(shard, &name, key);
        shard.tell_others(move |shard| forget(shard, &name, key));
    }
}

fn forget(shard: &Shard, name: &str, key: Key) {
    shard.clear_name(name.as_bytes(), key);
    shard.flow(|f| f.remove(key));
}
