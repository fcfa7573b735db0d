//! A relay as its operator meets it: management, configuration, status, signals, service manager.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Output;

use culvert_proto::bare;
use culvert_proto::forwarder::STATIC_FORWARDING_SERVICE;
use culvert_tests::chain::Relay;
use culvert_tests::http;
use culvert_tests::net::eventually;
use culvert_tests::process::Spec;
use culvert_tests::socket::{ask, follow};
use culvert_tests::wire::{Wire, route};
use culvert_tests::{PATIENCE, bins, metrics};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Runs `culvert-relay` to its end.
fn relay_of(arguments: &[&str]) -> Output {
    Spec::new(bins::relay())
        .args(arguments.iter().copied())
        .output(PATIENCE)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn register(wire: &mut Wire, name: &str) {
    wire.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &bare::string(name));
    assert_eq!(wire.message().onward, route(&["me"]));
}

/// Asks over TCP, with this token if there is one.
fn ask_tcp(at: SocketAddr, method: &str, path: &str, token: &str) -> (u16, String) {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let shown = if token.is_empty() {
        &headers[..0]
    } else {
        &headers
    };
    let answer = http::send(at, method, path, shown, None, PATIENCE);
    (answer.status, answer.body)
}

/// Registers a name and waits until that was refused.
fn is_refused(relay: &Relay, wire: &mut Wire, name: &str, reason: &str) {
    let before = metrics::scrape(relay.metrics);
    wire.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &bare::string(name));
    wire.check();
    metrics::await_count(relay.metrics, &before, reason, 1.0, PATIENCE);
}

#[test]
fn the_socket_shows_what_the_relay_does() {
    let relay = Relay::start(&["--allow-plain-registration"]);
    let socket = relay.home().join("relay.sock");
    let mode = fs::metadata(&socket)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let get = |path: &str| ask(&socket, "GET", path, None);
    let mut events = follow(&socket, "/v1/self/events");
    assert_eq!(events.next().expect("a first event")["event"], "hello");

    let mut wire = Wire::open(relay.address);
    register(&mut wire, "db");
    let event = events.next().expect("an event");
    assert_eq!(
        (&event["resource"], &event["event"]),
        (&json!("forwarder"), &json!("registered"))
    );
    assert_eq!(event["name"], "db");
    let (status, own) = get("/v1/self");
    assert_eq!(status, 200);
    assert_eq!(own["identifier"], relay.identifier.as_str());
    assert_eq!(own["address"], relay.address.to_string());
    assert_eq!(
        (&own["kind"], &own["state"]),
        (&json!("relay"), &json!("running"))
    );
    assert_eq!(own["pid"], relay.process.id());
    let (_, names) = get("/v1/self/forwarders");
    assert_eq!(names["total"], 1);
    assert_eq!(names["forwarders"][0]["name"], "db");
    assert_eq!(names["forwarders"][0]["identity"], Value::Null);
    let (_, open) = get("/v1/self/inspect");
    assert_eq!(open["links-total"], 1, "{open}");
    assert_eq!(get("/v1/self/denials"), (200, json!([])));
    drop(wire);
    assert_eq!(events.next().expect("an event")["event"], "released");
}

#[test]
fn the_socket_answers_probes_and_refuses_what_makes_no_sense() {
    let relay = Relay::start(&[]);
    let socket = relay.home().join("relay.sock");
    let get = |path: &str| ask(&socket, "GET", path, None);
    assert_eq!(get("/live"), (200, json!("ok\n")));
    let (status, ready) = get("/ready");
    assert_eq!((status, &ready["ready"]), (200, &json!(true)), "{ready}");
    assert!(
        get("/metrics")
            .1
            .as_str()
            .is_some_and(|text| text.contains("\nculvert_links "))
    );
    assert_eq!(get("/v1/history").1["step-s"], 1);
    assert!(
        get("/")
            .1
            .as_str()
            .is_some_and(|page| page.contains("<html"))
    );
    for (method, path, expected) in [
        ("GET", "/v1/other", 404),
        ("GET", "/v1/self/nothing", 404),
        ("DELETE", "/v1/self", 405),
        ("GET", "/v1/self/events?follow=maybe", 400),
    ] {
        let (status, problem) = ask(&socket, method, path, None);
        assert_eq!(status, expected, "{method} {path}: {problem}");
        assert!(problem["message"].is_string(), "{problem}");
    }
    let (status, problem) = ask(&socket, "POST", "/v1/self/reload", None);
    assert_eq!(
        (status, &problem["kind"]),
        (400, &json!("invalid")),
        "{problem}"
    );
}

#[test]
fn the_socket_belongs_to_one_relay_and_ends_it() {
    let relay = Relay::start(&[]);
    let socket = relay.home().join("relay.sock");

    // A second relay with the same state directory does its work, and leaves the socket alone.
    let second = Spec::new(bins::relay())
        .args(["--listen", "127.0.0.1:0", "--output", "json", "--home"])
        .arg(relay.home())
        .start("second relay");
    assert_eq!(second.event("listening").json["management"], json!([]));
    assert!(
        second.log().contains("not managed through a socket"),
        "{}",
        second.log()
    );
    assert_eq!(second.terminate().code(), Some(0));

    let wanted = json!({ "drain-s": 0 });
    let (status, _) = ask(&socket, "POST", "/v1/self/stop", Some(&wanted));
    assert_eq!(status, 202);
    let mut relay = relay;
    assert_eq!(relay.process.exit_status().code(), Some(0));
    assert!(!socket.exists(), "the socket is removed");
}

#[test]
fn management_over_tcp_takes_the_token() {
    let relay = Relay::start(&["--manage", "127.0.0.1:0"]);
    let served = relay.listening.json["management"]
        .as_array()
        .expect("places");
    let at = served[0].as_str().and_then(|at| at.strip_prefix("http://"));
    let at: SocketAddr = at.and_then(|at| at.parse().ok()).expect("an address");
    assert!(
        served[1]
            .as_str()
            .is_some_and(|at| at.ends_with("/relay.sock")),
        "{served:?}"
    );
    let file = relay.home().join("relay.token");
    let mode = fs::metadata(&file).expect("the token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = fs::read_to_string(&file).expect("the token");
    let token = token.trim();
    assert_eq!(ask_tcp(at, "GET", "/v1/self", token).0, 200);
    let (status, problem) = ask_tcp(at, "GET", "/v1/self", "");
    assert_eq!(status, 401, "{problem}");
    assert!(problem.contains("unauthenticated"), "{problem}");
    assert_eq!(ask_tcp(at, "POST", "/v1/self/stop", "x").0, 401);
    // Metrics have an address of their own, and nothing else has that.
    assert_eq!(ask_tcp(relay.metrics, "GET", "/v1/self", token).0, 404);

    let home = tempfile::tempdir().expect("a directory");
    let home = home.path().to_str().expect("text");
    let start = |arguments: &[&str]| {
        let mut all = vec![
            "--listen",
            "127.0.0.1:0",
            "--home",
            home,
            "--output",
            "json",
        ];
        all.extend(arguments);
        refused_relay(&all)
    };
    let (status, said) = start(&["--manage", "0.0.0.0:0"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("without TLS the token could be read"),
        "{said}"
    );
    let (status, said) = start(&["--manage", &at.to_string()]);
    assert_eq!(status, Some(5), "{said}");
    let (status, said) = start(&["--manage", "nowhere"]);
    assert_eq!(status, Some(2), "{said}");
    let (status, said) = start(&["--manage", "127.0.0.1:0", "--no-manage"]);
    assert_eq!(status, Some(2), "{said}");
}

/// Exit status, and what was said on stderr.
fn refused_relay(arguments: &[&str]) -> (Option<i32>, String) {
    let output = relay_of(arguments);
    (output.status.code(), text(&output.stderr))
}

#[test]
fn files_are_checked_and_what_is_wrong_is_named_by_its_place() {
    let place = tempfile::tempdir().expect("a directory");
    let file = |content: &str| {
        let path = place.path().join("relay.yaml");
        fs::write(&path, content).expect("write");
        path.to_str().expect("text").to_owned()
    };
    let good = file("listen: 127.0.0.1:0\nmax-forwarders: 10\nmanage: [127.0.0.1:0]\n");
    let output = relay_of(&["check", &good]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{good} is valid\n"));
    let output = relay_of(&["check", &good, "--output", "json"]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said, json!({ "valid": true, "findings": [] }));

    for (content, place, what) in [
        (
            "max-forwardrs: 10\n",
            ":1:1:",
            "did you mean 'max-forwarders'",
        ),
        ("drain: 5\nmax-links: many\n", ":2:12:", "max-links"),
        (
            "listen: localhost:4000\n",
            ":1:9:",
            "expected an IP address and a port",
        ),
        ("max-memory: 8\n", ":1:13:", "at least 32"),
        ("log: info,everything\n", ":1:6:", "'everything'"),
        ("authority: [zz]\n", ":1:", "authority"),
        ("listen: [\n", ":", "relay.yaml"),
    ] {
        let (status, said) = refused_relay(&["check", &file(content)]);
        assert_eq!(status, Some(2), "{said}");
        assert!(
            said.contains(place) && said.contains(what),
            "{content:?}: {said}"
        );
        let (status, said) = refused_relay(&["--config", &file(content)]);
        assert_eq!(status, Some(2), "{said}");
    }
    let (status, said) = refused_relay(&["check", "/nonexistent/relay.yaml"]);
    assert_eq!(status, Some(4), "{said}");
}

#[test]
fn a_reload_changes_what_can_be_changed_and_names_the_rest() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("relay.yaml");
    let write = |content: &str| fs::write(&file, content).expect("write");
    // What is given with the command counts before the file.
    write("listen: 203.0.113.1:1\nmax-links: 100\nmax-forwarders: 1\n");
    let path = file.to_str().expect("text");
    let relay = Relay::start(&["--config", path]);
    let socket = relay.home().join("relay.sock");
    let mut wire = Wire::open(relay.address);
    is_refused(&relay, &mut wire, "a", "plain_registration");

    write("max-links: 200\nmax-forwarders: 1\nallow-plain-registration: true\nshards: 1\n");
    let (status, changes) = ask(&socket, "POST", "/v1/self/reload", None);
    let expected = json!({
        "changed": ["allow-plain-registration"],
        "needs-restart": ["shards", "max-links"],
    });
    assert_eq!((status, changes), (200, expected));
    // The same link goes on.
    register(&mut wire, "a");
    is_refused(&relay, &mut wire, "b", "too_many_forwarders");

    // A file that is wrong changes nothing.
    write("max-forwarders: 2\nmax-lnks: 1\n");
    let (status, problem) = ask(&socket, "POST", "/v1/self/reload", None);
    assert_eq!(status, 400);
    let message = problem["message"].as_str().expect("a message");
    assert!(message.contains("relay.yaml:2:1: "), "{message}");
    is_refused(&relay, &mut wire, "b", "too_many_forwarders");

    let mut events = follow(&socket, "/v1/self/events");
    events.next();
    write("max-links: 100\nmax-forwarders: 2\nallow-plain-registration: true\n");
    relay.process.signal(Signal::HUP);
    assert_eq!(events.next().expect("an event")["event"], "changed");
    register(&mut wire, "b");
    drop(events);
    assert_eq!(relay.process.terminate().code(), Some(0));
}

#[test]
fn status_is_shown_to_people_and_programs() {
    let relay = Relay::start(&["--allow-plain-registration"]);
    let mut wire = Wire::open(relay.address);
    register(&mut wire, "db");
    let home = relay.home().to_str().expect("text").to_owned();
    let output = relay_of(&["status", "--home", &home]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for expected in [
        &format!("relay       {}\n", relay.identifier),
        "state       running, started ",
        &format!("address     {}\n", relay.address),
        "links       1\n",
        "names       1\n",
        "  db  held by somebody unproven over 1 connections for ",
    ] {
        assert!(said.contains(expected), "{expected:?} in {said}");
    }
    // Options of all commands may stand in front, too.
    for line in [
        ["status", "--home", &home, "--output", "json"],
        ["--home", &home, "--output", "json", "status"],
        ["--home", &home, "status", "--output", "json"],
    ] {
        let output = relay_of(&line);
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(said["forwarders"][0]["name"], "db");
        assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
    }
    for (line, expected) in [
        (
            ["--max-links", "7", "status"],
            "'--max-links' is for running a relay",
        ),
        (
            ["--home", &home, "reload"],
            "unrecognized subcommand 'reload'",
        ),
    ] {
        let (status, said) = refused_relay(&line);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    drop(wire);
    assert_eq!(relay.process.terminate().code(), Some(0));

    let empty = tempfile::tempdir().expect("a directory");
    let empty = empty.path().to_str().expect("text");
    let (status, said) = refused_relay(&["status", "--home", empty, "--output", "json"]);
    assert_eq!(status, Some(6), "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["error"]["kind"], "unavailable");
}

#[test]
fn sigterm_drains_and_a_second_one_does_not_wait() {
    let mut relay = Relay::start(&["--drain", "600"]);
    let socket = relay.home().join("relay.sock");
    let mut wire = Wire::open(relay.address);
    wire.check();
    relay.process.signal(Signal::TERM);
    // While there is traffic the relay serves those who are there, and nobody else.
    eventually("no more is accepted", PATIENCE, || {
        wire.check();
        match std::net::TcpStream::connect(relay.address) {
            Err(_) => Ok(()),
            Ok(_) => Err("a new connection is accepted"),
        }
    });
    let (status, ready) = ask(&socket, "GET", "/ready", None);
    assert_eq!(
        (status, &ready["checks"][1]["ready"]),
        (503, &json!(false)),
        "{ready}"
    );
    assert_eq!(ask(&socket, "GET", "/v1/self", None).1["state"], "ending");
    wire.check();
    assert!(relay.process.is_running());
    relay.process.signal(Signal::TERM);
    assert_eq!(relay.process.exit_status().code(), Some(0));

    // Without traffic nothing is waited for, though the connection stays.
    let relay = Relay::start(&["--drain", "600"]);
    let mut wire = Wire::open(relay.address);
    wire.check();
    assert_eq!(relay.process.terminate().code(), Some(0));
}

/// What the service manager is told next, without the watchdog's beats.
fn told(socket: &UnixDatagram) -> String {
    loop {
        let said = heard(socket);
        if said != "WATCHDOG=1\n" {
            return said;
        }
    }
}

fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).expect("a message");
    text(&buffer[..length])
}

#[test]
fn the_service_manager_is_told() {
    let home = tempfile::tempdir().expect("a directory");
    let manager = home.path().join("notify");
    let socket = UnixDatagram::bind(&manager).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut relay = Spec::new(bins::relay())
        .args([
            "--listen",
            "127.0.0.1:0",
            "--shards",
            "1",
            "--output",
            "json",
            "--home",
        ])
        .arg(home.path())
        .env("NOTIFY_SOCKET", &manager)
        .env("WATCHDOG_USEC", "300000")
        .start("relay");
    let ready = told(&socket);
    assert!(
        ready.starts_with("READY=1\nSTATUS=forwarding on 127.0.0.1:"),
        "{ready}"
    );
    for _ in 0..3 {
        assert_eq!(heard(&socket), "WATCHDOG=1\n");
    }
    relay.signal(Signal::HUP);
    let reloading = told(&socket);
    let lines: Vec<&str> = reloading.lines().collect();
    assert_eq!(lines[0], "RELOADING=1");
    let at = lines[1]
        .strip_prefix("MONOTONIC_USEC=")
        .map(str::parse::<u64>);
    assert!(matches!(at, Some(Ok(1..))), "{reloading}");
    assert!(told(&socket).starts_with("READY=1\n"));
    relay.signal(Signal::TERM);
    assert!(told(&socket).starts_with("STOPPING=1\n"));
    assert_eq!(relay.exit_status().code(), Some(0));
    assert!(Path::new(&manager).exists());
}
