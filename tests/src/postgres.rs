//! A PostgreSQL of the test's own: Debian's binaries, a fresh cluster in a temporary directory, a
//! free port on loopback, an unprivileged user.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::PATIENCE;
use crate::net::{eventually, free_address};
use crate::process::{Process, Spec};

/// Where Debian's packages put the server's programs, by major version.
const INSTALLED: &str = "/usr/lib/postgresql";

/// Users the server may run as; the first that exists is taken.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A running server. Ends, and takes its data along, when dropped.
pub struct Postgres {
    process: Process,
    address: SocketAddr,
    _directory: TempDir,
}

impl Postgres {
    /// Whether its programs are here.
    pub fn is_installed() -> bool {
        installed().is_some()
    }

    /// Makes a cluster and starts its server.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Self {
        let bin = programs();
        let user = unprivileged_user();
        let directory = tempfile::Builder::new()
            .prefix("culvert-pg-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("directory for the cluster");
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("create the data directory");
        if let Some(user) = &user {
            Spec::new("chown").arg(user).arg(&data).run();
        }
        Spec::new(bin.join("initdb"))
            .args([
                "--auth=trust",
                "--username=postgres",
                "--no-sync",
                "--encoding=UTF8",
            ])
            .args(["--no-locale", "-D"])
            .arg(&data)
            .user(user.as_deref())
            .run();
        let address = free_address();
        let process = Spec::new(bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(settings(address))
            .user(user.as_deref())
            .start("postgres");
        let postgres = Self {
            process,
            address,
            _directory: directory,
        };
        eventually("PostgreSQL starts", PATIENCE, || {
            let log = postgres.process.log();
            if log.contains("ready to accept connections") {
                Ok(())
            } else {
                Err(log)
            }
        });
        postgres
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs one SQL command over a direct connection.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, command: &str) -> String {
        sql(self.address, command)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Fast shutdown: sessions are ended, shared memory is given back.
        self.process.signal(Signal::INT);
        self.process.exit_status();
    }
}

/// Settings of a server that holds nothing worth keeping.
fn settings(address: SocketAddr) -> Vec<String> {
    let mut arguments = Vec::new();
    for setting in [
        format!("listen_addresses={}", address.ip()),
        format!("port={}", address.port()),
        "unix_socket_directories=".to_owned(),
        "max_connections=300".to_owned(),
        "fsync=off".to_owned(),
        "full_page_writes=off".to_owned(),
        "synchronous_commit=off".to_owned(),
        "wal_level=minimal".to_owned(),
        "max_wal_senders=0".to_owned(),
        "max_wal_size=2GB".to_owned(),
        "shared_buffers=256MB".to_owned(),
        "autovacuum=off".to_owned(),
    ] {
        arguments.extend(["-c".to_owned(), setting]);
    }
    arguments
}

/// Directory of the newest installed server's programs.
fn programs() -> PathBuf {
    installed().expect("PostgreSQL is installed (Debian: apt-get install postgresql)")
}

fn installed() -> Option<PathBuf> {
    let installed = fs::read_dir(INSTALLED).into_iter().flatten().flatten();
    installed
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("postgres").exists())
        .max_by_key(|bin| major_version(bin))
}

fn major_version(bin: &Path) -> u32 {
    let version = bin
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    version
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// The user to run as: none when this is not root, for then we are unprivileged ourselves.
fn unprivileged_user() -> Option<String> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let known = fs::read_to_string("/etc/passwd").expect("list of users");
    let exists = |user: &&str| {
        known
            .lines()
            .any(|line| line.starts_with(&format!("{user}:")))
    };
    let user = USERS
        .into_iter()
        .find(exists)
        .expect("an unprivileged user");
    Some(user.to_owned())
}

/// `psql` set up to reach a server at an address, printing bare values.
pub fn psql(address: SocketAddr) -> Spec {
    client("psql", address).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
}

/// `pgbench` set up to reach a server at an address.
pub fn pgbench(address: SocketAddr) -> Spec {
    client("pgbench", address)
}

fn client(program: &str, address: SocketAddr) -> Spec {
    Spec::new(programs().join(program))
        .env("PGHOST", address.ip().to_string())
        .env("PGPORT", address.port().to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", "postgres")
        .env("PGCONNECT_TIMEOUT", "10")
}

/// Runs one SQL command through `address` and returns what it printed.
///
/// # Panics
/// When it fails.
pub fn sql(address: SocketAddr, command: &str) -> String {
    psql(address)
        .args(["-c", command])
        .run()
        .trim_end()
        .to_owned()
}

/// Like [`sql`], but hands back the outcome whatever it is, after at most `limit`.
pub fn try_sql(address: SocketAddr, command: &str, limit: Duration) -> Output {
    psql(address).args(["-c", command]).output(limit)
}
