//! Reaching a node.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::http::{Token, trusting};
use crate::problem::{Kind, Problem};

/// Where a node is.
#[derive(Debug)]
pub(super) enum Target {
    Unix(PathBuf),
    Tcp {
        /// As in the address: `HOST:PORT`, an IPv6 address in brackets.
        authority: String,
        host: String,
        port: u16,
        token: Token,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    },
}

/// A connection to it.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Target {
    pub(super) fn tcp(url: &str, token: Token, trusted: Option<&Path>) -> Result<Self, Problem> {
        let invalid = || {
            let hint = "name it like https://HOST:PORT; http:// only where nobody can listen";
            Problem::invalid(format!("{url} is not where a node can be managed"), hint)
        };
        let (scheme, authority) = url.split_once("://").ok_or_else(invalid)?;
        let authority = authority.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| invalid())?;
        let tls = match (scheme, trusted) {
            ("http", None) => None,
            ("https", Some(trusted)) => Some((trusting(trusted)?, name)),
            ("https", None) => {
                return Err(Problem::invalid(
                    format!("nothing says which certificate {url} must have"),
                    "name a PEM file with it, or with who vouches for it",
                ));
            }
            _ => return Err(invalid()),
        };
        Ok(Self::Tcp {
            authority: authority.to_owned(),
            host,
            port,
            token,
            tls,
        })
    }

    pub(super) fn token(&self) -> Option<&Token> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp { token, .. } => Some(token),
        }
    }

    /// The header `Host`.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "localhost",
            Self::Tcp { authority, .. } => authority,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Tcp { authority, .. } => authority.clone(),
        }
    }

    pub(super) async fn connect(&self) -> Result<Stream, Problem> {
        let cannot = |error| self.unreachable(&error);
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(cannot)?;
                Ok(Stream::Unix(stream))
            }
            Self::Tcp {
                host, port, tls, ..
            } => {
                let to = (host.as_str(), *port);
                let stream = TcpStream::connect(to).await.map_err(cannot)?;
                let Some((config, name)) = tls else {
                    return Ok(Stream::Tcp(stream));
                };
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await;
                let stream = stream.map_err(|error| {
                    Problem::new(
                        Kind::Unavailable,
                        format!("no TLS with {}: {error}", self.name()),
                        "check that the PEM file holds the certificate of that node, or of who \
                         vouches for it, and that it names this host",
                    )
                })?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    }

    fn unreachable(&self, error: &io::Error) -> Problem {
        let name = self.name();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Problem::new(
                Kind::Denied,
                format!("{name} belongs to another user"),
                "use the user that the node runs as, or root",
            ),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Problem::new(
                Kind::Unavailable,
                format!("no node is running at {name}"),
                "start it, or check the state directory (--home, CULVERT_HOME) and its name",
            ),
            _ => Problem::new(
                Kind::Unavailable,
                format!("cannot reach the node at {name}: {error}"),
                "check the address, and that the node is running",
            ),
        }
    }

    /// The connection ended before the answer did.
    pub(super) fn broke_off(&self, error: &dyn Error) -> Problem {
        let cause = error
            .source()
            .map_or_else(String::new, |cause| format!(": {cause}"));
        Problem::new(
            Kind::Unavailable,
            format!("the node at {} broke off: {error}{cause}", self.name()),
            "see its log; what was asked for may have been done",
        )
    }

    /// There was no answer.
    pub(super) fn silent(&self, limit: Duration) -> Problem {
        Problem::new(
            Kind::TimedOut,
            format!(
                "no answer from {} within {} s",
                self.name(),
                limit.as_secs_f32()
            ),
            "see its log; what was asked for may be done still",
        )
    }
}
