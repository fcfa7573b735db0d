//! The three roles, each played by Ockam or by Culvert.

use std::fmt;
use std::fs;
use std::net::SocketAddr;

use culvert_tests::chain::{self, Edge, NAME};
use culvert_tests::net::free_address;
use culvert_tests::process::{Process, Spec};
use serde_json::Value;
use tempfile::TempDir;

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Culvert,
    Ockam,
}

impl Kind {
    /// Both, the one that is compared with first.
    pub const BOTH: [Self; 2] = [Self::Ockam, Self::Culvert];

    /// All four pairs of ends.
    pub fn pairs() -> impl Iterator<Item = (Self, Self)> {
        let with = |one| Self::BOTH.into_iter().map(move |other| (one, other));
        Self::BOTH.into_iter().flat_map(with)
    }
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
        let directory = Self::directory();
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

    fn directory() -> TempDir {
        tempfile::Builder::new()
            .prefix("ockam-home-")
            .tempdir()
            .expect("a state directory")
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

    /// Where the identity is.
    pub fn path(&self) -> &str {
        self.directory.path().to_str().expect("a path of UTF-8")
    }

    /// A copy of the identity as it is now.
    pub fn duplicate(&self) -> Self {
        let directory = Self::directory();
        for entry in fs::read_dir(&self.directory).expect("the directory") {
            let entry = entry.expect("an entry");
            let to = directory.path().join(entry.file_name());
            fs::copy(entry.path(), to).expect("copy a file");
        }
        Self {
            directory,
            identifier: self.identifier.clone(),
        }
    }

    /// Replaces its key by a new one.
    pub fn rotate(&self) {
        let shown = self.program().arg("rotate").run();
        let shown: Value = serde_json::from_str(&shown).expect("JSON of an identity");
        assert_eq!(shown["event"], "rotated");
        assert_eq!(shown["identifier"], *self.identifier);
    }
}

/// An identity that an edge or a node runs with.
pub enum Home {
    Culvert {
        edge: Edge,
        /// Name of the identity in the edge's directory.
        name: &'static str,
        identifier: String,
    },
    Ockam(OckamHome),
}

impl Home {
    /// Makes one with a key of type `ed25519` or `p256`.
    pub fn new(kind: Kind, key_type: &'static str) -> Self {
        match kind {
            Kind::Culvert => {
                let edge = Edge::new();
                let created = edge.output(&[
                    "identity", "create", "--name", key_type, "--type", key_type, "--output",
                    "json",
                ]);
                let shown: Value =
                    serde_json::from_slice(&created.stdout).expect("JSON of an identity");
                Self::Culvert {
                    edge,
                    name: key_type,
                    identifier: shown["identifier"].as_str().expect("identifier").to_owned(),
                }
            }
            Kind::Ockam => Self::Ockam(OckamHome::new(key_type)),
        }
    }

    /// Its identifier.
    pub fn identifier(&self) -> &str {
        match self {
            Self::Culvert { identifier, .. } => identifier,
            Self::Ockam(home) => &home.identifier,
        }
    }

    /// Arguments that make an edge use one link, as an Ockam node does.
    pub fn one_link(&self) -> &'static [&'static str] {
        match self {
            Self::Culvert { .. } => &["--shards", "1"],
            Self::Ockam(_) => &[],
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
        let plain: &[&str] = match registration {
            Registration::Plain => &["--plain-registration"],
            Registration::Channel => &[],
        };
        let process = self.start_outlet(relay, NAME, to, allow, plain);
        process.event("registered");
        process
    }

    /// Starts an outlet, with more arguments that its kind knows, and does not wait. Without
    /// identifiers to allow, anybody is.
    pub fn start_outlet(
        &self,
        relay: SocketAddr,
        name: &str,
        to: SocketAddr,
        allow: &[&str],
        more: &[&str],
    ) -> Process {
        let (relay, to) = (relay.to_string(), to.to_string());
        self.start("outlet", allow, |program| {
            program
                .args(["outlet", "--relay", &relay, "--name", name, "--to", &to])
                .args(more)
        })
    }

    /// Starts an inlet and waits until its channel is up; returns where it listens.
    pub fn inlet(&self, relay: SocketAddr, allow: &[&str]) -> (Process, SocketAddr) {
        self.inlet_over(&Way::via(relay, NAME), allow)
    }

    /// The same over any way.
    pub fn inlet_over(&self, way: &Way, allow: &[&str]) -> (Process, SocketAddr) {
        let process = self.start_inlet(way, allow, &[]);
        let address = listening(&process);
        process.event("up");
        (process, address)
    }

    /// Starts an inlet, with more arguments that its kind knows, and does not wait.
    pub fn start_inlet(&self, way: &Way, allow: &[&str], more: &[&str]) -> Process {
        self.start("inlet", allow, |program| {
            let program = program.arg("inlet");
            let program = match self {
                Self::Culvert { .. } => way.for_culvert(program),
                Self::Ockam(_) => way.for_ockam(program),
            };
            program.args(more)
        })
    }

    fn start(&self, role: &str, allow: &[&str], command: impl FnOnce(Spec) -> Spec) -> Process {
        let allow = allow.iter().flat_map(|identifier| ["--allow", identifier]);
        match self {
            Self::Culvert { edge, name, .. } => {
                let anybody = (allow.clone().next().is_none()).then_some("--allow-any");
                command(Edge::command(edge.home()))
                    .args(["--output", "json", "--identity", name])
                    .args(allow)
                    .args(anybody)
                    .start(&format!("culvert {role}"))
            }
            Self::Ockam(home) => command(home.program())
                .args(allow)
                .start(&format!("ockam {role}")),
        }
    }
}

/// How an inlet gets to its outlet.
pub struct Way {
    first: SocketAddr,
    hops: Vec<String>,
    clear: bool,
}

impl Way {
    /// Over a node, then these hops, then a channel.
    pub fn over(first: SocketAddr, hops: &[&str]) -> Self {
        Self {
            first,
            hops: hops.iter().map(|&hop| hop.to_owned()).collect(),
            clear: false,
        }
    }

    /// By a name that is registered with a relay.
    pub fn via(relay: SocketAddr, name: &str) -> Self {
        Self::over(relay, &[&format!("forward_to_{name}")])
    }

    /// To an outlet at that node, without a channel.
    pub fn in_clear(first: SocketAddr) -> Self {
        Self {
            clear: true,
            ..Self::over(first, &[])
        }
    }

    fn for_culvert(&self, program: Spec) -> Spec {
        let mut route = format!("/ip4/{}/tcp/{}", self.first.ip(), self.first.port());
        for hop in &self.hops {
            route.push_str(&format!("/service/{hop}"));
        }
        let (secure, insecure) = match self.clear {
            true => ("", Some("--insecure")),
            false => ("/secure/api", None),
        };
        program
            .args(["--from", "127.0.0.1:0", "--route"])
            .arg(format!("{route}{secure}/service/outlet"))
            .args(insecure)
    }

    fn for_ockam(&self, program: Spec) -> Spec {
        program
            .args(["--relay", &self.first.to_string()])
            .args(self.hops.iter().flat_map(|hop| ["--hop", hop]))
            .args(self.clear.then_some("--clear"))
    }
}

/// Where a program listens, once it says so.
pub fn listening(program: &Process) -> SocketAddr {
    let listening = program.event("listening");
    listening.text("address").parse().expect("an address")
}

/// A relay of either kind.
pub enum Relay {
    Culvert(chain::Relay),
    Ockam {
        home: OckamHome,
        process: Process,
        address: SocketAddr,
    },
}

impl Relay {
    /// Starts one on a free port.
    pub fn start(kind: Kind) -> Self {
        match kind {
            Kind::Culvert => Self::Culvert(chain::Relay::start(&["--allow-plain-registration"])),
            Kind::Ockam => Self::ockam(OckamHome::new("ed25519"), &free_address().to_string()),
        }
    }

    fn ockam(home: OckamHome, listen: &str) -> Self {
        let process = home
            .program()
            .args(["relay", "--listen", listen])
            .start("ockam relay");
        let listening = process.event("listening");
        let address = listening.text("address").parse().expect("an address");
        Self::Ockam {
            home,
            process,
            address,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Culvert(relay) => relay.address,
            Self::Ockam { address, .. } => *address,
        }
    }

    /// Kills it and starts it again at the same address, with the same identity.
    pub fn kill_and_restart(self) -> Self {
        match self {
            Self::Culvert(relay) => Self::Culvert(relay.kill_and_restart()),
            Self::Ockam {
                home,
                mut process,
                address,
            } => {
                process.kill();
                Self::ockam(home, &address.to_string())
            }
        }
    }
}
