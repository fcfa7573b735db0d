//! Opening the sockets of places.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixSocket};
use tokio_rustls::TlsAcceptor;

use super::gate::Gate;
use super::{Address, Place, tls};
use crate::problem::{Kind, Problem};
use crate::service::PidLock;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;
/// Longest path that the kernel takes for a socket, in bytes.
const LONGEST_PATH: usize = 107;

/// A socket that listens.
pub(super) enum Listener {
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "removes the file when it is dropped")] SocketFile,
    ),
    Tcp(TcpListener, Option<TlsAcceptor>),
}

/// The file of a socket, and the right to it; it is gone with this.
pub(super) struct SocketFile {
    path: PathBuf,
    _lock: PidLock,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A place that is listened on.
pub(super) struct Bound {
    pub(super) listener: Listener,
    pub(super) gate: Gate,
    pub(super) address: Address,
}

impl Bound {
    /// Opens a place; needs a runtime.
    ///
    /// # Errors
    ///
    /// Why it cannot be listened on.
    pub(super) fn open(place: Place) -> Result<Self, Problem> {
        match place {
            Place::Unix(path) => unix(path),
            Place::Figures(at) => {
                let (listener, at) = tcp(at)?;
                Ok(Self {
                    listener: Listener::Tcp(listener, None),
                    gate: Gate::Figures,
                    address: Address::Figures(at),
                })
            }
            Place::Tcp {
                address,
                token,
                tls,
                insecure,
            } => {
                if tls.is_none() && !insecure && !address.ip().is_loopback() {
                    return Err(exposed(address));
                }
                let acceptor = tls.as_ref().map(tls::server).transpose()?;
                let (listener, address) = tcp(address)?;
                Ok(Self {
                    listener: Listener::Tcp(listener, acceptor.map(TlsAcceptor::from)),
                    gate: Gate::Token {
                        token,
                        any_host: tls.is_some() || insecure,
                    },
                    address: Address::Tcp {
                        address,
                        tls: tls.is_some(),
                    },
                })
            }
        }
    }
}

fn exposed(address: SocketAddr) -> Problem {
    Problem::invalid(
        format!("without TLS the token could be read on the way to {address}"),
        "give a certificate and its key, or listen on a loopback address such as 127.0.0.1",
    )
}

fn tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Problem> {
    culvert_node::control::once_free(|| {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((TcpListener::from_std(listener)?, address))
    })
    .map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::AddrInUse => Kind::Conflict,
            _ => Kind::Failed,
        };
        Problem::new(
            kind,
            format!("cannot listen on {address}: {error}"),
            "choose another address, or end what uses this one",
        )
    })
}

fn unix(path: PathBuf) -> Result<Bound, Problem> {
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(Problem::invalid(
            format!(
                "the path of the socket is too long: {} has {} bytes, and {LONGEST_PATH} are possible",
                path.display(),
                path.as_os_str().len()
            ),
            "choose a shorter state directory (--home), for example one below /run",
        ));
    }
    // With it nobody else makes or removes the socket.
    let lock = PidLock::take(&path.with_added_extension("lock"))?;
    make_room(&path)?;
    let listener = listen(&path).map_err(|error| {
        Problem::failed(
            format!("cannot listen on {}: {error}", path.display()),
            "this user must be able to make files there, on a file system that has sockets",
        )
    })?;
    let file = SocketFile {
        path: path.clone(),
        _lock: lock,
    };
    Ok(Bound {
        listener: Listener::Unix(listener, file),
        gate: Gate::User(rustix::process::geteuid().as_raw()),
        address: Address::Unix(path),
    })
}

/// Removes what a process that was killed left behind, and nothing else.
fn make_room(path: &Path) -> Result<(), Problem> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(Problem::conflict(
            format!("{} exists and is no socket", path.display()),
            "remove it, or choose another place for the socket",
        ));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(Problem::conflict(
            format!("another process serves {}", path.display()),
            "end that process first, or choose another place for the socket",
        ));
    }
    fs::remove_file(path).map_err(|error| {
        Problem::failed(
            format!("cannot replace the old socket {}: {error}", path.display()),
            "remove it; no process uses it any more",
        )
    })
}

/// Nobody can connect before the permissions are right: only then it listens.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)
}
