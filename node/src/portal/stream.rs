//! One TCP connection inside a portal: the IO around the sans-IO machine.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use bytes::{Buf, BytesMut};
use culvert_crypto::Identifier;
use culvert_proto::portal::{self, Received};
use culvert_proto::route::Route;
use monoio::buf::SliceMut;
use monoio::io::{AsyncReadRent, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;

use crate::buffer::{CLASSES, HEADROOM, TAILROOM};
use crate::channel::Channel;
use crate::key::{Key, LocalAddress};
use crate::lazy::{LazyRead, was_cancelled};
use crate::notify::{Gate, Notify};
use crate::packet::Packet;
use crate::queue::{CHUNK, write_some};
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::sys::{IovBatch, SocketFd};
use crate::table::Entry;
use crate::worker::Outcome;

/// Received bytes that wait for a slow socket when the peer knows no credit; above this the link is
/// not read.
const HIGH_WATER: usize = 1 << 20;
const LOW_WATER: usize = 256 << 10;
/// Bytes one read asks for: grows while reads come back full.
const READS: [usize; 3] = [2 << 10, 32 << 10, 128 << 10];

/// One end of a portal connection.
pub struct Stream {
    /// Where messages of the far side come in.
    pub address: LocalAddress,
    machine: RefCell<portal::Stream>,
    /// Where messages go; learnt from the Pong (inlet) or the Ping (outlet).
    route: RefCell<Route>,
    own: Route,
    /// Who must be at the other end.
    peer: Option<Identifier>,
    channel: Option<Rc<Channel>>,
    incoming: RefCell<VecDeque<BytesMut>>,
    waiting: Cell<usize>,
    written: Cell<u64>,
    full_since: Cell<Option<(u64, u64)>>,
    /// What was written when the time was last looked at, and how often in a row that was the same
    /// although something waits.
    seen: Cell<u64>,
    unmoved: Cell<u32>,
    /// Storage that is read into, beyond what every stream has.
    reading: Cell<usize>,
    lazy: LazyRead,
    gate: Rc<Gate>,
    opened: Cell<bool>,
    finish: Cell<bool>,
    /// The socket is to be reset.
    aborted: Cell<bool>,
    read_ended: Cell<bool>,
    fd: Cell<Option<SocketFd>>,
    end: Cell<Option<CloseReason>>,
    /// Why it will have ended when the machine is done.
    why: Cell<CloseReason>,
    changed: Notify,
}

impl Stream {
    /// Gives a machine an address; `carrier` is what ends the stream when it ends.
    pub(crate) fn open(
        shard: &Shard,
        machine: portal::Stream,
        route: Route,
        peer: Option<Identifier>,
        channel: Option<Rc<Channel>>,
        carrier: Option<Key>,
    ) -> Result<Rc<Self>, Refusal> {
        if shard.counters().streams.get() >= shard.limits().streams_per_shard {
            return Err(Refusal::TooManyStreams);
        }
        let stream = shard.insert(|address| {
            let stream = Rc::new(Self {
                address,
                machine: RefCell::new(machine),
                route: RefCell::new(route),
                own: Shard::route_to(address),
                peer,
                channel,
                incoming: RefCell::default(),
                waiting: Cell::new(0),
                written: Cell::new(0),
                full_since: Cell::new(None),
                seen: Cell::new(0),
                unmoved: Cell::new(0),
                reading: Cell::new(0),
                lazy: LazyRead::default(),
                gate: Rc::default(),
                opened: Cell::new(false),
                finish: Cell::new(false),
                aborted: Cell::new(false),
                read_ended: Cell::new(false),
                fd: Cell::new(None),
                end: Cell::new(None),
                why: Cell::new(CloseReason::PeerClosed),
                changed: Notify::default(),
            });
            (Entry::Stream(Rc::clone(&stream)), stream)
        })?;
        if let Some(carrier) = carrier {
            shard.depend(carrier, stream.address.key);
        }
        if let Some(channel) = &stream.channel {
            channel.in_use(true);
        }
        shard.counters().streams.add(1);
        shard.counters().streams_opened.add(1);
        Ok(stream)
    }

    /// Changes the machine, then does what it wants done.
    pub(crate) fn with<T>(
        &self,
        shard: &Shard,
        change: impl FnOnce(&mut portal::Stream) -> T,
    ) -> T {
        let result = change(&mut self.machine.borrow_mut());
        self.flush(shard);
        result
    }

    /// Sends due control messages and acts on the end.
    pub(crate) fn flush(&self, shard: &Shard) {
        loop {
            let Some(control) = self.machine.borrow_mut().poll_send() else {
                break;
            };
            let mut bytes = [0; portal::MAX_CONTROL];
            let len = control.encode(&mut bytes);
            let packet =
                Packet::compose(&self.route.borrow(), &self.own, &bytes[..len], shard.pool());
            let outcome = shard.dispatch_made(packet);
            shard.settle(outcome, "portal control message");
        }
        let (done, aborts) = {
            let machine = self.machine.borrow();
            (machine.is_done(), machine.aborts())
        };
        if done && self.end.get().is_none() {
            self.finish_up(shard, aborts, self.why.get());
        }
        self.changed.notify();
    }

    /// Ends at once, without a word to the far side: its carrier is gone, or the node wants it.
    pub fn abort(&self, shard: &Shard, reason: CloseReason) {
        if self.end.get().is_none() {
            self.finish_up(shard, true, reason);
            self.changed.notify();
        }
    }

    /// Tells the far side that the connection broke, then ends: what was sent may not be all, so no
    /// end in order may be seen.
    pub fn break_off(&self, shard: &Shard, reason: CloseReason) {
        if self.end.get().is_none() {
            self.why.set(reason);
            self.machine.borrow_mut().on_write_error();
            self.flush(shard);
        }
        if self.end.get().is_none() {
            self.abort(shard, reason);
        } else if !self.aborted.get() {
            self.let_go();
        }
    }

    /// Drops what waits for the socket, and resets it.
    fn let_go(&self) {
        self.aborted.set(true);
        self.incoming.borrow_mut().clear();
        self.waiting.set(0);
        if let Some(fd) = self.fd.get() {
            fd.abort();
        }
        self.changed.notify();
    }

    /// Whether a stream that has ended still has data for its socket; a socket that takes nothing for
    /// too long is reset.
    pub(crate) fn is_leaving(&self, now_ms: u64, limit_ms: u64) -> bool {
        if self.fd.get().is_none() || self.aborted.get() {
            return false;
        }
        match self.full_since.get() {
            Some((since, before)) if before == self.written.get() => {
                if now_ms.saturating_sub(since) > limit_ms {
                    self.let_go();
                }
            }
            _ => self.full_since.set(Some((now_ms, self.written.get()))),
        }
        !self.aborted.get()
    }

    /// Whether the socket has taken nothing of what waits for it since the time was last looked at.
    pub(crate) fn is_stuck(&self) -> bool {
        self.unmoved.get() > 1
    }

    fn finish_up(&self, shard: &Shard, abort: bool, reason: CloseReason) {
        self.end.set(Some(reason));
        shard.counters().close(reason);
        shard.counters().streams.sub(1);
        if let Some(channel) = &self.channel {
            channel.in_use(false);
        }
        if abort {
            self.let_go();
        }
        self.gate.open();
        let own = shard.take(self.address.key);
        if let Some(Entry::Stream(own)) = own
            && self.waiting.get() > 0
            && self.fd.get().is_some()
        {
            shard.watch_leaving(own);
        }
    }

    /// Why it ended.
    pub fn ended(&self) -> Option<CloseReason> {
        self.end.get()
    }

    /// Waits until the far side has opened the connection (`Ok`) or the stream has ended.
    pub(crate) async fn wait_open(&self) -> Result<(), CloseReason> {
        self.changed
            .until(|| match self.end.get() {
                Some(reason) => Some(Err(reason)),
                None => self.opened.get().then_some(Ok(())),
            })
            .await
    }

    /// Takes a message of the far side.
    pub(crate) fn receive(&self, shard: &Shard, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        if packet.identity != self.peer {
            return Outcome::Refused(Refusal::IdentityMismatch);
        }
        let back = (!self.opened.get()).then(|| packet.return_route());
        let (mut buffer, range) = packet.into_payload();
        let received = self.machine.borrow_mut().on_message(&buffer[range.clone()]);
        let outcome = match received {
            Ok(Received::Opened) => {
                if let Some(back) = back {
                    self.route.replace(back);
                }
                self.opened.set(true);
                Outcome::Done
            }
            Ok(Received::Data(data)) => {
                buffer.truncate(range.start + data.end);
                buffer.advance(range.start + data.start);
                self.queue(buffer)
            }
            Ok(Received::Finish) => {
                self.finish.set(true);
                Outcome::Done
            }
            Ok(Received::Close { abort: true }) => {
                self.why.set(CloseReason::PeerReset);
                Outcome::Done
            }
            Ok(_) => Outcome::Done,
            Err(error) => {
                if error.is_fatal() {
                    self.why.set(CloseReason::PortalProtocol);
                }
                tracing::debug!(%error, "portal message refused");
                Outcome::Refused(Refusal::PortalState)
            }
        };
        self.flush(shard);
        outcome
    }

    fn queue(&self, data: BytesMut) -> Outcome {
        self.waiting.set(self.waiting.get() + data.len());
        self.incoming.borrow_mut().push_back(data);
        if self.waiting.get() > HIGH_WATER && !self.machine.borrow().peer_is_culvert() {
            self.gate.shut();
            return Outcome::Wait(Rc::clone(&self.gate));
        }
        Outcome::Done
    }

    /// How much memory it may keep in use; nothing once it was reset.
    pub(crate) fn held(&self) -> usize {
        if self.aborted.get() {
            return 0;
        }
        self.reading.get() + self.waiting.get() + CHUNK * self.incoming.borrow().len()
    }

    /// Deadlines of the machine, and sockets that take nothing while everybody waits.
    pub(crate) fn tick(&self, shard: &Shard) {
        let now = shard.now_ms();
        if self
            .machine
            .borrow()
            .deadline_ms()
            .is_some_and(|at| now >= at)
        {
            self.machine.borrow_mut().on_timeout(now);
            if self.machine.borrow().is_done() && self.end.get().is_none() {
                self.finish_up(shard, true, CloseReason::PongTimeout);
            }
            self.flush(shard);
        }
        self.lazy.tick(now, shard.pool().excess() > 0);
        let moved = self.seen.replace(self.written.get()) != self.written.get();
        self.unmoved.set(match self.waiting.get() > 0 && !moved {
            true => self.unmoved.get() + 1,
            false => 0,
        });
        if !self.gate.is_shut() {
            self.full_since.set(None);
            return;
        }
        match self.full_since.get() {
            Some((since, before)) if before == self.written.get() => {
                if now - since > shard.limits().stall_timeout_ms {
                    self.break_off(shard, CloseReason::Stalled);
                }
            }
            _ => self.full_since.set(Some((now, self.written.get()))),
        }
    }

    /// Joins the stream to its socket and runs until both directions have ended.
    pub(crate) async fn run(self: Rc<Self>, shard: Shard, socket: TcpStream) {
        if self.aborted.get() {
            SocketFd::new(socket.as_raw_fd()).abort();
            return;
        }
        socket.set_nodelay(true).ok();
        self.opened.set(true);
        self.fd.set(Some(SocketFd::new(socket.as_raw_fd())));
        let (reader, writer) = socket.into_split();
        let reading = monoio::spawn(read(shard.clone(), Rc::clone(&self), reader));
        write(&shard, &self, writer).await;
        reading.await;
        self.fd.set(None);
        self.changed.notify();
    }
}

/// Socket to far side.
async fn read(shard: Shard, stream: Rc<Stream>, mut half: OwnedReadHalf<TcpStream>) {
    let mut step = 0;
    let mut size = CLASSES[0];
    let mut storage = shard.pool().take(0);
    loop {
        let budget = stream.changed.until(|| {
            if stream.end.get().is_some() {
                return Some(0);
            }
            let machine = stream.machine.borrow();
            if stream.read_ended.get() {
                return Some(0);
            }
            Some(machine.can_read()).filter(|n| *n > 0)
        });
        let budget = budget.await.min(READS[step]);
        if budget == 0 {
            break;
        }
        let wanted = HEADROOM + budget + TAILROOM;
        if storage.capacity() < wanted && !storage.try_reclaim(wanted.max(size)) {
            shard.pool().give(storage, size);
            // The last class holds the longest read.
            let class = CLASSES.iter().position(|class| *class >= wanted);
            let class = class.unwrap_or(CLASSES.len() - 1);
            size = CLASSES[class];
            storage = shard.pool().take(class);
        }
        if shard.pool().excess() > 0 {
            shard.relieve();
        }
        stream.reading.set(size - CLASSES[0]);
        storage.resize(HEADROOM, 0);
        let slice = SliceMut::new(storage, HEADROOM, HEADROOM + budget);
        let (result, slice) = if size > CLASSES[0] {
            stream.lazy.read(shard.now_ms(), &mut half, slice).await
        } else {
            half.read(slice).await
        };
        storage = slice.into_inner();
        if stream.end.get().is_some() {
            break;
        }
        match result {
            Ok(0) => {
                storage.clear();
                stream.read_ended.set(true);
                stream.with(&shard, portal::Stream::on_eof);
            }
            Ok(n) => {
                step = if n == READS[step] && shard.pool().has_room_for(step) {
                    (step + 1).min(READS.len() - 1)
                } else if n < READS[step] / 8 {
                    0
                } else {
                    step
                };
                let end = storage.len();
                storage.resize(end + TAILROOM, 0);
                let mut data = storage.split();
                data.truncate(end);
                if let Some(gate) = send_data(&shard, &stream, data, n) {
                    gate.passed().await;
                }
            }
            Err(error) if was_cancelled(&error) => {
                shard.pool().give(storage, size);
                (step, size) = (0, CLASSES[0]);
                storage = shard.pool().take(0);
            }
            Err(_) => {
                storage.clear();
                stream.read_ended.set(true);
                stream.why.set(CloseReason::Io);
                stream.with(&shard, portal::Stream::on_read_error);
            }
        }
    }
    shard.pool().give(storage, size);
}

/// Sends what was read as one payload message; its buffer has headroom in front.
fn send_data(shard: &Shard, stream: &Rc<Stream>, mut data: BytesMut, n: usize) -> Option<Rc<Gate>> {
    stream.machine.borrow_mut().on_read(n);
    let (header, len) = portal::payload_header(n);
    let start = HEADROOM - len;
    data[start..HEADROOM].copy_from_slice(&header[..len]);
    let packet = Packet::wrap(data, start, &stream.route.borrow(), &stream.own);
    match shard.dispatch_made(packet) {
        Outcome::Wait(gate) => return Some(gate),
        Outcome::Done => {}
        // The bytes did not leave: going on would leave a hole in the stream.
        Outcome::Refused(reason) => {
            shard.refuse(reason, "portal data");
            stream.abort(shard, CloseReason::WouldLose);
        }
        other => {
            if !shard.settle(other, "portal data") {
                stream.abort(shard, CloseReason::WouldLose);
            }
        }
    }
    None
}

enum Next {
    Write,
    Finish,
    End,
}

/// Far side to socket.
async fn write(shard: &Shard, stream: &Rc<Stream>, mut half: OwnedWriteHalf<TcpStream>) {
    let mut batch = IovBatch::default();
    let mut finished = false;
    loop {
        let next = stream.changed.until(|| {
            let mut incoming = stream.incoming.borrow_mut();
            while batch.has_room() {
                let Some(chunk) = incoming.pop_front() else {
                    break;
                };
                batch.push(chunk);
            }
            if !batch.is_empty() {
                Some(Next::Write)
            } else if stream.end.get().is_some() {
                Some(Next::End)
            } else if stream.finish.get() && !finished {
                Some(Next::Finish)
            } else {
                None
            }
        });
        match next.await {
            Next::Write => {}
            Next::Finish => {
                finished = true;
                if let Some(fd) = stream.fd.get() {
                    fd.shutdown_write();
                }
                continue;
            }
            Next::End => break,
        }
        let (back, written) = write_some(&mut half, batch).await;
        batch = back;
        match written {
            Some(n) => {
                stream.written.set(stream.written.get() + n as u64);
                let waiting = stream.waiting.get().saturating_sub(n);
                stream.waiting.set(waiting);
                if waiting < LOW_WATER {
                    stream.gate.open();
                }
                stream.with(shard, |machine| machine.on_written(n));
            }
            None => {
                stream.why.set(CloseReason::Io);
                stream.with(shard, portal::Stream::on_write_error);
                break;
            }
        }
        if stream.aborted.get() {
            break;
        }
    }
    batch.clear();
    // Ends the read under way too. A connection that was reset is not to look like one that ended.
    if let Some(fd) = stream.fd.get()
        && !stream.aborted.get()
    {
        fd.shutdown();
    }
}
