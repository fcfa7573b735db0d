//! A node as Ockam's command starts it, driven as its command does, with Culvert as its far end: the
//! relay it registers with, the inlet and the outlet at the other side. Its sessions keep all of it up.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use culvert_tests::alone;
use culvert_tests::chain::{Edge, NAME, Relay};
use culvert_tests::net::{self, connect, eventually, try_connect};
use culvert_tests::process::{Process, Spec};
use culvert_tests::service::Service;
use serde_json::Value;
use tempfile::TempDir;

/// How long Ockam's sessions take to notice that a relay is gone and to come back, and more.
const SESSION: Duration = Duration::from_secs(90);

/// A running node with an outlet.
struct Node {
    home: TempDir,
    identifier: String,
    _process: Process,
}

impl Node {
    fn start(outlet_to: SocketAddr) -> Self {
        let home = tempfile::Builder::new()
            .prefix("ockam-home-")
            .tempdir()
            .expect("a state directory");
        let process = program(&home)
            .args(["node", "--outlet-to", &outlet_to.to_string()])
            .start("managed ockam node");
        let listening = process.event("listening");
        Self {
            identifier: listening.text("identifier").to_owned(),
            home,
            _process: process,
        }
    }

    /// Sends a request to the node and gives the answer.
    fn ask(&self, request: &[&str]) -> Value {
        let output = program(&self.home).args(request.iter().copied()).run();
        let last = output.lines().last().expect("an event");
        let event: Value = serde_json::from_str(last).expect("an event");
        assert_eq!(event["status"], "Up", "{event}");
        event
    }
}

fn program(home: &TempDir) -> Spec {
    // Nothing leaves the machine.
    Spec::new(env!("CARGO_BIN_EXE_managed-node"))
        .env("OCKAM_HOME", home.path())
        .env("HOME", home.path())
        .env("OCKAM_OPENTELEMETRY_EXPORT", "false")
}

fn echoes(address: SocketAddr) -> io::Result<()> {
    let mut client = try_connect(address, Duration::from_secs(2))?;
    net::echo(&mut client, &[7; 300_000])
}

/// Both names, both directions; then the relay is restarted and everything comes back by itself.
#[test]
fn a_managed_node() {
    let _turn = alone();
    let service = Service::echo();
    let relay = Relay::start(&["--allow-plain-registration"]);
    let at = format!("/ip4/127.0.0.1/tcp/{}", relay.address.port());
    let node = Node::start(service.address());

    let secure = format!("{at}/secure/api");
    let inlets = [("in-clear", &at), ("through-a-channel", &secure)].map(|(name, at)| {
        let answer = node.ask(&["relay-create", "--at", at, "--name", name]);
        assert_eq!(answer["address"], format!("forward_to_{name}"));
        let edge = Edge::new();
        let allow = [node.identifier.as_str()];
        let inlet = edge.start_inlet(relay.address, name, "127.0.0.1:0", &allow, &[]);
        inlet.process.event("up");
        echoes(inlet.address).expect("an echo from the node's outlet");
        (edge, inlet)
    });

    let edge = Edge::new();
    let _outlet = edge.outlet(relay.address, service.address(), &[&node.identifier]);
    let to = format!("{at}/service/forward_to_{NAME}/secure/api/service/outlet");
    let answer = node.ask(&["inlet-create", "--to", &to, "--allow", &edge.identifier]);
    let address = answer["address"].as_str().expect("an address");
    let address: SocketAddr = address.parse().expect("an address");
    let mut client = connect(address);
    net::echo(&mut client, b"hello").expect("an echo through the node's inlet");

    // Longer than its sessions wait for an answer before they ask again.
    thread::sleep(Duration::from_secs(12));
    net::echo(&mut client, b"still there").expect("an echo");
    echoes(inlets[0].1.address).expect("an echo");

    let _relay = relay.kill_and_restart();
    let began = Instant::now();
    for (what, address) in [
        ("the node's inlet", address),
        ("a name registered in clear", inlets[0].1.address),
        ("a name registered through a channel", inlets[1].1.address),
    ] {
        eventually(what, SESSION, || echoes(address));
        println!("{what} is back after {:?}", began.elapsed());
    }
}
