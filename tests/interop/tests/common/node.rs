//! The three roles, each played by Ockam or by Culvert.

use std::fmt;
use std::net::SocketAddr;

use culvert_tests::chain::{self, Edge, NAME};
use culvert_tests::process::{Process, Spec};
use serde_json::Value;
use tempfile::TempDir;

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Culvert,
    Ockam,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Culvert => "culvert",
            Self::Ockam => "ockam",
        })
    }
}

/// How an outlet registers with the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Over the TCP connection.
    Plain,
    /// Through a secure channel to the relay.
    Channel,
}

/// A directory with an identity of an Ockam node.
pub struct OckamHome {
    directory: TempDir,
    /// Its identifier.
    pub identifier: String,
}

impl OckamHome {
    /// Makes one.
    pub fn new(key_type: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("ockam-home-")
            .tempdir()
            .expect("a state directory");
        let shown = Self::command(&directory)
            .args(["--type", key_type, "identity"])
            .run();
        let shown: Value = serde_json::from_str(&shown).expect("JSON of an identity");
        let identifier = shown["identifier"].as_str().expect("identifier").to_owned();
        Self {
            directory,
            identifier,
        }
    }

    fn command(directory: &TempDir) -> Spec {
        Spec::new(env!("CARGO_BIN_EXE_ockam-node"))
            .arg("--home")
            .arg(directory.path())
    }

    /// The program with this identity.
    pub fn program(&self) -> Spec {
        Self::command(&self.directory)
    }
}

/// An identity that an edge or a node runs with.
pub enum Home {
    Culvert(Edge),
    Ockam(OckamHome),
}

impl Home {
    /// Makes one.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Culvert => Self::Culvert(Edge::new()),
            Kind::Ockam => Self::Ockam(OckamHome::new("ed25519")),
        }
    }

    /// Its identifier.
    pub fn identifier(&self) -> &str {
        match self {
            Self::Culvert(edge) => &edge.identifier,
            Self::Ockam(home) => &home.identifier,
        }
    }

    /// Starts an outlet and waits until it is registered.
    pub fn outlet(
        &self,
        relay: SocketAddr,
        to: SocketAddr,
        allow: &[&str],
        registration: Registration,
    ) -> Process {
        let more: &[&str] = match registration {
            Registration::Plain => &["--plain-registration"],
            Registration::Channel => &[],
        };
        let process = match self {
            Self::Culvert(edge) => edge.start_outlet(relay, NAME, to, allow, more).process,
            Self::Ockam(home) => home
                .program()
                .args(["outlet", "--relay", &relay.to_string(), "--name", NAME])
                .args(["--to", &to.to_string()])
                .args(allow.iter().flat_map(|identifier| ["--allow", identifier]))
                .args(more)
                .start("ockam outlet"),
        };
        process.event("registered");
        process
    }

    /// Starts an inlet and waits until its channel is up; returns where it listens.
    pub fn inlet(&self, relay: SocketAddr, allow: &[&str]) -> (Process, SocketAddr) {
        match self {
            Self::Culvert(edge) => {
                let inlet = edge.inlet(relay, allow);
                (inlet.process, inlet.address)
            }
            Self::Ockam(home) => {
                let process = home
                    .program()
                    .args(["inlet", "--relay", &relay.to_string(), "--via", NAME])
                    .args(allow.iter().flat_map(|identifier| ["--allow", identifier]))
                    .start("ockam inlet");
                let listening = process.event("listening");
                let address = listening.text("address").parse().expect("an address");
                process.event("up");
                (process, address)
            }
        }
    }
}

/// A relay of either kind.
pub struct Relay {
    pub process: Process,
    pub address: SocketAddr,
    _keep: Option<OckamHome>,
}

impl Relay {
    /// Starts one on a free port.
    pub fn start(kind: Kind) -> Self {
        match kind {
            Kind::Culvert => {
                let relay = chain::Relay::start(&["--allow-plain-registration"]);
                Self {
                    address: relay.address,
                    process: relay.process,
                    _keep: None,
                }
            }
            Kind::Ockam => {
                let home = OckamHome::new("ed25519");
                let process = home.program().arg("relay").start("ockam relay");
                let listening = process.event("listening");
                let address = listening.text("address").parse().expect("an address");
                Self {
                    process,
                    address,
                    _keep: Some(home),
                }
            }
        }
    }
}
