//! Workers: what a message can be delivered to inside a node.

use std::rc::Rc;

use crate::key::{Key, LocalAddress};
use crate::notify::Gate;
use crate::packet::Packet;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;

/// What became of a message.
pub enum Outcome {
    /// Taken.
    Done,
    /// Taken, but the destination is full: produce nothing more before the gate opens.
    Wait(Rc<Gate>),
    /// Not taken; count it and go on.
    Refused(Refusal),
    /// Taken over by another shard whose inbox is full: hand this over before going on.
    Later(Box<(u8, Packet)>),
    /// The link it came on should move to this shard and bring the message along.
    Move(Box<(u8, Packet)>),
    /// The source of the message must be closed, because going on would lose data or break the
    /// protocol.
    Close(CloseReason),
}

/// Something with a local address that messages are delivered to, one at a time.
///
/// A worker lives on one shard and is called on its thread only. `handle` must not block; longer
/// work is spawned as a task of the shard. The first onward hop of the message is the worker's own
/// address.
pub trait Worker {
    /// Takes a message.
    fn handle(&self, shard: &Shard, me: LocalAddress, packet: Packet) -> Outcome;

    /// The shard that a new link with this first message for the worker had better be on.
    fn place(&self, _shard: &Shard, _packet: &Packet) -> Option<u8> {
        None
    }

    /// Whether what it was given last has not reached the far side yet, so that an answer has to wait.
    fn is_behind(&self) -> bool {
        false
    }

    /// Something this worker depends on ([`Shard::depend`]) has ended.
    fn lost(&self, _shard: &Shard, _me: LocalAddress, _what: Key) {}

    /// Called about four times a second.
    fn tick(&self, _shard: &Shard, _me: LocalAddress) {}

    /// The worker was removed from its shard.
    fn removed(&self, _shard: &Shard, _me: LocalAddress) {}
}

/// Answers every message with its own payload (`protocol/04-relay.md` 9): peers' sessions use it
/// to find out whether this node is alive.
#[derive(Debug, Default)]
pub struct Echo;

/// Address of the echo worker.
pub const ECHO: &[u8] = b"echo";

impl Worker for Echo {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        shard.reply(packet, ECHO)
    }
}

/// Answers with the upper-cased BARE string it was sent (`protocol/04-relay.md` 9).
#[derive(Debug, Default)]
pub struct Uppercase;

/// Address of the uppercase worker.
pub const UPPERCASE: &[u8] = b"uppercase";

impl Worker for Uppercase {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        let Ok((text, _)) = culvert_proto::bare::read_string(packet.payload()) else {
            return Outcome::Refused(Refusal::BadPayload);
        };
        let answer = culvert_proto::bare::string(&text.to_uppercase());
        let route = packet.return_route();
        shard.send(&route, &Shard::named_route(UPPERCASE), &answer)
    }
}
