//! Starting authorities, and running commands.

use std::net::SocketAddr;
use std::path::Path;

use culvert_crypto::Identifier;
use culvert_tests::PATIENCE;
use culvert_tests::chain::Edge;
use culvert_tests::net::free_address;
use culvert_tests::process::Process;
use serde_json::Value;
use tempfile::TempDir;

/// A running `culvert-edge authority`.
pub(crate) struct Authority {
    pub(crate) process: Process,
    pub(crate) home: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) identifier: Identifier,
    pub(crate) event: Value,
}

impl Authority {
    pub(crate) fn start(more: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self::start_at(&free_address().to_string(), home, more)
    }

    pub(crate) fn start_at(listen: &str, home: TempDir, more: &[&str]) -> Self {
        let metrics = free_address();
        let process = Edge::command(home.path())
            .args([
                "authority",
                "create",
                "--listen",
                listen,
                "--output",
                "json",
            ])
            .args(["--metrics", &metrics.to_string()])
            .args(more)
            .start("authority");
        let event = process.event("listening");
        Self {
            address: event.text("address").parse().expect("an address"),
            identifier: event.text("identifier").parse().expect("an identifier"),
            event: event.json,
            process,
            home,
            metrics,
        }
    }

    /// Kills it and starts it again with the same directory.
    pub(crate) fn restart(mut self, more: &[&str]) -> Self {
        self.process.kill();
        let listen = self.address.to_string();
        Self::start_at(&listen, self.home, more)
    }

    pub(crate) fn ticket(&self, more: &[&str]) -> Value {
        json(
            self.home.path(),
            &[&["authority", "ticket", "create"], more].concat(),
        )
    }

    pub(crate) fn members(&self) -> Vec<Value> {
        let all = json(self.home.path(), &["authority", "member", "list"]);
        all.as_array().expect("a list").clone()
    }
}

/// Runs a command: its exit status and what it says, which is JSON.
pub(crate) fn run(home: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = Edge::command(home)
        .args(arguments)
        .args(["--output", "json"])
        .output(PATIENCE);
    let code = output.status.code().expect("an exit status");
    let text = if code == 0 {
        &output.stdout
    } else {
        &output.stderr
    };
    let text = String::from_utf8_lossy(text);
    let last = text.trim().lines().last().unwrap_or_default();
    let said = serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("{arguments:?} ended with {code}: {error} in: {text}"));
    (code, said)
}

/// What a command that succeeds says.
pub(crate) fn json(home: &Path, arguments: &[&str]) -> Value {
    let (code, said) = run(home, arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    said
}

pub(crate) fn enroll(home: &Path, ticket: &str) -> (i32, Value) {
    run(home, &["project", "enroll", ticket])
}

/// The exit status and reason of an enrollment that fails.
pub(crate) fn refused(home: &Path, ticket: &str) -> (i32, String) {
    let (code, said) = enroll(home, ticket);
    let error = &said["error"];
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{said}"
    );
    assert!(
        error["hint"].as_str().is_some_and(|text| !text.is_empty()),
        "{said}"
    );
    (
        code,
        error["reason"].as_str().unwrap_or_default().to_owned(),
    )
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

pub(crate) fn home() -> TempDir {
    tempfile::tempdir().expect("a directory")
}
