//! The management API of a running node, over its socket and over TCP.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use culvert_tests::PATIENCE;
use culvert_tests::bins;
use culvert_tests::net::{eventually, free_address};
use culvert_tests::process::{Process, Spec};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A node in the foreground.
struct Node {
    home: TempDir,
    _process: Process,
}

/// Status and body of an answer.
type Answer = (u16, Value);

impl Node {
    /// With these lines in its configuration.
    fn start(settings: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("edge.yaml");
        fs::write(&file, format!("name: one\n{settings}")).expect("written");
        let process = Spec::new(bins::edge())
            .args(["run", "--home"])
            .arg(home.path())
            .arg("-f")
            .arg(&file)
            .start("node");
        let node = Self {
            home,
            _process: process,
        };
        eventually("the node answers", PATIENCE, || {
            UnixStream::connect(node.directory().join("api.sock"))
        });
        node
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("nodes/one")
    }

    fn connect(&self) -> UnixStream {
        let socket = self.directory().join("api.sock");
        let stream = UnixStream::connect(socket).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        exchange(self.connect(), method, path, "", body.as_bytes())
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, &Value::Null);
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// Where management is served over TCP, and its token.
    fn over_tcp(&self) -> (SocketAddr, String) {
        let node = self.get("/v1/self");
        let address = node["http-address"].as_str().expect("an address");
        let address = address.rsplit('/').next().expect("a part");
        let path = self.directory().join("token");
        let mode = fs::metadata(&path).expect("a token").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = fs::read_to_string(path).expect("a token");
        (address.parse().expect(address), token.trim().to_owned())
    }
}

/// One request and its answer, on a connection of its own.
fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    head: &str,
    body: &[u8],
) -> Answer {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {}\r\n{head}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    // What is too long is answered before all of it has arrived.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8(answer).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect(&text);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    (status.expect("a status"), body)
}

/// Nobody listens there.
fn nowhere() -> SocketAddr {
    free_address()
}

#[test]
fn every_resource_is_made_shown_changed_and_deleted() {
    let node = Node::start("");
    let relay = nowhere();
    let route = format!(
        "/ip4/127.0.0.1/tcp/{}/secure/api/service/outlet",
        relay.port()
    );
    let channel = format!("/ip4/127.0.0.1/tcp/{}/service/api", relay.port());
    let allow = "(= subject.component \"db\")";
    for (kind, spec, patch) in [
        (
            "tcp-inlets",
            json!({"name": "a", "from": "127.0.0.1:0", "to": route, "allow": "web"}),
            json!({"allow": allow}),
        ),
        (
            "tcp-outlets",
            json!({"name": "a", "to": "127.0.0.1:5432", "allow": allow}),
            json!({"to": "127.0.0.1:5433"}),
        ),
        (
            "relays",
            json!({"name": "a", "at": relay.to_string()}),
            json!({"relay-address": "b"}),
        ),
        (
            "secure-channels",
            json!({"name": "c", "to": channel}),
            json!({"authorized": []}),
        ),
        (
            "tcp-connections",
            json!({"name": "d", "to": relay.to_string()}),
            json!({}),
        ),
    ] {
        let all = format!("/v1/self/{kind}");
        let (status, made) = node.ask("POST", &all, &spec);
        assert_eq!(status, 201, "{kind}: {made}");
        for (field, value) in spec.as_object().expect("an object") {
            // A port is picked, and policies are shown in full form.
            if field != "from" && field != "allow" {
                assert_eq!(&made[field], value, "{kind}: {made}");
            }
        }
        let (status, same) = node.ask("POST", &all, &spec);
        assert_eq!(status, 200, "{kind}: {same}");
        let name = spec["name"].as_str().expect("a name");
        let one = format!("{all}/{name}");
        let (status, changed) = node.ask("PATCH", &one, &patch);
        assert_eq!(status, 200, "{kind}: {changed}");
        for (field, value) in patch.as_object().expect("an object") {
            if changed[field] != *value {
                assert_eq!(value, &json!([]), "{kind}: {changed}");
            }
        }
        assert_eq!(node.get(&one)["name"], name);
        assert_eq!(node.get(&all).as_array().map(Vec::len), Some(1), "{kind}");
        assert_eq!(node.ask("DELETE", &one, &Value::Null).0, 204, "{kind}");
        let (status, problem) = node.ask("GET", &one, &Value::Null);
        assert_eq!(
            (status, &problem["kind"]),
            (404, &json!("not-found")),
            "{kind}"
        );
    }
    let (status, listener) = node.ask(
        "POST",
        "/v1/self/tcp-listeners",
        &json!({"address": "127.0.0.1:0"}),
    );
    assert_eq!(status, 201, "{listener}");
    let address = listener["address"].as_str().expect("an address");
    TcpStream::connect(address).expect("it listens");
    let one = format!("/v1/self/tcp-listeners/{address}");
    assert_eq!(node.ask("DELETE", &one, &Value::Null).0, 204);
}

#[test]
fn policies_are_set_shown_and_deleted() {
    let node = Node::start("");
    let policy = json!({"resource-type": "tcp-outlet", "allow": "web and not trial"});
    assert_eq!(node.ask("POST", "/v1/self/policies", &policy).0, 201);
    assert_eq!(node.ask("POST", "/v1/self/policies", &policy).0, 200);
    let full = "(and (= subject.web \"true\") (not (= subject.trial \"true\")))";
    let one = "/v1/self/policies/type/tcp-outlet";
    assert_eq!(node.get(one)["allow"], full);
    let (status, problem) = node.ask(
        "POST",
        "/v1/self/policies",
        &json!({"resource": "x", "allow": "and"}),
    );
    assert_eq!(
        (status, &problem["kind"]),
        (400, &json!("invalid")),
        "{problem}"
    );
    assert_eq!(node.ask("DELETE", one, &Value::Null).0, 204);
    assert_eq!(node.ask("GET", one, &Value::Null).0, 404);
}

#[test]
fn bad_requests_are_refused_and_change_nothing() {
    let node = Node::start("http: { address: '127.0.0.1:0' }\n");
    let inlets = "/v1/self/tcp-inlets";
    for (body, status, message) in [
        ("{", 400, "line 1"),
        ("[]", 400, "a list"),
        (r#"{"name":"a","form":"127.0.0.1:0"}"#, 400, "'form'"),
        (r#"{"name":"a","from":[]}"#, 400, "'from'"),
        (
            r#"{"name":"a","from":"127.0.0.1:0","to":"/nowhere/x","allow":"web"}"#,
            400,
            "nowhere",
        ),
        (r#"{"name":"a","from":"127.0.0.1:0"}"#, 400, ""),
    ] {
        let (code, problem) = exchange(node.connect(), "POST", inlets, "", body.as_bytes());
        assert_eq!(code, status, "{body}: {problem}");
        let said = problem["message"].as_str().expect("a message");
        assert!(said.contains(message), "{body}: {problem}");
        assert!(problem["hint"].is_string() && problem["kind"] == "invalid");
    }
    let large = vec![b' '; 10 << 20];
    let (status, problem) = exchange(node.connect(), "POST", inlets, "", &large);
    assert_eq!((status, &problem["kind"]), (413, &json!("too-large")));
    for (method, path, status) in [
        ("GET", "/v1/self/nonsense", 404),
        ("GET", "/v1/other", 404),
        ("PUT", inlets, 405),
        ("DELETE", "/v1/self/tcp-inlets/none", 404),
    ] {
        let (code, problem) = node.ask(method, path, &Value::Null);
        assert_eq!(code, status, "{method} {path}: {problem}");
        assert!(problem["message"].is_string(), "{method} {path}: {problem}");
    }
    assert_eq!(node.get(inlets), json!([]));

    let (address, token) = node.over_tcp();
    let ask = |head: &str| {
        let stream = TcpStream::connect(address).expect("connected");
        exchange(stream, "GET", "/v1/self/status", head, b"")
    };
    for head in [
        "",
        "Authorization: Bearer wrong\r\n",
        "Authorization: Basic eDp5\r\n",
    ] {
        let (status, problem) = ask(head);
        assert_eq!(
            (status, &problem["kind"]),
            (401, &json!("unauthenticated")),
            "{head}"
        );
    }
    let (status, short) = ask(&format!("Authorization: Bearer {token}\r\n"));
    assert_eq!((status, &short["name"]), (200, &json!("one")));
}

#[test]
fn a_port_in_use_and_a_relay_that_is_away_are_told_apart() {
    let node = Node::start("");
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = held.local_addr().expect("an address").to_string();
    let relay = nowhere();
    let route = format!(
        "/ip4/127.0.0.1/tcp/{}/secure/api/service/outlet",
        relay.port()
    );
    let spec = json!({"name": "a", "from": taken, "to": route, "allow": "web"});
    let (status, problem) = node.ask("POST", "/v1/self/tcp-inlets", &spec);
    assert_eq!(
        (status, &problem["kind"]),
        (409, &json!("conflict")),
        "{problem}"
    );
    drop(held);
    assert_eq!(node.get("/v1/self/tcp-inlets"), json!([]));
    // Nobody is there: it is made all the same, and says why it does not work.
    let spec = json!({"name": "a", "at": relay.to_string()});
    assert_eq!(node.ask("POST", "/v1/self/relays", &spec).0, 201);
    let (down, _) = eventually("the relay is down", PATIENCE, || {
        let relay = node.get("/v1/self/relays/a");
        match relay["state"] == "down" && relay["retry-in-ms"].is_u64() {
            true => Ok(relay),
            false => Err(relay),
        }
    });
    assert!(
        down["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{down}"
    );
    let status = node.get("/v1/self/status");
    assert_eq!(status["resources"]["relay"]["down"], 1, "{status}");
    assert_eq!(status["ready"], false);
}

#[test]
fn the_event_stream_sees_changes() {
    let node = Node::start("");
    let once = exchange(
        node.connect(),
        "GET",
        "/v1/self/events?follow=false",
        "",
        b"",
    );
    assert_eq!((once.0, &once.1["event"]), (200, &json!("hello")));
    let mut stream = node.connect();
    let request = "GET /v1/self/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("sent");
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    // Sizes of chunks stand between.
    let mut events = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let mut events = move || events.find(Value::is_object).expect("an event");
    assert_eq!(events()["event"], "hello");
    let spec = json!({"name": "pg", "to": "127.0.0.1:5432", "allow": "web"});
    assert_eq!(node.ask("POST", "/v1/self/tcp-outlets", &spec).0, 201);
    assert_eq!(
        node.ask("DELETE", "/v1/self/tcp-outlets/pg", &Value::Null)
            .0,
        204
    );
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event: &String| event != "deleted") {
        let event = events();
        if event["resource"] == "tcp-outlet" {
            assert_eq!(event["name"], "pg", "{event}");
            seen.push(event["event"].as_str().expect("an event").to_owned());
        }
    }
    assert!(seen.iter().any(|event| event == "created"), "{seen:?}");
}

#[test]
fn a_configuration_is_applied_as_far_as_it_differs() {
    let node = Node::start("");
    let config = json!({
        "tcp-outlets": {"pg": {"to": "127.0.0.1:5432", "allow": "web"}},
        "tcp-listener-address": "127.0.0.1:0",
    });
    let dry = json!({"config": config, "dry-run": true});
    let (status, would) = node.ask("POST", "/v1/self/config", &dry);
    assert_eq!(status, 200, "{would}");
    assert_eq!(node.get("/v1/self/tcp-outlets"), json!([]));
    let (status, done) = node.ask("POST", "/v1/self/config", &json!({"config": config}));
    assert_eq!(status, 200, "{done}");
    assert_eq!(node.get("/v1/self/tcp-outlets")[0]["name"], "pg");
    let text = "tcp-outlets:\n  pg: { to: '127.0.0.1:5432', alow: web }\n";
    let (status, problem) = node.ask("POST", "/v1/self/config", &json!({"config": text}));
    assert_eq!(status, 400);
    let message = problem["message"].as_str().expect("a message");
    assert!(
        message.contains(":2:") && message.contains("allow"),
        "{message}"
    );
    assert_eq!(node.get("/v1/self/tcp-outlets")[0]["name"], "pg");
}
