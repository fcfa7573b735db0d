//! What a long-running command needs of the operating system: signals, files, sockets, logs.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use culvert_node::{control, logging};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use socket2::{Domain, Protocol, Socket, Type};
use tracing_subscriber::EnvFilter;

pub use culvert_node::control::raise_file_limit;

use crate::endpoint::HostPort;
use crate::failure::Failure;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Sends logs to stderr, filtered as `CULVERT_LOG` says.
///
/// # Errors
///
/// Wrong usage when that makes no sense.
pub fn start_logging() -> Result<(), Failure> {
    // Fails only if there is a subscriber already, which then serves as well.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(logging::filter::<EnvFilter>()?)
        .with_writer(io::stderr)
        .with_ansi(logging::in_colour())
        .try_init();
    Ok(())
}

/// The signals that ask a process to end.
///
/// # Errors
///
/// When they cannot be waited for.
pub fn end_signals() -> Result<Signals, Failure> {
    Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| {
        Failure::new(
            format!("cannot wait for signals: {error}"),
            "check the limit of open files (ulimit -n)",
        )
    })
}

/// A listening socket.
///
/// # Errors
///
/// When the host does not resolve or the address cannot be listened on.
pub fn listen(at: &HostPort) -> Result<TcpListener, Failure> {
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "end what uses this address, or choose another one",
            io::ErrorKind::PermissionDenied => "choose a port above 1023, or grant the permission",
            _ => "choose an address of this machine",
        };
        Failure::new(format!("cannot listen on {at}: {error}"), hint)
    };
    control::once_free(|| listen_now(at)).map_err(failed)
}

/// The same, without waiting for an address that may become free in a moment.
///
/// # Errors
///
/// What the system says.
pub fn listen_now(at: &HostPort) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (at.host.as_str(), at.port).to_socket_addrs()? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Without it the port of an edge that was restarted stays taken for a minute.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
