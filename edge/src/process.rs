//! What a long-running command needs of the operating system: signals, files, sockets, logs.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use culvert_node::{control, logging};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use socket2::{Domain, Protocol, Socket, Type};
use tracing_subscriber::EnvFilter;

pub use culvert_node::control::set_process_up;

use crate::endpoint::HostPort;
use crate::failure::Failure;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Sends logs to stderr, filtered as `CULVERT_LOG` says; errors only if it is to be quiet.
///
/// # Errors
///
/// Wrong usage when that makes no sense.
pub fn start_logging(quiet: bool) -> Result<(), Failure> {
    let asked = logging::filter::<EnvFilter>()?;
    let filter = if quiet {
        EnvFilter::new("error")
    } else {
        asked
    };
    // Fails only if there is a subscriber already, which then serves as well.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Log)
        .with_ansi(logging::in_colour())
        .try_init();
    Ok(())
}

/// Most bytes of a log before it is moved aside.
const LONGEST_LOG: u64 = 10 << 20;

/// The file that standard error is, and how much was written to it.
static LOG_FILE: Mutex<Option<(PathBuf, u64)>> = Mutex::new(None);

/// Says that standard error is this file, which was opened for appending: when it gets long, what is
/// in it is moved to one of the same name with `.1` at its end.
pub fn keep_log(path: &Path) {
    let length = std::fs::metadata(path).map_or(0, |data| data.len());
    let mut file = LOG_FILE.lock().unwrap_or_else(PoisonError::into_inner);
    *file = Some((path.to_owned(), length));
}

/// Standard error, which may be a file that is kept short.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::stderr().write(bytes)?;
        let mut file = LOG_FILE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, length)) = file.as_mut() {
            *length += written as u64;
            if *length > LONGEST_LOG {
                // What is lost when that fails is old.
                let _ = move_aside(path);
                *length = 0;
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The file stays, because standard error is it.
fn move_aside(path: &Path) -> io::Result<()> {
    let (new, old) = (path.with_extension("log.new"), path.with_extension("log.1"));
    let copied = std::fs::copy(path, &new).and_then(|_| std::fs::rename(&new, &old));
    OpenOptions::new().write(true).open(path)?.set_len(0)?;
    copied
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
        let message = format!("cannot listen on {at}: {error}");
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                let hint = "end what uses this address, or choose another one";
                return Failure::conflict(message, hint);
            }
            io::ErrorKind::PermissionDenied => "choose a port above 1023, or grant the permission",
            _ => "choose an address of this machine",
        };
        Failure::new(message, hint)
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
