//! What a relay is compared with, alone: links in, links out, one process.

use std::any::Any;
use std::net::SocketAddr;
use std::path::Path;

use culvert_tests::chain::Relay as CulvertRelay;
use culvert_tests::process::{Process, Spec};

use crate::contender::ockam;
use crate::service::this_program;
use crate::settings::Settings;
use crate::usage::Role;

pub mod epoll;
pub mod monoio;
pub mod tokio;
pub mod tokio_uring;

/// What can be compared, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes from one connection to another, by hand over epoll; one thread.
    Epoll,
    /// The same with tokio.
    Tokio,
    /// The same with monoio, on io_uring.
    Monoio,
    /// The same with tokio-uring.
    TokioUring,
    /// Ockam's relay, with as many threads as it starts.
    Ockam,
    /// Culvert's relay with one thread.
    OneThread,
    /// Culvert's relay as it comes: a thread for each core.
    Culvert,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Epoll,
        Self::Tokio,
        Self::Monoio,
        Self::TokioUring,
        Self::Ockam,
        Self::OneThread,
        Self::Culvert,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll, bytes",
            Self::Tokio => "tokio, bytes",
            Self::Monoio => "monoio, bytes",
            Self::TokioUring => "tokio-uring, bytes",
            Self::Ockam => crate::contender::Kind::Ockam.name(),
            Self::OneThread => "Culvert, 1 thread",
            Self::Culvert => crate::contender::Kind::Culvert.name(),
        }
    }

    /// Whether it looks at messages, and finds their way by the names in them.
    pub fn routes(self) -> bool {
        matches!(self, Self::Ockam | Self::OneThread | Self::Culvert)
    }

    /// Why it cannot take part here.
    pub fn missing(self, settings: &Settings) -> Option<String> {
        (self == Self::Ockam && settings.ockam.is_none()).then(|| ockam::MISSING.into())
    }

    /// Starts it. One that does not route connects to `target` for each connection it gets.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(self, settings: &Settings, target: SocketAddr) -> Relay {
        let (id, address, running): (u32, SocketAddr, Box<dyn Any>) = match self {
            Self::Epoll => bytes("relay-epoll", target),
            Self::Tokio => bytes("relay-tokio", target),
            Self::Monoio => bytes("relay-monoio", target),
            Self::TokioUring => bytes("relay-tokio-uring", target),
            Self::Ockam => {
                let program: &Path = settings.ockam.as_deref().expect("checked before");
                let (relay, address) = ockam::Node::relay(program);
                (relay.process.id(), address, Box::new(relay))
            }
            Self::OneThread => culvert(&["--shards", "1"]),
            Self::Culvert => culvert(&[]),
        };
        Relay {
            kind: self,
            address,
            processes: [("relay", id)],
            _running: running,
        }
    }
}

fn culvert(more: &[&str]) -> (u32, SocketAddr, Box<dyn Any>) {
    let limits = [
        "--allow-plain-registration",
        "--max-forwarders=200000",
        "--max-forwarders-per-identity=200000",
    ];
    let relay = CulvertRelay::start(&[&limits, more].concat());
    (relay.process.id(), relay.address, Box::new(relay))
}

fn bytes(command: &str, target: SocketAddr) -> (u32, SocketAddr, Box<dyn Any>) {
    let process: Process = Spec::new(this_program())
        .arg(command)
        .arg(target.to_string())
        .start(command);
    let address = process.event("listening").text("address").parse();
    (
        process.id(),
        address.expect("an address"),
        Box::new(process),
    )
}

/// A running relay.
pub struct Relay {
    /// What it is.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub processes: [Role; 1],
    _running: Box<dyn Any>,
}
