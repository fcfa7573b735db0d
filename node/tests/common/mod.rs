//! Two nodes in this process, joined over loopback.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use culvert_crypto::Identifier;
use culvert_crypto::channel::Endpoint;
use culvert_crypto::identity::Identity;
use culvert_crypto::primitives::curve25519::x25519_public_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningVault, SoftwareVault};
use culvert_node::channel::{API, ChannelListener, Credentials};
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::portal::{Inlet, Lanes, OUTLET, Outlet, Target};
use culvert_node::session::{Event, Leg, PathPlan, Reporter, keep_path};
use culvert_node::shard::Shard;
use culvert_node::stop::Stop;
use culvert_node::worker::{ECHO, Echo};
use culvert_node::{SeenHistories, random_bytes};
use culvert_proto::credential::PurposePublicKey;
use culvert_proto::message::Message;
use culvert_proto::portal;
use culvert_proto::route::Route;

/// A new identity, ready for handshakes.
pub(crate) fn endpoint(key_type: KeyType) -> Endpoint {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut vault = SoftwareVault::new();
    let key = vault
        .generate(key_type, &Secret::new(random_bytes()))
        .unwrap();
    let identity = Identity::create(&vault, &key, now, now + 1_000_000).unwrap();
    let secret = Secret::new(random_bytes());
    let public = PurposePublicKey::SecureChannel(x25519_public_key(&secret));
    let attestation = culvert_crypto::purpose_key::attest(&vault, &identity, &public, now).unwrap();
    Endpoint::new(&identity, secret, attestation, Vec::new()).unwrap()
}

pub(crate) fn credentials(endpoint: &Endpoint, trust: Trust) -> Credentials {
    Credentials::new(endpoint.clone(), trust, SeenHistories::default())
}

pub(crate) fn config(listen: bool) -> NodeConfig {
    NodeConfig {
        shards: 1,
        listen: listen.then(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        limits: Limits::default(),
    }
}

/// A node that accepts links and has an outlet to `target` for `allowed`.
pub(crate) fn outlet_node(me: &Endpoint, allowed: Trust, target: SocketAddr) -> Node {
    let me = me.clone();
    Node::start(&config(true), move |shard| {
        let flow = shard.accepted_channels_flow();
        let echo = shard.add_named(ECHO, Rc::new(Echo)).unwrap();
        shard.open_to_all(echo.key);
        shard.open_to_channels(echo.key);
        let listener = ChannelListener::new(credentials(&me, allowed.clone()), flow);
        let api = shard.add_named(API, Rc::new(listener)).unwrap();
        shard.open_to_all(api.key);
        let target = Target {
            host: target.ip().to_string(),
            port: target.port(),
        };
        let outlet = Outlet::new(target, portal::Config::default());
        let outlet = shard.add_named(OUTLET, Rc::new(outlet)).unwrap();
        shard.open_to_channels(outlet.key);
    })
    .unwrap()
}

/// A node with an inlet whose path leads through a channel to the outlet node.
pub(crate) struct InletNode {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    pub(crate) events: async_channel::Receiver<Event>,
}

pub(crate) fn inlet_node(me: &Endpoint, far: SocketAddr, allowed: Identifier) -> InletNode {
    let me = me.clone();
    let node = Node::start(&config(false), |shard| {
        let echo = shard.add_named(ECHO, Rc::new(Echo)).unwrap();
        shard.open_to_all(echo.key);
        shard.open_to_channels(echo.key);
    })
    .unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (reporter, events) = Reporter::new();
    node.on_shard(0, move |shard| {
        start_inlet(shard, &me, far, allowed, socket, reporter);
    })
    .unwrap();
    InletNode {
        node,
        address,
        events,
    }
}

/// A way through a channel to an outlet.
pub(crate) fn plan(far: SocketAddr, allowed: Identifier, outlet: &[u8]) -> PathPlan {
    PathPlan {
        host: far.ip().to_string(),
        port: far.port(),
        legs: vec![Leg {
            hops: Vec::new(),
            listener: API.to_vec(),
            trust: Trust::only(allowed),
        }],
        tail: vec![outlet.to_vec()],
        admission: None,
        direct: None,
    }
}

fn start_inlet(
    shard: &Shard,
    me: &Endpoint,
    far: SocketAddr,
    allowed: Identifier,
    socket: TcpListener,
    reporter: Reporter,
) {
    let (lanes, mut ends) = Lanes::new(1);
    Inlet::start(shard, socket, lanes, Stop::never()).unwrap();
    let config = portal::Config::default();
    let paths = ends.remove(0).start(shard, config, None, Stop::never());
    let (here, plan) = (shard.clone(), plan(far, allowed, OUTLET));
    let credentials = credentials(me, Trust::Anyone);
    let stop = Stop::never();
    shard.spawn(keep_path(here, plan, credentials, paths, reporter, stop));
}

/// Waits for an event that satisfies the condition.
pub(crate) fn wait_for(
    events: &async_channel::Receiver<Event>,
    what: impl Fn(&Event) -> bool + Send,
) -> Event {
    let (sender, receiver) = mpsc::channel();
    let events = events.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Ok(event) = events.recv_blocking() {
                if what(&event) {
                    let _ = sender.send(event);
                    return;
                }
            }
        });
        receiver
            .recv_timeout(Duration::from_secs(20))
            .expect("the event happens")
    })
}

/// A message between local addresses, with its length in front.
pub(crate) fn frame(onward: &[&[u8]], return_route: &[&[u8]], payload: &[u8]) -> Vec<u8> {
    let route = |hops: &[&[u8]]| {
        let mut route = Route::new();
        for hop in hops {
            route.push_back(culvert_proto::address::AddressRef::local(hop));
        }
        route
    };
    let message = Message::new(route(onward), route(return_route), payload.to_vec()).encode();
    let mut frame = (message.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&message);
    frame
}

/// A connection that says the version and has heard the node's.
pub(crate) fn link(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.write_all(&[1]).unwrap();
    socket.read_exact(&mut [0]).unwrap();
    socket
}

/// Reads one frame into a buffer that is large enough; gives its length.
pub(crate) fn read_frame(socket: &mut TcpStream, buffer: &mut [u8]) -> usize {
    socket.read_exact(&mut buffer[..4]).unwrap();
    let len = u32::from_be_bytes(buffer[..4].try_into().unwrap()) as usize;
    socket.read_exact(&mut buffer[4..4 + len]).unwrap();
    4 + len
}
