//! The rendezvous service on a UDP socket (`protocol/01-transport.md` 5.1).

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use culvert_proto::rendezvous::{self, Config, SERVICE, Service, asker};
use culvert_proto::udp;

use super::link::UdpLink;
use crate::key::LocalAddress;
use crate::packet::Packet;
use crate::reason::Refusal;
use crate::shard::Shard;
use crate::worker::{Outcome, Worker};

/// Memory for the parts of incomplete messages, in bytes: requests fit into one datagram.
const PARTS: usize = 1 << 20;
/// The same of one peer.
const PEER_PARTS: usize = 4 << 10;

/// Binds a UDP socket on this shard on which anybody may ask for the address they are seen from.
/// Nothing else of the node can be reached through it. Gives where it is bound.
///
/// # Errors
///
/// When the address cannot be bound.
pub fn serve_rendezvous(shard: &Shard, at: SocketAddr) -> io::Result<SocketAddr> {
    let limits = udp::Config {
        peer_bytes: PEER_PARTS,
        bytes: PARTS,
        ..udp::Config::default()
    };
    let link = UdpLink::start(shard, at, limits)?;
    let service = Rendezvous(RefCell::new(Service::new(Config::default())));
    let worker = shard
        .add_named(SERVICE.as_bytes(), Rc::new(service))
        .map_err(|reason| {
            shard.remove(link.address.key);
            io::Error::other(reason.name())
        })?;
    shard.flow(|f| {
        let _ = f.add_consumer(link.producer.id, worker.key);
    });
    Ok(link.local)
}

/// The worker that answers.
struct Rendezvous(RefCell<Service>);

impl Worker for Rendezvous {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        let from = asker(packet.outer_return_route());
        let mut service = self.0.borrow_mut();
        let answer = service.on_request(shard.now_ms(), from, packet.payload());
        match answer {
            Ok(answer) => {
                shard.counters().rendezvous_answers.add(1);
                let own = Shard::named_route(SERVICE.as_bytes());
                shard.send(&packet.return_route(), &own, &answer.encode())
            }
            Err(rendezvous::Refusal::Request(_)) => Outcome::Refused(Refusal::BadPayload),
            Err(rendezvous::Refusal::NoAddress) => Outcome::Refused(Refusal::NotUdp),
            Err(rendezvous::Refusal::TooOften) => Outcome::Refused(Refusal::AskedTooOften),
        }
    }
}
