//! Where management is served, and how much of it.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Token;

/// Where to serve.
#[derive(Clone, Debug)]
pub enum Place {
    /// A Unix socket with mode 0600, for this user and root.
    Unix(PathBuf),
    /// A TCP address, for who has the token.
    Tcp {
        /// Where; port 0 picks a free one.
        address: SocketAddr,
        /// What requests must show.
        token: Token,
        /// HTTPS with these; without, only this machine may reach the address.
        tls: Option<TlsFiles>,
        /// Serve others without TLS all the same: something in front of it encrypts.
        insecure: bool,
    },
    /// A TCP address with `/metrics`, `/live` and `/ready` only, for everybody.
    Figures(SocketAddr),
}

/// The files of HTTPS, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Where something is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Whether it is HTTPS.
        tls: bool,
    },
    /// A TCP address with figures only.
    Figures(SocketAddr),
}

impl Address {
    /// The TCP address.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp { address, .. } | Self::Figures(address) => Some(*address),
        }
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { address, tls: true } => write!(f, "https://{address}"),
            Self::Tcp { address, .. } => write!(f, "http://{address}"),
            Self::Figures(address) => write!(f, "http://{address}/metrics"),
        }
    }
}

/// What one place takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; further ones are told so.
    pub connections: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// How long the head of a request, or a TLS handshake, may take; also how long a connection may
    /// be idle.
    pub head: Duration,
    /// How long a request may take, from its head to the head of the answer.
    pub request: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            body: 256 << 10,
            head: Duration::from_secs(15),
            request: Duration::from_secs(30),
        }
    }
}
