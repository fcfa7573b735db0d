//! Runs the program with a state directory of its own.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The program and its state directory.
pub(crate) struct Program {
    pub(crate) home: TempDir,
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

impl Program {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("directory");
        Self { home }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_culvert-edge"));
        command
            .args(arguments)
            .env("CULVERT_HOME", self.home.path().join("home"))
            .stdin(Stdio::null());
        for variable in [
            "CULVERT_LOG",
            "CULVERT_PASSPHRASE",
            "CULVERT_NEW_PASSPHRASE",
            "CULVERT_PASSPHRASE_FILE",
            "CULVERT_KEY_FILE",
        ] {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("run the program")
    }

    /// What a command that succeeds prints.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        text(&output.stdout).trim().to_owned()
    }

    /// The same as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        serde_json::from_str(&self.ok(&arguments)).expect("JSON")
    }

    /// A command that fails so, and says this.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32, expected: &str) {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
