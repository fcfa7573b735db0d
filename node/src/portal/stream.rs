//! One TCP connection inside a portal: the IO around the sans-IO machine.

mod near;
mod tasks;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use culvert_crypto::Identifier;
use culvert_proto::portal::{self, Received};
use culvert_proto::route::Route;
use serde::Serialize;

use crate::channel::Channel;
use crate::inspect::StreamView;
use crate::key::{Key, LocalAddress};
use crate::notify::Notify;
use crate::packet::Packet;
use crate::policy::{Basis, Guard};
use crate::queue::{Progress, SendQueue};
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::socket::Socket;
use crate::table::Entry;
use crate::trace::Trace;
use crate::worker::Outcome;

/// Received bytes that wait for a slow socket when the peer knows no credit; above this the link is
/// not read.
const HIGH_WATER: usize = 1 << 20;

/// Which end of a portal a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The end of the client.
    Inlet,
    /// The end of the service.
    Outlet,
}

/// What is at the other end of a stream.
pub(crate) struct Far {
    /// How to get there.
    pub(crate) route: Route,
    /// Who must be there.
    pub(crate) peer: Option<Identifier>,
    /// The channel it leads through.
    pub(crate) channel: Option<Rc<Channel>>,
    /// What ends the stream when it ends.
    pub(crate) carrier: Option<Key>,
    /// Which end of the portal this one is.
    pub(crate) role: Role,
    /// The trace it belongs to.
    pub(crate) trace: Option<Trace>,
    /// What was known when the guard was asked about it: from before, so that no change is missed.
    pub(crate) basis: Basis,
}

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
    guard: Option<Guard>,
    /// What was known when the guard was asked last.
    basis: Cell<Basis>,
    /// What came from the far side and waits for the socket.
    queue: SendQueue,
    role: Role,
    trace: Option<Trace>,
    since_ms: u64,
    /// Bytes that came from the far side.
    received: Cell<u64>,
    /// Bytes that went there.
    sent: Cell<u64>,
    progress: Progress,
    opened: Cell<bool>,
    /// The far side will send nothing more.
    finish: Cell<bool>,
    /// The socket was told so.
    finished: Cell<bool>,
    /// The socket is to be reset.
    aborted: Cell<bool>,
    read_ended: Cell<bool>,
    socket: RefCell<Option<Rc<Socket>>>,
    /// Nothing more is written to the socket.
    closed: Cell<bool>,
    end: Cell<Option<CloseReason>>,
    /// Why it will have ended when the machine is done.
    why: Cell<CloseReason>,
    changed: Notify,
}

impl Stream {
    /// Gives a machine an address. Whether `guard` admits the far side was asked by the caller; from now
    /// on it is asked again whenever what it decides on has changed.
    pub(crate) fn open(
        shard: &Shard,
        machine: portal::Stream,
        far: Far,
        guard: Option<&Guard>,
    ) -> Result<Rc<Self>, Refusal> {
        let Far {
            route,
            peer,
            channel,
            carrier,
            role,
            trace,
            basis,
        } = far;
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
                basis: Cell::new(basis),
                guard: guard.cloned(),
                channel,
                queue: SendQueue::new(),
                role,
                trace,
                since_ms: shard.now_ms(),
                received: Cell::new(0),
                sent: Cell::new(0),
                progress: Progress::default(),
                opened: Cell::new(false),
                finish: Cell::new(false),
                finished: Cell::new(false),
                aborted: Cell::new(false),
                read_ended: Cell::new(false),
                socket: RefCell::default(),
                closed: Cell::new(false),
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
            let mut packet =
                Packet::compose(&self.route.borrow(), &self.own, &bytes[..len], shard.pool());
            if let Ok(packet) = &mut packet
                && self.role == Role::Inlet
                && !self.opened.get()
            {
                packet.trace = self.trace;
            }
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
        self.settle();
        self.changed.notify();
    }

    /// Ends at once, without a word to the far side: its carrier is gone, or the node wants it.
    pub fn abort(&self, shard: &Shard, reason: CloseReason) {
        if self.end.get().is_none() {
            self.finish_up(shard, true, reason);
            self.settle();
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
            self.let_go(shard);
        }
    }

    fn finish_up(&self, shard: &Shard, abort: bool, reason: CloseReason) {
        self.end.set(Some(reason));
        shard.counters().close(reason);
        shard.counters().streams.sub(1);
        if self.trace.is_some() {
            self.log_end(shard, reason);
        }
        if let Some(channel) = &self.channel {
            channel.in_use(false);
        }
        if abort {
            self.let_go(shard);
        }
        self.queue.open_gate();
        let own = shard.take(self.address.key);
        if let Some(Entry::Stream(own)) = own
            && !self.queue.is_empty()
            && self.is_unfinished()
        {
            shard.watch_leaving(own);
        }
    }

    /// Why it ended.
    pub fn ended(&self) -> Option<CloseReason> {
        self.end.get()
    }

    /// Notes that it is open, after `time`.
    pub(super) fn note_open(&self, shard: &Shard, time: Duration) {
        shard.counters().opened_after(time);
        if let Some(trace) = self.trace {
            let seconds = time.as_secs_f64();
            let StreamView { resource, role, .. } = self.view(shard);
            tracing::info!(trace_id = %trace, resource, ?role, seconds, "stream opened");
        }
    }

    fn log_end(&self, shard: &Shard, reason: CloseReason) {
        let StreamView {
            resource,
            role,
            bytes_in,
            bytes_out,
            ..
        } = self.view(shard);
        let trace_id = self.trace.map(tracing::field::display);
        let reason = reason.name();
        tracing::info!(
            trace_id,
            resource,
            ?role,
            bytes_in,
            bytes_out,
            reason,
            "stream ended"
        );
    }

    /// Whether the far side has opened the connection.
    pub(crate) fn was_opened(&self) -> bool {
        self.opened.get()
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

    /// Waits until its socket is to be reset.
    pub(crate) async fn wait_reset(&self) {
        self.changed
            .until(|| self.aborted.get().then_some(()))
            .await;
    }

    /// The link that carries it now, if it is one.
    pub(crate) fn carrier(&self, shard: &Shard) -> Option<Key> {
        let first = shard.first_key(&self.route.borrow())?;
        shard.carrier(first).map(|link| link.address.key)
    }

    /// Takes a message of the far side.
    pub(crate) fn receive(self: &Rc<Self>, shard: &Shard, packet: Packet) -> Outcome {
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
                self.queue_data(shard, buffer)
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

    fn queue_data(self: &Rc<Self>, shard: &Shard, data: BytesMut) -> Outcome {
        self.received.set(self.received.get() + data.len() as u64);
        // With credit the far side stops by itself.
        let high = match self.machine.borrow().peer_is_culvert() {
            true => usize::MAX,
            false => HIGH_WATER,
        };
        let full = self.queue.push(None, data, high, shard.pool());
        if self.queue.becomes_due() {
            shard.send_soon(Rc::clone(self) as _);
        }
        full.map_or(Outcome::Done, Outcome::Wait)
    }

    /// How much memory it may keep in use; nothing once it was reset.
    pub(crate) fn held(&self) -> usize {
        if self.aborted.get() {
            return 0;
        }
        self.queue.held()
    }

    /// What it is and did, for operators.
    pub(crate) fn view(&self, shard: &Shard) -> StreamView {
        let guard = self.guard.as_ref();
        StreamView {
            shard: shard.number(),
            resource: guard.map_or("", Guard::resource).to_owned(),
            role: self.role,
            peer: self.peer,
            since_ms: shard.unix_ms(self.since_ms),
            bytes_in: self.received.get(),
            bytes_out: self.sent.get(),
        }
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
        if !self.is_still_admitted(shard) {
            return self.break_off(shard, CloseReason::Denied);
        }
        let written = self.queue.written();
        self.progress.look(!self.queue.is_empty(), written);
        let slow = self.progress.slow_ms(now, self.queue.is_full(), written, 0);
        if slow > shard.limits().stall_timeout_ms {
            self.break_off(shard, CloseReason::Stalled);
        }
    }

    fn is_still_admitted(&self, shard: &Shard) -> bool {
        let Some(guard) = &self.guard else {
            return true;
        };
        let channel = self.channel.as_deref();
        let basis = guard.basis(channel);
        self.basis.replace(basis) == basis || guard.admits(shard, channel)
    }
}
