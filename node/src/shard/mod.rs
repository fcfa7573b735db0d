//! A shard: one thread, its links, channels, streams and workers, and how messages get from one
//! to another.

mod handoff;
mod inbox;
mod leave;
mod permission;
mod relief;
mod router;
mod sending;
mod time;

use relief::Relief;
use sending::Sending;
use time::Ticks;

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use culvert_proto::address::{AddressRef, LOCAL};
use culvert_proto::flow_control::{FlowControls, FlowId};
use culvert_proto::route::Route;

pub(crate) use handoff::{Handoff, MovedLink};
pub(crate) use inbox::{Arrivals, Inbox};

use crate::buffer::Pool;
use crate::channel::{Channel, Sink};
use crate::key::{self, Key, LocalAddress};
use crate::limits::Limits;
use crate::link::Link;
use crate::metrics::Counters;
use crate::packet::MAX_DEPTH;
use crate::portal::Stream;
use crate::random;
use crate::reason::{CloseReason, Refusal};
use crate::stop::Stop;
pub use crate::table::Load;
use crate::table::{Entry, Table};
use crate::worker::Worker;

/// Below this a shard could not take in a frame of the largest size beside its other work.
const LEAST_MEMORY: usize = 24 << 20;

/// Most lines a second that one shard logs about what peers may do as often as they like.
const LINES: u32 = 10;

const LISTENER: FlowId = FlowId::new(1);
const OUTGOING: FlowId = FlowId::new(2);
const ACCEPTED: FlowId = FlowId::new(3);
/// Behind channels this node opened.
const OPENED: FlowId = FlowId::new(4);
/// Links accepted here whose peer has proved, over them, who it is.
const AUTHENTICATED: FlowId = FlowId::new(5);

/// Flow controls in which the ids of the shard itself have a user for ever. Otherwise what may be
/// reached would be forgotten together with the last link.
fn lasting_flows(shard: u8) -> FlowControls<Key> {
    let mut flow = FlowControls::new();
    // Slots this high are never in use.
    for (id, slot) in [LISTENER, OUTGOING, ACCEPTED, OPENED, AUTHENTICATED]
        .into_iter()
        .zip(0xff_fff0..)
    {
        let _ = flow.add_spawner(Key::new(shard, slot, 0), id);
    }
    flow
}

/// One shard, seen from its own thread. Cloning is cheap.
#[derive(Clone)]
pub struct Shard(Rc<Inner>);

struct Inner {
    number: u8,
    table: RefCell<Table>,
    flow: RefCell<FlowControls<Key>>,
    next_flow: Cell<u64>,
    /// Flow control id of this shard's TCP listener.
    listener: FlowId,
    /// Flow control id behind links this node opened.
    outgoing: FlowId,
    /// Flow control id behind channels this node opened.
    opened: FlowId,
    /// Flow control id behind channels this node accepted.
    accepted: FlowId,
    sink: Cell<Option<LocalAddress>>,
    ending: Cell<bool>,
    draining: Stop,
    pool: Pool,
    relief: Relief,
    sending: Sending,
    /// Changes of addresses, names and permissions so far.
    version: Cell<u64>,
    ticks: Ticks,
    /// Streams that have ended and still write what came before.
    leaving: RefCell<Vec<Rc<Stream>>>,
    counters: Arc<Counters>,
    limits: Arc<Limits>,
    /// Links open on all shards.
    links: Arc<AtomicU64>,
    peers: Vec<Inbox>,
    /// Whether streams are traced.
    tracing: Cell<bool>,
    /// Lines logged in a second, and which one.
    lines: Cell<(u64, u32)>,
    /// Keys of this shard that others hold permissions for.
    abroad: RefCell<HashSet<Key>>,
    started: Instant,
}

impl Shard {
    pub(crate) fn new(
        number: u8,
        peers: Vec<Inbox>,
        counters: Arc<Counters>,
        limits: Arc<Limits>,
        links: Arc<AtomicU64>,
        started: Instant,
        draining: Stop,
    ) -> Self {
        Self(Rc::new(Inner {
            number,
            table: RefCell::new(Table::new(number)),
            flow: RefCell::new(lasting_flows(number)),
            next_flow: Cell::new(6),
            listener: LISTENER,
            outgoing: OUTGOING,
            accepted: ACCEPTED,
            opened: OPENED,
            sink: Cell::new(None),
            ending: Cell::new(false),
            draining,
            pool: Pool::new((limits.memory / peers.len().max(1)).max(LEAST_MEMORY)),
            relief: Relief::default(),
            sending: Sending::default(),
            version: Cell::new(0),
            ticks: Ticks::default(),
            leaving: RefCell::default(),
            counters,
            limits,
            links,
            peers,
            tracing: Cell::default(),
            lines: Cell::default(),
            abroad: RefCell::default(),
            started,
        }))
    }

    /// The number of this shard, from 0.
    pub fn number(&self) -> u8 {
        self.0.number
    }

    /// How many shards the node has.
    pub fn shards(&self) -> u8 {
        self.0.peers.len() as u8
    }

    /// Whether the node is shutting down: what ends now is not to be replaced.
    pub fn is_ending(&self) -> bool {
        self.0.ending.get()
    }

    /// Tells that the node takes nothing new any more and waits for what it has to end.
    pub fn draining(&self) -> &Stop {
        &self.0.draining
    }

    pub(crate) fn begin_ending(&self) {
        self.0.ending.set(true);
    }

    /// The counters of this shard.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The limits of this node.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// How many links are open on all shards.
    pub(crate) fn links(&self) -> &AtomicU64 {
        &self.0.links
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Milliseconds since the node started.
    pub fn now_ms(&self) -> u64 {
        self.0.started.elapsed().as_millis() as u64
    }

    /// A time of this node in milliseconds since 1970-01-01 UTC.
    pub(crate) fn unix_ms(&self, node_ms: u64) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_millis() as u64);
        now.saturating_sub(self.now_ms().saturating_sub(node_ms))
    }

    /// Has streams that this shard opens from now on carry a trace id, and those it is given one for log
    /// it, so that the logs of both ends can be joined. Off at first.
    pub fn trace_streams(&self, on: bool) {
        self.0.tracing.set(on);
    }

    pub(crate) fn traces_streams(&self) -> bool {
        self.0.tracing.get()
    }

    /// Whether one more line may be logged about what peers may do as often as they like: the log is for
    /// the operator, the counters have all of it.
    pub fn may_log(&self) -> bool {
        let second = self.now_ms() / 1000;
        let logged = match self.0.lines.get() {
            (at, logged) if at == second => logged,
            _ => 0,
        };
        self.0.lines.set((second, logged.saturating_add(1)));
        logged < LINES
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn now_s(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs())
    }

    /// Grows with every change that may lead a message elsewhere than the one before.
    pub(crate) fn version(&self) -> u64 {
        self.0.version.get()
    }

    fn changed(&self) {
        self.0.version.set(self.0.version.get() + 1);
    }

    // Addresses.

    pub(crate) fn insert<T>(
        &self,
        make: impl FnOnce(LocalAddress) -> (Entry, T),
    ) -> Result<T, Refusal> {
        let mut made = None;
        self.0
            .table
            .borrow_mut()
            .insert(random::u64(), |address| {
                let (entry, value) = make(address);
                made = Some(value);
                entry
            })
            .and(made)
            .ok_or(Refusal::TooManyAddresses)
    }

    pub(crate) fn replace(&self, key: Key, entry: Entry) {
        self.changed();
        self.0.table.borrow_mut().replace(key, entry);
    }

    /// An address that takes anything and does nothing.
    pub(crate) fn sink(&self) -> LocalAddress {
        if let Some(sink) = self.0.sink.get() {
            return sink;
        }
        let sink = self
            .add_worker(Rc::new(Sink))
            .unwrap_or_else(|_| LocalAddress {
                key: Key::new(self.0.number, 0, 0),
                tag: 0,
            });
        self.open_to_all(sink.key);
        self.open_to_channels(sink.key);
        self.0.sink.set(Some(sink));
        sink
    }

    /// Gives a worker an address of its own.
    pub fn add_worker(&self, worker: Rc<dyn Worker>) -> Result<LocalAddress, Refusal> {
        self.insert(|address| (Entry::Worker(worker), address))
    }

    /// Gives a worker an address and a well-known name on this shard.
    pub fn add_named(&self, name: &[u8], worker: Rc<dyn Worker>) -> Result<LocalAddress, Refusal> {
        let address = self.add_worker(worker)?;
        self.set_name(name, address.key);
        Ok(address)
    }

    /// Makes a name on this shard lead to a key, which may belong to another shard.
    pub fn set_name(&self, name: &[u8], key: Key) {
        self.changed();
        self.0.table.borrow_mut().set_name(name, key);
    }

    /// Makes a name on this shard lead to one more key, which may belong to another shard. Each link
    /// keeps to one of them.
    pub fn add_target(&self, name: &[u8], key: Key, load: Load) {
        self.changed();
        self.0.table.borrow_mut().add_target(name, key, load);
    }

    /// Has a name no longer lead to the key.
    pub fn clear_name(&self, name: &[u8], key: Key) {
        self.changed();
        self.0.table.borrow_mut().clear_name(name, key);
    }

    /// Whether a name leads anywhere on this shard.
    pub fn has_name(&self, name: &[u8]) -> bool {
        self.0.table.borrow().targets(name).is_some()
    }

    /// Removes an entry that a name leads to, and the name.
    pub fn remove_named(&self, name: &[u8], key: Key) {
        self.clear_name(name, key);
        self.remove(key);
    }

    /// How many addresses are in use on this shard.
    pub fn addresses(&self) -> usize {
        self.0.table.borrow().entries().count()
    }

    /// The route to a well-known name.
    pub fn named_route(name: &[u8]) -> Route {
        let mut route = Route::new();
        route.push_back(AddressRef {
            transport: LOCAL,
            value: name,
        });
        route
    }

    /// The route to a minted address.
    pub fn route_to(address: LocalAddress) -> Route {
        Self::named_route(&address.text())
    }

    /// Removes an entry, and tells what depends on it.
    pub fn remove(&self, key: Key) {
        self.take(key);
    }

    /// The same, and gives the entry.
    pub(crate) fn take(&self, key: Key) -> Option<Entry> {
        self.changed();
        let (address, entry, dependents) = self.0.table.borrow_mut().remove(key)?;
        self.flow(|f| f.remove(key));
        self.forget_abroad(key);
        if let Entry::Worker(worker) = &entry {
            worker.removed(self, address);
        }
        for dependent in dependents {
            let found = self
                .0
                .table
                .borrow()
                .by_key(dependent)
                .map(|(a, entry)| (a, entry.clone()));
            match found {
                Some((_, Entry::Decryptor(channel) | Entry::Encryptor(channel))) => {
                    channel.close(self, CloseReason::CarrierLost);
                }
                Some((_, Entry::Stream(stream))) => stream.abort(self, CloseReason::CarrierLost),
                Some((me, Entry::Worker(worker))) => worker.lost(self, me, key),
                Some((_, Entry::Link(_))) | None => {}
            }
        }
        Some(entry)
    }

    /// Has `dependent` told when `what` ends; false if it has ended already.
    pub fn depend(&self, what: Key, dependent: Key) -> bool {
        self.0.table.borrow_mut().depend(what, dependent)
    }

    /// The link behind a key of this shard: the link itself, or the one that carries the channel.
    pub fn carrier(&self, key: Key) -> Option<Rc<Link>> {
        self.carrier_below(key).map(|(link, _)| link)
    }

    /// The same, and how many channels are in between.
    pub(crate) fn carrier_below(&self, key: Key) -> Option<(Rc<Link>, u8)> {
        let mut key = key;
        for depth in 0..MAX_DEPTH {
            let next = match self.0.table.borrow().by_key(key)?.1 {
                Entry::Link(link) => return Some((Rc::clone(link), depth)),
                Entry::Decryptor(channel) | Entry::Encryptor(channel) => channel.next_hop()?.key,
                _ => return None,
            };
            key = next;
        }
        None
    }

    /// The channel with a key, if it is one of this shard.
    pub fn channel(&self, key: Key) -> Option<Rc<Channel>> {
        match self.0.table.borrow().by_key(key)?.1 {
            Entry::Encryptor(channel) | Entry::Decryptor(channel) => Some(Rc::clone(channel)),
            _ => None,
        }
    }

    /// Whether what was given to a worker last is still on its way.
    pub(crate) fn is_behind(&self, worker: Option<LocalAddress>) -> bool {
        let table = self.0.table.borrow();
        match worker.and_then(|address| table.get(address)) {
            Some(Entry::Worker(worker)) => worker.is_behind(),
            _ => false,
        }
    }

    /// The hops that lead to the node behind a link or at the far end of a channel, not through
    /// the channel itself.
    pub fn way_to_peer(&self, key: Key) -> Option<Route> {
        match self.0.table.borrow().by_key(key)?.1 {
            Entry::Link(link) => Some(Self::route_to(link.address)),
            Entry::Decryptor(channel) | Entry::Encryptor(channel) => Some(channel.way_to_peer()),
            Entry::Stream(_) | Entry::Worker(_) => None,
        }
    }

    /// Runs a task on this shard.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        monoio::spawn(task);
    }

    /// Waits.
    pub async fn sleep(&self, time: std::time::Duration) {
        monoio::time::sleep(time).await;
    }

    /// The key behind the first hop of a route, if it is on this shard.
    pub fn first_key(&self, route: &Route) -> Option<Key> {
        self.key_of(route.first()?)
    }

    /// The key behind an address, if it is on this shard.
    pub(crate) fn key_of(&self, first: AddressRef<'_>) -> Option<Key> {
        let table = self.0.table.borrow();
        key::minted(first)
            .and_then(|address| table.get(address).map(|_| address.key))
            .or_else(|| table.targets(first.value)?.of_source(None))
    }

    /// Keeps an eye on a stream that has ended and still has data for its socket.
    pub(crate) fn watch_leaving(&self, stream: Rc<Stream>) {
        self.0.leaving.borrow_mut().push(stream);
    }

    pub(crate) fn entries(&self) -> Vec<(LocalAddress, Entry)> {
        self.0
            .table
            .borrow()
            .entries()
            .map(|(a, e)| (a, e.clone()))
            .collect()
    }

    pub(crate) fn table(&self) -> Ref<'_, Table> {
        self.0.table.borrow()
    }
}
