//! Passing messages on to other nodes, as `hop` workers of Ockam nodes do (`protocol/02-routing.md` 3).

use std::cell::Cell;

use culvert_proto::address::AddressRef;
use culvert_proto::route::Route;

use crate::key::{Key, LocalAddress};
use crate::packet::Packet;
use crate::reason::Refusal;
use crate::shard::Shard;
use crate::worker::{Outcome, Worker};

/// Address of the worker.
pub const HOP: &[u8] = b"hop";

/// Takes its address out of the onward route and puts it in front of the return route, so that the
/// answer comes back through it.
///
/// Ockam's lets whoever reaches it reach everything else. This one passes a message on only to
/// where its sender may send by itself: what the node opened to it, and who was given leave to be
/// answered by an earlier message.
pub struct Hop {
    own: Route,
    /// Between which two messages were let pass last: that needs no second look.
    last: Cell<Option<(Key, Key)>>,
}

impl Default for Hop {
    fn default() -> Self {
        Self {
            own: [AddressRef::local(HOP)].into_iter().collect(),
            last: Cell::new(None),
        }
    }
}

impl Worker for Hop {
    fn handle(&self, shard: &Shard, _me: LocalAddress, mut packet: Packet) -> Outcome {
        if packet.onward().hops() < 2 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        let (came_by, producer) = (packet.came_by(), packet.producer);
        if let Err(reason) = packet.advance_as(shard, self.own.view()) {
            return Outcome::Refused(reason);
        }
        let to = packet.onward().first().and_then(|to| shard.key_of(to));
        match (came_by, producer, to) {
            // The answer of a worker of this node.
            (None, None, _) | (_, _, None) => {}
            (Some(from), _, Some(to)) if self.last.get() == Some((from, to)) => {}
            (Some(from), Some(producer), Some(to)) => {
                if !shard.may_reach(producer, to) {
                    return Outcome::Refused(Refusal::NotPermitted);
                }
                shard.grant(from, to);
                self.last.set(Some((from, to)));
            }
            // What another shard handed over: nobody knows any more what it may reach.
            _ => return Outcome::Refused(Refusal::NotPermitted),
        }
        shard.dispatch(packet)
    }
}
