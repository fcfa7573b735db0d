//! The worker that accepts secure channels.

use std::cell::Cell;
use std::rc::Rc;

use culvert_crypto::channel::Responder;
use culvert_proto::flow_control::FlowId;

use super::{Channel, Credentials, State};
use crate::key::{self, Key, LocalAddress};
use crate::packet::{Packet, Producer};
use crate::random;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::worker::{Outcome, Worker};

/// Accepts secure channels: one responder per message it receives.
pub struct ChannelListener {
    credentials: Credentials,
    flow: FlowId,
    handshakes: Rc<Cell<usize>>,
}

/// Usual address of a secure channel listener.
pub const API: &[u8] = b"api";

impl ChannelListener {
    /// A listener that shows and demands these credentials. What is a consumer of `flow` can be
    /// reached through the channels it accepts.
    pub fn new(credentials: Credentials, flow: FlowId) -> Self {
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
