//! Agreeing on direct paths with peers (`protocol/01-transport.md` 5.2).

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use culvert_crypto::Identifier;
use culvert_proto::address::AddressRef;
use culvert_proto::puncture::{Endpoint, NEGOTIATION};
use culvert_proto::route::Route;

use super::direct::{Direct, DirectError, Negotiation};
use crate::channel::Channel;
use crate::control;
use crate::key::{Key, LocalAddress};
use crate::packet::Packet;
use crate::reason::Refusal;
use crate::session::{Event, Reporter};
use crate::shard::Shard;
use crate::worker::{Outcome, Worker};

/// Direct paths of one shard that others proposed, and of one peer. A proposal makes this node send a
/// few dozen small datagrams to an address that the peer chose.
const PATHS: usize = 256;
const PATHS_OF_PEER: usize = 8;

/// Where a rendezvous service is; its name is resolved for each path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RendezvousAt {
    /// Name or IP address.
    pub host: String,
    /// UDP port.
    pub port: u16,
}

impl RendezvousAt {
    /// The first of its addresses, IPv4 before IPv6.
    pub(crate) async fn resolve(&self) -> io::Result<SocketAddr> {
        let found = control::resolve(&self.host, self.port).await?;
        let first = found
            .iter()
            .find(|at| at.is_ipv4())
            .or_else(|| found.first());
        first.copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The worker that takes proposals of authenticated peers.
pub struct DirectOffer {
    rendezvous: RendezvousAt,
    reporter: Reporter,
    paths: RefCell<Vec<(Identifier, Weak<()>)>>,
}

impl DirectOffer {
    /// Offers direct paths to the peers of all channels this shard accepts.
    ///
    /// # Errors
    ///
    /// When the shard has no address left.
    pub fn start(
        shard: &Shard,
        rendezvous: RendezvousAt,
        reporter: Reporter,
    ) -> Result<(), Refusal> {
        let offer = Self {
            rendezvous,
            reporter,
            paths: RefCell::default(),
        };
        let address = shard.add_named(NEGOTIATION.as_bytes(), Rc::new(offer))?;
        shard.open_to_channels(address.key);
        Ok(())
    }

    fn take_place(&self, peer: Identifier) -> Option<Rc<()>> {
        let mut paths = self.paths.borrow_mut();
        paths.retain(|(_, path)| path.strong_count() > 0);
        let of_peer = paths.iter().filter(|(whose, _)| *whose == peer).count();
        if of_peer >= PATHS_OF_PEER || paths.len() >= PATHS {
            return None;
        }
        let place = Rc::new(());
        paths.push((peer, Rc::downgrade(&place)));
        Some(place)
    }
}

impl Worker for DirectOffer {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        let Some(peer) = packet.identity else {
            return Outcome::Refused(Refusal::NotAuthenticated);
        };
        if Endpoint::decode(packet.payload()).is_err() {
            return Outcome::Refused(Refusal::BadPayload);
        }
        let Some(place) = self.take_place(peer) else {
            return Outcome::Refused(Refusal::TooManyPaths);
        };
        let negotiation = Negotiation {
            onward: packet.return_route(),
            back: Shard::named_route(NEGOTIATION.as_bytes()),
        };
        let initiate = packet.payload().to_vec();
        let (shard, rendezvous) = (shard.clone(), self.rendezvous.clone());
        let reporter = self.reporter.clone();
        monoio::spawn(async move {
            let at = match rendezvous.resolve().await {
                Ok(at) => at,
                Err(error) => {
                    tracing::warn!(%error, host = rendezvous.host, "cannot find the rendezvous");
                    return;
                }
            };
            let direct = Direct::respond(&shard, at, peer, (&initiate, negotiation), place);
            match direct {
                Ok(direct) => match direct.wait_open().await {
                    Ok(to) => {
                        tracing::info!(%peer, %to, "a direct path is open");
                        reporter.went_direct(Event::Direct { to });
                        let failure = direct.ended().await;
                        reporter.left_direct();
                        reporter.relayed(&shard, true, &failure.to_string());
                    }
                    Err(failure) => tracing::info!(%peer, %failure, "no direct path"),
                },
                Err(error) => tracing::warn!(%peer, %error, "no direct path"),
            }
        });
        Outcome::Done
    }
}

/// Takes the answer to a proposal.
struct Answer(Rc<Direct>);

impl Worker for Answer {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        match packet.onward().hops() {
            1 => self.0.on_acknowledge(shard, packet.payload()),
            _ => Outcome::Refused(Refusal::UnexpectedHops),
        }
    }

    fn lost(&self, shard: &Shard, me: LocalAddress, _what: Key) {
        shard.remove(me.key);
    }
}

/// Proposes a direct path to the peer of a channel.
pub(crate) fn propose(
    shard: &Shard,
    rendezvous: SocketAddr,
    channel: &Channel,
    peer: Identifier,
) -> Result<Rc<Direct>, DirectError> {
    let failed = |reason: Refusal| DirectError::Bind(io::Error::other(reason.name()));
    let direct = Direct::initiate(shard, rendezvous, peer)?;
    let answer = shard
        .add_worker(Rc::new(Answer(Rc::clone(&direct))))
        .map_err(|reason| {
            direct.close(shard);
            failed(reason)
        })?;
    if let Some(address) = direct.address() {
        shard.depend(address.key, answer.key);
    }
    shard.permit_answers(channel.encryptor.key, answer.key);
    let mut onward: Route = Shard::route_to(channel.encryptor);
    onward.push_back(AddressRef::local(NEGOTIATION.as_bytes()));
    direct.negotiate_by(Negotiation {
        onward,
        back: Shard::route_to(answer),
    });
    Ok(direct)
}
