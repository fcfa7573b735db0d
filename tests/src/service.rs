//! Small TCP services to put behind an outlet.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crate::net::{ANY_PORT, Pattern, digest, try_connect};

/// What a service counts, shared with its connections.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// Bytes a handler says it has written.
    pub written: AtomicU64,
}

/// A listener with one thread per connection, until dropped.
pub struct Service {
    address: SocketAddr,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
}

impl Service {
    /// Starts one; `handle` owns each accepted connection.
    pub fn start(handle: impl Fn(TcpStream, &Counters) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(ANY_PORT).expect("listen");
        let address = listener.local_addr().expect("address of a listener");
        let counters = Arc::new(Counters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&counters), Arc::clone(&stop));
        let handle = Arc::new(handle);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let (handle, counters) = (Arc::clone(&handle), Arc::clone(&shared));
                thread::spawn(move || {
                    handle(stream, &counters);
                    counters.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            counters,
            stop,
        }
    }

    /// Sends back what it gets, then closes its side when the client closed its own.
    pub fn echo() -> Self {
        Self::start(|mut stream, _| {
            let mut chunk = [0; 65536];
            while let Ok(n @ 1..) = stream.read(&mut chunk) {
                if stream.write_all(&chunk[..n]).is_err() {
                    return;
                }
            }
        })
    }

    /// Sends the pattern of seed `seed`, `total` bytes, and closes.
    pub fn source(seed: u64, total: usize) -> Self {
        Self::start(move |mut stream, counters| {
            let mut pattern = Pattern::new(seed);
            let mut chunk = vec![0; 65536];
            let mut left = total;
            while left > 0 {
                let n = left.min(chunk.len());
                pattern.fill(&mut chunk[..n]);
                if stream.write_all(&chunk[..n]).is_err() {
                    return;
                }
                counters.written.fetch_add(n as u64, Ordering::SeqCst);
                left -= n;
            }
        })
    }

    /// Reads until the client ends its direction, then answers with the SHA-256 of all of it:
    /// only a connection that can be half closed gets that answer.
    pub fn digest() -> Self {
        Self::start(|mut stream, _| {
            if let Ok((_, hash)) = digest(&mut stream) {
                let _ = stream.write_all(&hash);
            }
        })
    }

    /// Ends its own direction at once, then reads to the end; the count of bytes read is what it
    /// then adds to the counter of bytes written.
    pub fn closes_first() -> Self {
        Self::start(|mut stream, counters| {
            let _ = stream.shutdown(Shutdown::Write);
            if let Ok((total, _)) = digest(&mut stream) {
                counters.written.fetch_add(total, Ordering::SeqCst);
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted since it started.
    pub fn accepted(&self) -> usize {
        self.counters.accepted.load(Ordering::SeqCst)
    }

    /// Connections whose handler has not returned.
    pub fn open(&self) -> usize {
        self.counters.open.load(Ordering::SeqCst)
    }

    /// What handlers counted as written.
    pub fn written(&self) -> u64 {
        self.counters.written.load(Ordering::SeqCst)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is over.
        let _ = try_connect(self.address, std::time::Duration::from_secs(1));
    }
}
