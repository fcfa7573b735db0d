//! Nodes that run from configuration files: what a file says is what there is, and changing the file
//! touches nothing else.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Output;

use culvert_tests::chain::{Edge, Relay};
use culvert_tests::net::{connect, echo, eventually};
use culvert_tests::process::Process;
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, bins};
use rustix::process::Signal;
use serde_json::{Value, json};

/// An edge whose node runs from a file.
struct Node {
    edge: Edge,
    process: Process,
    file: PathBuf,
}

impl Node {
    fn start(edge: Edge, text: &str) -> Self {
        let file = edge.home().join("edge.yaml");
        fs::write(&file, text).expect("write a file");
        let process = Edge::command(edge.home())
            .args(["run", "--output", "json", "-f"])
            .arg(&file)
            .start("node");
        process.event("ready");
        Self {
            edge,
            process,
            file,
        }
    }

    /// Puts another file in its place, which is never seen half written, and says so.
    fn reload(&self, text: &str) {
        let next = self.file.with_extension("next");
        fs::write(&next, text).expect("write a file");
        fs::rename(&next, &self.file).expect("replace the file");
        self.process.signal(Signal::HUP);
    }

    /// Its inlets.
    fn inlets(&self) -> Vec<Value> {
        let listed = self
            .edge
            .output(&["tcp-inlet", "list", "--at", "node", "--output", "json"]);
        assert!(listed.status.success(), "{listed:?}");
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        listed.as_array().expect("a list").clone()
    }

    /// Waits until it has these inlets, all of them up, and gives their addresses.
    fn has(&self, wanted: &[&str]) -> Vec<SocketAddr> {
        let (addresses, _) = eventually("the inlets", PATIENCE, || {
            let inlets = self.inlets();
            let up = inlets.iter().all(|inlet| inlet["state"] == "up");
            let names: Vec<_> = inlets.iter().map(|inlet| &inlet["name"]).collect();
            match up && names == wanted {
                true => Ok(inlets.iter().map(address).collect()),
                false => Err(json!(inlets)),
            }
        });
        addresses
    }
}

fn address(inlet: &Value) -> SocketAddr {
    let text = inlet["bind-address"].as_str().expect("an address");
    text.parse().expect("an address")
}

fn inlet(name: &str, relay: &Relay, outlet: &Edge) -> String {
    format!(
        "  {name}: {{from: 0, via: db, at: '{}', authorized: {}}}\n",
        relay.address, outlet.identifier
    )
}

/// A relay, an outlet from a file in front of an echo service, and the edge for inlets.
fn outlet_side(echo: &Service, inlet_edge: &Edge) -> (Relay, Node) {
    let relay = Relay::start(&[]);
    let text = format!(
        "name: node\nrelay: {{db: {{at: '{}'}}}}\ntcp-outlet:\n  to: {}\n  allow: (= subject.identifier \"{}\")\n",
        relay.address,
        echo.address(),
        inlet_edge.identifier
    );
    let node = Node::start(Edge::new(), &text);
    (relay, node)
}

#[test]
fn a_reload_leaves_other_streams_alone() {
    let (service, edge) = (Service::echo(), Edge::new());
    let (relay, outlet) = outlet_side(&service, &edge);
    let text = |names: &[&str]| {
        let inlets = names.iter().map(|name| inlet(name, &relay, &outlet.edge));
        format!("name: node\ntcp-inlets:\n{}", inlets.collect::<String>())
    };
    let node = Node::start(edge, &text(&["gone", "kept"]));
    let before = node.has(&["gone", "kept"]);
    let mut stream = connect(before[1]);
    echo(&mut stream, b"before").expect("an echo");

    node.reload(&text(&["added", "kept"]));
    let after = node.has(&["added", "kept"]);
    assert_eq!(after[1], before[1], "the port that was picked stays");
    echo(&mut stream, b"after").expect("the stream goes on");
    let mut other = connect(after[0]);
    echo(&mut other, b"added").expect("a stream through the new inlet");
    std::net::TcpStream::connect(before[0]).expect_err("the port of an inlet that is gone");

    // What is wrong changes nothing; the next file counts again.
    node.reload("name: node\ntcp-inlets: {kept: {form: 1}}");
    node.reload("name: [");
    node.reload(&text(&["added", "kept", "last"]));
    assert_eq!(node.has(&["added", "kept", "last"])[..2], after[..]);
    echo(&mut stream, b"still").expect("the stream goes on");
}

#[test]
fn a_relay_that_comes_late_is_found() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = free.local_addr().expect("an address").to_string();
    drop(free);
    let text = format!("name: node\nrelay: {{db: {{at: '{at}'}}}}\n");
    let node = Node::start(Edge::new(), &text);
    let relay = || {
        let list = ["relay", "list", "--at", "node", "--output", "json"];
        let listed = node.edge.output(&list);
        serde_json::from_slice::<Value>(&listed.stdout).expect("JSON")[0].clone()
    };
    // When it is tried again is said of every attempt, not of the first only.
    let mut left = u64::MAX;
    for _ in 0..2 {
        let (later, _) = eventually("another attempt", PATIENCE, || {
            let seen = relay();
            let next = seen["retry-in-ms"]
                .as_u64()
                .filter(|_| seen["state"] == "down");
            match next {
                Some(next) if left == u64::MAX || next > left => Ok(next),
                Some(next) => {
                    left = left.min(next);
                    Err(seen)
                }
                None => Err(seen),
            }
        });
        left = later;
    }
    let _relay = Relay::start_at(&at, &[]);
    eventually("the relay", PATIENCE, || {
        let seen = relay();
        match seen["state"] == "up" && seen["retry-in-ms"].is_null() {
            true => Ok(()),
            false => Err(seen),
        }
    });
}

#[test]
fn what_was_made_by_hand_stays() {
    let (service, edge) = (Service::echo(), Edge::new());
    let (relay, outlet) = outlet_side(&service, &edge);
    let text = |names: &[&str]| {
        let inlets = names.iter().map(|name| inlet(name, &relay, &outlet.edge));
        format!("name: node\ntcp-inlets:\n{}", inlets.collect::<String>())
    };
    let node = Node::start(edge, &text(&["a"]));
    let relay = relay.address.to_string();
    let create = [
        "tcp-inlet",
        "create",
        "hand",
        "--at",
        "node",
        "--from",
        "127.0.0.1:0",
        "--to",
    ];
    let route = format!(
        "/ip4/127.0.0.1/tcp/{}/service/forward_to_db/secure/api/service/outlet",
        relay.rsplit(':').next().expect("a port")
    );
    let identifier = &outlet.edge.identifier;
    let rest = [
        route.as_str(),
        "--authorized",
        identifier,
        "--output",
        "json",
    ];
    let made = node.edge.output(&[&create[..], &rest].concat());
    assert!(made.status.success(), "{made:?}");
    node.reload(&text(&["b"]));
    node.has(&["b", "hand"]);
}

#[test]
fn what_would_change_is_said_and_what_is_wrong() {
    let (service, edge) = (Service::echo(), Edge::new());
    let (relay, outlet) = outlet_side(&service, &edge);
    let file = edge.home().join("edge.yaml");
    let write = |text: &str| fs::write(&file, text).expect("write a file");
    let path = file.to_str().expect("a path");
    let head = "name: node\ndrain: 0s\ntcp-inlets:\n";
    let text = |names: &[&str]| {
        let inlets = names.iter().map(|name| inlet(name, &relay, &outlet.edge));
        format!("{head}{}", inlets.collect::<String>())
    };
    write(&text(&["a", "b"]));
    let made = edge.output(&["node", "create", path]);
    assert!(made.status.success(), "{made:?}");
    let _end = Background(&edge);

    write(&text(&["b", "c"]));
    let said = edge.output(&["diff", path]);
    let expected =
        "- tcp-inlet a (streams through it end)\n+ tcp-inlet c\n2 would be changed, 1 unchanged\n";
    assert_eq!(String::from_utf8_lossy(&said.stdout), expected, "{said:?}");
    let said = edge.output(&["reload", "--at", "node", "--output", "json"]);
    let found: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let gone = json!({
        "resource": "tcp-inlet", "name": "a", "action": "delete", "ends-streams": true,
    });
    assert_eq!(
        (&found["differences"][0], &found["unchanged"]),
        (&gone, &json!(1)),
        "{found}"
    );

    write("name: node\ntcp-inlets: {c: {form: 1}}");
    let refused = edge.output(&["reload", "--at", "node"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("edge.yaml:2:18: unknown key 'form' in tcp-inlets.c, did you mean 'from'?"),
        "{said}"
    );

    // A port that is taken: what was done before it is undone.
    let taken = format!(
        "  d: {{from: '{}', via: db, at: h:1, authorized: {}}}\n",
        service.address(),
        edge.identifier
    );
    write(&format!("{}{taken}", text(&["c"])));
    let refused = edge.output(&["reload", "--at", "node"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let listed = edge.output(&["tcp-inlet", "list", "--at", "node", "--output", "json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let names: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|inlet| &inlet["name"])
        .collect();
    assert_eq!(names, ["b", "c"]);
}

/// Ends a node in the background.
struct Background<'a>(&'a Edge);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        let _ = self.0.output(&["node", "stop", "node", "--force"]);
    }
}

#[test]
fn a_bad_file_is_refused_with_its_places() {
    let edge = Edge::new();
    let file = edge.home().join("bad.yaml");
    let text = "name: n\nrelays: [a, a]\ntcp-inlets:\n  web:\n    form: 80\n    via: $NONE\n";
    fs::write(&file, text).expect("write a file");
    let file = file.to_str().expect("a path");
    // Variables come first: without them it is not known what the file says.
    let refused = edge.output(&["check", file]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stdout).replace(file, "F");
    assert!(
        said.starts_with("F:6:10: the variable NONE has no value"),
        "{said}"
    );

    let refused = edge.output(&["check", file, "--variable", "NONE=db", "--output", "json"]);
    let found = json_of(&refused, file);
    let finding = |line: u32, column: u32, message: &str| json!({ "line": line, "column": column, "severity": "error", "message": message });
    let expected = [
        finding(2, 13, "relays[1]: line 2 has a relay 'a' already"),
        finding(
            5,
            5,
            "unknown key 'form' in tcp-inlets.web, did you mean 'from'?",
        ),
        finding(5, 5, "tcp-inlets.web: 'from' is missing"),
    ];
    let all = found["findings"].as_array().expect("findings");
    let errors = all.iter().filter(|finding| finding["severity"] == "error");
    assert!(errors.eq(&expected), "{found}");
    assert_eq!(
        (&found["file"], &found["valid"]),
        (&json!("F"), &json!(false))
    );

    // A node does not start from it, and leaves nothing behind.
    let refused = edge.output(&["run", "-f", file, "--variable", "NONE=db"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains(":5:5: unknown key 'form'"));
    assert!(!edge.home().join("nodes/n").exists());
    // The same where only this machine tells that it makes no sense.
    let nobody = "name: n\ntcp-outlets:\n  db: {to: 1}\n";
    fs::write(file, nobody).expect("write a file");
    let refused = edge.output(&["run", "-f", file]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains(":3:3: warning: tcp-outlets.db: nobody could use it"),
        "{said}"
    );
    let nodes = edge.output(&["node", "list", "--output", "json"]);
    assert_eq!(json_of(&nodes, file), json!([]));
    let missing = edge.output(&["check", "/nowhere/edge.yaml"]);
    assert_eq!(missing.status.code(), Some(4), "{missing:?}");
}

fn json_of(output: &Output, file: &str) -> Value {
    let text = String::from_utf8_lossy(&output.stdout).replace(file, "F");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_examples_are_valid() {
    let edge = Edge::new();
    let directory = bins::project_root().join("examples");
    let files = fs::read_dir(&directory).expect("examples");
    let mut checked = 0;
    for file in files {
        let path = file.expect("an example").path();
        if path.extension().is_none_or(|ending| ending != "yaml") || is_of_relay(&path) {
            continue;
        }
        let path = path.to_str().expect("a path");
        let done = edge.output(&["check", path, "--variable", "TICKET=x", "--output", "json"]);
        assert_eq!(done.status.code(), Some(0), "{path}: {done:?}");
        checked += 1;
    }
    assert!(checked >= 3, "{checked} examples");
}

/// Files of the relay have their own check.
fn is_of_relay(path: &Path) -> bool {
    path.file_stem()
        .is_some_and(|stem| stem.to_string_lossy().starts_with("relay"))
}
