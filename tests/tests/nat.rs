//! Edges behind real NATs, in networks of their own. Left out where those cannot be made.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use culvert_tests::chain::Edge;
use culvert_tests::net::{connect, echo};
use culvert_tests::netns::{Host, Networks, OPEN, Ports};
use culvert_tests::process::Process;
use culvert_tests::{alone, bins};

/// Where the client connects, and the service listens, each on its own host.
const INLET: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 15432);
const SERVICE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5432);

fn networks(ports: [Ports; 2]) -> Option<Networks> {
    let networks = Networks::new(ports);
    if networks.is_none() {
        let mut out = std::io::stderr();
        let _ = writeln!(
            out,
            "left out: needs root, iproute2, nftables and namespaces"
        );
    }
    networks
}

struct Running {
    _relay: Process,
    _outlet: Process,
    inlet: Process,
    _homes: [Edge; 2],
}

/// Relay in the open, an echo service with its outlet on one side, the inlet on the other.
fn start(networks: &Networks) -> Running {
    let listener = networks.on(Host::Far, || TcpListener::bind(SERVICE).expect("a port"));
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut from, mut to) = (&socket, &socket);
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
    let (near, far) = (Edge::new(), Edge::new());
    let home = tempfile::tempdir().expect("a directory");
    let at = format!("{OPEN}:4000");
    let relay = networks
        .command(Host::Open, &bins::relay())
        .args(["--listen", &at, "--rendezvous", &at, "--output", "json"])
        .arg("--home")
        .arg(home.path())
        .start("relay");
    relay.event("listening");
    let edge = |host, own: &Edge, allowed: &Edge| {
        networks
            .command(host, &bins::edge())
            .env("CULVERT_HOME", own.home())
            .args(["--output", "json"])
            .args(match host {
                Host::Far => ["outlet", "--name", "db", "--to", "127.0.0.1:5432"],
                _ => ["inlet", "--via", "db", "--from", "127.0.0.1:15432"],
            })
            .args(["--relay", &at, "--direct", "--shards", "1"])
            .args(["--allow", &allowed.identifier])
    };
    let outlet = edge(Host::Far, &far, &near).start("outlet edge");
    outlet.event("registered");
    let inlet = edge(Host::Near, &near, &far).start("inlet edge");
    inlet.event("up");
    Running {
        _relay: relay,
        _outlet: outlet,
        inlet,
        _homes: [near, far],
    }
}

#[test]
fn a_path_opens_between_two_nats_and_its_end_is_noticed() {
    let _alone = alone();
    let Some(networks) = networks([Ports::Kept; 2]) else {
        return;
    };
    let running = start(&networks);
    let direct = running.inlet.event("direct");
    // The far router's outside address: neither the relay's nor one that only it knows.
    let to = direct.text("address");
    assert!(to.starts_with("198.51.100.3:"), "{to}");
    let mut client = networks.on(Host::Near, || connect(INLET));
    for round in 0..10 {
        echo(&mut client, &vec![round; 20_000]).expect("an echo along the direct path");
    }
    networks.block_udp(true);
    client.write_all(b"into the void").expect("a write");
    running.inlet.event("relayed");
    let mut after = networks.on(Host::Near, || connect(INLET));
    echo(&mut after, &[1; 20_000]).expect("an echo through the relay");
    networks.block_udp(false);
    running.inlet.event("direct");
    let mut again = networks.on(Host::Near, || connect(INLET));
    echo(&mut again, &[2; 20_000]).expect("an echo along the direct path");
    echo(&mut after, &[3; 20_000]).expect("an echo through the relay");
}

#[test]
fn nats_that_allow_no_path_leave_streams_with_the_relay() {
    let _alone = alone();
    let Some(networks) = networks([Ports::Random; 2]) else {
        return;
    };
    let running = start(&networks);
    let event = running.inlet.event("relayed");
    assert!(event.text("reason").contains("NAT"), "{}", event.json);
    let mut client = networks.on(Host::Near, || connect(INLET));
    echo(&mut client, &[1; 20_000]).expect("an echo through the relay");
}
