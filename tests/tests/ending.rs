//! What ends a node, and what does not.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use culvert_tests::PATIENCE;
use culvert_tests::chain::{Edge, Relay};
use culvert_tests::net::{connect, echo, eventually};
use culvert_tests::process::Process;
use culvert_tests::service::Service;
use rustix::process::Signal;
use serde_json::Value;

/// Longer than any test waits: a node that ends in time has not waited for this.
const DRAIN: u64 = 3600;

/// An inlet and an outlet, each on a node of its own that runs from a file.
struct Portal {
    inlet: Edge,
    outlet: Edge,
    inlet_node: Process,
    outlet_node: Process,
    at: SocketAddr,
    _relay: Relay,
}

fn node(edge: &Edge, text: &str) -> Process {
    let file = edge.home().join("edge.yaml");
    fs::write(&file, format!("name: node\ndrain: {DRAIN}\n{text}")).expect("write a file");
    let process = Edge::command(edge.home())
        .args(["run", "--output", "json", "-f"])
        .arg(&file)
        .start("node");
    process.event("ready");
    process
}

impl Portal {
    fn new(service: &Service) -> Self {
        let (relay, inlet, outlet) = (Relay::start(&[]), Edge::new(), Edge::new());
        let (at, to) = (relay.address, service.address());
        let (client, server) = (&inlet.identifier, &outlet.identifier);
        let outlet_node = node(
            &outlet,
            &format!(
                "relay: {{db: {{at: '{at}'}}}}\ntcp-outlets:\n  outlet:\n    to: {to}\n    \
                 allow: (= subject.identifier \"{client}\")\n"
            ),
        );
        let inlet_node = node(
            &inlet,
            &format!("tcp-inlets:\n  in: {{from: 0, via: db, at: '{at}', authorized: {server}}}\n"),
        );
        let (at, _) = eventually("the inlet is up", PATIENCE, || {
            let list = ["tcp-inlet", "list", "--at", "node", "--output", "json"];
            let listed: Value = serde_json::from_slice(&inlet.output(&list).stdout).expect("JSON");
            match listed[0]["state"] == "up" {
                true => Ok(listed[0]["bind-address"].as_str().expect("text").parse()),
                false => Err(listed),
            }
        });
        Self {
            inlet,
            outlet,
            inlet_node,
            outlet_node,
            at: at.expect("an address"),
            _relay: relay,
        }
    }
}

#[test]
fn what_was_deleted_under_a_client_keeps_no_node_from_ending() {
    let service = Service::echo();
    for kind in ["tcp-outlet", "tcp-inlet"] {
        let portal = Portal::new(&service);
        let mut client = connect(portal.at);
        echo(&mut client, b"before").expect("an echo");
        let (edge, name) = match kind {
            "tcp-inlet" => (&portal.inlet, "in"),
            _ => (&portal.outlet, "outlet"),
        };
        let deleted = edge.output(&[kind, "delete", name, "-y", "--at", "node"]);
        assert!(deleted.status.success(), "{deleted:?}");
        // The client holds on to its end.
        assert!(portal.outlet_node.terminate().success(), "{kind}");
        assert!(portal.inlet_node.terminate().success(), "{kind}");
        drop(client);
    }
}

#[test]
fn a_second_signal_breaks_off_what_is_under_way() {
    let service = Service::echo();
    for second in [Signal::TERM, Signal::INT] {
        let mut portal = Portal::new(&service);
        let mut client = connect(portal.at);
        echo(&mut client, b"before").expect("an echo");
        let node = &mut portal.inlet_node;
        node.signal(Signal::TERM);
        let log = |node: &Process, text: &str| {
            eventually(text, PATIENCE, || match node.log() {
                log if log.contains(text) => Ok(()),
                log => Err(log),
            });
        };
        log(node, "streams may end by themselves");
        // What is under way goes on, and a reload ends nothing.
        node.signal(Signal::HUP);
        echo(&mut client, b"between").expect("an echo");
        assert!(node.is_running());
        node.signal(second);
        assert_eq!(node.exit_status().code(), Some(1));
        assert!(node.log().contains("told to end again"), "{}", node.log());
    }
}

#[test]
fn a_node_without_a_file_says_so_when_it_is_to_read_it_again() {
    let edge = Edge::new();
    let made = edge.output(&["node", "create", "n"]);
    assert!(made.status.success(), "{made:?}");
    assert!(edge.output(&["node", "stop", "n"]).status.success());
    let mut node = Edge::command(edge.home())
        .args(["node-child", "n"])
        .start("node");
    node.expect("ready", PATIENCE, |event| event.json["ready"] == true);
    node.signal(Signal::HUP);
    let log = edge.home().join("nodes/n/node.log");
    eventually("the log says it", PATIENCE, || {
        let said = node.log() + &fs::read_to_string(&log).unwrap_or_default();
        match said.contains("was started without a configuration file") {
            true => Ok(()),
            false => Err(said),
        }
    });
    assert!(node.is_running());
    assert!(node.terminate().success());
}

/// Takes the right to write away from everything below a directory, and gives it to `nobody` where
/// this is root, whom no rights keep out.
fn close(path: &Path, owner: Option<u32>) {
    let data = fs::metadata(path).expect("data");
    if data.is_dir() {
        for entry in fs::read_dir(path).expect("a directory").flatten() {
            close(&entry.path(), owner);
        }
    }
    chown(path, owner, owner).expect("another owner");
    let mode = data.permissions().mode() & 0o555;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let edge = Edge::new();
    assert!(edge.output(&["node", "create", "n"]).status.success());
    assert!(edge.output(&["node", "stop", "n"]).status.success());
    let is_root = rustix::process::geteuid().is_root();
    close(edge.home(), is_root.then_some(65534));
    for line in [
        &["node", "start", "n"][..],
        &["identity", "create", "x"],
        &["policy", "create", "--resource", "db", "--allow", "web"],
    ] {
        let output = Edge::command(edge.home())
            .args(line.iter().copied())
            .user(is_root.then_some("65534"))
            .output(PATIENCE);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line:?}: {said}");
        let home = edge.home().display().to_string();
        assert!(said.contains(&home), "{line:?}: {said}");
        assert!(
            said.contains("--home") && said.contains("this user"),
            "{said}"
        );
    }
    fs::set_permissions(edge.home(), fs::Permissions::from_mode(0o700)).expect("changed");
}
