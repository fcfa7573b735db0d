//! What the tests start and stop.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use culvert_crypto::channel::Endpoint;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::KeyType;
use culvert_node::key::{Key, LocalAddress};
use culvert_node::metrics::Snapshot;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::packet::Packet;
use culvert_node::portal::{Inlet, Lanes, Outlet, Target};
use culvert_node::reason::Refusal;
use culvert_node::session::{self, Event, NextPlan, PathPlan, RegistrationPlan, Reporter};
use culvert_node::shard::Shard;
use culvert_node::stop::{Stop, Stopper};
use culvert_node::worker::{Outcome, Worker};
use culvert_proto::forwarder::{self, Reply, Request, STATIC_FORWARDING_SERVICE};
use culvert_proto::portal;

use crate::common::{config, credentials, endpoint, outlet_node, plan, wait_for};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Open files are those of the whole process, so the tests run one after the other.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Sends back what it reads, after its letter. Ends with its client.
pub(crate) fn service(letter: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            thread::spawn(move || {
                let _ = socket.write_all(&[letter]);
                let mut buffer = vec![0; 65536];
                while let Ok(n @ 1..) = socket.read(&mut buffer) {
                    if socket.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
                let _ = socket.shutdown(Shutdown::Write);
            });
        }
    });
    address
}

/// A client that was let through to the service with this letter.
pub(crate) fn client(at: SocketAddr, letter: u8) -> TcpStream {
    let mut socket = TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(read_byte(&mut socket), letter);
    socket
}

pub(crate) fn read_byte(socket: &mut TcpStream) -> u8 {
    let mut byte = [0];
    socket.read_exact(&mut byte).unwrap();
    byte[0]
}

pub(crate) fn echoes(socket: &mut TcpStream, text: &[u8]) {
    socket.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    socket.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

/// A client that sends and reads back, without a pause, until it is told to stop.
pub(crate) struct Busy {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<usize>,
}

impl Busy {
    pub(crate) fn start(mut socket: TcpStream) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let block: Vec<u8> = (0..64 << 10).map(|n: u32| n as u8).collect();
            let mut rounds = 0;
            while !stopped.load(Ordering::Relaxed) {
                echoes(&mut socket, &block);
                rounds += 1;
            }
            rounds
        });
        Self { stop, thread }
    }

    /// Ends it; every byte came back. Gives how many rounds there were.
    pub(crate) fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Whether the connection was reset, not only ended.
pub(crate) fn is_reset(mut socket: TcpStream) -> bool {
    let mut buffer = vec![0; 65536];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return false,
            // What was on its way.
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

pub(crate) fn start_outlet(
    node: &Node,
    name: &'static [u8],
    target: SocketAddr,
) -> (Stopper, Option<Refusal>) {
    let (stopper, stop) = Stopper::new();
    let (answer, answers) = mpsc::channel();
    let target = Target {
        host: target.ip().to_string(),
        port: target.port(),
    };
    node.on_shard(0, move |shard| {
        let outlet = Outlet::new(target, portal::Config::default());
        let started = outlet.start(shard, name, stop);
        if let Ok(address) = &started {
            shard.open_to_channels(address.key);
            shard.open_to_all(address.key);
        }
        let _ = answer.send(started.err());
    })
    .unwrap();
    (stopper, answers.recv_timeout(PATIENCE).unwrap())
}

/// An outlet node, and one that has inlets to it.
pub(crate) struct Pair {
    pub(crate) near: Node,
    pub(crate) far: Node,
    pub(crate) me: Endpoint,
    you: Endpoint,
}

/// Something that runs and can be stopped.
pub(crate) struct Part {
    pub(crate) stopper: Stopper,
    pub(crate) events: Receiver<Event>,
}

impl Part {
    pub(crate) fn up(self) -> Self {
        wait_for(&self.events, |event| {
            matches!(event, Event::Up { .. } | Event::Registered { .. })
        });
        self
    }

    /// Stops it, and waits until all of it has ended.
    pub(crate) fn end(self) {
        self.stopper.stop();
        assert!(self.stopper.wait(PATIENCE), "it goes on");
    }
}

impl Pair {
    /// The outlet named `outlet` leads to `target`.
    pub(crate) fn new(target: SocketAddr) -> Self {
        let (me, you) = (endpoint(KeyType::Ed25519), endpoint(KeyType::Ed25519));
        let far = outlet_node(&you, Trust::only(me.identifier()), target);
        let near = Node::start(
            &NodeConfig {
                shards: 2,
                ..config(false)
            },
            |_| (),
        )
        .unwrap();
        Self { near, far, me, you }
    }

    /// The way to an outlet of the far node.
    pub(crate) fn plan(&self, outlet: &[u8]) -> PathPlan {
        plan(self.far.address().unwrap(), self.you.identifier(), outlet)
    }

    pub(crate) fn inlet(&self, socket: TcpListener, plan: &PathPlan) -> (Part, SocketAddr) {
        let at = socket.local_addr().unwrap();
        let (stopper, stop) = Stopper::new();
        let (reporter, events) = Reporter::new();
        let (lanes, ends) = Lanes::new(self.near.shards());
        for (number, end) in ends.into_iter().enumerate() {
            let (me, plan) = (self.me.clone(), plan.clone());
            let (reporter, stop) = (reporter.clone(), stop.clone());
            let start = move |shard: &Shard| {
                let paths = end.start(shard, portal::Config::default(), None, stop.clone());
                let credentials = credentials(&me, Trust::Anyone);
                let here = shard.clone();
                let kept = session::keep_path(here, plan, credentials, paths, reporter, stop);
                shard.spawn(kept);
            };
            self.near.on_shard(number, start).unwrap();
        }
        let listen = move |shard: &Shard| {
            Inlet::start(shard, socket, lanes, stop).unwrap();
        };
        self.near.on_shard(1, listen).unwrap();
        (Part { stopper, events }, at)
    }

    pub(crate) fn to(&self, outlet: &[u8]) -> (Part, SocketAddr) {
        self.inlet(TcpListener::bind(any()).unwrap(), &self.plan(outlet))
    }

    /// A session on the near node.
    pub(crate) fn session<F: Future<Output = ()> + 'static>(
        &self,
        make: impl FnOnce(Shard, Reporter, Stop) -> F + Send + 'static,
    ) -> Part {
        let (stopper, stop) = Stopper::new();
        let (reporter, events) = Reporter::new();
        let start = move |shard: &Shard| shard.spawn(make(shard.clone(), reporter, stop));
        self.near.on_shard(0, start).unwrap();
        Part { stopper, events }
    }

    pub(crate) fn channel(&self, name: &'static [u8]) -> Part {
        let me = self.me.clone();
        let plan = self.plan(b"");
        self.session(move |shard, reporter, stop| {
            let credentials = credentials(&me, Trust::Anyone);
            session::keep_channel(shard, plan, name.to_vec(), credentials, reporter, stop)
        })
    }

    pub(crate) fn next(&self, name: &'static str) -> Part {
        let far = self.far.address().unwrap();
        let plan = NextPlan {
            name: name.to_owned(),
            host: far.ip().to_string(),
            port: far.port(),
        };
        self.session(move |shard, reporter, stop| {
            session::keep_next(shard, plan, reporter, |_| (), stop)
        })
    }

    pub(crate) fn registration(&self, relay: SocketAddr, name: &'static str) -> Part {
        let plan = RegistrationPlan {
            host: relay.ip().to_string(),
            port: relay.port(),
            name: name.to_owned(),
            trust: None,
            lanes: Default::default(),
        };
        let me = self.me.clone();
        self.session(move |shard, reporter, stop| {
            let credentials = credentials(&me, Trust::Anyone);
            session::keep_registered(shard, plan, credentials, reporter, stop)
        })
    }

    pub(crate) fn shutdown(self) {
        self.near.shutdown();
        self.far.shutdown();
    }
}

pub(crate) fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// What a shard tells about itself.
pub(crate) fn ask<T: Send + 'static>(
    node: &Node,
    shard: usize,
    what: impl FnOnce(&Shard) -> T + Send + 'static,
) -> T {
    let (answer, answers) = mpsc::channel();
    let tell = move |shard: &Shard| drop(answer.send(what(shard)));
    node.on_shard(shard, tell).unwrap();
    answers.recv_timeout(PATIENCE).unwrap()
}

/// Links, channels, streams; then addresses and permissions of each shard.
pub(crate) fn holds(node: &Node) -> Vec<usize> {
    let sum = Snapshot::sum(&node.counters());
    let mut all = vec![
        sum.links as usize,
        sum.channels as usize,
        sum.streams as usize,
    ];
    for shard in 0..node.shards() {
        all.extend(ask(node, shard, |shard| {
            [shard.addresses(), shard.flow(|flow| flow.consumer_count())]
        }));
    }
    all
}

pub(crate) fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A relay in short: gives each name to one link at a time.
#[derive(Clone, Default)]
pub(crate) struct Register(Rc<RefCell<HashMap<String, Key>>>);

/// A name that is held.
pub(crate) struct Held(Register, String);

impl Worker for Register {
    fn handle(&self, shard: &Shard, _: LocalAddress, packet: Packet) -> Outcome {
        let Ok(request) = Request::decode(packet.payload()) else {
            return Outcome::Refused(Refusal::BadPayload);
        };
        let name = request.registration.text().to_owned();
        let (by, back) = (packet.came_by().unwrap(), packet.return_route());
        let mut names = self.0.borrow_mut();
        let is_taken = names.contains_key(&name);
        let text = forwarder::worker_name(&name);
        let reply = match is_taken {
            true => Reply::Refused {
                name: &name,
                reason: forwarder::Refusal::Taken,
            },
            false => Reply::Confirmed {
                text: &text,
                extension: None,
            },
        };
        shard.send(&back, &Shard::named_route(text.as_bytes()), &reply.encode());
        if !is_taken {
            let held = Rc::new(Held(self.clone(), name.clone()));
            let held = shard.add_worker(held).unwrap();
            assert!(shard.depend(by, held.key));
            names.insert(name, held.key);
        }
        Outcome::Done
    }
}

impl Worker for Held {
    fn handle(&self, _: &Shard, _: LocalAddress, _: Packet) -> Outcome {
        Outcome::Done
    }

    fn lost(&self, shard: &Shard, me: LocalAddress, _: Key) {
        self.0.0.borrow_mut().remove(&self.1);
        shard.remove(me.key);
    }
}

pub(crate) fn relay() -> Node {
    Node::start(&config(true), |shard| {
        let service = STATIC_FORWARDING_SERVICE.as_bytes();
        let register = shard.add_named(service, Rc::new(Register::default()));
        shard.open_to_all(register.unwrap().key);
    })
    .unwrap()
}
