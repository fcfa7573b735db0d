//! The ways from a client to a service that are compared.

use std::any::Any;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use culvert_tests::PATIENCE;
use culvert_tests::net::{eventually, try_connect};

use crate::load::Way;
use crate::service::{Service, Want};
use crate::settings::Settings;
use crate::usage::Role;

mod culvert;
mod haproxy;
pub(crate) mod ockam;
mod rathole;
mod ssh;
mod stunnel;
pub mod wiretap;

/// What can be compared, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The client on the service's own port.
    Direct,
    /// Three HAProxy in TCP mode, one behind the other.
    Haproxy,
    /// The same, and the kernel moves the bytes.
    Splice,
    /// stunnel on both sides of an HAProxy: TLS between them.
    Stunnel,
    /// `ssh -L` and `ssh -R` at one `sshd`.
    Ssh,
    /// rathole with Noise.
    Rathole,
    /// Inlet, relay and outlet of Ockam.
    Ockam,
    /// Inlet edge, relay and outlet edge.
    Culvert,
}

/// Changes an address that a leg leads to: for a tap in front of it.
pub type Reach<'a> = &'a mut dyn FnMut(SocketAddr) -> SocketAddr;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Direct,
        Self::Haproxy,
        Self::Splice,
        Self::Stunnel,
        Self::Ssh,
        Self::Rathole,
        Self::Ockam,
        Self::Culvert,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Haproxy => "3 x HAProxy",
            Self::Splice => "3 x HAProxy, splice",
            Self::Stunnel => "stunnel",
            Self::Ssh => "ssh",
            Self::Rathole => "rathole",
            Self::Ockam => "Ockam 0.150",
            Self::Culvert => "Culvert",
        }
    }

    /// Whether nothing may be readable between its processes.
    pub fn encrypts(self) -> bool {
        !matches!(self, Self::Direct | Self::Haproxy | Self::Splice)
    }

    /// The process whose place a relay has.
    pub fn middle(self) -> Option<&'static str> {
        match self {
            Self::Direct | Self::Rathole => None,
            Self::Haproxy | Self::Splice => Some("HAProxy 2"),
            Self::Stunnel => Some("HAProxy"),
            Self::Ssh => Some("sshd"),
            Self::Ockam | Self::Culvert => Some("relay"),
        }
    }

    /// Files that one of its processes has open for each stream, at most.
    pub fn files_per_stream(self) -> usize {
        match self {
            Self::Direct => 0,
            // Two sockets, and with splicing two pipes while bytes are under way.
            Self::Haproxy | Self::Splice | Self::Stunnel | Self::Rathole => 2,
            Self::Ssh | Self::Ockam | Self::Culvert => 1,
        }
    }

    /// Why it cannot take part here.
    pub fn missing(self, settings: &Settings) -> Option<String> {
        let programs: &[(&str, &str)] = match self {
            Self::Direct | Self::Culvert => &[],
            Self::Haproxy | Self::Splice => &[("haproxy", "haproxy")],
            Self::Stunnel => &[("haproxy", "haproxy"), ("stunnel", "stunnel4")],
            Self::Ssh => &[("sshd", "openssh-server"), ("ssh", "openssh-client")],
            Self::Rathole => return settings.rathole.is_none().then(|| rathole::MISSING.into()),
            Self::Ockam => return settings.ockam.is_none().then(|| ockam::MISSING.into()),
        };
        let missing = programs.iter().find(|(name, _)| program(name).is_none());
        missing.map(|(name, package)| format!("no `{name}` here (Debian: {package})"))
    }

    /// Starts it in front of `target`, and waits until it carries bytes to it if it is a
    /// [`Service`].
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(self, settings: &Settings, target: SocketAddr) -> Contender {
        self.start_through(settings, target, &mut |address| address)
    }

    /// The same; `reach` may put something on the way between its processes.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_through(
        self,
        settings: &Settings,
        target: SocketAddr,
        reach: Reach<'_>,
    ) -> Contender {
        let (address, processes, running): Started = match self {
            Self::Direct => (target, Vec::new(), Box::new(())),
            Self::Haproxy => haproxy::chain(target, false, reach),
            Self::Splice => haproxy::chain(target, true, reach),
            Self::Stunnel => stunnel::start(target, reach),
            Self::Ssh => ssh::start(target, reach),
            Self::Rathole => rathole::start(settings, target, reach),
            Self::Ockam => ockam::start(settings, target, reach),
            Self::Culvert => culvert::start(target, reach),
        };
        Contender {
            kind: self,
            address,
            processes,
            _running: running,
        }
    }
}

/// Where clients connect, the processes from the client's side on, and what must live as long.
type Started = (SocketAddr, Vec<Role>, Box<dyn Any>);

/// One way to one service.
pub struct Contender {
    /// What it is.
    pub kind: Kind,
    /// Where clients connect.
    pub address: SocketAddr,
    /// The processes in between, from the client's side on.
    pub processes: Vec<Role>,
    _running: Box<dyn Any>,
}

impl Contender {
    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// The same, with the service behind it.
    pub fn to<'a>(&'a self, service: &'a Service) -> Way<'a> {
        Way {
            contender: self,
            service,
        }
    }

    /// Waits until bytes come back from a [`Service`] behind it.
    ///
    /// # Panics
    /// When none or others come.
    pub fn check(&self) {
        eventually(self.name(), PATIENCE, || self.echoes(b"are you there"));
    }

    /// Sends `text` to the service, and expects it back.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn echoes(&self, text: &[u8]) -> std::io::Result<()> {
        let mut stream = try_connect(self.address, PATIENCE)?;
        stream.write_all(&Want::Echo.header(0, 0))?;
        stream.write_all(text)?;
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back)?;
        assert_eq!(back, text, "{}: other bytes came back", self.name());
        Ok(())
    }
}

/// Where a program is.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// Waits until somebody listens.
fn until_listening(what: &str, address: SocketAddr) {
    eventually(what, PATIENCE, || try_connect(address, PATIENCE));
}
