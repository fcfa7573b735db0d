//! What must not work, and what happens then: strangers, wrong identities, addresses nobody may
//! reach, and modes that only one end has.

mod common;

use std::io::Write as _;
use std::time::Duration;

use common::chain::Cast;
use common::http::{self, Client};
use common::node::{Home, Kind, OckamHome, Registration, Relay, Way, listening};
use common::peer::{Channel, Link};
use common::{for_each, for_each_kind};
use culvert_proto::address::{Address, TCP};
use culvert_proto::route::Route;
use culvert_tests::chain::NAME;
use culvert_tests::net::{connect, drain, free_address};
use culvert_tests::service::Service;
use culvert_tests::wire::route;
use culvert_tests::{PATIENCE, alone};

/// Address of a client's worker.
const CLIENT: &str = "a056cea4740c5d4e3e620894e40f3794";

/// How long nothing may come when nothing is expected.
const MOMENT: Duration = Duration::from_secs(1);

/// Routes that a stranger must not get anywhere with, behind the given hops.
fn forbidden(before: &[&str]) -> Vec<Route> {
    let mut routes: Vec<Route> = ["outlet", "app", "_internal.nodemanager", CLIENT, "nobody"]
        .map(|address| route(&[before, &[address]].concat()))
        .to_vec();
    let mut other_transport = route(before);
    other_transport.push_back(Address::new(TCP, "127.0.0.1:1").as_ref());
    routes.push(other_transport);
    routes
}

/// Nothing answers, and the link works as before.
fn refused_in_clear(link: &mut Link, before: &[&str]) {
    for onward in forbidden(before) {
        link.send(onward, route(&[CLIENT]), vec![0]);
        let echo = route(&[before, &["echo"]].concat());
        link.send(echo, route(&[CLIENT]), b"still there".to_vec());
        assert_eq!(link.receive().payload, b"still there");
    }
}

/// At relays, and behind them at outlets: `echo` is open to everybody, an outlet is not.
#[test]
fn addresses_in_clear() {
    let _turn = alone();
    let all = Cast::all().filter(|cast| cast.inlet == Kind::Ockam);
    for_each(all, |cast| {
        let service = Service::echo();
        let relay = Relay::start(cast.relay);
        let home = Home::new(cast.outlet, "ed25519");
        let to = service.address();
        let _outlet = home.outlet(relay.address(), to, &[], Registration::Plain);
        let mut link = Link::connect(relay.address());
        refused_in_clear(&mut link, &[]);
        refused_in_clear(&mut link, &[&format!("forward_to_{NAME}")]);
        assert_eq!(service.accepted(), 0);
    });
}

/// Through a channel to an outlet: the outlet is open to it, nothing else is.
#[test]
fn addresses_through_a_channel() {
    let _turn = alone();
    for_each_kind("outlet", |kind| {
        let service = Service::echo();
        let relay = Relay::start(Kind::Culvert);
        let home = Home::new(kind, "ed25519");
        let to = service.address();
        let _outlet = home.outlet(relay.address(), to, &[], Registration::Channel);
        let way = format!("forward_to_{NAME}");
        let mut channel = Channel::initiate(Link::connect(relay.address()), &[&way, "api"]);
        for onward in forbidden(&[]).into_iter().skip(1) {
            channel.send(onward, route(&[CLIENT]), vec![0]);
            channel.send(route(&["echo"]), route(&[CLIENT]), b"still there".to_vec());
            assert_eq!(channel.receive().payload, b"still there");
        }
        channel.send(route(&["outlet"]), route(&[CLIENT]), vec![0]);
        assert_eq!(channel.receive().payload, [1]);
    });
}

/// An outlet that expects another relay does not register with this one.
#[test]
fn another_relay() {
    let _turn = alone();
    for relay_kind in Kind::BOTH {
        for_each_kind(&format!("{relay_kind} relay, outlet"), |kind| {
            let relay = Relay::start(relay_kind);
            let home = Home::new(kind, "ed25519");
            let mut more = vec!["--relay-identity", home.identifier()];
            let refused = match kind {
                Kind::Ockam => {
                    more.extend(["--timeout", "2"]);
                    "failed"
                }
                Kind::Culvert => "down",
            };
            let at = relay.address();
            let outlet = home.start_outlet(at, NAME, free_address(), &[], &more);
            outlet.expect(refused, PATIENCE, |event| {
                assert_ne!(event.kind(), "registered");
                event.kind() == refused
            });
        });
    }
}

/// Ockam nodes exchange keys through Culvert's relay. Culvert's edges have no `key_exchanger`: who
/// asks for it gets no answer, and the edge goes on.
#[test]
fn exchanging_keys() {
    let _turn = alone();
    for_each_kind("outlet", |kind| {
        let service = http::service();
        let relay = Relay::start(Kind::Culvert);
        let home = Home::new(kind, "ed25519");
        let to = service.address();
        let _outlet = home.outlet(relay.address(), to, &[], Registration::Channel);
        let client = OckamHome::new("ed25519");
        let process = client
            .program()
            .args(["echo", "--exchange-keys", "--timeout", "2"])
            .args(["--connect", &relay.address().to_string()])
            .args(["--hop", &format!("forward_to_{NAME}")])
            .args(["--allow", home.identifier()])
            .start("ockam client");
        let expected = match kind {
            Kind::Ockam => "exchanged",
            Kind::Culvert => "failed",
        };
        process.event(expected);
        let inlet = Home::new(Kind::Ockam, "ed25519");
        let (_inlet, address) = inlet.inlet(relay.address(), &[home.identifier()]);
        Client::connect(address).get(1, 1000).expect("an answer");
    });
}

/// When only one end skips the handshake no data comes through, with Ockam and Culvert alike; inlets
/// that do as the outlet does are not disturbed.
#[test]
fn one_end_skips_the_handshake() {
    let _turn = alone();
    let skip: &[&str] = &["--skip-handshake"];
    for (inlet_kind, outlet_kind) in Kind::pairs() {
        for (of_inlet, of_outlet) in [(skip, &[][..]), (&[], skip)] {
            println!("--- {inlet_kind} {of_inlet:?}, {outlet_kind} {of_outlet:?}");
            let service = http::service();
            let relay = Relay::start(Kind::Culvert);
            let (at, to) = (relay.address(), service.address());
            let outlet = Home::new(outlet_kind, "ed25519");
            let runs = outlet.start_outlet(at, NAME, to, &[], of_outlet);
            runs.event("registered");
            let inlet = Home::new(inlet_kind, "ed25519");
            let (way, expected) = (Way::via(at, NAME), [outlet.identifier()]);
            let other = inlet.start_inlet(&way, &expected, of_inlet);
            nothing_comes(listening(&other));
            let same = inlet.start_inlet(&way, &expected, of_outlet);
            let mut client = Client::connect(listening(&same));
            client.get(1, 1000).expect("an answer");
        }
    }
}

fn nothing_comes(address: std::net::SocketAddr) {
    let mut client = connect(address);
    client
        .write_all(b"GET /1/1 HTTP/1.1\r\n\r\n")
        .expect("send");
    let (bytes, end) = drain(&mut client, MOMENT);
    println!("{end:?}");
    assert!(bytes.is_empty(), "{bytes:?}");
}
