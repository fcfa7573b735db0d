//! How single TCP connections behave: half-close, reset, refusal, stalling, identity.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use culvert_tests::chain::{Chain, Edge, NAME, Relay};
use culvert_tests::net::{
    self, End, Pattern, connect, digest, drain, echo, eventually, free_address, write_pattern,
};
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, alone, metrics, proc};

const MIB: usize = 1024 * 1024;

#[test]
fn half_close_by_the_client() {
    let _turn = alone();
    let service = Service::digest();
    let chain = Chain::start(service.address());
    let mut client = connect(chain.address());
    let sent = write_pattern(&mut client, 1, 4 * MIB).expect("send");
    client.shutdown(Shutdown::Write).expect("half close");
    let (answer, end) = drain(&mut client, PATIENCE);
    assert_eq!((answer.as_slice(), end), (sent.as_slice(), End::Closed));
}

#[test]
fn half_close_by_the_service() {
    let _turn = alone();
    let service = Service::closes_first();
    let chain = Chain::start(service.address());
    let mut client = connect(chain.address());
    // The service's end arrives first; what the client says after that still gets through.
    assert_eq!(client.read(&mut [0]).expect("end of the service's data"), 0);
    write_pattern(&mut client, 1, 4 * MIB).expect("send");
    drop(client);
    eventually("everything arrives", PATIENCE, || match service.written() {
        total if total == 4 * MIB as u64 => Ok(()),
        total => Err(total),
    });
}

#[test]
fn a_reset_reaches_the_other_side() {
    let _turn = alone();
    let service = Service::start(|mut stream, counters| {
        let mut chunk = [0; 1024];
        let error = loop {
            match stream.read(&mut chunk) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        if error.kind() == std::io::ErrorKind::ConnectionReset {
            counters.written.fetch_add(1, Ordering::SeqCst);
        }
    });
    let chain = Chain::start(service.address());
    let mut client = connect(chain.address());
    client.write_all(b"hello").expect("send");
    eventually("connection at the service", PATIENCE, || {
        match service.open() {
            1 => Ok(()),
            open => Err(open),
        }
    });
    net::reset(client);
    eventually("the service sees it", PATIENCE, || {
        match (service.open(), service.written()) {
            (0, 1) => Ok(()),
            other => Err(other),
        }
    });
}

#[test]
fn a_refused_target_closes_the_client_within_a_second() {
    let _turn = alone();
    let target = free_address();
    let chain = Chain::start(target);
    for _ in 0..3 {
        let mut client = connect(chain.address());
        let began = Instant::now();
        let (bytes, end) = drain(&mut client, PATIENCE);
        let took = began.elapsed();
        assert!(
            bytes.is_empty() && end != End::Open,
            "{end:?} after {bytes:?}"
        );
        assert!(took < Duration::from_secs(1), "took {took:?}");
    }
}

#[test]
fn two_hundred_connections_carry_their_own_data() {
    let _turn = alone();
    net::many_files();
    let service = Service::echo();
    let chain = Chain::start(service.address());
    let mut clients: Vec<_> = (0..200).map(|_| connect(chain.address())).collect();
    let block = |seed| {
        let mut bytes = vec![0; 8192];
        Pattern::new(seed).fill(&mut bytes);
        bytes
    };
    for round in 0..3 {
        for (n, client) in clients.iter_mut().enumerate() {
            client
                .write_all(&block(round * 1000 + n as u64))
                .expect("send");
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let mut back = vec![0; 8192];
            client.read_exact(&mut back).expect("receive");
            assert!(
                back == block(round * 1000 + n as u64),
                "connection {n} got other bytes"
            );
        }
    }
    assert_eq!((service.accepted(), service.open()), (200, 200));
    drop(clients);
    eventually("all connections end", PATIENCE, || match service.open() {
        0 => Ok(()),
        open => Err(open),
    });
}

#[test]
fn a_client_that_stops_reading_holds_up_nobody() {
    let _turn = alone();
    // Enough to see what is kept in between: were it read without limit it would all be there.
    const TOTAL: usize = 192 * MIB;
    // Windows, the buffers that they keep in use, and what each thread keeps for later.
    const KEPT: u64 = 48 * MIB as u64;
    let service = Service::source(7, TOTAL);
    let chain = Chain::start(service.address());
    let hash = |stream: &mut std::net::TcpStream| {
        let (total, hash) = digest(stream).expect("receive");
        assert_eq!(total, TOTAL as u64);
        hash
    };
    // Warm: one transfer through, then look at the memory.
    let expected = hash(&mut connect(chain.address()));
    let before = chain.processes().map(|(_, id)| proc::resident(id));
    let sent_before = service.written();

    let mut stalled: Vec<_> = (0..4).map(|_| connect(chain.address())).collect();
    for client in &mut stalled {
        client.read_exact(&mut [0; 8]).expect("it started");
    }
    // Others are served meanwhile, in full.
    for _ in 0..2 {
        assert_eq!(hash(&mut connect(chain.address())), expected);
    }
    let kept = service.written() - sent_before - 2 * TOTAL as u64;
    assert!(
        kept < 4 * KEPT,
        "{kept} bytes were taken for four clients that read nothing"
    );
    for ((role, id), before) in chain.processes().into_iter().zip(before) {
        let now = proc::resident(id);
        assert!(
            now < before + KEPT,
            "{role} grew from {before} to {now} bytes"
        );
    }
    // One of them goes on and misses nothing.
    let mut pattern = [0; 8];
    Pattern::new(7).fill(&mut pattern);
    let mut rest = pattern.as_slice().chain(stalled.pop().expect("a client"));
    let (total, resumed) = digest(&mut rest).expect("receive");
    assert_eq!((total, resumed), (TOTAL as u64, expected));
}

#[test]
fn a_service_that_stops_reading_holds_up_nobody() {
    let _turn = alone();
    // Reads on only when told to.
    let go = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&go);
    let service = Service::start(move |mut stream, _| {
        let mut first = [0];
        if stream.read_exact(&mut first).is_err() {
            return;
        }
        while first[0] == b's' && !gate.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
        if let Ok((total, _)) = digest(&mut stream) {
            let _ = stream.write_all(&total.to_be_bytes());
        }
    });
    let chain = Chain::start(service.address());
    const TOTAL: usize = 96 * MIB;
    let send = move |first: u8| {
        let mut client = connect(chain.inlet.address);
        move || {
            client.write_all(&[first]).expect("send");
            write_pattern(&mut client, 1, TOTAL).expect("send");
            client.shutdown(Shutdown::Write).expect("half close");
            let mut answer = [0; 8];
            client.read_exact(&mut answer).expect("answer");
            u64::from_be_bytes(answer)
        }
    };
    let before = chain.processes().map(|(_, id)| proc::resident(id));
    let stalled = thread::spawn(send(b's'));
    assert_eq!(send(b'g')(), TOTAL as u64);
    assert!(!stalled.is_finished());
    for ((role, id), before) in chain.processes().into_iter().zip(before) {
        let now = proc::resident(id);
        assert!(
            now < before + 32 * MIB as u64,
            "{role} grew from {before} to {now} bytes"
        );
    }
    go.store(true, Ordering::SeqCst);
    assert_eq!(stalled.join().expect("stalled client"), TOTAL as u64);
}

/// A client connected to an inlet whose channel must not come about: it gets nothing, the service
/// sees nobody, and one of the edges counts a refusal.
fn assert_refused(address: std::net::SocketAddr, service: &Service, counts: std::net::SocketAddr) {
    eventually("a refusal is counted", PATIENCE, || {
        // Each attempt to use the inlet may be what makes it try again.
        if let Ok(mut client) = net::try_connect(address, Duration::from_secs(5)) {
            let _ = client.write_all(b"let me in");
            let (bytes, _) = drain(&mut client, Duration::from_millis(500));
            assert!(bytes.is_empty(), "a stranger was answered: {bytes:?}");
        }
        let now = metrics::scrape(counts);
        if now.count("identity_not_allowed") > 0.0 {
            Ok(())
        } else {
            Err(now.reasons())
        }
    });
    assert_eq!(service.accepted(), 0, "a stranger reached the service");
}

#[test]
fn an_outlet_refuses_a_stranger() {
    let _turn = alone();
    let service = Service::echo();
    let relay = Relay::start(&[]);
    let (owner, friend, stranger) = (Edge::new(), Edge::new(), Edge::new());
    let outlet = owner.outlet(relay.address, service.address(), &[&friend.identifier]);
    let inlet = stranger.start_inlet(
        relay.address,
        NAME,
        "127.0.0.1:0",
        &[&owner.identifier],
        &[],
    );
    assert_refused(inlet.address, &service, outlet.metrics);

    // The one who may still can.
    let inlet = friend.inlet(relay.address, &[&owner.identifier]);
    echo(&mut connect(inlet.address), b"hello").expect("echo");
}

#[test]
fn an_inlet_refuses_a_stranger() {
    let _turn = alone();
    let service = Service::echo();
    let relay = Relay::start(&[]);
    let (impostor, client, friend) = (Edge::new(), Edge::new(), Edge::new());
    let _outlet = impostor.outlet(relay.address, service.address(), &[&client.identifier]);
    let inlet = client.start_inlet(
        relay.address,
        NAME,
        "127.0.0.1:0",
        &[&friend.identifier],
        &[],
    );
    assert_refused(inlet.address, &service, inlet.metrics);
    assert!(
        inlet
            .process
            .drain()
            .iter()
            .all(|event| event.kind() != "up"),
        "a channel to a stranger came up"
    );
}

#[test]
fn streams_that_skip_the_handshake() {
    let _turn = alone();
    const SKIP: &[&str] = &["--skip-handshake"];
    let service = Service::echo();
    let relay = Relay::start(&[]);
    let (owner, user) = (Edge::new(), Edge::new());
    let (at, to) = (relay.address, service.address());
    let outlet = owner.start_outlet(at, NAME, to, &[&user.identifier], SKIP);
    outlet.process.event("registered");
    let inlet = user.start_inlet(at, NAME, "127.0.0.1:0", &[&owner.identifier], SKIP);
    inlet.process.event("up");
    let mut clients: Vec<_> = (0..20).map(|_| connect(inlet.address)).collect();
    for round in 0..3u8 {
        for (n, client) in clients.iter_mut().enumerate() {
            // More than the sockets on the way hold, before the service may be connected.
            echo(client, &vec![round ^ n as u8; 200_000]).expect("echo");
        }
    }
    assert_eq!((service.accepted(), service.open()), (20, 20));
    drop(clients);
    eventually("all connections end", PATIENCE, || match service.open() {
        0 => Ok(()),
        open => Err(open),
    });
}
