//! A node: its threads, one shard each, and the listeners they share.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use monoio::{FusionDriver, RuntimeBuilder};

use crate::control;
use crate::inspect::{Inspection, Inspector};
use crate::limits::Limits;
use crate::metrics::Counters;
use crate::pulse::Pulse;
use crate::reason::CloseReason;
use crate::shard::{Arrivals, Handoff, Inbox, Shard};
use crate::sys;
use crate::table::Entry;

/// Most shards: an address has eight bits for its shard.
pub const MAX_SHARDS: usize = 255;
/// Entries of each shard's ring.
const RING: u32 = 1024;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Threads; 0 for one per core.
    pub shards: usize,
    /// Where to accept links; port 0 picks a free one.
    pub listen: Option<SocketAddr>,
    /// Limits.
    pub limits: Limits,
}

/// A running node.
pub struct Node {
    address: Option<SocketAddr>,
    driver: &'static str,
    inboxes: Vec<Inbox>,
    stops: Vec<Sender<()>>,
    counters: Vec<Arc<Counters>>,
    threads: Vec<JoinHandle<()>>,
}

impl Node {
    /// Starts the threads. `setup` runs first on each shard, to add its workers.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on, or a thread or its ring cannot be made; the message
    /// says what to do.
    pub fn start(
        config: &NodeConfig,
        setup: impl Fn(&Shard) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let shards = match config.shards {
            0 => std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(MAX_SHARDS),
            n => n.min(MAX_SHARDS),
        };
        let mut listeners = Vec::new();
        if let Some(at) = config.listen {
            check_free(at)?;
        }
        let mut address = config.listen;
        for _ in 0..shards {
            let Some(at) = address else { break };
            let listener = listen(at)?;
            address = Some(listener.local_addr()?);
            listeners.push(listener);
        }
        let mut listeners = listeners.into_iter();
        let limits = Arc::new(config.limits.clone());
        let links = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..shards).map(|_| Inbox::new()).unzip();
        let counters: Vec<Arc<Counters>> = (0..shards).map(|_| Arc::default()).collect();
        let (ready, readiness) = std::sync::mpsc::channel();
        let mut node = Self {
            address,
            driver: "unknown",
            inboxes: senders.clone(),
            stops: Vec::new(),
            counters: counters.clone(),
            threads: Vec::new(),
        };
        for (number, inbox) in inboxes.into_iter().enumerate() {
            let (stop, stopped) = async_channel::bounded(1);
            node.stops.push(stop);
            let part = Part {
                number: number as u8,
                peers: senders.clone(),
                counters: Arc::clone(&counters[number]),
                limits: Arc::clone(&limits),
                links: Arc::clone(&links),
                started,
                inbox,
                stopped,
                listener: listeners.next(),
            };
            let (setup, ready) = (setup.clone(), ready.clone());
            let thread = std::thread::Builder::new()
                .name(format!("shard-{number}"))
                .spawn(move || part.run(&setup, &ready))?;
            node.threads.push(thread);
        }
        for _ in 0..shards {
            node.driver = readiness
                .recv()
                .unwrap_or_else(|_| Err(io::Error::other("a shard ended while starting")))?;
        }
        Ok(node)
    }

    /// Where links are accepted.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// `io_uring`, or `epoll` where io_uring is forbidden.
    pub fn driver(&self) -> &'static str {
        self.driver
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.inboxes.len()
    }

    /// The counters of all shards.
    pub fn counters(&self) -> Vec<Arc<Counters>> {
        self.counters.clone()
    }

    /// Has a shard do something.
    ///
    /// # Errors
    ///
    /// When the shard has ended.
    pub fn on_shard(
        &self,
        shard: usize,
        what: impl FnOnce(&Shard) + Send + 'static,
    ) -> io::Result<()> {
        match self.inboxes[shard % self.inboxes.len()].put(Handoff::Run(Box::new(what))) {
            true => Ok(()),
            false => Err(io::Error::other("the shard has ended")),
        }
    }

    /// What asks the shards whether they are there, from any thread.
    pub fn pulse(&self) -> Pulse {
        Pulse::new(self.inboxes.clone())
    }

    /// What looks into the node, from any thread.
    pub fn inspector(&self) -> Inspector {
        Inspector::new(self.inboxes.clone())
    }

    /// What the node has open now: [`Inspector::inspect`].
    ///
    /// # Errors
    ///
    /// When a shard does not answer within `limit`.
    pub fn inspect(&self, limit: Duration) -> io::Result<Inspection> {
        self.inspector().inspect(limit)
    }

    /// Closes channels so that peers know, then ends the threads.
    pub fn shutdown(self) {
        for stop in &self.stops {
            let _ = stop.send_blocking(());
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// What one thread is made of.
struct Part {
    number: u8,
    peers: Vec<Inbox>,
    counters: Arc<Counters>,
    limits: Arc<Limits>,
    links: Arc<AtomicU64>,
    started: Instant,
    inbox: Arrivals,
    stopped: Receiver<()>,
    listener: Option<TcpListener>,
}

impl Part {
    fn run(
        self,
        setup: &impl Fn(&Shard),
        ready: &std::sync::mpsc::Sender<io::Result<&'static str>>,
    ) {
        let mut ring = io_uring::IoUring::builder();
        // Without these monoio costs up to half as much again per message.
        ring.setup_single_issuer().setup_coop_taskrun();
        let runtime = RuntimeBuilder::<FusionDriver>::new()
            .with_entries(RING)
            .uring_builder(ring)
            .enable_timer()
            .build();
        let mut runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let hint = format!(
                    "cannot set up the I/O of a shard: {error} (check the locked-memory limit and \
                     kernel.io_uring_disabled)"
                );
                let _ = ready.send(Err(io::Error::other(hint)));
                return;
            }
        };
        runtime.block_on(async move {
            let driver = if monoio::utils::is_legacy() {
                "epoll"
            } else {
                "io_uring"
            };
            let shard = Shard::new(
                self.number,
                self.peers,
                self.counters,
                self.limits,
                self.links,
                self.started,
            );
            setup(&shard);
            monoio::spawn(shard.clone().serve_inbox(self.inbox));
            monoio::spawn(shard.clone().keep_time());
            if let Some(listener) = self.listener {
                match monoio::net::TcpListener::from_std(listener) {
                    Ok(listener) => drop(monoio::spawn(accept(shard.clone(), listener))),
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                }
            }
            let _ = ready.send(Ok(driver));
            let _ = self.stopped.recv().await;
            shard.begin_ending();
            for (_, entry) in shard.entries() {
                match entry {
                    Entry::Stream(stream) => stream.break_off(&shard, CloseReason::Shutdown),
                    Entry::Decryptor(channel) => channel.close(&shard, CloseReason::Shutdown),
                    _ => {}
                }
            }
            // Time for the goodbyes to leave.
            monoio::time::sleep(Duration::from_millis(100)).await;
            shard.close_inbox().await;
        });
    }
}

async fn accept(shard: Shard, listener: monoio::net::TcpListener) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => match sys::into_std(socket) {
                Ok(socket) => shard.accept(socket),
                Err(error) => tracing::warn!(%error, "an accepted connection was lost"),
            },
            Err(error) => {
                // Typically out of descriptors: leave room for some to be closed.
                tracing::warn!(%error, "cannot accept connections (check the open files limit)");
                monoio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Fails if another process listens on the address: sharing a port with it would go unnoticed, and
/// each would get some of the connections.
fn check_free(address: SocketAddr) -> io::Result<()> {
    control::once_free(|| {
        let domain = socket2::Domain::for_address(address);
        let protocol = Some(socket2::Protocol::TCP);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, protocol)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1)
    })
    .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// A listening socket that several shards can share a port with.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into()).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })?;
    socket.listen(4096)?;
    Ok(socket.into())
}
