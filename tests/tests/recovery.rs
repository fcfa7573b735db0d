//! What comes back, and how soon, when a process dies, freezes or loses its connection.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use culvert_tests::chain::{Chain, Edge, NAME, Relay};
use culvert_tests::net::{End, connect, drain, echo, eventually, try_connect};
use culvert_tests::service::Service;
use culvert_tests::tap::Tap;
use culvert_tests::{PATIENCE, alone, metrics};

/// New connections must work this soon after what was missing has returned.
const RETURN: Duration = Duration::from_secs(2);

/// Threads a node has by default.
fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1, usize::from) as f64
}

/// One new connection that carries data both ways, quickly or not at all.
fn one_connection(address: SocketAddr) -> io::Result<()> {
    let mut client = try_connect(address, Duration::from_millis(300))?;
    echo(&mut client, b"are you there")
}

/// Fails unless a new connection works within [`RETURN`] of `since`.
fn assert_back(what: &str, address: SocketAddr, since: Instant) {
    let ((), when) = eventually(what, PATIENCE, || one_connection(address));
    let took = when.saturating_duration_since(since);
    assert!(took < RETURN, "{what}: new connections took {took:?}");
}

/// The far side of an open connection is gone: it must end, not hang.
fn assert_ends(mut client: std::net::TcpStream) {
    let (_, end) = drain(&mut client, PATIENCE);
    assert_ne!(end, End::Open, "a connection whose far side is gone hangs");
}

fn open(chain: &Chain) -> std::net::TcpStream {
    let mut client = connect(chain.address());
    echo(&mut client, b"hello").expect("echo");
    client
}

#[test]
fn relay_killed_and_restarted() {
    let _turn = alone();
    let service = Service::echo();
    let mut chain = Chain::start(service.address());
    for _ in 0..3 {
        let client = open(&chain);
        chain.relay = chain.relay.kill_and_restart();
        assert_back("relay killed", chain.address(), chain.relay.listening.at);
        assert_ends(client);
        eventually(
            "the service loses the old connections",
            PATIENCE,
            || match service.open() {
                0 => Ok(()),
                open => Err(open),
            },
        );
    }
}

#[test]
fn relay_away_for_a_while() {
    let _turn = alone();
    let service = Service::echo();
    let mut chain = Chain::start(service.address());
    chain.relay.process.kill();
    // Long enough for the edges' back-off to reach its largest step.
    assert!(one_connection(chain.address()).is_err());
    std::thread::sleep(Duration::from_secs(8));
    chain.relay = chain.relay.restart();
    assert_back("relay away", chain.address(), chain.relay.listening.at);
}

#[test]
fn relay_ended_in_order() {
    let _turn = alone();
    let service = Service::echo();
    let chain = Chain::start(service.address());
    let client = open(&chain);
    let Chain {
        relay,
        inlet,
        outlet: _outlet,
        ..
    } = chain;
    let address = relay.address.to_string();
    let status = relay.process.terminate();
    assert_eq!(status.code(), Some(0), "{status}");
    assert_ends(client);
    // Another relay, with another identity, takes its place.
    let relay = Relay::start_at(&address, &[]);
    assert_back("another relay", inlet.address, relay.listening.at);
}

#[test]
fn outlet_edge_killed_and_restarted() {
    let _turn = alone();
    let service = Service::echo();
    let mut chain = Chain::start(service.address());
    for _ in 0..3 {
        let client = open(&chain);
        chain.outlet.process.kill();
        let since = Instant::now();
        chain.outlet = chain.outlet_edge.outlet(
            chain.relay.address,
            service.address(),
            &[&chain.inlet_edge.identifier],
        );
        assert_back("outlet edge killed", chain.address(), since);
        assert_ends(client);
    }
}

#[test]
fn outlet_edge_away_for_a_while() {
    let _turn = alone();
    let service = Service::echo();
    let mut chain = Chain::start(service.address());
    let client = open(&chain);
    chain.outlet.process.kill();
    // The client is told although nobody comes back.
    assert_ends(client);
    assert!(one_connection(chain.address()).is_err());
    std::thread::sleep(Duration::from_secs(8));
    let since = Instant::now();
    chain.outlet = chain.outlet_edge.outlet(
        chain.relay.address,
        service.address(),
        &[&chain.inlet_edge.identifier],
    );
    assert_back("outlet edge away", chain.address(), since);
}

#[test]
fn inlet_edge_killed_and_restarted() {
    let _turn = alone();
    let service = Service::echo();
    let mut chain = Chain::start(service.address());
    let from = chain.address().to_string();
    for _ in 0..3 {
        let client = open(&chain);
        chain.inlet.process.kill();
        assert_ends(client);
        eventually(
            "the service loses the connection",
            PATIENCE,
            || match service.open() {
                0 => Ok(()),
                open => Err(open),
            },
        );
        let since = Instant::now();
        let allow = chain.outlet_edge.identifier.clone();
        chain.inlet =
            chain
                .inlet_edge
                .start_inlet(chain.relay.address, NAME, &from, &[&allow], &[]);
        assert_back("inlet edge killed", chain.address(), since);
    }
}

#[test]
fn edges_started_before_their_relay() {
    let _turn = alone();
    let service = Service::echo();
    let relay = Relay::start(&[]);
    let (owner, user) = (Edge::new(), Edge::new());
    let mut relay = relay;
    relay.process.kill();
    let _outlet = owner.start_outlet(
        relay.address,
        NAME,
        service.address(),
        &[&user.identifier],
        &[],
    );
    let inlet = user.start_inlet(
        relay.address,
        NAME,
        "127.0.0.1:0",
        &[&owner.identifier],
        &[],
    );
    // Accepted and ended: the client does not hang while there is no way.
    assert_ends(connect(inlet.address));
    let relay = relay.restart();
    assert_back("first start", inlet.address, relay.listening.at);
}

#[test]
fn a_cut_connection_is_made_again() {
    let _turn = alone();
    let service = Service::echo();
    let relay = Relay::start(&[]);
    let mut taps = Vec::new();
    let chain = Chain::with_relay(relay, service.address(), |relay| {
        taps.push(Tap::start(relay));
        taps[taps.len() - 1].address()
    });
    for tap in &taps {
        let client = open(&chain);
        tap.cut();
        assert_back("leg cut", chain.address(), Instant::now());
        assert_ends(client);
    }
}

#[test]
fn a_relay_that_stops_answering_and_goes_on() {
    let _turn = alone();
    let service = Service::echo();
    let chain = Chain::start(service.address());
    let mut client = open(&chain);
    chain.relay.process.freeze();
    // Shorter than any peer may take for a failure: nothing is lost.
    std::thread::sleep(Duration::from_millis(300));
    chain.relay.process.thaw();
    echo(&mut client, b"still there").expect("echo");

    // Longer: down is reported, and everything is made again.
    chain.relay.process.freeze();
    chain.inlet.process.event("down");
    assert_ends(client);
    chain.relay.process.thaw();
    eventually("thawed", PATIENCE, || one_connection(chain.address()));
}

#[test]
fn an_outlet_that_stops_answering_ends_its_streams() {
    let _turn = alone();
    let service = Service::echo();
    let chain = Chain::start(service.address());
    let client = open(&chain);
    chain.outlet.process.freeze();
    assert_ends(client);
    chain.outlet.process.thaw();
    eventually("thawed", PATIENCE, || one_connection(chain.address()));
}

#[test]
fn a_name_belongs_to_the_identity_that_registered_it() {
    let _turn = alone();
    let (service, other) = (Service::echo(), Service::echo());
    let chain = Chain::start(service.address());
    // The owner holds it over a connection for each of its threads.
    let held = || match metrics::scrape(chain.relay.metrics).get("culvert_forwarders") {
        count if count == cores() => Ok(()),
        count => Err(count),
    };
    eventually("every lane is registered", PATIENCE, held);
    let before = metrics::scrape(chain.relay.metrics);

    // A stranger does not get it, however often it tries.
    let thief = Edge::new();
    let friend = chain.inlet_edge.identifier.as_str();
    let stolen = thief.start_outlet(chain.relay.address, NAME, other.address(), &[friend], &[]);
    metrics::await_count(
        chain.relay.metrics,
        &before,
        "relay_name_taken",
        2.0,
        PATIENCE,
    );
    one_connection(chain.address()).expect("the owner keeps the name");
    assert_eq!(other.accepted(), 0);

    // The owner does, from a new process, while the old one still holds it.
    let _second = chain
        .outlet_edge
        .outlet(chain.relay.address, service.address(), &[friend]);
    eventually("owner moved", PATIENCE, || one_connection(chain.address()));
    eventually("the old process holds nothing", PATIENCE, held);

    // It is free once its owner has gone.
    let Chain { outlet, inlet, .. } = chain;
    drop((outlet, _second, inlet));
    stolen.process.event("registered");
}

#[test]
fn a_half_written_answer_is_never_taken_for_a_whole_one() {
    let _turn = alone();
    const TOTAL: usize = 512 * 1024 * 1024;
    let service = Service::source(3, TOTAL);
    let mut chain = Chain::start(service.address());
    let mut client = connect(chain.address());
    client
        .read_exact(&mut vec![0; 1 << 20])
        .expect("it started");
    chain.relay.process.kill();
    let mut rest = 0;
    let mut chunk = vec![0; 1 << 16];
    let end = loop {
        match client.read(&mut chunk) {
            Ok(0) => break End::Closed,
            Ok(n) => rest += n,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break End::Broken,
            Err(error) => panic!("{error} after {rest} bytes"),
        }
    };
    assert!(rest < TOTAL);
    assert_eq!(
        end,
        End::Broken,
        "a FIN would say that the data is complete"
    );
}

#[test]
fn a_later_process_has_the_name_until_it_ends() {
    let _turn = alone();
    let service = Service::echo();
    let chain = Chain::start(service.address());
    let friend = chain.inlet_edge.identifier.as_str();
    let later = chain
        .outlet_edge
        .outlet(chain.relay.address, service.address(), &[friend]);
    // The earlier one is told, and does not fight for it.
    let lost = chain.outlet.process.event("down");
    assert!(lost.text("reason").contains("ended"), "{:?}", lost.json);
    let why = chain.outlet.process.event("down");
    assert!(
        why.text("reason").contains("started later"),
        "{:?}",
        why.json
    );
    eventually("the later one serves", PATIENCE, || {
        one_connection(chain.address())
    });
    later.process.terminate();
    let since = Instant::now();
    chain.outlet.process.event("registered");
    assert_back("the earlier one", chain.address(), since);
}
