//! What Culvert says, recorded and compared field by field: with what Ockam says in its place, and
//! with what Ockam nodes said when the vectors were captured. Whatever is not in the lists of
//! differences here is the same to the byte.

mod common;

use std::net::SocketAddr;

use common::node::{Home, Kind, Relay};
use common::peer::{Channel, Link, Port};
use common::record::{self, Marker};
use culvert_proto::identity::{ChangeData, ChangeHistory, VersionedData, decode_exact};
use culvert_tests::alone;
use culvert_tests::net::free_address;
use culvert_tests::process::Process;
use culvert_tests::tap::Tap;
use culvert_tests::wire::route;

/// Address of a client, as random as Ockam's.
const CLIENT: &str = "a056cea4740c5d4e3e620894e40f3794";

/// Starts an outlet that registers `bob` in clear, and waits until it has.
fn register_bob(home: &Home, relay: SocketAddr) -> Process {
    let more = [home.one_link(), &["--plain-registration"]].concat();
    let process = home.start_outlet(relay, "bob", free_address(), &[], &more);
    process.event("registered");
    process
}

/// What Culvert's edge and relay may do otherwise when a name is registered in clear, and which of
/// the messages they made themselves.
fn registration_differences(relay: Kind, outlet: Kind) -> (&'static [Marker], &'static [usize]) {
    match (relay, outlet) {
        (Kind::Ockam, Kind::Ockam) => (&[], &[]),
        (Kind::Culvert, Kind::Ockam) => (&[], &[1]),
        (Kind::Ockam, Kind::Culvert) => (&[Marker::Registration], &[0, 3, 5]),
        (Kind::Culvert, Kind::Culvert) => {
            (&[Marker::Registration, Marker::Confirmation], &[0, 1, 3, 5])
        }
    }
}

/// The leg between a relay and whoever registered with it.
#[test]
fn registered_in_clear() {
    let _turn = alone();
    let (captured, questions) =
        record::without_questions(record::captured("node_relay_plain", "link"));
    assert_eq!(questions, 3);
    let captured = record::lines(&captured, record::bytes);
    for relay_kind in Kind::BOTH {
        for outlet_kind in Kind::BOTH {
            let relay = Relay::start(relay_kind);
            let tap = Tap::start(relay.address());
            let home = Home::new(outlet_kind, "ed25519");
            let _outlet = register_bob(&home, tap.address());
            let mut client = Link::connect(relay.address());
            for (service, payload) in [("echo", &b"raw bytes"[..]), ("uppercase", b"\x03abc")] {
                let way = route(&["forward_to_bob", service]);
                client.send(way, route(&["pyclient"]), payload.to_vec());
                client.receive();
            }
            let (allowed, untraced) = registration_differences(relay_kind, outlet_kind);
            record::compare(
                &format!("{outlet_kind} at {relay_kind}"),
                &captured,
                &record::lines(&record::tapped(&tap, 0), record::bytes),
                allowed,
                untraced,
            );
        }
    }
}

/// The leg between a relay and a client of the node behind it.
#[test]
fn sent_to_a_name() {
    let _turn = alone();
    let mut captured = record::lines(&record::captured("relay_static", "linkA"), record::bytes);
    for line in &mut captured {
        // The captured node had the library's `echoer`; with strings that does the same.
        line.onward = line.onward.replace("echoer", "echo");
        line.return_route = line.return_route.replace("echoer", "echo");
    }
    for relay_kind in Kind::BOTH {
        for outlet_kind in Kind::BOTH {
            let relay = Relay::start(relay_kind);
            let home = Home::new(outlet_kind, "ed25519");
            let _outlet = register_bob(&home, relay.address());
            let mut client = Link::connect(relay.address());
            let way = route(&["forward_to_bob", "echo"]);
            client.send(way, route(&[CLIENT]), b"\x06hi bob".to_vec());
            client.receive();
            // Ockam's relay writes a context of its own in place of the one it got.
            let untraced: &[usize] = match (relay_kind, outlet_kind) {
                (Kind::Culvert, Kind::Culvert) => &[1],
                _ => &[],
            };
            record::compare(
                &format!("a client of {outlet_kind} at {relay_kind}"),
                &captured,
                &record::lines(&client.said, record::bytes),
                &[],
                untraced,
            );
        }
    }
}

/// What an outlet says to a relay inside the channel it registers through, and how the channel looks
/// from outside.
#[test]
fn registered_through_a_channel() {
    let _turn = alone();
    let (captured, _) = record::without_questions(record::captured("node_relay_plain", "link"));
    let captured = record::lines(&record::inside(captured), record::bytes);
    let outside = record::lines(&record::captured_channel(), record::sealed);
    for kind in Kind::BOTH {
        let port = Port::open();
        let home = Home::new(kind, "p256");
        let outlet = home.start_outlet(port.address(), "bob", free_address(), &[], home.one_link());
        let mut channel = Channel::respond(port.accept(), &["api"]);
        let request = channel.receive();
        channel.answer(&request, "forward_to_bob", b"\x0eforward_to_bob".to_vec());
        outlet.event("registered");
        let shape = record::lines(&channel.link.said, record::sealed);
        for (service, payload) in [("echo", &b"raw bytes"[..]), ("uppercase", b"\x03abc")] {
            channel.send(
                route(&[service]),
                route(&[CLIENT, "pyclient"]),
                payload.to_vec(),
            );
            channel.receive();
        }
        let (marker, untraced): (&[_], &[_]) = match kind {
            Kind::Culvert => (&[Marker::Registration], &[0, 2, 3]),
            Kind::Ockam => (&[], &[]),
        };
        let inside = record::lines(&channel.inside, record::bytes);
        record::compare(&format!("{kind}, inside"), &captured, &inside, marker, &[]);
        let what = format!("{kind}, outside");
        record::compare(&what, &outside[..5], &shape, &[], untraced);

        outlet.terminate();
        channel.receive_close();
        let mut close = outside[5].clone();
        if kind == Kind::Culvert {
            // Nobody answers it.
            close.return_route.clear();
            close.tracing = None;
        }
        let last = record::lines(&channel.link.said, record::sealed).pop();
        assert_eq!(last, Some(close));
    }
}

/// What a relay says to an Ockam node that registered through a channel.
#[test]
fn a_relay_through_a_channel() {
    let _turn = alone();
    let (captured, _) = record::without_questions(record::captured("node_relay_plain", "link"));
    let captured = record::lines(&record::inside(captured), record::bytes);
    for kind in Kind::BOTH {
        let relay = Relay::start(kind);
        let mut channel = Channel::initiate(Link::connect(relay.address()), &["api"]);
        let service = route(&["static_forwarding_service"]);
        channel.send(service, route(&[CLIENT]), b"\x03bob".to_vec());
        channel.receive();
        let mut client = Link::connect(relay.address());
        for (service, payload, answer) in [
            ("echo", &b"raw bytes"[..], &b"raw bytes"[..]),
            ("uppercase", b"\x03abc", b"\x03ABC"),
        ] {
            let way = route(&["forward_to_bob", service]);
            client.send(way, route(&["pyclient"]), payload.to_vec());
            let asked = channel.receive();
            channel.answer(&asked, service, answer.to_vec());
            assert_eq!(client.receive().payload, answer);
        }
        let inside = record::lines(&channel.inside, record::bytes);
        record::compare(&format!("{kind} relay"), &captured, &inside, &[], &[]);
    }
}

/// What identities say about themselves: all but keys and times.
#[test]
fn introduced() {
    let _turn = alone();
    for key_type in ["ed25519", "p256"] {
        let [ockam, culvert] = Kind::BOTH.map(|kind| {
            let port = Port::open();
            let home = Home::new(kind, key_type);
            let _outlet =
                home.start_outlet(port.address(), "bob", free_address(), &[], home.one_link());
            let channel = Channel::respond(port.accept(), &["api"]);
            let [history] = channel.known.values().collect::<Vec<_>>()[..] else {
                panic!("one peer");
            };
            // In minutes: the static key was made a moment ago.
            let static_key_lasts = channel.static_key_lasts().div_ceil(60);
            (changes(history), static_key_lasts)
        });
        println!("{key_type}: {ockam:?}");
        assert_eq!(ockam, culvert);
    }
}

/// The changes of a history without what is random.
fn changes(history: &[u8]) -> Vec<(usize, u8, u8, bool, bool, u64, usize)> {
    let history: ChangeHistory = decode_exact(history).expect("a history");
    let changes = history.0.iter().map(|change| {
        let versioned: VersionedData = decode_exact(&change.data).expect("versioned data");
        let data: ChangeData = decode_exact(&versioned.data).expect("a change");
        (
            change.data.len(),
            versioned.version,
            versioned.data_type,
            data.previous_change.is_some(),
            data.revoke_all_purpose_keys,
            data.attestations_valid_until - data.attestations_valid_from,
            data.primary_public_key.bytes().len(),
        )
    });
    changes.collect()
}
