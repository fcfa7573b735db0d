//! Memory stays below its limit whatever strangers do, and who takes it loses it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use culvert_proto::bare;
use culvert_proto::forwarder::STATIC_FORWARDING_SERVICE;
use culvert_tests::chain::{Edge, NAME, Relay};
use culvert_tests::net::{connect, echo, eventually};
use culvert_tests::service::Service;
use culvert_tests::wire::{Wire, framed, message};
use culvert_tests::{PATIENCE, alone, metrics, proc};

const MIB: u64 = 1 << 20;
/// What the relay may take for messages.
const LIMIT: u64 = 64;
/// What it may take in all: half as much again before what moves is closed too, messages that are being
/// copied to larger buffers, the program and its allocator.
const MOST: u64 = 3 * LIMIT + 64;

fn relay() -> Relay {
    Relay::start(&[
        "--allow-plain-registration",
        "--max-memory",
        &LIMIT.to_string(),
    ])
}

/// A name whose owner does not read.
fn deaf_owner(relay: &Relay, name: &str) -> Wire {
    let mut wire = Wire::open(relay.address);
    wire.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &bare::string(name));
    wire.message();
    wire
}

/// Peers that are honest: they must notice nothing.
struct Honest {
    client: TcpStream,
    _running: Vec<Box<dyn std::any::Any>>,
}

impl Honest {
    fn start(relay: &Relay) -> Self {
        let service = Service::echo();
        let (owner, user) = (Edge::new(), Edge::new());
        let outlet = owner.outlet(relay.address, service.address(), &[&user.identifier]);
        let inlet = user.inlet(relay.address, &[&owner.identifier]);
        let mut client = connect(inlet.address);
        echo(&mut client, NAME.as_bytes()).expect("echo");
        Self {
            client,
            _running: vec![
                Box::new(service),
                Box::new((owner, user)),
                Box::new((outlet, inlet)),
            ],
        }
    }

    fn check(&mut self) {
        echo(&mut self.client, &[5; 100_000]).expect("honest peers go on");
    }
}

/// Connections that each do `part` at the same time.
fn attack(
    relay: &Relay,
    connections: usize,
    part: impl Fn(&mut TcpStream) + Clone + Send + 'static,
) -> Vec<thread::JoinHandle<()>> {
    (0..connections)
        .map(|_| {
            let (mut wire, part) = (Wire::open(relay.address), part.clone());
            let limit = Some(Duration::from_secs(2));
            wire.stream.set_write_timeout(limit).expect("a limit");
            thread::spawn(move || part(&mut wire.stream))
        })
        .collect()
}

/// Looks at the relay, and at its honest users, until the attack is over.
fn watch(relay: &Relay, honest: &mut Honest, attack: &[thread::JoinHandle<()>]) {
    let since = Instant::now();
    while attack.iter().any(|part| !part.is_finished()) {
        assert!(since.elapsed() < PATIENCE * 3, "the attack does not end");
        let resident = proc::resident(relay.process.id()) / MIB;
        assert!(resident < MOST, "{resident} MiB");
        honest.check();
        thread::sleep(Duration::from_millis(20));
    }
    let peak = proc::peak_resident(relay.process.id()) / MIB;
    assert!(peak < MOST, "peak of {peak} MiB");
    honest.check();
}

fn closed_for_memory(relay: &Relay) -> f64 {
    metrics::scrape(relay.metrics).count("memory_limit")
}

#[test]
fn large_messages_to_one_who_does_not_read() {
    const SENDERS: usize = 60;
    let _turn = alone();
    let relay = relay();
    let mut honest = Honest::start(&relay);
    let _deaf = deaf_owner(&relay, "deaf");
    let one = framed(&message(
        &["forward_to_deaf", "x"],
        &["y"],
        &vec![9; 8 << 20],
    ));
    // Either it gets through, or the relay has stopped reading or closed it.
    let senders = attack(&relay, SENDERS, move |stream| {
        let _ = stream.write_all(&one);
    });
    watch(&relay, &mut honest, &senders);
    assert!(closed_for_memory(&relay) > 0.0);
}

/// Links that wait until there is room for what they said hold only that.
#[test]
fn many_who_wait_for_one_keep_little() {
    const WAITING: usize = 300;
    let _turn = alone();
    let relay = relay();
    let mut honest = Honest::start(&relay);
    let mut deaf = deaf_owner(&relay, "deaf");
    let mut first = Wire::open(relay.address);
    let limit = Some(Duration::from_millis(500));
    first.stream.set_write_timeout(limit).expect("a limit");
    let one = framed(&message(&["forward_to_deaf", "x"], &["y"], &[9; 60_000]));
    while first.stream.write_all(&one).is_ok() {}
    let waits = || metrics::scrape(relay.metrics).get("culvert_waits_total");
    let before = waits();
    let others: Vec<_> = (0..WAITING)
        .map(|_| {
            let mut other = Wire::open(relay.address);
            // A link that moves to the shard of the name has said the first before it can be told to wait.
            let small = framed(&message(&["forward_to_deaf", "x"], &["y"], b"small"));
            other.send(&small.repeat(2));
            other
        })
        .collect();
    eventually("all wait", PATIENCE, || {
        let waiting = waits() - before;
        if waiting < WAITING as f64 {
            return Err(waiting);
        }
        Ok(())
    });
    honest.check();
    assert_eq!(closed_for_memory(&relay), 0.0);
    let mut small = 0;
    while small < 2 * WAITING {
        small += usize::from(deaf.message().payload == b"small");
    }
    drop(others);
    honest.check();
}

#[test]
fn unfinished_messages() {
    const SENDERS: usize = 60;
    let _turn = alone();
    let relay = relay();
    let mut honest = Honest::start(&relay);
    let one = framed(&message(&["nobody"], &["y"], &vec![9; 12 << 20]));
    let senders = attack(&relay, SENDERS, move |stream| {
        let _ = stream.write_all(&one[..one.len() - 1]);
        // Held until the others have sent theirs.
        thread::sleep(Duration::from_secs(2));
    });
    watch(&relay, &mut honest, &senders);
    assert!(closed_for_memory(&relay) > 0.0);
}

/// A small message that waits keeps the buffer it arrived in: here the rest of each such buffer was for
/// nobody.
#[test]
fn small_messages_that_keep_large_buffers() {
    const SENDERS: usize = 4;
    let _turn = alone();
    let relay = relay();
    let mut honest = Honest::start(&relay);
    let _deaf = deaf_owner(&relay, "deaf");
    let mut round = framed(&message(&["forward_to_deaf", "x"], &["y"], &[9; 1500]));
    let filler = framed(&message(&["nobody"], &["y"], &[9; 4000]));
    while round.len() < 250 << 10 {
        round.extend_from_slice(&filler);
    }
    let senders = attack(&relay, SENDERS, move |stream| {
        let all = (0..3000).try_for_each(|_| stream.write_all(&round));
        drop(all);
    });
    watch(&relay, &mut honest, &senders);
}

/// A buffer for the beginning of a message must not cost more than what arrived, and those who stand
/// still give way to those who go on.
#[test]
fn beginnings_of_messages() {
    const SENDERS: usize = 300;
    let _turn = alone();
    let relay = relay();
    let mut honest = Honest::start(&relay);
    let one = framed(&message(&["nobody"], &["y"], &vec![9; 1 << 20]));
    let mut held: Vec<_> = (0..SENDERS)
        .map(|_| {
            let mut wire = Wire::open(relay.address);
            let _ = wire.stream.write_all(&one[..33_000]);
            wire
        })
        .collect();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        honest.check();
    }
    held.clear();
    honest.check();
}

/// A stream that is ended for want of memory never looks complete, and gives everything back.
#[test]
fn uploads_to_a_service_that_does_not_read() {
    const CLIENTS: usize = 70;
    const EACH: usize = 12 << 20;
    let _turn = alone();
    let service = Service::start(|mut stream, _| {
        thread::sleep(Duration::from_secs(4));
        // Says how much it got, if that was all and ended in order.
        let mut all = Vec::new();
        if stream.read_to_end(&mut all).is_ok() {
            let _ = stream.write_all(&all.len().to_be_bytes());
        }
    });
    let relay = Relay::start(&[]);
    let (owner, user) = (Edge::new(), Edge::new());
    let small = &["--max-memory", "32"];
    let outlet = owner.start_outlet(
        relay.address,
        NAME,
        service.address(),
        &[&user.identifier],
        small,
    );
    outlet.process.event("registered");
    let inlet = user.inlet(relay.address, &[&owner.identifier]);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = connect(inlet.address);
            thread::spawn(move || {
                for _ in 0..EACH >> 16 {
                    client.write_all(&[5; 1 << 16])?;
                }
                client.shutdown(Shutdown::Write)?;
                let mut answer = [0; 8];
                client.read_exact(&mut answer)?;
                assert_eq!(usize::from_be_bytes(answer), EACH, "short but complete");
                std::io::Result::Ok(())
            })
        })
        .collect();
    let mut broken = 0;
    for client in clients {
        let result = client.join().expect("a client");
        // Told that it broke, never an end of data.
        let kind = result.err().map(|error| error.kind());
        assert_ne!(kind, Some(std::io::ErrorKind::UnexpectedEof));
        broken += usize::from(kind.is_some());
    }
    assert!(broken > 0, "the limit was not reached");
    let samples = metrics::scrape(outlet.metrics);
    assert!(samples.count("memory_limit") > 0.0);
    eventually("memory is given back", PATIENCE, || {
        let samples = metrics::scrape(outlet.metrics);
        match (
            samples.get("culvert_streams"),
            samples.get("culvert_memory_bytes"),
        ) {
            (0.0, held) if held < 2e6 => Ok(()),
            other => Err(other),
        }
    });
}

/// Connections that were busy once and then idle hold little, and cost nobody else anything.
#[test]
fn many_idle_connections() {
    const CLIENTS: usize = 600;
    let _turn = alone();
    let service = Service::echo();
    let relay = Relay::start(&[]);
    let (owner, user) = (Edge::new(), Edge::new());
    let small = &["--max-memory", "32"];
    let (to, friend) = (service.address(), user.identifier.as_str());
    let outlet = owner.start_outlet(relay.address, NAME, to, &[friend], small);
    outlet.process.event("registered");
    let far = owner.identifier.as_str();
    let inlet = user.start_inlet(relay.address, NAME, "127.0.0.1:0", &[far], small);
    inlet.process.event("up");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = connect(inlet.address);
        echo(&mut client, &[7; 40_000]).expect("echo");
        clients.push(client);
    }
    eventually(
        "buffers are given back",
        PATIENCE,
        || match metrics::scrape(inlet.metrics).get("culvert_memory_bytes") {
            held if held < 4e6 => Ok(()),
            held => Err(held),
        },
    );
    for client in &mut clients {
        echo(client, b"still there").expect("echo");
    }
}
