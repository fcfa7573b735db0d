//! Outlets: streams that reach them are connected to a TCP service.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use culvert_proto::portal::{self, PortalMessage, SkipHandshake};
use monoio::net::TcpStream;

use super::stream::{Far, Role, Stream};
use super::streams::Streams;
use crate::control;
use crate::key::LocalAddress;
use crate::packet::Packet;
use crate::policy::Guard;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::socket;
use crate::stop::Stop;
use crate::worker::{Outcome, Worker};

/// Usual address of an outlet.
pub const OUTLET: &[u8] = b"outlet";
/// Most streams of inlets that skip the handshake, on one shard.
const SKIPPING: usize = 100_000;
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
    guard: Option<Guard>,
    /// Streams of inlets that skip the handshake, which send everything to the listener.
    skipping: RefCell<SkipHandshake<Rc<Stream>>>,
    streams: Rc<Streams>,
    stop: Stop,
}

impl Outlet {
    /// An outlet to `target`. Who may reach it is decided by where its address is made a consumer:
    /// normally of an authenticated channel listener.
    pub fn new(target: Target, config: portal::Config) -> Self {
        Self {
            target,
            config,
            guard: None,
            skipping: RefCell::new(SkipHandshake::new(SKIPPING)),
            streams: Rc::default(),
            stop: Stop::never(),
        }
    }

    /// Asks `guard` about every peer too.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        let guard = Some(guard);
        Self { guard, ..self }
    }

    /// Gives it an address and a name on this shard until it is stopped. Then its streams end, so that
    /// both ends see it, and the name is free again. Who may reach it is up to the caller.
    ///
    /// # Errors
    ///
    /// [`Refusal::NameInUse`]; [`Refusal::TooManyAddresses`].
    pub fn start(self, shard: &Shard, name: &[u8], stop: Stop) -> Result<LocalAddress, Refusal> {
        if shard.has_name(name) {
            return Err(Refusal::NameInUse);
        }
        let mut outlet = self;
        outlet.stop = stop.clone();
        let address = shard.add_named(name, Rc::new(outlet))?;
        let (shard, name) = (shard.clone(), name.to_vec());
        monoio::spawn(async move {
            stop.stopped().await;
            shard.remove_named(&name, address.key);
        });
        Ok(address)
    }

    /// Makes the stream for a first message, and connects it. A peer that is denied gets an answer like
    /// that of a service that does not accept.
    fn open(
        &self,
        shard: &Shard,
        machine: portal::Stream,
        packet: &Packet,
    ) -> Result<Rc<Stream>, Refusal> {
        let via = packet.via.map(|via| via.key);
        let channel = via.and_then(|via| shard.channel(via));
        let guard = self.guard.as_ref();
        let basis = Guard::basis_of(guard, channel.as_deref());
        let is_admitted = guard.is_none_or(|guard| guard.admits(shard, channel.as_deref()));
        let far = Far {
            route: packet.return_route(),
            peer: packet.identity,
            channel,
            carrier: via,
            role: Role::Outlet,
            trace: packet.seen_trace(shard),
            basis,
        };
        let stream = Stream::open(shard, machine, far, guard)?;
        if !is_admitted || shard.draining().is_stopped() {
            stream.with(shard, portal::Stream::refused);
            return Ok(stream);
        }
        if let Some(producer) = packet.producer {
            let permitted = shard.flow(|f| f.add_consumer(producer.id, stream.address.key));
            if permitted.is_err() {
                stream.abort(shard, CloseReason::Local);
                return Err(Refusal::TooManyPermissions);
            }
        }
        let holds = (self.streams.enter(&stream), self.stop.clone());
        let (shard, target) = (shard.clone(), self.target.clone());
        let opened = Rc::clone(&stream);
        monoio::spawn(async move {
            if let Some(socket) = connect(&shard, &opened, target).await {
                // By itself, for what it takes to connect is much more than what a stream takes.
                opened.run_detached(&shard, socket, holds);
            }
        });
        Ok(stream)
    }

    /// Takes a message of an inlet that skips the handshake (`protocol/03-portals.md` 6).
    fn handle_skipping(&self, shard: &Shard, packet: Packet) -> Outcome {
        let back = packet.return_route();
        let Some(inlet) = back.last() else {
            return Outcome::Refused(Refusal::BadPayload);
        };
        let peer = packet.identity;
        let known = self.skipping.borrow().find(peer.as_ref(), inlet).cloned();
        let stream = match known.filter(|stream| stream.ended().is_none()) {
            Some(stream) => stream,
            None => {
                let machine = portal::Stream::outlet_skip_handshake(&self.config);
                let stream = match self.open(shard, machine, &packet) {
                    Ok(stream) => stream,
                    Err(reason) => return Outcome::Refused(reason),
                };
                let mut table = self.skipping.borrow_mut();
                if table
                    .insert(peer.as_ref(), inlet, Rc::clone(&stream))
                    .is_err()
                {
                    stream.abort(shard, CloseReason::Local);
                    return Outcome::Refused(Refusal::TooManyStreams);
                }
                stream
            }
        };
        stream.receive(shard, packet)
    }
}

impl Worker for Outlet {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        if self.config.skip_handshake {
            return self.handle_skipping(shard, packet);
        }
        let Ok(message) = PortalMessage::decode(packet.payload()) else {
            return Outcome::Refused(Refusal::BadPayload);
        };
        if !matches!(message, PortalMessage::Ping { .. }) {
            return Outcome::Refused(Refusal::PortalState);
        }
        let machine = portal::Stream::outlet(&self.config, &message);
        match self.open(shard, machine, &packet) {
            Ok(_) => Outcome::Done,
            Err(reason) => Outcome::Refused(reason),
        }
    }

    fn tick(&self, _: &Shard, _: LocalAddress) {
        let mut table = self.skipping.borrow_mut();
        table.retain(|stream| stream.ended().is_none());
    }

    fn removed(&self, shard: &Shard, _: LocalAddress) {
        self.streams.break_off(shard);
    }
}

/// Connects a stream to its service, unless nobody waits for it any more.
async fn connect(shard: &Shard, stream: &Rc<Stream>, target: Target) -> Option<TcpStream> {
    let began = Instant::now();
    let dialled = monoio::select! {
        dialled = dial(&target) => dialled,
        // Nothing waits to be delivered.
        () = stream.wait_reset() => return None,
    };
    match dialled {
        Ok(socket) => {
            stream.note_open(shard, began.elapsed());
            stream.with(shard, portal::Stream::connected);
            Some(socket)
        }
        Err(error) => {
            shard.refuse(Refusal::TargetRefused, "stream");
            tracing::warn!(%target, %error, "the target of an outlet refused a connection");
            stream.with(shard, portal::Stream::refused);
            None
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
    match monoio::time::timeout(CONNECT_TIMEOUT, socket::connect(address)).await {
        Ok(result) => result,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
