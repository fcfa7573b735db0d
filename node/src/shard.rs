//! A shard: one thread, its links, channels, streams and workers, and how messages get from one
//! to another.

use std::cell::{Cell, Ref, RefCell};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use async_channel::{Receiver, Sender, TrySendError};
use bytes::BytesMut;
use culvert_proto::address::{AddressRef, LOCAL};
use culvert_proto::flow_control::{FlowControls, FlowId};
use culvert_proto::route::{Route, RouteView};

use crate::buffer::Pool;
use crate::channel::Sink;
use crate::key::{self, Key, LocalAddress};
use crate::limits::Limits;
use crate::link::{Link, Origin};
use crate::metrics::Counters;
use crate::packet::{MAX_DEPTH, Packet};
use crate::random;
use crate::reason::{CloseReason, Refusal};
use crate::table::{Entry, Table};
use crate::worker::{Outcome, Worker};

/// Messages between shards that may wait in one inbox.
pub(crate) const INBOX: usize = 1024;

/// A link on its way to another shard.
pub(crate) struct MovedLink {
    pub(crate) socket: TcpStream,
    pub(crate) unread: BytesMut,
    pub(crate) packet: Packet,
    pub(crate) spawner: bool,
}

/// What one shard tells another.
pub(crate) enum Handoff {
    /// Deliver this message, on behalf of the link it came in on.
    Packet(Packet),
    /// Continue this link.
    Link(Box<MovedLink>),
    /// Do this.
    Run(Box<dyn FnOnce(&Shard) + Send>),
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
    /// Flow control id behind everything this node opened itself.
    outgoing: FlowId,
    /// Flow control id behind channels this node accepted.
    accepted: FlowId,
    sink: Cell<Option<LocalAddress>>,
    pool: Pool,
    counters: Arc<Counters>,
    limits: Arc<Limits>,
    peers: Vec<Sender<Handoff>>,
    started: Instant,
}

impl Shard {
    pub(crate) fn new(
        number: u8,
        peers: Vec<Sender<Handoff>>,
        counters: Arc<Counters>,
        limits: Arc<Limits>,
        started: Instant,
    ) -> Self {
        Self(Rc::new(Inner {
            number,
            table: RefCell::new(Table::new(number)),
            flow: RefCell::new(FlowControls::new()),
            next_flow: Cell::new(4),
            listener: FlowId::new(1),
            outgoing: FlowId::new(2),
            accepted: FlowId::new(3),
            sink: Cell::new(None),
            pool: Pool::default(),
            counters,
            limits,
            peers,
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

    /// The counters of this shard.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The limits of this node.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Milliseconds since the node started.
    pub fn now_ms(&self) -> u64 {
        self.0.started.elapsed().as_millis() as u64
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn now_s(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs())
    }

    // Flow control.

    /// A flow control id nobody on this shard has.
    pub fn new_flow_id(&self) -> FlowId {
        let id = self.0.next_flow.get();
        self.0.next_flow.set(id + 1);
        FlowId::new(id)
    }

    /// Reads or changes what may reach what. Returns what the closure returns.
    pub fn flow<T>(&self, change: impl FnOnce(&mut FlowControls<Key>) -> T) -> T {
        change(&mut self.0.flow.borrow_mut())
    }

    /// The id of links accepted on this shard: consumers of it are reachable by strangers.
    pub fn listener_flow(&self) -> FlowId {
        self.0.listener
    }

    /// The id behind links and channels this node opened: consumers of it are reachable by the far
    /// sides this node chose.
    pub fn outgoing_flow(&self) -> FlowId {
        self.0.outgoing
    }

    /// Lets messages that come in the way `next` leads (a link or a channel) reach `who`.
    pub fn permit_answers(&self, next: Key, who: Key) {
        self.flow(|f| {
            if let Some(id) = f.id_behind(next) {
                let _ = f.add_consumer(id, who);
            }
        });
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
        self.0.table.borrow_mut().replace(key, entry);
    }

    /// An address that takes anything and does nothing.
    pub(crate) fn sink(&self) -> LocalAddress {
        if let Some(sink) = self.0.sink.get() {
            return sink;
        }
        let sink = self.add_worker(Rc::new(Sink)).unwrap_or(LocalAddress {
            key: Key::new(self.0.number, 0, 0),
            tag: 0,
        });
        self.open_to_all(sink.key);
        self.open_to_channels(sink.key);
        self.0.sink.set(Some(sink));
        sink
    }

    /// Lets everything that comes in by a link of this node, accepted or opened, or through a channel
    /// this node opened, reach a worker.
    pub fn open_to_all(&self, key: Key) {
        let (listener, outgoing) = (self.listener_flow(), self.outgoing_flow());
        self.flow(|f| {
            let _ = f.add_consumer(listener, key);
            let _ = f.add_consumer(outgoing, key);
        });
    }

    /// The flow control id behind every channel that this node accepted.
    pub fn accepted_channels_flow(&self) -> FlowId {
        self.0.accepted
    }

    /// Lets what comes through channels that this node accepted reach a worker.
    pub fn open_to_channels(&self, key: Key) {
        self.flow(|f| {
            let _ = f.add_consumer(self.0.accepted, key);
        });
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
        self.0.table.borrow_mut().set_name(name, key);
    }

    /// Removes a name if it still leads to the key.
    pub fn clear_name(&self, name: &[u8], key: Key) {
        self.0.table.borrow_mut().clear_name(name, key);
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
        let Some((address, entry, dependents)) = self.0.table.borrow_mut().remove(key) else {
            return;
        };
        self.flow(|f| f.remove(key));
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
    }

    /// Has `dependent` told when `what` ends; false if it has ended already.
    pub fn depend(&self, what: Key, dependent: Key) -> bool {
        self.0.table.borrow_mut().depend(what, dependent)
    }

    /// The link behind a key of this shard: the link itself, or the one that carries the channel.
    pub fn carrier(&self, key: Key) -> Option<Rc<Link>> {
        let mut key = key;
        for _ in 0..MAX_DEPTH {
            let next = match self.0.table.borrow().by_key(key)?.1 {
                Entry::Link(link) => return Some(Rc::clone(link)),
                Entry::Decryptor(channel) | Entry::Encryptor(channel) => channel.next_hop()?.key,
                _ => return None,
            };
            key = next;
        }
        None
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
        let first = route.first()?;
        match key::minted(first) {
            Some(address) => Some(self.0.table.borrow().get(address).map(|_| address.key)?),
            None => self.0.table.borrow().name(first.value),
        }
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

    // Messages.

    /// Delivers a message to its first onward hop (`protocol/02-routing.md` 4).
    pub fn dispatch(&self, packet: Packet) -> Outcome {
        let (entry, address) = {
            let Some(first) = packet.onward().first() else {
                return Outcome::Refused(Refusal::UnknownAddress);
            };
            if first.transport != LOCAL {
                return Outcome::Refused(Refusal::NotLocal);
            }
            let table = self.0.table.borrow();
            let key = match key::minted(first) {
                Some(address) if address.key.shard() == self.0.number => match table.get(address) {
                    Some(_) => Some(address.key),
                    None => table.name(first.value),
                },
                Some(address) if address.key.shard() < self.shards() => Some(address.key),
                _ => table.name(first.value),
            };
            let Some(key) = key else {
                return Outcome::Refused(Refusal::UnknownAddress);
            };
            if let Some(producer) = packet.producer
                && !self
                    .0
                    .flow
                    .borrow()
                    .allowed(producer.id, producer.spawner, key)
            {
                return Outcome::Refused(Refusal::NotPermitted);
            }
            if key.shard() != self.0.number {
                drop(table);
                return self.to_other_shard(key, packet);
            }
            match table.by_key(key) {
                Some((address, entry)) => (entry.clone(), address),
                None => return Outcome::Refused(Refusal::UnknownAddress),
            }
        };
        self.deliver(&entry, address, packet)
    }

    fn deliver(&self, entry: &Entry, address: LocalAddress, packet: Packet) -> Outcome {
        match entry {
            Entry::Link(link) => {
                self.expose(packet.via);
                link.transmit(self, packet, RouteView::EMPTY)
            }
            Entry::Decryptor(channel) => channel.receive(self, packet),
            Entry::Encryptor(channel) => channel.send(self, packet),
            Entry::Stream(stream) => stream.receive(self, packet),
            Entry::Worker(worker) => {
                self.expose(packet.via);
                worker.handle(self, address, packet)
            }
        }
    }

    /// Sends a message on with its first onward hop replaced by `way`, on behalf of a worker that
    /// may send there. Nothing of the message is moved when the way leads over a link.
    pub fn forward(&self, mut packet: Packet, way: &Route) -> Outcome {
        if let Some(key) = self.first_key(way) {
            let link = match self.0.table.borrow().by_key(key) {
                Some((_, Entry::Link(link))) => Some(Rc::clone(link)),
                _ => None,
            };
            if let Some(link) = link {
                self.expose(packet.via);
                return link.transmit(self, packet, way.view().without_first());
            }
        }
        match packet.advance(self, way.view()) {
            Ok(()) => self.dispatch(packet),
            Err(reason) => Outcome::Refused(reason),
        }
    }

    fn expose(&self, via: Option<LocalAddress>) {
        if let Some(via) = via
            && let Some((_, Entry::Link(link))) = self.0.table.borrow().by_key(via.key)
        {
            link.expose();
        }
    }

    /// Early on a link follows its first message to the shard of its destination; later only
    /// the message does (`docs/architecture.md`, Shards).
    fn to_other_shard(&self, key: Key, mut packet: Packet) -> Outcome {
        let to = key.shard();
        if let Some(via) = packet.via
            && let Some((_, Entry::Link(link))) = self.0.table.borrow().by_key(via.key)
        {
            if link.movable() {
                return Outcome::Move(Box::new((to, packet)));
            }
            link.expose();
        }
        // Permission was decided here, by the shard that knows the producer.
        packet.producer = None;
        self.0.counters.handoffs.add(1);
        match self.0.peers[to as usize].try_send(Handoff::Packet(packet)) {
            Ok(()) => Outcome::Done,
            Err(TrySendError::Full(Handoff::Packet(packet))) => {
                Outcome::Later(Box::new((to, packet)))
            }
            Err(_) => Outcome::Refused(Refusal::InboxFull),
        }
    }

    pub(crate) async fn hand_over_waiting(&self, to: u8, packet: Packet) {
        let _ = self.0.peers[to as usize]
            .send(Handoff::Packet(packet))
            .await;
    }

    pub(crate) async fn hand_link(&self, to: u8, link: MovedLink) {
        let _ = self.0.peers[to as usize]
            .send(Handoff::Link(Box::new(link)))
            .await;
    }

    /// Has another shard do something; false if its inbox is full or it has ended.
    pub fn tell(&self, to: u8, what: impl FnOnce(&Self) + Send + 'static) -> bool {
        self.0.peers[to as usize]
            .try_send(Handoff::Run(Box::new(what)))
            .is_ok()
    }

    /// Has every other shard do something, waiting for room in their inboxes.
    pub fn tell_others(&self, what: impl Fn(&Self) + Clone + Send + 'static) {
        for to in (0..self.shards()).filter(|to| *to != self.0.number) {
            let what = what.clone();
            let message = Handoff::Run(Box::new(move |shard: &Self| what(shard)));
            if let Err(TrySendError::Full(message)) = self.0.peers[to as usize].try_send(message) {
                let sender = self.0.peers[to as usize].clone();
                monoio::spawn(async move {
                    let _ = sender.send(message).await;
                });
            }
        }
    }

    /// Sends a small message that originates here. The outcome tells whether to slow down.
    pub fn send(&self, onward: &Route, return_route: &Route, payload: &[u8]) -> Outcome {
        self.dispatch(Packet::compose(onward, return_route, payload, &self.0.pool))
    }

    /// Sends the payload of a message back where it came from, as the worker called `name`.
    pub fn reply(&self, packet: Packet, name: &[u8]) -> Outcome {
        let route = packet.return_route();
        if route.is_empty() {
            return Outcome::Done;
        }
        let depth = packet.depth;
        let (buffer, range) = packet.into_payload();
        let mut buffer = buffer;
        buffer.truncate(range.end);
        let mut answer = Packet::wrap(
            buffer,
            range.start,
            &route,
            &Self::named_route(name),
            &self.0.pool,
        );
        answer.depth = depth + 1;
        self.dispatch(answer)
    }

    /// Counts and logs a refusal.
    pub fn refuse(&self, reason: Refusal, what: &str) {
        self.0.counters.refuse(reason);
        tracing::debug!(reason = reason.name(), what, "refused");
    }

    pub(crate) fn refuse_from(&self, reason: Refusal, link: &Link) {
        self.0.counters.refuse(reason);
        tracing::debug!(reason = reason.name(), peer = %link.peer, "refused a message");
    }

    /// What to do with the outcome of a message nobody waits for.
    pub fn settle(&self, outcome: Outcome, what: &'static str) -> bool {
        match outcome {
            Outcome::Done | Outcome::Wait(_) => true,
            Outcome::Refused(reason) => {
                self.refuse(reason, what);
                false
            }
            Outcome::Later(boxed) => {
                let (shard, (to, packet)) = (self.clone(), *boxed);
                monoio::spawn(async move { shard.hand_over_waiting(to, packet).await });
                true
            }
            Outcome::Move(_) | Outcome::Close(_) => false,
        }
    }

    /// Starts a link for a socket this node accepted.
    pub(crate) fn accept(&self, socket: TcpStream) {
        let counters = self.counters();
        if counters.links.get() >= self.limits().links_per_shard {
            return self.refuse(Refusal::TooManyLinks, "connection");
        }
        let origin = Origin {
            accepted: true,
            spawner: Some(self.listener_flow()),
        };
        if let Err(reason) = Link::start(self, socket, origin, None) {
            self.refuse(reason, "connection");
        }
    }

    /// Works through what other shards hand over.
    pub(crate) async fn serve_inbox(self, inbox: Receiver<Handoff>) {
        while let Ok(handoff) = inbox.recv().await {
            match handoff {
                Handoff::Run(what) => what(&self),
                Handoff::Link(moved) => self.adopt(*moved).await,
                Handoff::Packet(packet) => self.deliver_from_afar(packet),
            }
        }
    }

    async fn adopt(&self, moved: MovedLink) {
        let spawner = moved.spawner.then(|| self.listener_flow());
        let origin = Origin {
            accepted: true,
            spawner,
        };
        match Link::start(self, moved.socket, origin, Some(moved.unread)) {
            Ok(link) => {
                let mut packet = moved.packet;
                packet.via = Some(link.address);
                packet.producer = Some(link.producer);
                let outcome = self.dispatch(packet);
                self.settle(outcome, "first message of a moved link");
            }
            Err(reason) => self.refuse(reason, "moved link"),
        }
    }

    /// Delivers a message from another shard. Where its destination is full the link it came from
    /// stops being read until there is room.
    fn deliver_from_afar(&self, packet: Packet) {
        let via = packet.via;
        match self.dispatch(packet) {
            Outcome::Wait(gate) => {
                let Some(via) = via else { return };
                let from = via.key.shard();
                self.tell_hold(from, via.key, true);
                let shard = self.clone();
                monoio::spawn(async move {
                    gate.passed().await;
                    shard.tell_hold(from, via.key, false);
                });
            }
            Outcome::Close(reason) => {
                if let Some(via) = via {
                    self.tell_all_ways(via.key.shard(), move |shard| {
                        shard.close_link(via.key, reason);
                    });
                }
            }
            other => {
                self.settle(other, "message from another shard");
            }
        }
    }

    fn tell_hold(&self, to: u8, key: Key, on: bool) {
        self.tell_all_ways(to, move |shard| {
            if let Some((_, Entry::Link(link))) = shard.table().by_key(key) {
                link.hold(on);
            }
        });
    }

    /// Has a shard do something, waiting for room in its inbox if there is none.
    pub fn tell_all_ways(&self, to: u8, what: impl FnOnce(&Self) + Send + 'static) {
        let message = Handoff::Run(Box::new(what));
        if let Err(TrySendError::Full(message)) = self.0.peers[to as usize].try_send(message) {
            let sender = self.0.peers[to as usize].clone();
            monoio::spawn(async move {
                let _ = sender.send(message).await;
            });
        }
    }

    fn close_link(&self, key: Key, reason: CloseReason) {
        if let Some((_, Entry::Link(link))) = self.0.table.borrow().by_key(key) {
            link.close(reason);
        }
    }

    /// Calls everything that has deadlines, about four times a second.
    pub(crate) async fn keep_time(self) {
        loop {
            monoio::time::sleep(std::time::Duration::from_millis(250)).await;
            for (address, entry) in self.entries() {
                match entry {
                    Entry::Link(link) => link.tick(&self),
                    Entry::Decryptor(channel) => channel.tick(&self),
                    Entry::Stream(stream) => stream.tick(&self),
                    Entry::Worker(worker) => worker.tick(&self, address),
                    Entry::Encryptor(_) => {}
                }
            }
        }
    }

    /// Lets messages pass both ways between the way a message came and the way it goes on
    /// (`protocol/02-routing.md` 6.4).
    pub fn grant(&self, came_from: Key, goes_to: Key) {
        self.grant_one(came_from, goes_to);
        self.grant_one(goes_to, came_from);
    }

    fn grant_one(&self, behind: Key, consumer: Key) {
        if behind.shard() == self.0.number {
            self.permit_answers(behind, consumer);
        } else {
            self.tell_all_ways(behind.shard(), move |shard| {
                shard.permit_answers(behind, consumer);
            });
        }
    }
}
