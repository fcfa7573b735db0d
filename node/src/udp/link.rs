//! A UDP socket as a hop in routes (`protocol/01-transport.md` 4.4).

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use culvert_proto::udp::{self, Config};

use super::socket::Socket;
use crate::key::LocalAddress;
use crate::packet::{Packet, Producer};
use crate::reason::Refusal;
use crate::shard::Shard;
use crate::worker::{Outcome, Worker};

/// A bound UDP socket with a local address: the hop in front of `2#ip:port`.
///
/// Nobody but this node, and whoever was answered through it, knows the address, and no flow
/// control id makes it reachable: peers cannot have this node send to whom they like.
pub struct UdpLink {
    /// The hop that leads to peers: their own address has to follow.
    pub address: LocalAddress,
    /// Where the socket is bound.
    pub local: SocketAddr,
    /// Flow control id of what comes in: nothing can be reached but what was made its consumer.
    pub producer: Producer,
}

struct Hop(Rc<Socket>);

impl UdpLink {
    /// Binds a socket on this shard. It hears nobody before something is made a consumer of
    /// [`Self::producer`]'s id.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound, or no local address is left.
    pub fn start(shard: &Shard, at: SocketAddr, config: Config) -> io::Result<Self> {
        let socket = Socket::bind(shard, at, config)?;
        let address = shard
            .add_worker(Rc::new(Hop(Rc::clone(&socket))))
            .map_err(|reason| {
                socket.close();
                io::Error::other(reason.name())
            })?;
        let producer = Producer {
            id: shard.new_flow_id(),
            spawner: None,
        };
        shard.flow(|f| {
            // A full table only means that the socket reaches nothing.
            let _ = f.add_producer(address.key, producer.id, None);
        });
        let local = socket.local();
        monoio::spawn(receive(shard.clone(), socket, address, producer));
        Ok(Self {
            address,
            local,
            producer,
        })
    }
}

impl Worker for Hop {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        let Some(to) = packet.onward().iter().nth(1).and_then(udp::peer_of) else {
            return Outcome::Refused(Refusal::NotUdp);
        };
        match packet.into_message(2, shard.pool()) {
            Ok(message) => self.0.send(to, message),
            Err(reason) => Outcome::Refused(reason),
        }
    }

    fn tick(&self, shard: &Shard, _me: LocalAddress) {
        self.0.expire(shard);
    }

    fn removed(&self, _shard: &Shard, _me: LocalAddress) {
        self.0.close();
    }
}

/// The receiving task.
async fn receive(shard: Shard, socket: Rc<Socket>, address: LocalAddress, producer: Producer) {
    let mut buffer = Vec::new();
    while let Some((from, message)) = socket.receive(&shard, &mut buffer).await {
        shard.counters().messages_in.add(1);
        let mut packet = match Packet::from_peer(&message, from) {
            Ok(packet) => packet,
            Err(reason) => {
                shard.refuse(reason, "message over UDP");
                continue;
            }
        };
        if packet.onward().is_empty() {
            continue;
        }
        packet.via = Some(address);
        packet.producer = Some(producer);
        match shard.dispatch(packet) {
            // What comes meanwhile waits in the kernel, and is lost when that is full.
            Outcome::Wait(gate) => gate.passed().await,
            // Nothing is read after this, so there is nothing that closing would protect.
            Outcome::Close(_) | Outcome::Move(_) => {}
            other => drop(shard.settle(other, "message over UDP")),
        }
    }
}
