//! Inlets: a TCP port whose clients reach an outlet.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use culvert_crypto::Identifier;
use culvert_proto::portal;
use culvert_proto::route::Route;
use monoio::net::{TcpListener, TcpStream};

use super::lanes::{Client, Lanes};
use super::stream::{Far, Role, Stream};
use super::streams::{Entered, Streams};
use crate::accept::accept;
use crate::channel::Channel;
use crate::notify::Notify;
use crate::policy::Guard;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::stop::Stop;
use crate::trace::Trace;
use crate::{socket, sys};

/// How long a client may wait for a path.
const PATH_TIMEOUT_MS: u64 = 10_000;
/// After this long without an answer the path is suspected to be dead.
const SUSPECT_AFTER: Duration = Duration::from_millis(400);

/// A way to an outlet that works at present.
#[derive(Clone)]
pub struct Path {
    /// Hops to the outlet listener, first local hop included.
    pub route: Route,
    /// The channel it leads through.
    pub channel: Option<Rc<Channel>>,
    /// Who is at the other end.
    pub peer: Option<Identifier>,
}

/// How often a client that waits for a path looks whether another lane has one.
const LOOK: Duration = Duration::from_millis(50);

/// The current path of a lane of an inlet, kept up to date by its session.
pub struct PathWatch {
    lanes: Lanes,
    number: usize,
    guard: Option<Guard>,
    /// Through the relay.
    path: RefCell<Option<Path>>,
    /// Straight to the far side: preferred while there is one.
    direct: RefCell<Option<Path>>,
    changed: Notify,
    suspected: Cell<Option<Suspicion>>,
    suspicion: Notify,
    streams: Rc<Streams>,
    /// Nobody is to wait for a path any more.
    stopped: Cell<bool>,
}

impl PathWatch {
    pub(super) fn new(lanes: Lanes, number: usize, guard: Option<Guard>) -> Self {
        Self {
            lanes,
            number,
            guard,
            path: RefCell::default(),
            direct: RefCell::default(),
            changed: Notify::default(),
            suspected: Cell::new(None),
            suspicion: Notify::default(),
            streams: Rc::default(),
            stopped: Cell::new(false),
        }
    }

    /// A path that no inlet uses.
    pub(crate) fn alone() -> Self {
        Self::new(Lanes::new(1).0, 0, None)
    }

    /// Ends the streams of this lane. The far side is told over the path, while there is one.
    pub(crate) fn break_off(&self, shard: &Shard) {
        self.streams.break_off(shard);
    }

    /// Ends the streams of this lane, and turns away the clients that wait.
    pub(super) fn stop(&self, shard: &Shard) {
        self.stopped.set(true);
        self.break_off(shard);
        self.changed.notify();
    }

    /// Sets or clears the path through the relay, which every other one depends on.
    pub fn set(&self, path: Option<Path>) {
        self.lanes.set_up(self.number, path.is_some());
        if path.is_none() {
            self.direct.replace(None);
        }
        *self.path.borrow_mut() = path;
        self.changed.notify();
    }

    /// Sets or clears the direct path.
    pub(crate) fn set_direct(&self, path: Option<Path>) {
        *self.direct.borrow_mut() = path;
        self.changed.notify();
    }

    /// The path through the relay, once there is one.
    pub(crate) async fn relayed(&self) -> Path {
        self.changed.until(|| self.path.borrow().clone()).await
    }

    /// Whether there is a path at present.
    pub(crate) fn is_up(&self) -> bool {
        self.path.borrow().is_some()
    }

    fn current(&self) -> Option<Path> {
        let direct = self.direct.borrow().clone();
        direct.or_else(|| self.path.borrow().clone())
    }

    /// The path for new clients, once there is one; none when there will be no more.
    async fn wait(&self) -> Option<Path> {
        let found = self.changed.until(|| match self.stopped.get() {
            true => Some(None),
            false => self.current().map(Some),
        });
        found.await
    }

    /// Whether this is the path that new clients are given.
    fn is_current(&self, path: &Path) -> bool {
        self.current()
            .is_some_and(|current| current.route == path.route)
    }

    /// Notes that the path may not answer any more.
    pub(super) fn suspect(&self, why: Suspicion) {
        self.suspected.set(Some(why));
        self.suspicion.notify();
    }

    /// Waits until somebody suspects the path.
    pub(crate) async fn suspected(&self) -> Suspicion {
        self.suspicion.until(|| self.suspected.take()).await
    }

    /// Tells the other lanes that this one gets no answer.
    pub(crate) fn warn_others(&self) {
        self.lanes.warn_others(self.number);
    }

    /// Whether the far side is known to answer questions. `seen` is whether it is to this lane.
    pub(crate) fn answers(&self, seen: bool) -> bool {
        if seen {
            self.lanes.set_answers();
        }
        self.lanes.answers()
    }
}

/// Why a path is suspected to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// A client, or the channel, gets no answer.
    NoAnswer,
    /// Another lane gets none.
    Warned,
}

/// A listening TCP port at the near end of a portal.
pub struct Inlet {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Inlet {
    /// Listens on `socket`; each client becomes a stream on one of the lanes, over its path of that
    /// moment. When it is stopped the port is free again, unless there is another handle on the socket;
    /// its clients end with the lanes.
    ///
    /// # Errors
    ///
    /// When the socket cannot be used by the runtime.
    pub fn start(
        shard: &Shard,
        socket: StdListener,
        lanes: Lanes,
        stop: Stop,
    ) -> std::io::Result<Self> {
        let address = socket.local_addr()?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        let shard = shard.clone();
        let draining = shard.draining().clone();
        let give = move |client| lanes.give(client, shard.now_ms() + PATH_TIMEOUT_MS);
        monoio::spawn(async move { accept(listener, &stop, &draining, give).await });
        Ok(Self { address })
    }
}

/// One client: opened over the path at hand, and over its successor if that dies before it answers.
/// While the lane has no path, another that has one takes the client.
pub(super) async fn serve(
    shard: Shard,
    client: Client,
    config: portal::Config,
    paths: Rc<PathWatch>,
    stop: Stop,
) {
    let began = Instant::now();
    let Client {
        socket,
        deadline_ms,
        turn,
    } = client;
    let Ok(client) = TcpStream::from_std(socket) else {
        return shard.refuse(Refusal::ConnectionLost, "client of an inlet");
    };
    loop {
        let Ok(path) = monoio::time::timeout(LOOK, paths.wait()).await else {
            if shard.now_ms() >= deadline_ms {
                shard.refuse(Refusal::NoRoute, "client of an inlet");
                return reset(sys::descriptor(&client));
            }
            if !paths.lanes.any_is_up() {
                continue;
            }
            return match sys::into_std(client) {
                Ok(socket) => paths.lanes.give(socket, deadline_ms),
                Err(_) => shard.refuse(Refusal::ConnectionLost, "client of an inlet"),
            };
        };
        let Some(path) = path else {
            return reset(sys::descriptor(&client));
        };
        match open(&shard, &config, &path, &paths).await {
            Ok((stream, entered)) => {
                // One that ended with its opening may never have been open.
                if stream.was_opened() {
                    stream.note_open(&shard, began.elapsed());
                }
                return stream.run_detached(&shard, client, (entered, turn, stop));
            }
            Err(Ended::Final) => return reset(sys::descriptor(&client)),
            Err(Ended::PathDied) => {
                // The session replaces a dead path; do not spin on it until it has noticed.
                monoio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

enum Ended {
    PathDied,
    Final,
}

async fn open(
    shard: &Shard,
    config: &portal::Config,
    path: &Path,
    paths: &PathWatch,
) -> Result<(Rc<Stream>, Entered), Ended> {
    let guard = paths.guard.as_ref();
    let basis = Guard::basis_of(guard, path.channel.as_deref());
    if guard.is_some_and(|guard| !guard.admits(shard, path.channel.as_deref())) {
        // The far side may have been started again meanwhile, and have something else to show.
        paths.suspect(Suspicion::NoAnswer);
        return Err(Ended::Final);
    }
    let machine = portal::Stream::inlet(config, shard.now_ms());
    let carrier = shard.first_key(&path.route);
    let far = Far {
        route: path.route.clone(),
        peer: path.peer,
        channel: path.channel.clone(),
        carrier,
        role: Role::Inlet,
        trace: shard.traces_streams().then(Trace::random),
        basis,
    };
    let opened = Stream::open(shard, machine, far, guard);
    let stream = opened.map_err(|reason| {
        shard.refuse(reason, "client of an inlet");
        Ended::Final
    })?;
    let Some(carrier) = carrier else {
        stream.abort(shard, CloseReason::CarrierLost);
        return Err(Ended::PathDied);
    };
    let entered = paths.streams.enter(&stream);
    shard.permit_answers(carrier, stream.address.key);
    stream.flush(shard);
    if config.skip_handshake {
        return Ok((stream, entered));
    }
    loop {
        match monoio::time::timeout(SUSPECT_AFTER, stream.wait_open()).await {
            Ok(Ok(())) => return Ok((stream, entered)),
            // Ended together with its opening: what the far side sent before is still delivered.
            Ok(Err(CloseReason::PeerClosed)) => return Ok((stream, entered)),
            Ok(Err(CloseReason::PongTimeout)) => return Err(Ended::Final),
            Ok(Err(_)) => return Err(Ended::PathDied),
            Err(_) if !paths.is_current(path) => {
                stream.break_off(shard, CloseReason::Replaced);
                return Err(Ended::PathDied);
            }
            Err(_) => paths.suspect(Suspicion::NoAnswer),
        }
    }
}

/// Resets the connection of a client that is not served.
pub(super) fn reset(client: BorrowedFd<'_>) {
    socket::abort(client);
}
