//! Real Ockam nodes, from the program of `tests/interop`.

use std::net::SocketAddr;
use std::path::Path;

use culvert_tests::chain::NAME;
use culvert_tests::process::{Process, Spec};
use tempfile::TempDir;

use super::{Reach, Started};
use crate::settings::Settings;

pub(crate) const MISSING: &str = "no `ockam-node` (cargo build --release --manifest-path \
     tests/interop/Cargo.toml; --ockam PATH)";

/// A node with a state directory of its own.
pub(crate) struct Node {
    /// The process.
    pub process: Process,
    _home: TempDir,
}

impl Node {
    fn start<S: Into<std::ffi::OsString>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let process = Spec::new(program)
            .arg("--home")
            .arg(home.path())
            .args(arguments)
            .start("ockam");
        Self {
            process,
            _home: home,
        }
    }

    /// A relay, and where it listens.
    pub(crate) fn relay(program: &Path) -> (Self, SocketAddr) {
        let relay = Self::start(program, ["relay", "--listen", "127.0.0.1:0"]);
        let address = relay.process.event("listening").text("address").parse();
        (relay, address.expect("an address"))
    }
}

/// The same roles as Culvert's: an outlet that registers through a channel with the relay, an inlet that
/// reaches it through the relay, and a channel between them.
pub(super) fn start(settings: &Settings, target: SocketAddr, reach: Reach<'_>) -> Started {
    let program = settings.ockam.as_deref().expect("checked before");
    let (relay, at) = Node::relay(program);
    let (to_outlet, to_inlet) = (reach(at).to_string(), reach(at).to_string());
    let target = target.to_string();
    let outlet = Node::start(
        program,
        [
            "outlet", "--relay", &to_outlet, "--name", NAME, "--to", &target,
        ],
    );
    outlet.process.event("registered");
    let inlet = Node::start(
        program,
        ["inlet", "--relay", &to_inlet, "--via", NAME, "--bare"],
    );
    let address = inlet.process.event("listening").text("address").parse();
    inlet.process.event("up");
    let processes = vec![
        ("inlet", inlet.process.id()),
        ("relay", relay.process.id()),
        ("outlet", outlet.process.id()),
    ];
    (
        address.expect("an address"),
        processes,
        Box::new((inlet, outlet, relay)),
    )
}
