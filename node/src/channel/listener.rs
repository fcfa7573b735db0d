//! The worker that accepts secure channels.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use culvert_crypto::channel::Responder;
use culvert_proto::flow_control::FlowId;

use super::{Channel, Credentials, State};
use crate::key::{self, Key, LocalAddress};
use crate::packet::{Packet, Producer};
use crate::policy::Guard;
use crate::random;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::worker::{Outcome, Worker};

/// Accepts secure channels: one responder per message it receives.
pub struct ChannelListener {
    credentials: Credentials,
    flow: FlowId,
    guard: Option<Guard>,
    keys_only: bool,
    /// Handshakes under way, oldest first, with the way each came by.
    unfinished: RefCell<VecDeque<(Key, Rc<Channel>)>>,
}

/// Usual address of a secure channel listener.
pub const API: &[u8] = b"api";
/// Address of a listener for channels that only exchange keys.
pub const KEY_EXCHANGER: &[u8] = b"key_exchanger";

impl ChannelListener {
    /// A listener that shows and demands these credentials. What is a consumer of `flow` can be
    /// reached through the channels it accepts.
    pub fn new(credentials: Credentials, flow: FlowId) -> Self {
        Self {
            credentials,
            flow,
            guard: None,
            keys_only: false,
            unfinished: RefCell::default(),
        }
    }

    /// Asks `guard` about every peer, when it has proved who it is and whenever what is known of it
    /// changes.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        let guard = Some(guard);
        Self { guard, ..self }
    }

    /// A listener for channels that are to exchange keys and carry nothing
    /// (`protocol/13-secure-channel.md` 9). Once the peer has proved who it is nothing more is taken
    /// from it, and the keys are forgotten: nobody here has a use for them.
    pub fn for_keys(credentials: Credentials, flow: FlowId) -> Self {
        Self {
            keys_only: true,
            ..Self::new(credentials, flow)
        }
    }
}

impl Worker for ChannelListener {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        let credentials = &self.credentials;
        let accepted = Responder::accept(
            &credentials.own.endpoint(),
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
        let channel = match Channel::insert(shard, credentials, producer, state, route.clone()) {
            Ok(channel) => channel,
            Err(reason) => return Outcome::Refused(reason),
        };
        if let Some(guard) = &self.guard {
            let _ = channel.guard.set(guard.clone());
        }
        channel.keys_only.set(self.keys_only);
        self.make_room(shard, first, &packet);
        self.unfinished
            .borrow_mut()
            .push_back((first, Rc::clone(&channel)));
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
    /// Gives up the oldest handshakes when there are too many, in all or over one link that this
    /// node accepted. Peers in earnest finish within a few round trips, so a flood of beginnings
    /// mostly displaces itself.
    fn make_room(&self, shard: &Shard, first: Key, packet: &Packet) {
        let limits = shard.limits();
        let spawner = packet.producer.and_then(|p| p.spawner);
        let stranger = spawner.is_some_and(|id| shard.is_of_accepted_links(id));
        let mut given_up = Vec::new();
        {
            let mut unfinished = self.unfinished.borrow_mut();
            unfinished.retain(|(_, channel)| channel.is_unfinished());
            let of_link = unfinished.iter().filter(|(by, _)| *by == first).count();
            if stranger && of_link >= limits.handshakes_per_link {
                let oldest = unfinished.iter().position(|(by, _)| *by == first);
                given_up.extend(oldest.and_then(|at| unfinished.remove(at)));
            }
            while unfinished.len() >= limits.handshakes {
                given_up.extend(unfinished.pop_front());
            }
        }
        for (_, channel) in given_up {
            shard.refuse(Refusal::TooManyHandshakes, "secure channel");
            channel.close(shard, CloseReason::Replaced);
        }
    }

    /// The peer must be able to reach the new channel the way it came, and by any other link
    /// that the same listener accepted (`protocol/02-routing.md` 6.3).
    fn permit(&self, shard: &Shard, first: Key, channel: Key, packet: &Packet) {
        shard.permit_answers(first, channel);
        match packet.producer.and_then(|p| p.spawner) {
            Some(id) if shard.is_of_accepted_links(id) => shard.open_to_accepted_links(channel),
            Some(id) => shard.flow(|f| {
                let _ = f.add_consumer(id, channel);
            }),
            None => {}
        }
    }
}
