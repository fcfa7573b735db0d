//! Relay, outlet edge and inlet edge as separate processes, each with its own state directory.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::net::free_address;
use crate::process::{Event, Process, Spec};
use crate::{PATIENCE, bins};

/// Name outlets register with the relay unless a test says otherwise.
pub const NAME: &str = "db";

fn state_directory() -> TempDir {
    tempfile::Builder::new()
        .prefix("culvert-home-")
        .tempdir()
        .expect("a state directory")
}

/// Address in member `name` of an event.
fn address(event: &Event, name: &str) -> SocketAddr {
    event
        .text(name)
        .parse()
        .unwrap_or_else(|_| panic!("no address `{name}` in {}", event.json))
}

/// A running `culvert-relay`.
pub struct Relay {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it serves metrics.
    pub metrics: SocketAddr,
    /// Its identifier.
    pub identifier: String,
    /// The event it started with.
    pub listening: Event,
    arguments: Vec<String>,
    home: TempDir,
}

impl Relay {
    /// Starts one on a free port, which is still free when it is started there again.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_at(&free_address().to_string(), arguments)
    }

    /// Starts one at an address.
    pub fn start_at(listen: &str, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        let metrics = free_address().to_string();
        Self::run(state_directory(), listen, &metrics, arguments)
    }

    fn run(home: TempDir, listen: &str, metrics: &str, arguments: Vec<String>) -> Self {
        let process = Spec::new(bins::relay())
            .args([
                "--listen",
                listen,
                "--metrics",
                metrics,
                "--output",
                "json",
                "--home",
            ])
            .arg(home.path())
            .args(&arguments)
            .start("relay");
        let listening = process.event("listening");
        Self {
            address: address(&listening, "address"),
            metrics: address(&listening, "metrics"),
            identifier: listening.text("identifier").to_owned(),
            listening,
            process,
            arguments,
            home,
        }
    }

    /// Its state directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Kills it and starts it again at the same addresses, with the same state directory.
    #[must_use]
    pub fn kill_and_restart(mut self) -> Self {
        self.process.kill();
        self.restart()
    }

    /// Starts it again after it ended.
    #[must_use]
    pub fn restart(self) -> Self {
        let (listen, metrics) = (self.address.to_string(), self.metrics.to_string());
        Self::run(self.home, &listen, &metrics, self.arguments)
    }
}

/// A state directory of an edge with an identity in it.
pub struct Edge {
    home: TempDir,
    /// Identifier of its identity.
    pub identifier: String,
}

impl Default for Edge {
    fn default() -> Self {
        Self::new()
    }
}

impl Edge {
    /// Makes a fresh identity.
    pub fn new() -> Self {
        let home = state_directory();
        let shown = Self::command(home.path())
            .args(["identity", "create", "--output", "json"])
            .run();
        let shown: Value = serde_json::from_str(&shown).expect("JSON of an identity");
        let identifier = shown["identifier"].as_str().expect("identifier").to_owned();
        Self { home, identifier }
    }

    /// Its state directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `culvert-edge` with a state directory.
    pub fn command(home: &Path) -> Spec {
        Spec::new(bins::edge()).env("CULVERT_HOME", home)
    }

    /// Runs a command of this edge to its end.
    pub fn output<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        Self::command(self.home())
            .args(arguments.iter().map(AsRef::as_ref))
            .output(PATIENCE)
    }

    /// Starts an outlet and waits until it is registered.
    pub fn outlet(&self, relay: SocketAddr, to: SocketAddr, allow: &[&str]) -> Outlet {
        let outlet = self.start_outlet(relay, NAME, to, allow, &[]);
        outlet.process.event("registered");
        outlet
    }

    /// Starts an outlet, with more arguments, and does not wait.
    pub fn start_outlet(
        &self,
        relay: SocketAddr,
        name: &str,
        to: SocketAddr,
        allow: &[&str],
        more: &[&str],
    ) -> Outlet {
        let metrics = free_address();
        let process = Self::command(self.home())
            .args(["outlet", "--relay", &relay.to_string(), "--name", name])
            .args(["--to", &to.to_string(), "--metrics", &metrics.to_string()])
            .args(["--output", "json"])
            .args(allow.iter().flat_map(|identifier| ["--allow", identifier]))
            .args(more)
            .start("outlet edge");
        Outlet { process, metrics }
    }

    /// Starts an inlet on a free port and waits until its channel is up.
    pub fn inlet(&self, relay: SocketAddr, allow: &[&str]) -> Inlet {
        let inlet = self.start_inlet(relay, NAME, "127.0.0.1:0", allow, &[]);
        inlet.process.event("up");
        inlet
    }

    /// Starts an inlet, with more arguments, and waits until it listens.
    pub fn start_inlet(
        &self,
        relay: SocketAddr,
        via: &str,
        from: &str,
        allow: &[&str],
        more: &[&str],
    ) -> Inlet {
        let metrics = free_address();
        let process = Self::command(self.home())
            .args([
                "inlet",
                "--relay",
                &relay.to_string(),
                "--via",
                via,
                "--from",
                from,
            ])
            .args(["--metrics", &metrics.to_string(), "--output", "json"])
            .args(allow.iter().flat_map(|identifier| ["--allow", identifier]))
            .args(more)
            .start("inlet edge");
        let listening = process.event("listening");
        Inlet {
            address: address(&listening, "address"),
            process,
            metrics,
        }
    }
}

/// A running `culvert-edge outlet`.
pub struct Outlet {
    /// The process.
    pub process: Process,
    /// Where it serves metrics.
    pub metrics: SocketAddr,
}

/// A running `culvert-edge inlet`.
pub struct Inlet {
    /// The process.
    pub process: Process,
    /// Where TCP clients connect.
    pub address: SocketAddr,
    /// Where it serves metrics.
    pub metrics: SocketAddr,
}

/// The whole way: inlet edge, relay, outlet edge, in front of a service.
pub struct Chain {
    /// The relay.
    pub relay: Relay,
    /// State and identity of the outlet edge.
    pub outlet_edge: Edge,
    /// State and identity of the inlet edge.
    pub inlet_edge: Edge,
    /// The outlet edge.
    pub outlet: Outlet,
    /// The inlet edge.
    pub inlet: Inlet,
}

impl Chain {
    /// Starts everything and waits until connections can be made.
    pub fn start(to: SocketAddr) -> Self {
        Self::with_relay(Relay::start(&[]), to, |relay| relay)
    }

    /// The same with a relay already running; `reach` says where the edges connect instead of to
    /// the relay itself.
    pub fn with_relay(
        relay: Relay,
        to: SocketAddr,
        mut reach: impl FnMut(SocketAddr) -> SocketAddr,
    ) -> Self {
        let (outlet_edge, inlet_edge) = (Edge::new(), Edge::new());
        let outlet = outlet_edge.outlet(reach(relay.address), to, &[&inlet_edge.identifier]);
        let inlet = inlet_edge.inlet(reach(relay.address), &[&outlet_edge.identifier]);
        Self {
            relay,
            outlet_edge,
            inlet_edge,
            outlet,
            inlet,
        }
    }

    /// Where TCP clients connect.
    pub fn address(&self) -> SocketAddr {
        self.inlet.address
    }

    /// Process ids and roles.
    pub fn processes(&self) -> [(&'static str, u32); 3] {
        [
            ("relay", self.relay.process.id()),
            ("outlet edge", self.outlet.process.id()),
            ("inlet edge", self.inlet.process.id()),
        ]
    }
}
