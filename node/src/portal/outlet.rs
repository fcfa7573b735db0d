//! Outlets: streams that reach them are connected to a TCP service.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use culvert_proto::portal::{self, PortalMessage};
use monoio::net::TcpStream;

use super::stream::Stream;
use crate::control;
use crate::key::LocalAddress;
use crate::packet::Packet;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::table::Entry;
use crate::worker::{Outcome, Worker};

/// Usual address of an outlet.
pub const OUTLET: &[u8] = b"outlet";
/// How long the target may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The service behind an outlet: host and port, resolved anew for each stream.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The outlet listener (`protocol/03-portals.md` 2): takes Pings, opens a stream for each.
pub struct Outlet {
    target: Target,
    config: portal::Config,
}

impl Outlet {
    /// An outlet to `target`. Who may reach it is decided by where its address is made a consumer:
    /// normally of an authenticated channel listener.
    pub fn new(target: Target, config: portal::Config) -> Self {
        Self { target, config }
    }
}

impl Worker for Outlet {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        let Ok(message) = PortalMessage::decode(packet.payload()) else {
            return Outcome::Refused(Refusal::BadPayload);
        };
        if !matches!(message, PortalMessage::Ping { .. }) {
            return Outcome::Refused(Refusal::PortalState);
        }
        let machine = portal::Stream::outlet(&self.config, &message);
        let via = packet.via.map(|via| via.key);
        let channel = via.and_then(|key| match shard.table().by_key(key) {
            Some((_, Entry::Encryptor(channel))) => Some(Rc::clone(channel)),
            _ => None,
        });
        let stream = match Stream::open(
            shard,
            machine,
            packet.return_route(),
            packet.identity,
            channel,
            via,
        ) {
            Ok(stream) => stream,
            Err(reason) => return Outcome::Refused(reason),
        };
        if let Some(producer) = packet.producer {
            let permitted = shard.flow(|f| f.add_consumer(producer.id, stream.address.key));
            if permitted.is_err() {
                stream.abort(shard, CloseReason::Local);
                return Outcome::Refused(Refusal::TooManyPermissions);
            }
        }
        monoio::spawn(connect(shard.clone(), stream, self.target.clone()));
        Outcome::Done
    }
}

async fn connect(shard: Shard, stream: Rc<Stream>, target: Target) {
    match dial(&target).await {
        Ok(socket) => {
            stream.with(&shard, portal::Stream::connected);
            stream.run(shard, socket).await;
        }
        Err(error) => {
            shard.refuse(Refusal::TargetRefused, "stream");
            tracing::warn!(%target, %error, "the target of an outlet refused a connection");
            stream.with(&shard, portal::Stream::refused);
        }
    }
}

async fn dial(target: &Target) -> std::io::Result<TcpStream> {
    let addresses = control::resolve(&target.host, target.port).await?;
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in addresses {
        match connect_to(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects within the limit.
pub(crate) async fn connect_to(address: SocketAddr) -> std::io::Result<TcpStream> {
    match monoio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect_addr(address)).await {
        Ok(result) => result,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
