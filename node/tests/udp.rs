//! The UDP transport of a node beside plain sockets: what comes back, what is dropped and why.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use culvert_node::metrics::Snapshot;
use culvert_node::node::Node;
use culvert_node::reason::Refusal;
use culvert_node::shard::Shard;
use culvert_node::udp::{UdpLink, serve_rendezvous};
use culvert_node::worker::{ECHO, Echo};
use culvert_proto::message::Message;
use culvert_proto::route::Route;
use culvert_proto::udp::{Config, Datagram, Reassembler, Received, RoutingNumber, Splitter};
use serde_json::Value;

use common::config;

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// A node with what `set_up` makes, and what that gave.
fn node_with<T: Send + 'static>(
    set_up: impl Fn(&Shard) -> T + Clone + Send + 'static,
) -> (Node, T) {
    let (made, makes) = mpsc::channel();
    let node = Node::start(&config(false), move |shard| {
        made.send(set_up(shard)).unwrap();
    })
    .unwrap();
    (node, makes.recv().unwrap())
}

fn echo_node() -> (Node, SocketAddr) {
    node_with(|shard| {
        let link = UdpLink::start(shard, LOOPBACK.into(), Config::default()).unwrap();
        let echo = shard.add_named(ECHO, Rc::new(Echo)).unwrap();
        shard
            .flow(|f| f.add_consumer(link.producer.id, echo.key))
            .unwrap();
        // Open to links, but not to what comes over UDP.
        let other = shard.add_named(b"other", Rc::new(Echo)).unwrap();
        shard.open_to_all(other.key);
        link.local
    })
}

/// A peer with a plain socket.
struct Peer {
    socket: UdpSocket,
    splitter: Splitter,
    reassembler: Reassembler,
}

impl Peer {
    fn new(node: SocketAddr) -> Self {
        let socket = UdpSocket::bind(SocketAddr::from(LOOPBACK)).unwrap();
        socket.connect(node).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self {
            socket,
            splitter: Splitter::new(RoutingNumber(65_530)),
            reassembler: Reassembler::new(Config::default()),
        }
    }

    fn datagrams(&mut self, message: &Message) -> Vec<Vec<u8>> {
        let message = message.encode();
        let encode = |part: Datagram<'_>| {
            let mut out = Vec::new();
            part.encode_into(&mut out);
            out
        };
        self.splitter.split(&message).unwrap().map(encode).collect()
    }

    fn send(&mut self, message: &Message) {
        for datagram in self.datagrams(message) {
            self.socket.send(&datagram).unwrap();
        }
    }

    fn receive(&mut self) -> Message {
        let mut buffer = [0; 2048];
        loop {
            let len = self.socket.recv(&mut buffer).unwrap();
            assert!(len <= 508, "a datagram of {len} bytes");
            let from = self.socket.peer_addr().unwrap();
            if let Received::Message(message) =
                self.reassembler.receive(0, from, &buffer[..len]).unwrap()
            {
                return Message::decode(&message).unwrap();
            }
        }
    }
}

fn message(onward: &str, payload: &[u8]) -> Message {
    Message {
        onward: onward.parse::<Route>().unwrap(),
        return_route: "0#peers_worker".parse().unwrap(),
        payload: payload.to_vec(),
        tracing: Some("{}".to_owned()),
    }
}

#[track_caller]
fn assert_refused(node: &Node, reason: Refusal, count: u64) {
    let at = Refusal::ALL.iter().position(|one| *one == reason).unwrap();
    for _ in 0..200 {
        if Snapshot::sum(&node.counters()).refused[at] == count {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{reason} was not counted {count} times");
}

#[test]
fn messages_of_every_length_come_back_to_their_peer() {
    let (node, at) = echo_node();
    let (mut one, mut two) = (Peer::new(at), Peer::new(at));
    // 493 bytes go into each datagram: lengths around multiples of that too.
    for len in [1, 400, 430, 431, 432, 433, 923, 924, 925, 926, 20_000] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        one.send(&message("0#echo", &payload));
        two.send(&message("0#echo", b"another"));
        let answer = one.receive();
        assert_eq!(answer.payload, payload);
        assert_eq!(answer.onward, "0#peers_worker".parse().unwrap());
        assert_eq!(answer.return_route, "0#echo".parse().unwrap());
        assert_eq!(two.receive().payload, b"another");
    }
    node.shutdown();
}

#[test]
fn what_is_dropped_is_counted_and_hurts_nobody() {
    let (node, at) = echo_node();
    let mut peer = Peer::new(at);
    peer.socket.send(b"\xffnot a datagram").unwrap();
    assert_refused(&node, Refusal::UdpDatagram, 1);
    let datagrams = peer.datagrams(&message("0#echo", b"twice"));
    for _ in 0..2 {
        peer.socket.send(&datagrams[0]).unwrap();
    }
    assert_refused(&node, Refusal::UdpLate, 1);
    assert_eq!(peer.receive().payload, b"twice");
    let mut part = Vec::new();
    for datagram in peer.splitter.split(b"no message").unwrap() {
        datagram.encode_into(&mut part);
    }
    peer.socket.send(&part).unwrap();
    assert_refused(&node, Refusal::UdpMessage, 1);
    peer.send(&message("0#nowhere", b""));
    assert_refused(&node, Refusal::UnknownAddress, 1);
    peer.send(&message("0#other", b""));
    assert_refused(&node, Refusal::NotPermitted, 1);
    // A heartbeat: to nobody, and no error.
    peer.send(&message("", b""));
    peer.send(&message("0#echo", b"still there"));
    assert_eq!(peer.receive().payload, b"still there");
    node.shutdown();
}

#[test]
fn sends_where_the_route_says() {
    let (node, link) = node_with(|shard| {
        UdpLink::start(shard, LOOPBACK.into(), Config::default())
            .unwrap()
            .address
    });
    let mut peer = Peer::new(SocketAddr::from(([127, 0, 0, 1], 9)));
    // Not connected to anybody: takes what the node sends.
    peer.socket = UdpSocket::bind(SocketAddr::from(LOOPBACK)).unwrap();
    peer.socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let to = peer.socket.local_addr().unwrap();
    let send = move |hop: String| {
        node.on_shard(0, move |shard| {
            let mut route = Shard::route_to(link);
            route.extend(hop.parse::<Route>().unwrap().view());
            let outcome = shard.send(&route, &Shard::named_route(b"me"), b"hello");
            shard.settle(outcome, "a test");
        })
        .unwrap();
        node
    };
    let node = send(format!("2#{to} => 0#worker"));
    let mut buffer = [0; 2048];
    let (len, _) = peer.socket.recv_from(&mut buffer).unwrap();
    let datagram = Datagram::decode(&buffer[..len]).unwrap();
    let received = Message::decode(datagram.part).unwrap();
    assert_eq!(received.onward, "0#worker".parse().unwrap());
    assert_eq!(received.return_route, "0#me".parse().unwrap());
    node.on_shard(0, move |shard| {
        for hop in ["0#worker", "2#localhost:1"] {
            let mut route = Shard::route_to(link);
            route.extend(hop.parse::<Route>().unwrap().view());
            let outcome = shard.send(&route, &Route::new(), b"hello");
            shard.settle(outcome, "a test");
        }
        shard.remove(link.key);
    })
    .unwrap();
    assert_refused(&node, Refusal::NotUdp, 2);
    node.shutdown();
}

#[test]
fn a_socket_that_was_removed_gives_its_port_back() {
    let (node, (link, at)) = node_with(|shard| {
        let link = UdpLink::start(shard, LOOPBACK.into(), Config::default()).unwrap();
        (link.address, link.local)
    });
    UdpSocket::bind(at).expect_err("the port is in use");
    node.on_shard(0, move |shard| shard.remove(link.key))
        .unwrap();
    let freed = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        UdpSocket::bind(at).is_ok()
    });
    assert!(freed, "the port was not given back");
    node.shutdown();
}

/// The recorded questions of an Ockam node get the recorded answers, but for what is the socket's.
#[test]
fn rendezvous_answers_as_recorded() {
    let (node, at) = node_with(|shard| serve_rendezvous(shard, LOOPBACK.into()).unwrap());
    let text = include_str!("../../tests/vectors/udp_session_rendezvous.json");
    let session: Value = serde_json::from_str(text).unwrap();
    let mut peer = Peer::new(at);
    let own = peer.socket.local_addr().unwrap();
    let recorded = session["datagrams"].as_array().unwrap();
    for pair in recorded.chunks(2) {
        let bytes = |of: &Value| hex::decode(of["hex"].as_str().unwrap()).unwrap();
        peer.socket.send(&bytes(&pair[0])).unwrap();
        let answer = peer.receive();
        let wanted = bytes(&pair[1]);
        let wanted = Message::decode(Datagram::decode(&wanted).unwrap().part).unwrap();
        assert_eq!(answer.onward, wanted.onward);
        assert_eq!(answer.return_route, wanted.return_route);
        let asked_from = pair[0]["src_port"].to_string();
        let payload = String::from_utf8_lossy(&wanted.payload).into_owned();
        let wanted = payload.replace(&asked_from, &own.port().to_string());
        assert_eq!(String::from_utf8_lossy(&answer.payload), wanted);
    }
    // Nothing else of the node is reached that way. Numbers go on behind the recorded ones.
    peer.splitter = Splitter::new(RoutingNumber(3_600));
    peer.send(&message("0#echo", b""));
    assert_refused(&node, Refusal::UnknownAddress, 1);
    peer.send(&message("0#rendezvous", b"\x82\x07\x80"));
    assert_refused(&node, Refusal::BadPayload, 1);
    node.shutdown();
}

#[test]
fn rendezvous_answers_one_host_only_so_often() {
    let (node, at) = node_with(|shard| serve_rendezvous(shard, LOOPBACK.into()).unwrap());
    let mut peer = Peer::new(at);
    for _ in 0..200 {
        peer.send(&message("0#rendezvous", &[0x82, 1, 0x80]));
    }
    let refused = Refusal::ALL
        .iter()
        .position(|one| *one == Refusal::AskedTooOften)
        .unwrap();
    let seen = || {
        let now = Snapshot::sum(&node.counters());
        (now.rendezvous_answers, now.refused[refused])
    };
    for _ in 0..200 {
        let (answered, refused) = seen();
        if answered + refused == 200 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let (answered, refused) = seen();
    assert_eq!(answered + refused, 200);
    assert!(refused > 0, "all 200 were answered");
    node.shutdown();
}
