//! A node: its threads, one shard each, and the listeners they share.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use monoio::{FusionDriver, RuntimeBuilder};

use crate::accept::accept;
use crate::clock::Clock;
use crate::control;
use crate::inspect::{Inspection, Inspector};
use crate::limits::Limits;
use crate::metrics::Counters;
use crate::pulse::Pulse;
use crate::reason::CloseReason;
use crate::shard::{Arrivals, Handoff, Inbox, Shard};
use crate::stop::{Stop, Stopper};
use crate::table::Entry;

/// Most shards: an address has eight bits for its shard.
pub const MAX_SHARDS: usize = 255;
/// Entries of each shard's ring.
const RING: u32 = 1024;
/// How long a shard may take to do something that it is waited for with.
const ANSWER: Duration = Duration::from_secs(10);

/// What a node is started with.
#[derive(Clone, Debug, Default)]
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
    draining: Stopper,
    counters: Vec<Arc<Counters>>,
    threads: Vec<JoinHandle<()>>,
    _clock: Clock,
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
        let (address, listeners) = match config.listen {
            Some(at) => listen_on(at, shards).map(|(at, listeners)| (Some(at), listeners))?,
            None => (None, Vec::new()),
        };
        let mut listeners = listeners.into_iter();
        let limits = Arc::new(config.limits.clone());
        let links = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let inboxes: Vec<_> = (0..shards)
            .map(|_| Inbox::new())
            .collect::<io::Result<_>>()?;
        let (senders, inboxes): (Vec<_>, Vec<_>) = inboxes.into_iter().unzip();
        let counters: Vec<Arc<Counters>> = (0..shards).map(|_| Arc::default()).collect();
        let (draining, drain) = Stopper::new();
        let (ready, readiness) = mpsc::channel();
        let mut node = Self {
            address,
            driver: "unknown",
            inboxes: senders.clone(),
            stops: Vec::new(),
            draining,
            counters: counters.clone(),
            threads: Vec::new(),
            _clock: Clock::start(senders.clone())?,
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
                drain: drain.clone(),
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

    /// Runs a task on a shard and waits for what it gives, however long it takes. Blocks: not for the
    /// thread of a shard.
    ///
    /// # Errors
    ///
    /// When the shard has ended, or ends before the task does.
    pub fn run<T, F>(
        &self,
        shard: usize,
        task: impl FnOnce(Shard) -> F + Send + 'static,
    ) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (answer, answers) = mpsc::channel();
        self.on_shard(shard, move |shard| {
            let task = task(shard.clone());
            shard.spawn(async move { drop(answer.send(task.await)) });
        })?;
        let ended = || io::Error::other("the shard has ended");
        answers.recv().map_err(|_| ended())
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

    /// What asks the shards whether they are there, from any thread.
    pub fn pulse(&self) -> Pulse {
        Pulse::new(self.inboxes.clone())
    }

    /// Accepts links at a further address, on all shards, until it is stopped. Links that were accepted
    /// by then stay. Blocks for a moment; not for the thread of a shard. Port 0 picks a free one. Gives
    /// the address.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on, or the node has ended. Stop it then: some shards may
    /// listen.
    pub fn listen(&self, at: SocketAddr, stop: Stop) -> io::Result<SocketAddr> {
        let (address, listeners) = listen_on(at, self.shards())?;
        let (answer, answers) = mpsc::channel();
        for (shard, listener) in listeners.into_iter().enumerate() {
            let (answer, stop) = (answer.clone(), stop.clone());
            self.on_shard(shard, move |shard| {
                let _ = answer.send(accept_links(shard, listener, stop));
            })?;
        }
        drop(answer);
        for _ in 0..self.shards() {
            let started = answers.recv_timeout(ANSWER);
            started.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
        Ok(address)
    }

    /// Accepts nothing new, neither links nor streams, and says so to the caller (`begin`). Then waits
    /// until all streams have ended and what was sent over them has left, at most for `deadline`, and
    /// shuts the node down. Gives how many streams were cut.
    pub fn drain(self, deadline: Duration, begin: impl FnOnce()) -> u64 {
        let until = Instant::now().checked_add(deadline);
        self.draining.stop();
        begin();
        let (quiet, all) = mpsc::channel();
        for number in 0..self.shards() {
            let quiet = quiet.clone();
            let wait = move |shard: &Shard| {
                let waiting = shard.clone();
                shard.spawn(async move {
                    waiting.until_quiet().await;
                    let _ = quiet.send(());
                });
            };
            // A shard that has ended has nothing any more.
            let _ = self.on_shard(number, wait);
        }
        drop(quiet);
        let left = || match until {
            Some(until) => until.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        };
        while all.recv_timeout(left()).is_ok() {}
        let cut = self.counters.iter().map(|of| of.streams.get()).sum();
        self.shutdown();
        cut
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
    drain: Stop,
    listener: Option<TcpListener>,
}

impl Part {
    fn run(self, setup: &impl Fn(&Shard), ready: &mpsc::Sender<io::Result<&'static str>>) {
        // Deferred task work (Linux 6.1) cost a tenth less per message than cooperative (5.19), which cost a
        // third less than neither.
        let [mut deferred, mut cooperative, plain] = [(); 3].map(|()| io_uring::IoUring::builder());
        deferred.setup_single_issuer().setup_defer_taskrun();
        cooperative.setup_coop_taskrun();
        let build = |ring| {
            RuntimeBuilder::<FusionDriver>::new()
                .with_entries(RING)
                .uring_builder(ring)
                .enable_timer()
                .build()
        };
        let runtime = build(deferred)
            .or_else(|_| build(cooperative))
            .or_else(|_| build(plain));
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
                self.drain,
            );
            setup(&shard);
            if let Err(error) = serve(&shard, self.inbox, self.listener) {
                let _ = ready.send(Err(error));
                return;
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

/// Starts what every shard does.
fn serve(shard: &Shard, inbox: Arrivals, listener: Option<TcpListener>) -> io::Result<()> {
    monoio::spawn(shard.clone().serve_inbox(inbox.open()?));
    monoio::spawn(shard.clone().keep_sending());
    listener.map_or(Ok(()), |listener| {
        accept_links(shard, listener, Stop::never())
    })
}

/// Accepts links on a shard until it is stopped.
fn accept_links(shard: &Shard, listener: TcpListener, stop: Stop) -> io::Result<()> {
    let listener = monoio::net::TcpListener::from_std(listener)?;
    let (shard, draining) = (shard.clone(), shard.draining().clone());
    monoio::spawn(async move {
        accept(listener, &stop, &draining, |socket| shard.accept(socket)).await;
    });
    Ok(())
}

/// A listening socket for each shard, and their address.
fn listen_on(at: SocketAddr, shards: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    check_free(at)?;
    let mut address = at;
    let mut listeners = Vec::new();
    for _ in 0..shards {
        let listener = listen(address)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok((address, listeners))
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
