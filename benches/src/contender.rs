//! The ways from a client to a service that are compared.

use std::any::Any;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use culvert_tests::chain::{Chain, Relay};
use culvert_tests::net::{connect, eventually, free_address, try_connect};
use culvert_tests::process::{Process, Spec};
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, proc};

/// Names of all contenders, in the order of the report.
pub const NAMES: [&str; 3] = [DIRECT, HAPROXY, CULVERT];
/// A direct connection.
pub const DIRECT: &str = "direct";
/// Three HAProxy in TCP mode, one behind the other.
pub const HAPROXY: &str = "3 x HAProxy";
/// Inlet edge, relay and outlet edge.
pub const CULVERT: &str = "Culvert";

/// One way to one service.
pub struct Contender {
    /// One of [`NAMES`].
    pub name: &'static str,
    /// Where clients connect.
    pub address: SocketAddr,
    /// The processes in between, by role.
    pub processes: Vec<(&'static str, u32)>,
    /// What must live as long as the contender.
    _running: Box<dyn Any>,
}

impl Contender {
    /// Sets up the contender called `name` in front of `target`, and waits until it works.
    ///
    /// # Panics
    /// When it does not come up, or the name is not one of [`NAMES`].
    pub fn start(name: &str, target: SocketAddr) -> Self {
        match name {
            DIRECT => Self {
                name: DIRECT,
                address: target,
                processes: Vec::new(),
                _running: Box::new(()),
            },
            HAPROXY => haproxy(target),
            CULVERT => culvert(target),
            _ => panic!("no contender is called {name}; there are {NAMES:?}"),
        }
    }

    /// Processor time its processes have used.
    pub fn cpu(&self) -> Vec<Duration> {
        self.processes
            .iter()
            .map(|(_, id)| proc::cpu_time(*id))
            .collect()
    }
}

/// Three processes with Debian's defaults, each passing TCP on to the next.
fn haproxy(target: SocketAddr) -> Contender {
    let directory = tempfile::tempdir().expect("directory");
    let mut hops = Vec::new();
    let mut next = target;
    for n in 0..3 {
        let listen = free_address();
        let path = directory.path().join(format!("{n}.cfg"));
        let text = format!(
            "global\n    maxconn 4096\n\
             defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1h\n    \
             timeout server 1h\n\
             listen hop\n    bind {listen}\n    server next {next}\n"
        );
        fs::write(&path, text).expect("write a configuration");
        let process = Spec::new("haproxy")
            .args(["-db", "-f"])
            .arg(&path)
            .start("haproxy");
        eventually("HAProxy listens", PATIENCE, || {
            try_connect(listen, PATIENCE)
        });
        hops.push(process);
        next = listen;
    }
    // From the client's side: first, second, third.
    hops.reverse();
    let roles = ["HAProxy 1", "HAProxy 2", "HAProxy 3"];
    Contender {
        name: HAPROXY,
        address: next,
        processes: roles
            .into_iter()
            .zip(hops.iter().map(Process::id))
            .collect(),
        _running: Box::new((hops, directory)),
    }
}

fn culvert(target: SocketAddr) -> Contender {
    let chain = Chain::with_relay(Relay::start(&[]), target, |relay| relay);
    Contender {
        name: CULVERT,
        address: chain.address(),
        processes: chain.processes().into(),
        _running: Box::new(chain),
    }
}

/// A service that sends without end to whoever connects.
pub fn endless_source() -> Service {
    Service::start(|mut stream, _| {
        use std::io::Write;
        let chunk = vec![7; 1 << 18];
        while stream.write_all(&chunk).is_ok() {}
    })
}

/// Fails early, with a clear message, when a contender does not carry data from `source`.
///
/// # Panics
/// When no data comes.
pub fn check(contender: &Contender) {
    use std::io::Read;
    let mut byte = [0];
    let read = connect(contender.address).read_exact(&mut byte);
    read.unwrap_or_else(|error| panic!("{} carries no data: {error}", contender.name));
}
