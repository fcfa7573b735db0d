//! Finding and building the binaries under test.
//!
//! Cargo names the binaries of a package only to that package's own tests, so this looks for them
//! where the test executable itself is: `<target>/<profile>/deps/<test>`.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

/// Directory with ready-made binaries; when set, nothing is built.
pub const DIRECTORY_VARIABLE: &str = "CULVERT_BIN_DIR";

/// `culvert-relay`.
pub fn relay() -> PathBuf {
    directory().join("culvert-relay")
}

/// `culvert-edge`.
pub fn edge() -> PathBuf {
    directory().join("culvert-edge")
}

/// An example of `culvert-node`.
pub fn example(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let make = || match env::var_os(DIRECTORY_VARIABLE) {
        Some(directory) => PathBuf::from(directory),
        None => build(&["-p", "culvert-node", "--examples"]),
    };
    DIRECTORY.get_or_init(make).join("examples").join(name)
}

/// Root of the project, where the workspace's `Cargo.toml` is.
pub fn project_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests crate sits in the workspace")
}

/// Path of the cargo that runs or built this.
pub fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// Directory of the binaries, which are brought up to date once per process.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let make = || match env::var_os(DIRECTORY_VARIABLE) {
        Some(directory) => PathBuf::from(directory),
        None => build(&["-p", "culvert-relay", "-p", "culvert-edge"]),
    };
    DIRECTORY.get_or_init(make)
}

/// Runs `cargo build` for `what`, in the profile and target directory of this executable.
/// Cargo itself decides whether anything is stale. A lock file lets test processes take turns.
fn build(what: &[&str]) -> PathBuf {
    let executable = env::current_exe().expect("path of the running test");
    let profile_directory = executable
        .ancestors()
        .skip(1)
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name != "deps" && name != "examples")
        })
        .expect("a test runs from a target directory")
        .to_path_buf();
    let target = profile_directory
        .parent()
        .expect("a profile directory is in a target directory");
    let lock = File::create(target.join("culvert-tests.lock")).expect("create the lock file");
    flock(&lock, FlockOperation::LockExclusive).expect("lock");

    let mut cargo = Command::new(cargo());
    cargo
        .args(["build", "--locked"])
        .args(what)
        .current_dir(project_root())
        .env("CARGO_TARGET_DIR", target);
    match profile_directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => {
            cargo.args(["--profile", profile]);
        }
    }
    let output = cargo.output().expect("run cargo build");
    assert!(
        output.status.success(),
        "building the binaries failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    profile_directory
}
