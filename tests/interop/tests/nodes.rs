//! Services that a node of Culvert's offers beside a relay or an outlet: who reaches them, and what
//! they answer.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::http::{self, Client};
use common::node::{Home, Kind, OckamHome, Registration, Relay, listening};
use common::peer::{Channel, Link};
use culvert_proto::address::{Address, TCP};
use culvert_proto::bare;
use culvert_proto::route::Route;
use culvert_tests::chain::{Edge, NAME};
use culvert_tests::metrics::scrape;
use culvert_tests::net::{eventually, free_address};
use culvert_tests::process::Process;
use culvert_tests::wire::route;
use culvert_tests::{PATIENCE, alone};

/// Address of a client's worker.
const CLIENT: &str = "a056cea4740c5d4e3e620894e40f3794";
/// How long nothing may come when nothing is expected.
const MOMENT: Duration = Duration::from_millis(500);

/// A running `culvert-edge node`.
struct Node {
    edge: Edge,
    address: SocketAddr,
    metrics: SocketAddr,
    process: Process,
}

impl Node {
    fn start(services: &[&str], more: &[&str]) -> Self {
        let edge = Edge::new();
        let metrics = free_address();
        let process = Edge::command(edge.home())
            .args(["node", "--listen", "127.0.0.1:0", "--output", "json"])
            .args(["--metrics", &metrics.to_string()])
            .args(services.iter().flat_map(|name| ["--service", name]))
            .args(more)
            .start("culvert node");
        let listening = process.event("listening");
        Self {
            address: listening.text("address").parse().expect("an address"),
            metrics,
            process,
            edge,
        }
    }

    fn refused(&self, reason: &str) -> f64 {
        let series = format!("culvert_refused_total{{reason=\"{reason}\"}}");
        scrape(self.metrics).get(&series)
    }

    /// Waits until something was refused for this reason.
    fn refuses(&self, reason: &str) {
        eventually(reason, PATIENCE, || match self.refused(reason) {
            0.0 => Err(0),
            _ => Ok(()),
        });
    }
}

/// Lets an Ockam client say something to a service of the node; gives its last event.
fn ask(client: &OckamHome, node: &Node, arguments: &[&str]) -> Process {
    client
        .program()
        .args(["echo", "--timeout", "3", "--connect"])
        .arg(node.address.to_string())
        .args(arguments)
        .start("ockam client")
}

/// `echo` and `uppercase`, in clear where that was asked for, and through a channel.
#[test]
fn services_answer_an_ockam_client() {
    let _turn = alone();
    let client = OckamHome::new("ed25519");
    let services = ["echo", "uppercase"];
    let plain = Node::start(&services, &["--plain"]);
    let closed = Node::start(&services, &["--allow", &client.identifier]);
    for service in services {
        let service = ["--service", service, "--count", "5"];
        ask(&client, &plain, &service).event("echoed");
        let secure = ["--secure", "--allow", &closed.edge.identifier];
        ask(&client, &closed, &[&service[..], &secure].concat()).event("echoed");
    }
    // Without a channel, or as somebody else, nothing comes back.
    let mut link = Link::connect(closed.address);
    for service in services {
        link.send(route(&[service]), route(&[CLIENT]), bare::string("abc"));
    }
    assert!(link.receive_within(MOMENT).is_none());
    assert_eq!(closed.refused("not_permitted"), 2.0);
    let stranger = OckamHome::new("ed25519");
    let _asks = ask(&stranger, &closed, &["--secure"]);
    closed.refuses("identity_not_allowed");
}

/// An Ockam node exchanges keys with `key_exchanger`, and takes the node for who it is; others do not.
#[test]
fn keys_are_exchanged() {
    let _turn = alone();
    let client = OckamHome::new("p256");
    let node = Node::start(&["key_exchanger"], &["--allow", &client.identifier]);
    let arguments = ["--exchange-keys", "--allow", &node.edge.identifier];
    let exchanged = ask(&client, &node, &arguments).event("exchanged");
    assert_eq!(exchanged.text("peer"), node.edge.identifier);
    let somebody_else = ["--exchange-keys", "--allow", &client.identifier];
    ask(&client, &node, &somebody_else).event("failed");
    // An Ockam initiator believes its channel to be up before the responder has decided, and may end
    // before its last message has left.
    let stranger = OckamHome::new("ed25519");
    eventually("a refusal", PATIENCE, || {
        ask(&stranger, &node, &["--exchange-keys"]).event("exchanged");
        match scrape(node.metrics).count("identity_not_allowed") {
            0.0 => Err(()),
            _ => Ok(()),
        }
    });
    // Nothing goes through such a channel, whatever the peer sends, and none of them stays.
    let open = Node::start(&["key_exchanger", "echo"], &["--allow-any"]);
    let mut channel = Channel::initiate(Link::connect(open.address), &["key_exchanger"]);
    channel.send(route(&["echo"]), route(&[CLIENT]), b"hello".to_vec());
    assert!(channel.try_receive(MOMENT).is_none());
    assert_eq!(scrape(open.metrics).get("culvert_channels"), 0.0);
}

/// Where `hop` does not lead: to what its user could not reach without it.
#[test]
fn hop_is_no_open_door() {
    let _turn = alone();
    let relay = Relay::start(Kind::Culvert);
    let to = format!("next={}", relay.address());
    let node = Node::start(&["hop", "echo"], &["--plain", "--to", &to]);
    node.process.event("connected");
    let mut link = Link::connect(node.address);
    let mut ask = |onward: Route| {
        link.send(onward, route(&[CLIENT]), b"hello".to_vec());
        link.receive_within(MOMENT).map(|answer| answer.payload)
    };
    assert_eq!(
        ask(route(&["hop", "next", "echo"])),
        Some(b"hello".to_vec())
    );
    assert_eq!(ask(route(&["hop", "echo"])), Some(b"hello".to_vec()));
    for nowhere in ["outlet", "app", CLIENT, "forward_to_x", "api"] {
        assert_eq!(ask(route(&["hop", nowhere])), None, "{nowhere}");
    }
    let mut elsewhere = route(&["hop"]);
    elsewhere.push_back(Address::new(TCP, relay.address().to_string()).as_ref());
    assert_eq!(ask(elsewhere), None);
    // As long a way as a route can be, in circles.
    let circles = [&["hop"; 31][..], &["echo"]].concat();
    ask(route(&circles));
    assert_eq!(
        ask(route(&["hop", "next", "echo"])),
        Some(b"hello".to_vec())
    );

    // Only for those who are allowed, and not in clear.
    let closed = Node::start(&["hop"], &["--allow-any", "--to", &to]);
    closed.process.event("connected");
    let mut link = Link::connect(closed.address);
    for onward in [&["hop", "next", "echo"][..], &["next", "echo"]] {
        link.send(route(onward), route(&[CLIENT]), b"hello".to_vec());
    }
    assert!(link.receive_within(MOMENT).is_none());
    assert_eq!(closed.refused("not_permitted"), 2.0);
    let mut channel = Channel::initiate(link, &["api"]);
    let onward = route(&["hop", "next", "echo"]);
    channel.send(onward, route(&[CLIENT]), b"hello".to_vec());
    assert_eq!(channel.receive().payload, b"hello");
}

/// A node behind a connection of `--to` gets nowhere through `hop` but to who has sent something to
/// it: it is no way into this node's other connections.
#[test]
fn the_next_node_gets_no_further() {
    let _turn = alone();
    let relay = Relay::start(Kind::Culvert);
    let port = common::peer::Port::open();
    let (near, far) = (
        format!("near={}", port.address()),
        format!("far={}", relay.address()),
    );
    let node = Node::start(&["hop"], &["--allow-any", "--to", &near, "--to", &far]);
    let mut link = port.accept();
    node.process.event("connected");
    node.process.event("connected");
    link.send(route(&["hop", "far", "echo"]), route(&[CLIENT]), vec![1]);
    link.send(route(&["far", "echo"]), route(&[CLIENT]), vec![2]);
    assert!(link.receive_within(MOMENT).is_none());
    assert_eq!(node.refused("not_permitted"), 2.0);
}

/// Portals whose way leads through a channel to a node of Culvert's, and on by its `hop`.
#[test]
fn portals_through_a_guarded_hop() {
    let _turn = alone();
    let service = http::service();
    for kind in Kind::BOTH {
        let relay = Relay::start(kind);
        let (inlet, outlet) = (Edge::new(), Home::new(Kind::Ockam, "ed25519"));
        let to = service.address();
        let allowed = [&inlet.identifier[..]];
        let _outlet = outlet.outlet(relay.address(), to, &allowed, Registration::Plain);
        let next = format!("inner={}", relay.address());
        let allow = ["--allow", &inlet.identifier];
        let node = Node::start(&["hop"], &[&allow[..], &["--to", &next]].concat());
        node.process.event("connected");
        let way = format!(
            "/ip4/127.0.0.1/tcp/{}/secure/api/service/hop/service/inner/service/forward_to_{NAME}\
             /secure/api/service/outlet",
            node.address.port()
        );
        let running = Edge::command(inlet.home())
            .args(["inlet", "--from", "0", "--output", "json", "--route", &way])
            .args(["--allow", &node.edge.identifier])
            .args(["--allow", outlet.identifier()])
            .start("culvert inlet");
        let address = listening(&running);
        running.event("up");
        let mut client = Client::connect(address);
        client.get(1, 1_000_000).expect("an answer");
        client.put(2, 1_000_000).expect("an answer");
    }
}

/// The connection of `--to` comes back after the next node was restarted.
#[test]
fn the_connection_comes_back() {
    let _turn = alone();
    let relay = Relay::start(Kind::Ockam);
    let to = format!("next={}", relay.address());
    let node = Node::start(&["hop"], &["--plain", "--to", &to]);
    node.process.event("connected");
    let _relay = relay.kill_and_restart();
    node.process.event("down");
    node.process.event("connected");
    let client = OckamHome::new("ed25519");
    ask(&client, &node, &["--hop", "hop", "--hop", "next"]).event("echoed");
}
