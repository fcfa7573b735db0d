//! What operators do to nodes that carry streams: backups, messages, events, logs, management from
//! elsewhere.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use culvert_manage::client::Client;
use culvert_manage::http::Token;
use culvert_manage::problem::Kind;
use culvert_tests::chain::{Edge, Relay};
use culvert_tests::net::{connect, echo, eventually, free_address};
use culvert_tests::process::{Event, Process, Spec};
use culvert_tests::service::Service;
use culvert_tests::transcript::Machine;
use culvert_tests::{PATIENCE, bins};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// What an inlet or a relay is called, once it is up.
fn await_up(machine: &mut Machine, show: &str) -> Value {
    let (shown, _) = eventually(show, PATIENCE, || {
        let shown = machine.json(show);
        match shown["state"] == "up" {
            true => Ok(shown),
            false => Err(shown),
        }
    });
    shown
}

#[test]
fn a_backup_is_made_and_put_back_beside_streams() {
    let (relay, service) = (Relay::start(&[]), Service::echo());
    let (mut server, mut client) = (Machine::new(), Machine::new());
    let at = relay.address;
    let me = client.json("identity create");
    server.run("node create");
    let (allow, peer) = (text(&me["identifier"]), server.json("node show"));
    server.run(&format!("relay create db --at {at}"));
    server.run(&format!(
        "tcp-outlet create --to {} --allow '(= subject.identifier \"{allow}\")'",
        service.address()
    ));
    client.run("node create");
    let peer = text(&peer["identifier"]);
    let made = client.json(&format!(
        "tcp-inlet create --via db --relay {at} --authorized {peer}"
    ));
    let inlet: SocketAddr = text(&made["bind-address"]).parse().expect("an address");
    let mut stream = connect(inlet);
    echo(&mut stream, b"before").expect("an echo");

    let copy = server.beside().join("copy").display().to_string();
    server.run(&format!("backup {copy}"));
    echo(&mut stream, b"beside a backup").expect("an echo");
    let had = server.json("tcp-outlet list");
    server.run("tcp-outlet create later --to 127.0.0.1:1 --allow web");

    // Nothing is put in place of what a node uses, and it is said what helps.
    for line in [&format!("restore --force {copy}"), "reset --yes"] {
        server.fails(5, line);
        let refused = Edge::command(&server.home()).args(line.split(' '));
        let said = refused.args(["--output", "json"]).output(PATIENCE);
        let said: Value = serde_json::from_slice(&said.stderr).expect("JSON");
        let error = &said["error"];
        assert!(text(&error["message"]).contains("'default' is running"));
        assert_eq!(
            error["hint"],
            "stop it first: `culvert-edge node stop default`"
        );
    }
    echo(&mut stream, b"after a refusal").expect("the stream goes on");
    assert_eq!(
        server.json("tcp-outlet list").as_array().map(Vec::len),
        Some(2)
    );

    drop(stream);
    server.run("node stop");
    server.run(&format!("restore --force {copy}"));
    server.run("node start");
    await_up(&mut server, "relay show db");
    let now = server.json("tcp-outlet list");
    let names = |all: &Value| -> Vec<(Value, Value)> {
        let all = all.as_array().expect("a list").iter();
        all.map(|one| (one["name"].clone(), one["policy"].clone()))
            .collect()
    };
    assert_eq!(names(&now), names(&had));
    assert_eq!(server.json("node show")["identifier"], peer);
    eventually("the service is reached again", PATIENCE, || {
        echo(&mut connect(inlet), b"after a restore")
    });
}

/// Two nodes of one machine, one of which the other can connect to.
fn two_nodes() -> (Machine, String) {
    let mut machine = Machine::new();
    let at = free_address();
    machine.run(&format!("node create far --tcp-listener-address {at}"));
    machine.run("node create near");
    machine.run("node default near");
    (machine, format!("/ip4/{}/tcp/{}", at.ip(), at.port()))
}

#[test]
fn messages_are_sent_and_answered() {
    let (mut machine, far) = two_nodes();
    let send = "message send";
    let shout = "'a message' --to";
    let local = "/node/far/service/uppercase";
    assert_eq!(machine.run(&format!("{send} {shout} {local}")), "A MESSAGE");
    let answer = machine.json(&format!("{send} hello --to /service/echo"));
    assert_eq!(answer["message"], "hello", "{answer}");
    assert_eq!(answer["hex"], "0568656c6c6f", "{answer}");
    let bytes = machine.run(&format!("{send} --hex 0568656c6c6f --to /service/echo"));
    assert_eq!(bytes, "0568656c6c6f");

    // Through a channel that is kept up, by what JSON says and in a pipe.
    let made = machine.json(&format!("secure-channel create way --to {far}/service/api"));
    let by_channel = format!("{}/service/uppercase", text(&made["route"]));
    assert_eq!(
        machine.run(&format!("{send} {shout} {by_channel}")),
        "A MESSAGE"
    );
    let edge = bins::edge().display().to_string();
    let pipe = format!(
        "{edge} secure-channel create --to {far}/service/api | \
         {edge} message send hello --to -/service/uppercase"
    );
    let piped = Spec::new("sh").env("CULVERT_HOME", machine.home());
    assert_eq!(piped.args(["-c", &pipe]).run().trim(), "HELLO");
    // Through one for this message alone.
    let once = format!("{far}/secure/api/service/echo");
    assert_eq!(machine.run(&format!("{send} hello --to {once}")), "hello");

    machine.fails(
        6,
        &format!("{send} hello --to /service/nobody --timeout 300ms"),
    );
    machine.fails(
        4,
        &format!("{send} hello --to /secure-channel/none/service/echo"),
    );
    machine.fails(2, &format!("{send} --hex 0 --to /service/echo"));
    machine.fails(2, &format!("{send} hello --to nonsense"));
    machine.run("node stop far");
    machine.fails(6, &format!("{send} hello --to {once} --timeout 2s"));
    machine.fails(6, &format!("{send} hello --to /node/far/service/echo"));
}

fn follow(machine: &Machine, command: &[&str]) -> Process {
    let command = Edge::command(&machine.home()).args(command);
    command.args(["--output", "json"]).start("follower")
}

#[test]
fn events_are_told_as_they_happen() {
    let mut machine = Machine::new();
    machine.run("node create");
    let mut events = follow(&machine, &["events"]);
    let hello = events.event("hello");
    assert_eq!(hello.text("node"), "default");
    assert_eq!(hello.text("version"), env!("CARGO_PKG_VERSION"));
    let of = |wanted: &'static str| events.expect(wanted, PATIENCE, |event| event.kind() == wanted);
    machine.run("tcp-outlet create pg --to 127.0.0.1:5432 --allow web");
    let is_about = |event: &Event, resource: &str, name: &str| {
        assert_eq!(
            (event.text("resource"), event.text("name")),
            (resource, name)
        );
        assert!(event.json["at-ms"].is_u64(), "{}", event.json);
    };
    is_about(&of("created"), "tcp-outlet", "pg");
    let nowhere = free_address();
    machine.run(&format!(
        "relay create lost --at {nowhere} --no-connection-wait"
    ));
    is_about(&of("created"), "relay", "lost");
    let down = of("down");
    is_about(&down, "relay", "lost");
    assert!(down.text("detail").contains(&nowhere.to_string()));
    // The relay comes to life: that is told without asking.
    let relay = Relay::start_at(&nowhere.to_string(), &[]);
    let up = of("up");
    is_about(&up, "relay", "lost");
    assert_eq!(up.text("detail"), relay.identifier);
    machine.run("tcp-outlet delete pg -y");
    is_about(&of("deleted"), "tcp-outlet", "pg");
    machine.run("relay delete lost -y");
    is_about(&of("deleted"), "relay", "lost");
    machine.run("node stop");
    assert_eq!(events.exit_status().code(), Some(0), "it ended in order");
    machine.run("node start");
    let mut events = follow(&machine, &["events"]);
    events.event("hello");
    let node = machine.json("node show");
    let pid = node["pid"]
        .as_i64()
        .and_then(|pid| Pid::from_raw(pid as i32));
    kill_process(pid.expect("a process id"), Signal::KILL).expect("kill");
    assert_eq!(events.exit_status().code(), Some(6), "it broke off");
}

#[test]
fn a_log_is_followed() {
    let machine = Machine::new();
    // A machine's commands log nothing, and what they start neither.
    let run = |arguments: &[&str]| Edge::command(&machine.home()).args(arguments).run();
    run(&["node", "create"]);
    run(&["node", "stop"]);
    let last = run(&["node", "logs", "-n", "1"]);
    assert!(last.contains("all streams have ended"), "{last}");
    let log = follow(&machine, &["node", "logs", "-f"]);
    let line = |part: &str| {
        let holds = |event: &Event| event.text("line").contains(part);
        log.expect(part, PATIENCE, holds).text("line").to_owned()
    };
    // What was there first, then what is added.
    assert_eq!(line("all streams have ended"), last.trim());
    run(&["node", "start"]);
    run(&["stop", "--drain", "7s"]);
    assert!(line("seconds=7").contains("ending"));
    assert_ne!(line("all streams have ended"), last.trim());
    assert!(!log.terminate().success(), "it ends by a signal only");
}

/// A certificate for localhost and its key, as PEM files.
fn certificate(place: &TempDir, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]);
    let made = made.expect("a certificate");
    let file = |ending: &str, text: &str| {
        let path = place.path().join(format!("{name}.{ending}"));
        fs::write(&path, text).expect("write a file");
        path
    };
    (
        file("crt", &made.cert.pem()),
        file("key", &made.signing_key.serialize_pem()),
    )
}

/// Asks at an address over TLS, as it has to be asked and otherwise.
fn ask_over_tls(at: SocketAddr, token: &Path, certificate: &Path, other: &Path) {
    let url = format!("https://localhost:{}", at.port());
    let client = |url: &str, token: &Token, trusted: Option<&Path>| {
        Client::tcp(url, token.clone(), trusted).expect("a client")
    };
    let token = Token::load(token).expect("the token");
    let good = client(&url, &token, Some(certificate));
    let seen = good.request("GET", "/v1/self", None).expect("an answer");
    assert_eq!(seen["version"], env!("CARGO_PKG_VERSION"), "{seen}");
    let mut events = good.lines("/v1/self/events").expect("events");
    let hello = events.next().expect("a line").expect("an event");
    assert_eq!(hello["event"], "hello", "{hello}");
    drop(events);

    let by_another = client(&url, &Token::random(), Some(certificate));
    let refused = by_another.request("GET", "/v1/self", None);
    assert_eq!(
        refused.expect_err("a wrong token").kind,
        Kind::Unauthenticated
    );
    let misled = client(&url, &token, Some(other));
    let refused = misled.request("GET", "/v1/self", None);
    let refused = refused.expect_err("a certificate that nobody vouches for");
    assert_eq!(refused.kind, Kind::Unavailable, "{refused}");
    // What can be read on the way is not answered.
    let in_clear = client(&format!("http://{at}"), &token, None);
    in_clear
        .request("GET", "/v1/self", None)
        .expect_err("in clear");
    let good = good.request("GET", "/live", None);
    assert!(good.is_ok(), "it still serves: {good:?}");
}

#[test]
fn management_over_tls_takes_the_token() {
    let place = tempfile::tempdir().expect("a directory");
    let ((own, key), (other, _)) = (certificate(&place, "own"), certificate(&place, "other"));
    let shown = |path: &Path| path.display().to_string();
    let tls = [shown(&own), shown(&key)];

    let mut machine = Machine::new();
    let token = machine.beside().join("edge.token");
    machine.run(&format!(
        "node create --http 127.0.0.1:0 --tls-certificate {} --tls-key {} --token-file {}",
        tls[0],
        tls[1],
        token.display()
    ));
    let at = text(&machine.json("node show")["http-address"]).to_owned();
    let edge = at.rsplit('/').next().expect("an address").parse();
    ask_over_tls(edge.expect("an address"), &token, &own, &other);
    // Changed from elsewhere, seen here.
    let url = format!("https://{}", at.rsplit('/').next().expect("an address"));
    let client = Client::tcp(&url, Token::load(&token).expect("a token"), Some(&own));
    let spec = json!({ "name": "pg", "to": "127.0.0.1:5432", "allow": "web" });
    let made = client
        .expect("a client")
        .request("POST", "/v1/self/tcp-outlets", Some(spec));
    assert_eq!(made.expect("made")["name"], "pg");
    assert_eq!(machine.json("tcp-outlet show pg")["to"], "127.0.0.1:5432");

    let options = [
        "--manage",
        "127.0.0.1:0",
        "--manage-tls-certificate",
        &tls[0],
        "--manage-tls-key",
        &tls[1],
    ];
    let relay = Relay::start(&options);
    let management = relay.listening.json["management"]
        .as_array()
        .expect("a list");
    let mut ports = management
        .iter()
        .filter_map(|at| text(at).rsplit('/').next());
    let at = ports.find_map(|at| at.parse().ok()).expect("an address");
    ask_over_tls(at, &relay.home().join("relay.token"), &own, &other);
}
