//! What a process does beside its shards: name resolution, which may block, and its limits.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Names looked up at once.
const LOOK_UPS: usize = 64;

static LOOKING_UP: AtomicUsize = AtomicUsize::new(0);

/// Resolves a host name; an IP address needs no look-up.
///
/// # Errors
///
/// What the resolver says.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if LOOKING_UP.fetch_add(1, Ordering::Relaxed) >= LOOK_UPS {
        LOOKING_UP.fetch_sub(1, Ordering::Relaxed);
        return Err(io::Error::other("too many names are being looked up"));
    }
    let (sender, receiver) = async_channel::bounded(1);
    let host = host.to_owned();
    let started = std::thread::Builder::new()
        .name("resolver".into())
        .spawn(move || {
            let found = (host.as_str(), port)
                .to_socket_addrs()
                .map(Iterator::collect);
            LOOKING_UP.fetch_sub(1, Ordering::Relaxed);
            let _ = sender.send_blocking(found);
        });
    if let Err(error) = started {
        LOOKING_UP.fetch_sub(1, Ordering::Relaxed);
        return Err(error);
    }
    receiver
        .recv()
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the resolver ended")))
}

/// Reads where to listen. Names are not looked up: which of a name's addresses is meant to be open to
/// others is a decision.
///
/// # Errors
///
/// What is expected instead.
pub fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, for example 127.0.0.1:4000 or [::]:4000")
}

/// Sets up what holds for the whole process: as many open files as this user may have, for each connection
/// takes one or two; and no huge pages, of which every allocator's arena would hold some that are mostly
/// empty, megabytes that a sidecar has no use for.
pub fn set_process_up() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay as they are");
    }
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// What messages under way may take, in bytes: what was asked for, or a quarter of the memory that this
/// process may use, between 64 MiB and 1 GiB.
#[must_use]
pub fn memory_for_messages(mib: Option<u32>) -> usize {
    if let Some(mib) = mib {
        return (mib as usize) << 20;
    }
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram * u64::from(machine.mem_unit);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(u64::MAX);
    let share = machine.min(group) / 4;
    usize::try_from(share.clamp(64 << 20, 1 << 30)).unwrap_or(64 << 20)
}

/// Does what needs an address of this machine, and does it again for a second while the address is in
/// use: the sockets of a process that was killed are closed a moment after it is gone.
///
/// # Errors
///
/// What `bind` says in the end.
pub fn once_free<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..20 {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
    bind()
}
