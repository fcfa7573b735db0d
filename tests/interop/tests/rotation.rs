//! Ockam identities whose key was replaced, as initiators and as responders: the new history is
//! accepted, the old one is not any more by whoever has seen the new one.

mod common;

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use common::for_each_kind;
use common::node::{Home, Kind, OckamHome, Registration, Relay, Way, listening};
use common::peer::{Channel, Link, endpoint};
use culvert_crypto::vault::KeyType;
use culvert_tests::chain::NAME;
use culvert_tests::net::{self, connect, drain, eventually, free_address, try_connect};
use culvert_tests::service::Service;
use culvert_tests::wire::route;
use culvert_tests::{PATIENCE, alone, metrics};

fn echoes(address: SocketAddr) {
    net::echo(&mut connect(address), b"hello").expect("an echo");
}

/// A client gets no answer.
fn nothing_comes(address: SocketAddr) {
    let mut client = connect(address);
    let _ = client.write_all(b"hello");
    let (bytes, _) = drain(&mut client, Duration::from_secs(2));
    assert!(bytes.is_empty(), "{bytes:?}");
}

/// Nobody has seen the identity before its key was replaced.
#[test]
fn rotated_before() {
    let _turn = alone();
    let rotated = |key_type| {
        let home = OckamHome::new(key_type);
        home.rotate();
        home.rotate();
        Home::Ockam(home)
    };
    for_each_kind("the other end", |kind| {
        let service = Service::echo();
        let relay = Relay::start(Kind::Culvert);
        let at = relay.address();
        for (inlet, outlet) in [
            (rotated("ed25519"), Home::new(kind, "p256")),
            (Home::new(kind, "ed25519"), rotated("p256")),
        ] {
            let allowed = [inlet.identifier()];
            let to = service.address();
            let _outlet = outlet.outlet(at, to, &allowed, Registration::Channel);
            let (_inlet, address) = inlet.inlet(at, &[outlet.identifier()]);
            echoes(address);
        }
    });
}

/// An initiator is rotated while the responder runs. Once the responder has seen the new history the
/// old one is refused, however often it is tried.
fn initiator_is_rotated(outlet: &Home, more: &[&str], attempts: usize) {
    let service = Service::echo();
    let relay = Relay::start(Kind::Culvert);
    let inlet = OckamHome::new("ed25519");
    let (at, to) = (relay.address(), service.address());
    let runs = outlet.start_outlet(at, NAME, to, &[&inlet.identifier], more);
    runs.event("registered");
    let expected = [outlet.identifier()];
    let old = Home::Ockam(inlet.duplicate());
    let (_first, address) = old.inlet(at, &expected);
    echoes(address);

    inlet.rotate();
    let new = Home::Ockam(inlet);
    let (_second, address) = new.inlet(at, &expected);
    echoes(address);

    for _ in 0..attempts {
        // It believes that its channel is up; the other end has refused it.
        let (_old, address) = old.inlet(at, &expected);
        nothing_comes(address);
    }
}

#[test]
fn an_initiator_is_rotated() {
    let _turn = alone();
    for_each_kind("outlet", |kind| {
        let outlet = Home::new(kind, "ed25519");
        initiator_is_rotated(&outlet, outlet.one_link(), 1);
    });
}

/// What one of an edge's threads has seen all of them know.
#[test]
fn every_shard_knows_of_a_rotation() {
    let _turn = alone();
    let outlet = Home::new(Kind::Culvert, "ed25519");
    initiator_is_rotated(&outlet, &["--shards", "2"], 3);
}

/// A responder is rotated while the initiator runs: Culvert's inlet finds it again by itself. When
/// one with the old history comes back it is refused.
#[test]
fn a_responder_is_rotated() {
    let _turn = alone();
    let service = Service::echo();
    let relay = Relay::start(Kind::Culvert);
    let outlet = OckamHome::new("ed25519");
    let inlet = Home::new(Kind::Culvert, "ed25519");
    let (at, to) = (relay.address(), service.address());
    let register = |home: OckamHome| {
        let home = Home::Ockam(home);
        let allowed = [inlet.identifier()];
        let process = home.outlet(at, to, &allowed, Registration::Plain);
        (home, process)
    };
    let old = outlet.duplicate();
    let (_first_home, mut first) = register(outlet.duplicate());
    let counters = free_address();
    let more = ["--metrics", &counters.to_string()];
    let runs = inlet.start_inlet(&Way::via(at, NAME), &[&outlet.identifier], &more);
    let address = listening(&runs);
    echoes(address);

    first.kill();
    outlet.rotate();
    let (_second_home, mut second) = register(outlet);
    let again = || {
        let mut client = try_connect(address, Duration::from_secs(2))?;
        net::echo(&mut client, b"hello")
    };
    eventually("an echo from the rotated outlet", PATIENCE, again);

    second.kill();
    let before = metrics::scrape(counters);
    let (_third_home, _third) = register(old);
    nothing_comes(address);
    metrics::await_count(counters, &before, "handshake_failed", 1.0, PATIENCE);
}

/// Histories that Culvert's own code made longer are accepted by Ockam.
#[test]
fn rotated_by_culvert() {
    let _turn = alone();
    let relay = Relay::start(Kind::Ockam);
    let home = Home::new(Kind::Ockam, "ed25519");
    let _outlet = home.outlet(relay.address(), free_address(), &[], Registration::Plain);
    let way = format!("forward_to_{NAME}");
    let changes: [&[KeyType]; 3] = [
        &[],
        &[KeyType::P256],
        &[KeyType::P256, KeyType::Ed25519, KeyType::P256],
    ];
    for changes in changes {
        let link = Link::connect(relay.address());
        let mut channel = Channel::initiate_as(&endpoint(changes), link, &[&way, "api"]);
        channel.send(
            route(&["echo"]),
            route(&[&"a".repeat(32)]),
            b"hello".to_vec(),
        );
        assert_eq!(channel.receive().payload, b"hello");
    }
}
