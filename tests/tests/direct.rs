//! Edges that leave the relay: streams over UDP, and back when that does not work.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use culvert_proto::message::Message;
use culvert_proto::udp::{Datagram, RoutingNumber, Splitter, VERSION};
use culvert_tests::chain::{Edge, Inlet, NAME, Outlet, Relay};
use culvert_tests::metrics::{await_count, scrape};
use culvert_tests::nat::Nat;
use culvert_tests::net::{connect, digest, echo, eventually, try_connect, write_pattern};
use culvert_tests::service::Service;
use culvert_tests::wire::{Wire, route};
use culvert_tests::{PATIENCE, alone};

/// Both edges and their relay; mostly one lane each, so that there is one path.
struct Pair {
    relay: Relay,
    outlet: Outlet,
    inlet: Inlet,
}

impl Pair {
    fn start(to: SocketAddr, rendezvous: &str, outlet_too: bool) -> Self {
        Self::with_lanes("1", to, rendezvous, outlet_too)
    }

    /// Rendezvous at the relay if it is one of ours to start: an address with port 0, or none.
    fn with_lanes(lanes: &str, to: SocketAddr, rendezvous: &str, outlet_too: bool) -> Self {
        let own = match rendezvous.ends_with(":0") {
            true => rendezvous,
            false => "127.0.0.1:0",
        };
        let relay = Relay::start(&["--rendezvous", own]);
        let at = match rendezvous.is_empty() || rendezvous == own {
            true => relay.listening.text("rendezvous").to_owned(),
            false => rendezvous.to_owned(),
        };
        let direct = ["--shards", lanes, "--direct", "--rendezvous", &at];
        let theirs = if outlet_too {
            &direct[..]
        } else {
            &direct[..2]
        };
        let (far, near) = (Edge::new(), Edge::new());
        let outlet = far.start_outlet(relay.address, NAME, to, &[&near.identifier], theirs);
        outlet.process.event("registered");
        let inlet = near.start_inlet(
            relay.address,
            NAME,
            "127.0.0.1:0",
            &[&far.identifier],
            &direct,
        );
        // The homes of the edges have been read by now; their processes keep what they need.
        inlet.process.event("up");
        Self {
            relay,
            outlet,
            inlet,
        }
    }

    fn relayed_bytes(&self) -> f64 {
        scrape(self.relay.metrics).get("culvert_bytes_total")
    }
}

#[test]
fn streams_leave_the_relay_when_both_edges_want_that() {
    let _alone = alone();
    let service = Service::echo();
    let pair = Pair::start(service.address(), "", true);
    // A stream that was there before stays where it is.
    let mut before = connect(pair.inlet.address);
    echo(&mut before, b"through the relay").expect("an echo");
    pair.inlet.process.event("direct");
    let relayed = pair.relayed_bytes();
    let mut client = connect(pair.inlet.address);
    let mut pattern = vec![0; 100_000];
    for round in 0..20 {
        pattern.fill(round);
        echo(&mut client, &pattern).expect("an echo along the direct path");
    }
    let more = pair.relayed_bytes() - relayed;
    assert!(more < 100_000.0, "{more} bytes went through the relay");
    let metrics = scrape(pair.inlet.metrics);
    assert!(metrics.get("culvert_direct_paths") >= 1.0);
    assert!(scrape(pair.outlet.metrics).get("culvert_datagrams_total") > 1_000.0);
    echo(&mut before, b"still through the relay").expect("an echo");
}

#[test]
fn every_lane_gets_a_path() {
    let _alone = alone();
    let service = Service::echo();
    let pair = Pair::with_lanes("3", service.address(), "", true);
    eventually("three paths", PATIENCE, || {
        let paths = scrape(pair.inlet.metrics).get("culvert_direct_paths");
        (paths >= 3.0).then_some(()).ok_or(paths)
    });
    // The path is open a little before clients are given to it.
    let mut clients = Vec::new();
    eventually("clients on direct paths only", PATIENCE, || {
        clients = (0..6).map(|_| connect(pair.inlet.address)).collect();
        let relayed = pair.relayed_bytes();
        for client in &mut clients {
            echo(client, &[7; 50_000]).expect("an echo");
        }
        let more = pair.relayed_bytes() - relayed;
        (more < 40_000.0).then_some(()).ok_or(more)
    });
    assert_eq!(clients.len(), 6);
}

/// Only those who have proved who they are may have an outlet send datagrams, and what others send it
/// hurts nobody.
#[test]
fn strangers_open_no_paths_and_disturb_none() {
    let _alone = alone();
    let service = Service::echo();
    let pair = Pair::start(service.address(), "", true);
    let before = scrape(pair.outlet.metrics);
    let mut stranger = Wire::open(pair.relay.address);
    // Initiate: 192.0.2.7:50000, worker ab12.
    let initiate = hex::decode("826e3139322e302e322e373a35303030841861186218311832");
    let initiate = initiate.expect("hexadecimal");
    stranger.send_message(&["forward_to_db", "udp"], &["me"], &initiate);
    await_count(pair.outlet.metrics, &before, "not_permitted", 1.0, PATIENCE);
    let direct = pair.inlet.process.event("direct");
    let mut client = connect(pair.inlet.address);
    echo(&mut client, &[7; 5_000]).expect("an echo");
    let before = scrape(pair.outlet.metrics);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut splitter = Splitter::new(RoutingNumber(1));
    let mut send = |message: &[u8]| {
        for part in splitter.split(message).expect("a short message") {
            let mut out = Vec::new();
            part.encode_into(&mut out);
            socket.send_to(&out, direct.text("address")).expect("send");
        }
    };
    send(b"no message");
    for onward in ["api", "outlet", "forward_to_db", "echo"] {
        send(&Message::new(route(&[onward]), route(&["me"]), initiate.clone()).encode());
    }
    // And more than may be remembered of strangers.
    send(&[0x84; 100_000]);
    await_count(pair.outlet.metrics, &before, "puncture", 5.0, PATIENCE);
    await_count(pair.outlet.metrics, &before, "udp_full", 1.0, PATIENCE);
    echo(&mut client, &[8; 5_000]).expect("an echo");
    assert_eq!(scrape(pair.outlet.metrics).get("culvert_direct_paths"), 1.0);
}

#[test]
fn streams_go_back_to_the_relay_when_the_path_fails() {
    let _alone = alone();
    let service = Service::echo();
    let nat = Nat::new();
    let pair = Pair::start(service.address(), &nat.rendezvous.to_string(), true);
    let mut before = connect(pair.inlet.address);
    echo(&mut before, b"through the relay").expect("an echo");
    pair.inlet.process.event("direct");
    let mut client = connect(pair.inlet.address);
    echo(&mut client, &[7; 5_000]).expect("an echo along the direct path");
    assert!(nat.passed() > 10);
    pair.outlet.process.event("direct");
    nat.block(true);
    client.write_all(b"into the void").expect("a write");
    pair.inlet.process.event("relayed");
    pair.outlet.process.event("relayed");
    // What was on the direct path is closed: its bytes are lost.
    let mut rest = Vec::new();
    assert!(client.read_to_end(&mut rest).is_err() || rest.is_empty());
    echo(&mut before, b"as ever").expect("an echo through the relay");
    let mut after = connect(pair.inlet.address);
    echo(&mut after, &[8; 5_000]).expect("an echo through the relay");
    nat.block(false);
    pair.inlet.process.event("direct");
    let mut again = connect(pair.inlet.address);
    echo(&mut again, &[9; 5_000]).expect("an echo along the direct path");
    echo(&mut after, b"as ever").expect("an echo through the relay");
}

/// One in ten is lost: nobody notices but by the time it takes.
#[test]
fn losses_on_the_way_are_repaired() {
    let _alone = alone();
    let service = Service::echo();
    let nat = Nat::new();
    let pair = Pair::start(service.address(), &nat.rendezvous.to_string(), true);
    pair.inlet.process.event("direct");
    nat.lose_every(10);
    let mut client = connect(pair.inlet.address);
    for round in 0..20 {
        echo(&mut client, &vec![round; 50_000]).expect("an echo along the direct path");
    }
    nat.lose_every(0);
    assert!(scrape(pair.inlet.metrics).get("culvert_segments_again_total") > 0.0);
    assert!(scrape(pair.outlet.metrics).get("culvert_segments_again_total") > 0.0);
    let lost = scrape(pair.inlet.metrics).get("culvert_closed_total{reason=\"messages_lost\"}");
    assert_eq!(lost, 0.0);
}

/// Sends so many bytes to an echo service while what it sends back is read, and compares.
fn transfer(to: SocketAddr, total: usize) {
    let mut client = connect(to);
    let mut writer = client.try_clone().expect("a second handle");
    let writing = std::thread::spawn(move || {
        let digest = write_pattern(&mut writer, 7, total).expect("write");
        writer.shutdown(std::net::Shutdown::Write).expect("end");
        digest
    });
    let (read, digest) = digest(&mut client).expect("read");
    assert_eq!(read, total as u64);
    assert_eq!(digest, writing.join().expect("the writing thread"));
}

#[test]
fn large_transfers_arrive_whole_both_ways() {
    let _alone = alone();
    let service = Service::echo();
    let pair = Pair::start(service.address(), "", true);
    pair.inlet.process.event("direct");
    let relayed = pair.relayed_bytes();
    transfer(pair.inlet.address, 64 << 20);
    assert!(pair.relayed_bytes() - relayed < 1e6, "the relay was used");
}

#[test]
fn transfers_arrive_whole_in_bad_weather() {
    let _alone = alone();
    let service = Service::echo();
    let nat = Nat::new();
    let pair = Pair::start(service.address(), &nat.rendezvous.to_string(), true);
    pair.inlet.process.event("direct");
    nat.lose_every(97);
    nat.repeat_every(13);
    nat.delay_every(17);
    transfer(pair.inlet.address, 8 << 20);
    let metrics = scrape(pair.inlet.metrics);
    assert!(metrics.get("culvert_segments_again_total") > 0.0);
    assert_eq!(metrics.get("culvert_direct_paths_opened_total"), 1.0);
}

/// Who can forge the address of a peer but knows nothing of what was agreed changes nothing: neither
/// by numbers that make all others old, nor by parts that are never complete.
#[test]
fn forged_addresses_disturb_no_path() {
    let _alone = alone();
    let service = Service::echo();
    let nat = Nat::new();
    let pair = Pair::start(service.address(), &nat.rendezvous.to_string(), true);
    pair.inlet.process.event("direct");
    let mut client = connect(pair.inlet.address);
    let before = scrape(pair.outlet.metrics);
    for round in 0..40_u16 {
        for total in [1, 2, 65_535] {
            let mut out = Vec::new();
            let part = Datagram {
                version: VERSION,
                number: RoutingNumber(round.wrapping_mul(0x2800)),
                index: 0,
                total,
                part: &[0x84; 200],
            };
            part.encode_into(&mut out);
            nat.forge(&out);
        }
        echo(&mut client, &[round as u8; 20_000]).expect("an echo along the direct path");
    }
    await_count(pair.outlet.metrics, &before, "puncture", 40.0, PATIENCE);
    let metrics = scrape(pair.inlet.metrics);
    assert_eq!(metrics.get("culvert_direct_paths_opened_total"), 1.0);
    assert_eq!(metrics.get("culvert_direct_paths"), 1.0);
}

#[test]
fn paths_lead_over_ipv6() {
    let _alone = alone();
    let service = Service::echo();
    let pair = Pair::start(service.address(), "[::1]:0", true);
    let direct = pair.inlet.process.event("direct");
    assert!(direct.text("address").starts_with("[::1]:"));
    let relayed = pair.relayed_bytes();
    transfer(pair.inlet.address, 4 << 20);
    assert!(pair.relayed_bytes() - relayed < 1e6, "the relay was used");
}

#[test]
fn without_a_rendezvous_or_an_offer_the_relay_is_used() {
    let _alone = alone();
    let service = Service::echo();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let silent = silent.local_addr().expect("an address").to_string();
    for (rendezvous, offered, reason) in [
        (silent.as_str(), true, "rendezvous"),
        ("", false, "acknowledge"),
    ] {
        let pair = Pair::start(service.address(), rendezvous, offered);
        let event = pair.inlet.process.event("relayed");
        let why = event.text("reason");
        assert!(why.contains(reason), "{why}");
        let mut client = connect(pair.inlet.address);
        echo(&mut client, b"through the relay").expect("an echo");
        assert_eq!(scrape(pair.inlet.metrics).get("culvert_direct_paths"), 0.0);
    }
}

#[test]
fn a_killed_outlet_ends_its_streams_and_the_inlet_goes_on() {
    let _alone = alone();
    let service = Service::echo();
    let mut pair = Pair::start(service.address(), "", true);
    pair.inlet.process.event("direct");
    let mut client = connect(pair.inlet.address);
    echo(&mut client, b"along the direct path").expect("an echo");
    pair.outlet.process.kill();
    pair.inlet.process.event("relayed");
    let (closed, _) = eventually("the end of the stream", PATIENCE, || {
        match client.read(&mut [0; 16]) {
            Ok(0) => Ok(true),
            Ok(_) => Err("bytes"),
            Err(error) if culvert_tests::net::is_timeout(&error) => Err("open"),
            Err(_) => Ok(true),
        }
    });
    assert!(closed);
    // Nobody is there: the client learns it, and the inlet goes on.
    let _ = try_connect(pair.inlet.address, Duration::from_secs(1));
    assert!(pair.inlet.process.is_running());
}
