//! A link: one TCP transport connection to another node (`protocol/01-transport.md` 3).

mod shortcut;
mod tasks;

use shortcut::Shortcut;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use culvert_proto::flow_control::FlowId;
use culvert_proto::frame::{self, Decoded, FrameError};
use culvert_proto::route::RouteView;
use monoio::net::TcpStream as RuntimeStream;

use crate::buffer::ReadBuffer;
use crate::key::{Key, LocalAddress};
use crate::notify::{Gate, Notify};
use crate::packet::{Packet, Producer};
use crate::queue::{FULL, Outgoing, Progress, SendQueue};
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::socket::Socket;
use crate::table::{Entry, Place};
use crate::worker::Outcome;

/// A frame under way for longer than this gives way to others when memory is used up.
const STUCK_MS: u64 = 250;
/// Names with several targets for which a link remembers its own.
const PLACES: usize = 16;
/// How long the peer may take to end its side when this node has.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a link came to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// Accepted by a listener of this node (else opened by it).
    pub(crate) accepted: bool,
    /// Flow control id of the listener.
    pub(crate) spawner: Option<FlowId>,
}

/// One TCP connection that carries frames, owned by one shard.
///
/// A task reads; what is queued is written at the end of each turn of the shard, and by a task of its own
/// only while the socket takes nothing. Ending the link shuts the socket down, which ends the read under
/// way.
pub struct Link {
    /// Its local address: the hop that leads to the peer.
    pub address: LocalAddress,
    /// The peer's transport address.
    pub peer: SocketAddr,
    pub(crate) producer: Cell<Producer>,
    accepted: bool,
    queue: SendQueue,
    socket: RefCell<Option<Rc<Socket>>>,
    end: Cell<Option<CloseReason>>,
    ended: Notify,
    /// The peer's version byte was read.
    greeted: Cell<bool>,
    /// The address has been put into a return route, so others may hold it.
    exposed: Cell<bool>,
    /// When the frame under way began, in shard milliseconds.
    partial_since: Cell<Option<u64>>,
    /// Whether the reading task waits for a full destination.
    waiting: Cell<bool>,
    /// Whether something waited to be written when the time was last looked at.
    behind: Cell<bool>,
    /// Full destinations on other shards that this link must wait for.
    holds: Cell<i32>,
    held: Gate,
    /// The targets it keeps to, of the names it uses.
    places: RefCell<Vec<Place>>,
    /// Storage that unread bytes are in, beyond the least there is.
    reading: Cell<usize>,
    /// The way of the last message that was sent on.
    shortcut: RefCell<Option<Box<Shortcut>>>,
    /// How what is queued gets on.
    progress: Progress,
    /// What closing it for want of memory will give back.
    relieving: Cell<usize>,
    /// Channels with its peer that are up.
    authenticated: Cell<u32>,
    /// What it did on other shards before, and received on this one.
    past: Cell<Past>,
    /// This node has ended its side.
    leaving: Cell<bool>,
}

/// What a link did so far; goes along when it moves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Past {
    /// When it began, in milliseconds of the node.
    pub(crate) since_ms: u64,
    /// Bytes received from the peer.
    pub(crate) bytes_in: u64,
    /// Bytes written to it.
    pub(crate) bytes_out: u64,
}

impl Link {
    /// Starts a link on this shard from a connected socket.
    pub(crate) fn start(
        shard: &Shard,
        socket: TcpStream,
        origin: Origin,
        unread: Option<&[u8]>,
    ) -> Result<Rc<Self>, Refusal> {
        let peer = socket.peer_addr().map_err(|_| Refusal::ConnectionLost)?;
        keep_alive(&socket);
        let moved = unread.is_some();
        let socket = RuntimeStream::from_std(socket).map_err(|_| Refusal::ConnectionLost)?;
        let socket = Rc::new(Socket::new(socket));
        let producer = Producer {
            id: shard.new_flow_id(),
            spawner: origin.spawner,
        };
        let link = shard.insert(|address| {
            let link = Rc::new(Self {
                address,
                peer,
                producer: Cell::new(producer),
                accepted: origin.accepted,
                queue: SendQueue::new(),
                socket: RefCell::new(Some(Rc::clone(&socket))),
                end: Cell::new(None),
                ended: Notify::default(),
                greeted: Cell::new(moved),
                exposed: Cell::new(false),
                partial_since: Cell::new(None),
                waiting: Cell::new(false),
                behind: Cell::new(false),
                holds: Cell::new(0),
                held: Gate::default(),
                places: RefCell::default(),
                reading: Cell::new(0),
                shortcut: RefCell::default(),
                progress: Progress::default(),
                relieving: Cell::new(0),
                authenticated: Cell::new(0),
                past: Cell::new(Past {
                    since_ms: shard.now_ms(),
                    ..Past::default()
                }),
                leaving: Cell::new(false),
            });
            (Entry::Link(Rc::clone(&link)), link)
        })?;
        shard.flow(|f| {
            // A full table only means that the link reaches nothing.
            let _ = f.add_producer(link.address.key, producer.id, producer.spawner);
        });
        shard.counters().links.add(1);
        shard.links().fetch_add(1, Ordering::Relaxed);
        if !moved {
            shard.counters().links_opened.add(1);
            link.partial_since.set(Some(shard.now_ms()));
            let mut version = shard.pool().small(1);
            version[0] = frame::VERSION;
            link.push(shard, None, version, FULL);
        }
        let buffer = ReadBuffer::resume(shard.pool(), unread.unwrap_or_default());
        let task = tasks::run(shard.clone(), Rc::clone(&link), socket, buffer);
        monoio::spawn(task);
        Ok(link)
    }

    /// Queues a message for the peer, with its first onward hop (this link, or a name that leads
    /// to it) replaced by `push`.
    pub(crate) fn transmit(
        self: &Rc<Self>,
        shard: &Shard,
        packet: Packet,
        push: RouteView<'_>,
    ) -> Outcome {
        if self.end.get().is_some() {
            return Outcome::Refused(Refusal::UnknownAddress);
        }
        if packet.via.is_some_and(|via| via.key == self.address.key) {
            self.exposed.set(true);
        }
        self.enqueue(shard, packet.into_frame(1, push, shard.pool()))
    }

    /// Queues a message composed for the peer, whose onward route begins at the peer.
    pub(crate) fn transmit_composed(self: &Rc<Self>, shard: &Shard, packet: Packet) -> Outcome {
        if self.end.get().is_some() {
            return Outcome::Refused(Refusal::UnknownAddress);
        }
        self.enqueue(shard, packet.into_frame(0, RouteView::EMPTY, shard.pool()))
    }

    fn push(
        self: &Rc<Self>,
        shard: &Shard,
        front: Option<BytesMut>,
        body: BytesMut,
        high: usize,
    ) -> Option<Rc<Gate>> {
        if self.queue.becomes_due() {
            shard.send_soon(Rc::clone(self) as _);
        }
        self.queue.push(front, body, high, shard.pool())
    }

    fn enqueue(
        self: &Rc<Self>,
        shard: &Shard,
        frame: Result<(Option<BytesMut>, BytesMut), Refusal>,
    ) -> Outcome {
        match frame {
            Ok((front, body)) => {
                let high = shard.pool().high_water();
                let full = self.push(shard, front, body, high);
                full.map_or(Outcome::Done, Outcome::Wait)
            }
            Err(reason) => {
                shard.refuse(reason, "message for a link");
                Outcome::Close(CloseReason::WouldLose)
            }
        }
    }

    /// Ends the link at once.
    pub fn close(&self, shard: &Shard, reason: CloseReason) {
        if self.end.get().is_none() {
            self.end.set(Some(reason));
        }
        if let Some(socket) = self.socket() {
            socket.shutdown();
        }
        self.held.open();
        self.queue.end(shard.pool());
    }

    /// Has what is queued written, and ends the queue when that is done.
    fn drain(self: &Rc<Self>, shard: &Shard) {
        self.queue.drain();
        shard.send_soon(Rc::clone(self) as _);
    }

    /// Ends the link once what is queued has left and the peer has ended its side too: by then it has let
    /// go of whatever it held for this node. At once if the peer has never said a word.
    pub(crate) async fn leave(self: &Rc<Self>, shard: &Shard) {
        // Nothing is to be queued any more.
        shard.remove(self.address.key);
        if self.greeted.get() && self.end.get().is_none() {
            self.leaving.set(true);
            self.drain(shard);
            if monoio::time::timeout(GOODBYE, self.wait_end())
                .await
                .is_ok()
            {
                return;
            }
        }
        self.close(shard, CloseReason::Local);
        let _ = monoio::time::timeout(GOODBYE, self.wait_end()).await;
    }

    /// Whether it ended, and why.
    pub fn ended(&self) -> Option<CloseReason> {
        self.end.get()
    }

    /// Waits for the end.
    pub async fn wait_end(&self) -> CloseReason {
        self.ended
            .until(|| {
                if self.socket.borrow().is_none() {
                    self.end.get()
                } else {
                    None
                }
            })
            .await
    }

    /// Whether this node does not read the link at present, because a destination is full: what
    /// the peer has said meanwhile is not known here.
    pub(crate) fn is_unread(&self) -> bool {
        self.waiting.get() || self.held.is_shut()
    }

    /// Notes that others may know the address now.
    pub(crate) fn expose(&self) {
        self.exposed.set(true);
    }

    /// Whether the link may still change its shard: nobody knows its address, so nothing but the
    /// version byte can be under way to the peer.
    pub(crate) fn movable(&self) -> bool {
        self.accepted && !self.exposed.get() && self.end.get().is_none()
    }

    /// The target this link was given of those that `is_wanted` accepts.
    pub(crate) fn kept(&self, is_wanted: impl Fn(Key) -> bool) -> Option<Key> {
        let places = self.places.borrow();
        places.iter().map(|place| place.key).find(|k| is_wanted(*k))
    }

    /// Remembers the target of a name; the oldest is forgotten when there are too many.
    pub(crate) fn keep_to(&self, place: Place) {
        let mut places = self.places.borrow_mut();
        if places.len() >= PLACES {
            places.remove(0);
        }
        places.push(place);
    }

    /// Takes what it keeps to, for the link that continues it.
    pub(crate) fn take_places(&self) -> Vec<Place> {
        self.places.take()
    }

    /// Stops (`true`) or resumes reading on behalf of a full destination on another shard.
    pub(crate) fn hold(&self, on: bool) {
        let holds = self.holds.get() + if on { 1 } else { -1 };
        self.holds.set(holds);
        if holds > 0 {
            self.held.shut();
        } else {
            self.held.open();
        }
    }

    /// How much memory it keeps in use, roughly; nothing once it has been closed.
    pub(crate) fn held(&self) -> usize {
        match self.end.get() {
            None => self.reading.get() + self.queue.held(),
            Some(_) => 0,
        }
    }

    /// Whether what it holds does not move: a frame that is not finished, or a queue nobody reads.
    pub(crate) fn is_stuck(&self, now_ms: u64) -> bool {
        let since = self.partial_since.get();
        let partial = since.is_some_and(|since| now_ms.saturating_sub(since) > STUCK_MS);
        (partial && !self.is_unread()) || self.progress.is_stuck()
    }

    /// Closes it because it holds too much; its end tells that the memory is back.
    pub(crate) fn relieve(&self, shard: &Shard) -> usize {
        let held = self.held();
        self.relieving.set(held);
        self.close(shard, CloseReason::MemoryLimit);
        held
    }

    /// What it did so far, on all shards it was on.
    pub(crate) fn past(&self) -> Past {
        let past = self.past.get();
        Past {
            bytes_out: past.bytes_out + self.queue.written(),
            ..past
        }
    }

    /// Takes over what it did on another shard.
    pub(crate) fn set_past(&self, past: Past) {
        self.past.set(past);
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued(&self) -> usize {
        self.queue.bytes()
    }

    /// Notes that bytes were received.
    fn count_in(&self, n: usize) {
        let mut past = self.past.get();
        past.bytes_in += n as u64;
        self.past.set(past);
    }

    /// Whether this node accepted it: then the peer may be anybody.
    pub(crate) fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// Whether what is sent now has to wait behind what was sent before.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.get()
    }

    /// Counts a channel with its peer in or out; whether there is one now.
    pub(crate) fn authenticate(&self, on: bool) -> bool {
        let before = self.authenticated.get();
        let now = if on {
            before + 1
        } else {
            before.saturating_sub(1)
        };
        self.authenticated.set(now);
        now > 0
    }

    /// Bytes written so far, and those that wait.
    pub(crate) fn sent(&self) -> (u64, usize) {
        (self.queue.written(), self.queue.bytes())
    }

    /// Closes a link whose peer is too slow to finish a frame or to read.
    pub(crate) fn tick(&self, shard: &Shard) {
        self.behind.set(self.queue.bytes() > 0);
        let now = shard.now_ms();
        let written = self.queue.written();
        self.progress.look(self.behind.get(), written);
        let limits = shard.limits();
        match self.partial_since.get() {
            // The peer cannot finish a frame that this node does not read.
            Some(_) if self.is_unread() => self.partial_since.set(Some(now)),
            Some(since) if now - since > limits.frame_timeout_ms => {
                self.close(shard, CloseReason::FrameTimeout);
            }
            _ => {}
        }
        let full = self.queue.is_full();
        let slow = self.progress.slow_ms(now, full, written, FULL as u64);
        if slow > limits.stall_timeout_ms {
            self.close(shard, CloseReason::Stalled);
        }
    }

    /// The next whole frame, or how many bytes it needs in all.
    fn next_frame(&self, buffer: &mut ReadBuffer) -> Result<Result<BytesMut, usize>, CloseReason> {
        if !self.greeted.get() {
            match buffer.unread().first() {
                None => return Ok(Err(0)),
                Some(&frame::VERSION) => {
                    buffer.split(1);
                    self.greeted.set(true);
                }
                Some(_) => return Err(CloseReason::BadVersion),
            }
        }
        match frame::decode(buffer.unread()) {
            Ok(Decoded::Need(total)) => Ok(Err(if buffer.unread().is_empty() { 0 } else { total })),
            Ok(Decoded::Frame(range)) => Ok(Ok(buffer.split(range.end))),
            Err(FrameError::Empty) => Err(CloseReason::EmptyFrame),
            Err(_) => Err(CloseReason::FrameTooLong),
        }
    }
}

impl Outgoing for Link {
    fn queue(&self) -> &SendQueue {
        &self.queue
    }

    fn socket(&self) -> Option<Rc<Socket>> {
        self.socket.borrow().clone()
    }

    fn wrote(&self, shard: &Shard, bytes: usize) {
        shard.counters().bytes_out.add(bytes as u64);
        shard.counters().writes.add(1);
    }

    fn is_idle(&self, _: &Shard) {
        if !self.queue.finishes() {
            return;
        }
        let Some(socket) = self.socket() else { return };
        match self.end.get() {
            Some(CloseReason::Moved) => {}
            // What the peer still says is read to its end.
            None => socket.shutdown_write(),
            Some(_) => socket.shutdown(),
        }
    }

    fn broke(&self, shard: &Shard) {
        self.close(shard, CloseReason::Io);
    }
}

/// Finds dead peers that send no reset: idle 60 s, then a probe every 10 s, 3 times.
fn keep_alive(socket: &TcpStream) {
    let settings = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    socket2::SockRef::from(socket)
        .set_tcp_keepalive(&settings)
        .ok();
}
