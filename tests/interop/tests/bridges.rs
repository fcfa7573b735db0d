//! Messages over several nodes of both kinds: workers named `hop`, relays behind each other, and the
//! services that every node has.

mod common;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use common::for_each_kind;
use common::http::{self, Client};
use common::node::{Home, Kind, OckamHome, Registration, Relay, Way, listening};
use common::peer::Link;
use culvert_proto::bare;
use culvert_proto::limits::MAX_RELAY_NAME;
use culvert_tests::chain::{Edge, NAME};
use culvert_tests::net::free_address;
use culvert_tests::process::Process;
use culvert_tests::wire::route;
use culvert_tests::{PATIENCE, alone};
use serde_json::Value;

/// Address of a client's worker.
const CLIENT: &str = "a056cea4740c5d4e3e620894e40f3794";

/// How long nothing may come when nothing is expected.
const MOMENT: Duration = Duration::from_secs(1);

/// A running node that passes messages on.
struct Hop {
    _home: Home,
    _process: Process,
    /// Where it accepts nodes.
    address: SocketAddr,
    /// Address of its connection to the next node.
    connection: String,
}

impl Hop {
    /// Starts one before the node at `to`; it registers `mid` with the relay, if there is one.
    fn start(kind: Kind, to: SocketAddr, relay: Option<SocketAddr>) -> Self {
        let home = Home::new(kind, "ed25519");
        let relay = relay.map(|relay| relay.to_string());
        let registered = relay
            .iter()
            .flat_map(|relay| ["--relay", relay, "--name", "mid"]);
        let (process, connection) = match &home {
            Home::Ockam(home) => {
                let hop = ["hop", "--to", &to.to_string()].map(str::to_owned);
                let process = home.program().args(hop).args(registered);
                (process.start("ockam hop"), None)
            }
            Home::Culvert { edge, .. } => {
                let arguments: Vec<&str> = registered.collect();
                let plain = (!arguments.is_empty()).then_some("--plain-registration");
                let to = format!("next={to}");
                let process = Edge::command(edge.home())
                    .args(["node", "--listen", "127.0.0.1:0", "--output", "json"])
                    .args(["--service", "hop", "--plain", "--identity", "ed25519"])
                    .args(["--to", &to])
                    .args(arguments)
                    .args(plain)
                    .start("culvert node");
                (process, Some("next".to_owned()))
            }
        };
        let listening = process.event("listening");
        let address = listening.text("address").parse().expect("an address");
        let connection = connection.unwrap_or_else(|| listening.text("connection").to_owned());
        if let Home::Culvert { .. } = home {
            let news = RefCell::new(vec!["connected"]);
            news.borrow_mut().extend(relay.map(|_| "registered"));
            process.expect("the node is connected", PATIENCE, |event| {
                news.borrow_mut().retain(|kind| *kind != event.kind());
                news.borrow().is_empty()
            });
        }
        Self {
            _home: home,
            _process: process,
            address,
            connection,
        }
    }
}

/// Two or three nodes on the way from `first` to an outlet named [`NAME`], which is at the last.
struct Bridge {
    first: SocketAddr,
    hops: Vec<String>,
    _nodes: Vec<Hop>,
    _relays: Vec<Relay>,
}

impl Bridge {
    /// A node with `hop`, then a relay. Also gives where the outlet registers.
    fn hop_and_relay(hop: Kind, relay: Kind) -> (Self, SocketAddr) {
        let relay = Relay::start(relay);
        let at = relay.address();
        let hop = Hop::start(hop, at, None);
        let hops = ["hop", &hop.connection, &format!("forward_to_{NAME}")];
        let bridge = Self {
            first: hop.address,
            hops: hops.map(str::to_owned).to_vec(),
            _nodes: vec![hop],
            _relays: vec![relay],
        };
        (bridge, at)
    }

    /// Two nodes with `hop`, then a relay.
    fn two_hops(first: Kind, second: Kind) -> (Self, SocketAddr) {
        let (mut bridge, at) = Self::hop_and_relay(second, Kind::Culvert);
        let hop = Hop::start(first, bridge.first, None);
        bridge.first = hop.address;
        let hops = ["hop", &hop.connection].map(str::to_owned);
        bridge.hops.splice(0..0, hops);
        bridge._nodes.push(hop);
        (bridge, at)
    }

    /// A relay, then a node with `hop`, which registered with it, then a relay of the other kind.
    fn relay_hop_and_relay(first: Kind, hop: Kind) -> (Self, SocketAddr) {
        let second = match first {
            Kind::Ockam => Kind::Culvert,
            Kind::Culvert => Kind::Ockam,
        };
        let relays = [first, second].map(Relay::start);
        let at = relays[1].address();
        let hop = Hop::start(hop, at, Some(relays[0].address()));
        let name = format!("forward_to_{NAME}");
        let hops = ["forward_to_mid", "hop", &hop.connection, &name];
        let bridge = Self {
            first: relays[0].address(),
            hops: hops.map(str::to_owned).to_vec(),
            _nodes: vec![hop],
            _relays: relays.into(),
        };
        (bridge, at)
    }

    /// All of these, with every mix of kinds.
    fn each(test: impl Fn(Self, SocketAddr)) {
        type Start = fn(Kind, Kind) -> (Bridge, SocketAddr);
        let all: [(&str, Start); 3] = [
            ("hop, relay", Self::hop_and_relay),
            ("hop, hop, relay", Self::two_hops),
            ("relay, hop, other relay", Self::relay_hop_and_relay),
        ];
        for (what, start) in all {
            for first in Kind::BOTH {
                for_each_kind(
                    &format!("second of {what}; the first is {first}"),
                    |second| {
                        let (bridge, at) = start(first, second);
                        test(bridge, at);
                    },
                );
            }
        }
    }

    /// Lets an Ockam client speak to a service at the end.
    fn ask(&self, client: &OckamHome, service: &str, more: &[&str]) {
        let output = client
            .program()
            .args(["echo", "--connect", &self.first.to_string()])
            .args(self.hops.iter().flat_map(|hop| ["--hop", hop]))
            .args(["--service", service, "--count", "10"])
            .args(more)
            .run();
        let event: Value = serde_json::from_str(&output).expect("one event");
        assert_eq!(event["event"], "echoed", "{event}");
    }
}

/// Services at the end, in clear and through a channel, of outlets of both kinds.
#[test]
fn services_behind_two_nodes() {
    let _turn = alone();
    let client = OckamHome::new("ed25519");
    Bridge::each(|bridge, at| {
        for kind in Kind::BOTH {
            let home = Home::new(kind, "ed25519");
            let _outlet = home.outlet(at, free_address(), &[], Registration::Plain);
            for service in ["echo", "uppercase"] {
                bridge.ask(&client, service, &[]);
                bridge.ask(
                    &client,
                    service,
                    &["--secure", "--allow", home.identifier()],
                );
            }
        }
    });
}

/// Portals of both kinds of inlets and outlets.
#[test]
fn portals_over_two_nodes() {
    let _turn = alone();
    let service = http::service();
    Bridge::each(|bridge, at| {
        let hops: Vec<&str> = bridge.hops.iter().map(String::as_str).collect();
        for (inlet, outlet) in Kind::pairs() {
            let (inlet, outlet) = (Home::new(inlet, "ed25519"), Home::new(outlet, "ed25519"));
            let allowed = [inlet.identifier()];
            let to = service.address();
            let _outlet = outlet.outlet(at, to, &allowed, Registration::Plain);
            let way = Way::over(bridge.first, &hops);
            let (_inlet, address) = inlet.inlet_over(&way, &[outlet.identifier()]);
            let mut client = Client::connect(address);
            client.get(1, 1_000_000).expect("an answer");
            client.put(2, 1_000_000).expect("an answer");
        }
    });
}

/// Portals that skip the handshake, of both kinds of ends, through both relays.
#[test]
fn skipping_the_handshake() {
    let _turn = alone();
    for_each_kind("relay", |kind| {
        for (inlet, outlet) in Kind::pairs() {
            println!("{inlet} to {outlet}");
            let service = http::service();
            let relay = Relay::start(kind);
            let (inlet, outlet) = (Home::new(inlet, "ed25519"), Home::new(outlet, "ed25519"));
            let (at, to) = (relay.address(), service.address());
            let skip = ["--skip-handshake"];
            let runs = outlet.start_outlet(at, NAME, to, &[inlet.identifier()], &skip);
            runs.event("registered");
            let inlet = inlet.start_inlet(&Way::via(at, NAME), &[outlet.identifier()], &skip);
            let address = listening(&inlet);
            for n in 0..5 {
                let mut client = Client::connect(address);
                client.get(n, 1_000_000).expect("an answer");
                client.put(n, 1_000_000).expect("an answer");
            }
        }
    });
}

/// The services of a relay itself answer alike.
#[test]
fn services_of_relays() {
    let _turn = alone();
    let answers = Kind::BOTH.map(|kind| {
        let relay = Relay::start(kind);
        let mut link = Link::connect(relay.address());
        let mut answers = Vec::new();
        let mut ask = |service: &str, payload: &[u8]| {
            link.send(route(&[service]), route(&[CLIENT]), payload.to_vec());
            let answer = link.receive();
            answers.push((answer.onward, answer.return_route, answer.payload));
        };
        for payload in [&b""[..], b"\0\xff", &[7; 100_000]] {
            ask("echo", payload);
        }
        for text in ["", "abc", "Straße, ŉ, ﬁ, ώ", "already UP 1"] {
            ask("uppercase", &bare::string(text));
        }
        // Not a string: no answer, and the next is answered.
        link.send(route(&["uppercase"]), route(&[CLIENT]), b"\x05abc".to_vec());
        link.send(
            route(&["uppercase"]),
            route(&[CLIENT]),
            b"\x01\xff".to_vec(),
        );
        link.send(route(&["echo"]), route(&[CLIENT]), b"next".to_vec());
        assert_eq!(link.receive().payload, b"next");
        answers
    });
    assert_eq!(answers[0], answers[1]);
}

/// Which of these names a relay lets a node in clear register.
fn registered(kind: Kind, names: &[String]) -> Vec<bool> {
    let relay = Relay::start(kind);
    let names = names.iter().map(|name| {
        let mut link = Link::connect(relay.address());
        let service = route(&["static_forwarding_service"]);
        link.send(service, route(&[CLIENT]), bare::string(name));
        let Some(confirmation) = link.receive_within(MOMENT) else {
            link.send(route(&["echo"]), route(&[CLIENT]), b"next".to_vec());
            assert_eq!(link.receive().payload, b"next");
            return false;
        };
        let expected = bare::string(&format!("forward_to_{name}"));
        assert!(confirmation.payload.starts_with(&expected));
        true
    });
    names.collect()
}

/// Ockam takes names that are longer than what Culvert takes; those are refused in silence, as all
/// else is.
#[test]
fn long_names() {
    let _turn = alone();
    let names = [0, 1, 32, 255, 256, 500].map(|length| "n".repeat(length));
    assert_eq!(registered(Kind::Ockam, &names), [true; 6]);
    let short = names.iter().map(|name| name.len() <= MAX_RELAY_NAME);
    assert_eq!(registered(Kind::Culvert, &names), short.collect::<Vec<_>>());
}
