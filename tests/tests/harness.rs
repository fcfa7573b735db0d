//! The harness itself: a test that fails should not do so because of it.

use std::collections::BTreeSet;
use std::time::Duration;

use culvert_tests::net::{self, End, Pattern, connect, digest, drain, echo, free_address};
use culvert_tests::process::Spec;
use culvert_tests::service::Service;
use culvert_tests::tap::Tap;
use culvert_tests::wire::{Received, VERSION, Wire, framed, message};
use culvert_tests::{PATIENCE, proc};

#[test]
fn events_are_read_in_order() {
    let script =
        r#"echo '{"event":"one"}'; echo plain; echo '{"event":"two","n":2}'; exec sleep 600"#;
    let mut process = Spec::new("sh").args(["-c", script]).start("script");
    assert_eq!(process.event("two").json["n"], 2);
    assert_eq!(
        process
            .next(Duration::from_millis(20), |_| true)
            .unwrap_err(),
        "time is up"
    );
    assert!(process.is_running());
    process.kill();
    assert!(!process.is_running());
    assert_eq!(
        process.next(PATIENCE, |_| true).unwrap_err(),
        "its output ended"
    );
}

#[test]
fn a_frozen_process_does_not_run_and_goes_on() {
    let process = Spec::new("sh")
        .args(["-c", "while :; do :; done"])
        .start("busy");
    let used = || proc::cpu_time(process.id());
    net::eventually("it runs", PATIENCE, || {
        if used().is_zero() { Err(()) } else { Ok(()) }
    });
    process.freeze();
    net::eventually("it is stopped", PATIENCE, || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()));
        let stat = stat.map_err(|error| error.to_string())?;
        if stat.contains(") T ") {
            Ok(())
        } else {
            Err(stat)
        }
    });
    let before = used();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(used(), before);
    process.thaw();
    net::eventually("it goes on", PATIENCE, || {
        if used() > before { Ok(()) } else { Err(()) }
    });
    assert!(proc::resident(process.id()) > 0 && proc::peak_resident(process.id()) > 0);
    assert!(proc::open_files(process.id()) >= 3);
}

#[test]
fn a_dropped_process_has_ended() {
    let process = Spec::new("sleep").arg("600").start("sleep");
    let stat = format!("/proc/{}/stat", process.id());
    assert!(std::path::Path::new(&stat).exists());
    drop(process);
    assert!(!std::path::Path::new(&stat).exists());
}

#[test]
fn errors_and_exit_codes_are_kept() {
    let mut process = Spec::new("sh")
        .args(["-c", "echo oh >&2; exit 3"])
        .start("script");
    assert_eq!(process.exit_status().code(), Some(3));
    assert_eq!(process.log(), "oh\n");
    let output = Spec::new("sh").args(["-c", "exit 4"]).output(PATIENCE);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(Spec::new("printenv").arg("A").env("A", "b").run(), "b\n");
}

#[test]
fn services_do_what_they_say() {
    let total = 1 << 20;
    let source = Service::source(5, total);
    let received = digest(&mut connect(source.address())).expect("receive");
    let mut direct = Vec::new();
    let hash = net::write_pattern(&mut direct, 5, total).expect("write");
    assert_eq!(received, (total as u64, hash));

    let echoes = Service::echo();
    let mut client = connect(echoes.address());
    echo(&mut client, b"hello").expect("echo");
    assert_eq!((echoes.accepted(), echoes.open()), (1, 1));
    assert_eq!(
        drain(&mut client, Duration::from_millis(20)),
        (Vec::new(), End::Open)
    );
    net::reset(client);
    net::eventually("it ends", PATIENCE, || match echoes.open() {
        0 => Ok(()),
        open => Err(open),
    });
    assert!(net::try_connect(free_address(), PATIENCE).is_err());

    // The pattern does not depend on how it is cut.
    let (mut whole, mut parts) = ([0; 64], [0; 64]);
    Pattern::new(1).fill(&mut whole);
    let mut pattern = Pattern::new(1);
    parts.chunks_mut(16).for_each(|part| pattern.fill(part));
    assert_eq!(whole, parts);
}

#[test]
fn free_addresses_stay_free() {
    let free: BTreeSet<_> = (0..100).map(|_| free_address()).collect();
    assert_eq!(free.len(), 100, "one was given twice");
    // Not among those that any outgoing connection may be given.
    assert!(free.iter().all(|address| address.port() < 32_768));
}

#[test]
fn a_tap_records_and_meddles() {
    // A peer that says its version and sends back whole what it gets.
    let service = Service::echo();
    let tap = Tap::start(service.address());
    let mut wire = Wire::silent(tap.address());
    wire.send(&[VERSION]);
    assert_eq!(wire.take(1, PATIENCE), Ok(vec![VERSION]));
    let hello = message(&["a"], &["b"], b"hello");
    wire.send(&framed(&hello));
    assert_eq!(wire.frame(PATIENCE), Received::Frame(hello.clone()));
    let recorded = tap.recorded();
    assert_eq!(recorded.len(), 2, "one each way");
    assert!(
        recorded
            .iter()
            .all(|frame| frame.message == hello && frame.connection == 0)
    );

    tap.meddle(|frame| vec![frame.message.clone(), b"more".to_vec()]);
    wire.send(&framed(b"x"));
    for expected in [&b"x"[..], b"more", b"more", b"more"] {
        assert_eq!(wire.frame(PATIENCE), Received::Frame(expected.to_vec()));
    }
    tap.behave();
    wire.send(&framed(b"y"));
    assert_eq!(wire.frame(PATIENCE), Received::Frame(b"y".to_vec()));
    tap.cut();
    assert_ne!(wire.drain(PATIENCE).1, End::Open);
}
