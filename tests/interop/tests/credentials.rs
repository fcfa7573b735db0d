//! Ockam peers that present credentials of an authority, and renew them while a channel is in use.
//! Culvert's edges and relay trust by identifier: to them credentials make no difference, and must
//! not make one.

mod common;

use std::time::{Duration, Instant};

use common::for_each_kind;
use common::node::{Home, Kind, OckamHome, Registration, Relay, Way, listening};
use common::peer::{Channel, Port};
use culvert_tests::chain::NAME;
use culvert_tests::net::{self, connect, free_address};
use culvert_tests::process::Process;
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, alone, metrics};

/// New credentials until the end of a test: more than a direction's messages with one key.
const REFRESHES: u64 = 40;

/// Milliseconds between them.
const EVERY: &str = "50";

/// Arguments for credentials of an authority.
fn vouched(authority: &OckamHome) -> [&str; 4] {
    ["--authority", authority.path(), "--refresh", EVERY]
}

/// Waits for that many new credentials, each presented through at least one channel.
fn refreshed(process: &Process) {
    process.expect("refreshed", PATIENCE, |event| {
        assert_ne!(event.kind(), "failed", "{}", event.json);
        event.kind() == "refreshed"
            && event.json["number"].as_u64() >= Some(REFRESHES)
            && event.json["channels"].as_u64() > Some(0)
    });
}

/// A connection that carries data all the while stays and loses nothing.
fn carries_while_refreshed(address: std::net::SocketAddr, process: &Process) {
    let mut client = connect(address);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        net::echo(&mut client, &[7; 3000]).expect("an echo");
    }
    refreshed(process);
    net::echo(&mut client, b"still there").expect("an echo");
}

/// The tests below would show nothing if nothing were presented.
#[test]
fn what_an_ockam_node_presents() {
    let _turn = alone();
    let authority = OckamHome::new("ed25519");
    let port = Port::open();
    let home = Home::new(Kind::Ockam, "ed25519");
    let more = vouched(&authority);
    let _outlet = home.start_outlet(port.address(), NAME, free_address(), &[], &more);
    let mut channel = Channel::respond(port.accept(), &["api"]);
    assert_eq!(channel.presented(), 1);
    let _registration = channel.receive();
    let first = channel.receive_refresh();
    let second = channel.receive_refresh();
    assert_eq!(first.credentials.len(), 1);
    assert_ne!(first.credentials, second.credentials);
}

#[test]
fn presented_by_an_inlet() {
    let _turn = alone();
    let authority = OckamHome::new("p256");
    for_each_kind("outlet", |kind| {
        let service = Service::echo();
        let relay = Relay::start(Kind::Culvert);
        let (inlet, outlet) = (
            Home::new(Kind::Ockam, "ed25519"),
            Home::new(kind, "ed25519"),
        );
        let (at, to) = (relay.address(), service.address());
        let _outlet = outlet.outlet(at, to, &[inlet.identifier()], Registration::Channel);
        let way = Way::via(at, NAME);
        let inlet = inlet.start_inlet(&way, &[outlet.identifier()], &vouched(&authority));
        carries_while_refreshed(listening(&inlet), &inlet);
    });
}

/// To the relay as well as to the inlet.
#[test]
fn presented_by_an_outlet() {
    let _turn = alone();
    let authority = OckamHome::new("ed25519");
    for_each_kind("inlet", |kind| {
        let service = Service::echo();
        let relay = Relay::start(Kind::Culvert);
        let (inlet, outlet) = (Home::new(kind, "p256"), Home::new(Kind::Ockam, "p256"));
        let (at, to) = (relay.address(), service.address());
        let allowed = [inlet.identifier()];
        let runs = outlet.start_outlet(at, NAME, to, &allowed, &vouched(&authority));
        runs.event("registered");
        let (_inlet, address) = inlet.inlet(at, &[outlet.identifier()]);
        carries_while_refreshed(address, &runs);
        // The registration was not disturbed either.
        let (_inlet, address) = inlet.inlet(at, &[outlet.identifier()]);
        net::echo(&mut connect(address), b"hello").expect("an echo");
    });
}

/// Clients that come with credentials and go: their Close is understood.
#[test]
fn channels_that_end() {
    let _turn = alone();
    let authority = OckamHome::new("ed25519");
    let relay = Relay::start(Kind::Culvert);
    let outlet = Home::new(Kind::Culvert, "ed25519");
    let counters = free_address();
    let at = relay.address();
    let more = ["--metrics", &counters.to_string()];
    let runs = outlet.start_outlet(at, NAME, free_address(), &[], &more);
    runs.event("registered");
    let client = OckamHome::new("ed25519");
    for _ in 0..3 {
        let before = metrics::scrape(counters);
        let ends = client
            .program()
            .args(["echo", "--secure", "--close", "--connect", &at.to_string()])
            .args(["--hop", &format!("forward_to_{NAME}"), "--count", "10"])
            .args(["--allow", outlet.identifier(), "--pause", "20"])
            .args(vouched(&authority))
            .start("client");
        ends.event("echoed");
        metrics::await_count(counters, &before, "peer_closed", 1.0, PATIENCE);
        assert!(ends.terminate().success());
    }
}
