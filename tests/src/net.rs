//! Sockets for tests: always with a time limit, always on loopback.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sha2::{Digest, Sha256};

use crate::PATIENCE;

/// Loopback, with a port the system picks.
pub const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Below the ports Linux takes for outgoing connections, any of which could take a free address away before its
/// program is up.
const FREE_PORTS: Range<u16> = 10_000..32_768;

/// A loopback address nobody listens on at this moment, and that this process was not given before.
pub fn free_address() -> SocketAddr {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    // Test programs that run side by side begin at places of their own.
    let first = std::process::id() as usize * 101;
    FREE_PORTS
        .map(|_| {
            let at = (first + GIVEN.fetch_add(1, Ordering::Relaxed)) % FREE_PORTS.len();
            SocketAddr::from((Ipv4Addr::LOCALHOST, FREE_PORTS.start + at as u16))
        })
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port")
}

/// Connects; reads and writes then fail after [`PATIENCE`].
///
/// # Panics
/// When nobody listens.
pub fn connect(address: SocketAddr) -> TcpStream {
    try_connect(address, PATIENCE).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
}

/// Connects; the connection attempt and each read and write fail after `limit`.
///
/// # Errors
/// Those of connecting.
pub fn try_connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Makes closing this socket send RST in place of FIN, then closes it.
pub fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("set linger");
    drop(stream);
}

/// How a peer ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN.
    Closed,
    /// RST, or a socket that broke otherwise.
    Broken,
    /// Not at all within the limit.
    Open,
}

/// Reads what still comes, at most for `limit`, and tells how the connection ended.
pub fn drain(stream: &mut TcpStream, limit: Duration) -> (Vec<u8>, End) {
    let end = Instant::now() + limit;
    let mut bytes = Vec::new();
    let mut chunk = [0; 65536];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (bytes, End::Open);
        }
        stream
            .set_read_timeout(Some(left))
            .expect("set a read limit");
        match stream.read(&mut chunk) {
            Ok(0) => return (bytes, End::Closed),
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(error) if is_timeout(&error) => return (bytes, End::Open),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return (bytes, End::Broken),
        }
    }
}

/// Whether an error says that a socket's time limit passed.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Sends `bytes` and expects the same back, once.
///
/// # Errors
/// When the connection ends or stalls before, or other bytes come back.
pub fn echo(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back)?;
    if back == bytes {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "other bytes came back",
        ))
    }
}

/// Repeats `attempt` until it succeeds and returns what it gave and when that was.
///
/// # Panics
/// When `limit` passes without success.
pub fn eventually<T, E: std::fmt::Debug>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> (T, Instant) {
    let end = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return (value, Instant::now()),
            Err(error) => assert!(
                Instant::now() < end,
                "{what}: still {error:?} after {limit:?}"
            ),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Raises the limit of open files to the most this process may have; tests hold thousands.
pub fn many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("raise the limit of open files");
}

/// A reproducible stream of bytes that does not compress or repeat: what byte `n` is depends on
/// `n` and the seed only.
#[derive(Clone, Debug)]
pub struct Pattern {
    state: u64,
}

impl Pattern {
    /// The stream of one seed.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed ^ 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// The next bytes of the stream. Fill whole multiples of 8 to keep it independent of how it
    /// is cut.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            // SplitMix64.
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Reads to the end of the stream and returns the number of bytes and their SHA-256.
///
/// # Errors
/// Those of reading.
pub fn digest(stream: &mut impl Read) -> io::Result<(u64, [u8; 32])> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 18];
    let mut total = 0;
    loop {
        let n = match stream.read(&mut chunk) {
            Ok(0) => return Ok((total, hash.finalize().into())),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&chunk[..n]);
        total += n as u64;
    }
}

/// Writes `total` bytes of a pattern and returns their SHA-256.
///
/// # Errors
/// Those of writing.
pub fn write_pattern(stream: &mut impl Write, seed: u64, total: usize) -> io::Result<[u8; 32]> {
    let mut pattern = Pattern::new(seed);
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 18];
    let mut left = total;
    while left > 0 {
        let n = left.min(chunk.len());
        pattern.fill(&mut chunk[..n]);
        hash.update(&chunk[..n]);
        stream.write_all(&chunk[..n])?;
        left -= n;
    }
    Ok(hash.finalize().into())
}
