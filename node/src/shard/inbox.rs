//! The inbox of a shard: what other threads put in, and the bell that tells it.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::Handoff;
use crate::packet::Packet;

/// Messages between shards that may wait in one inbox, and their bytes (or one message).
const INBOX: usize = 1024;
const INBOX_BYTES: usize = 4 << 20;
/// How much is taken out before the shard looks at its sockets again.
const TURN: usize = 1024;

/// The way into a shard, held by all of them.
///
/// What is put in comes out in order. Messages are bounded by [`INBOX`] and [`INBOX_BYTES`]; what shards tell each
/// other about them is not, because it must neither wait nor be lost, and there are only a few of
/// these for each message.
#[derive(Clone)]
pub(crate) struct Inbox {
    sender: Sender<Handoff>,
    bell: Arc<Bell>,
    waiting: Arc<Waiting>,
}

/// What waits in an inbox.
#[derive(Default)]
struct Waiting {
    packets: AtomicUsize,
    bytes: AtomicUsize,
    /// Whether the last tick has not been heard yet.
    tick: AtomicBool,
}

impl Waiting {
    /// Notes that a message came in; false if there is no room for it.
    fn enter(&self, bytes: usize) -> bool {
        let packets = self.packets.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = packets < INBOX && (before == 0 || before + bytes <= INBOX_BYTES);
        if !fits {
            self.leave(bytes);
        }
        fits
    }

    fn leave(&self, bytes: usize) {
        self.packets.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A socket that the shard waits for like for all its others. Waking one of its tasks from another thread
/// would have the runtime skip looking at sockets for as long as that goes on.
struct Bell {
    /// Whether it was rung since the shard heard it last: then once more is not needed.
    is_rung: AtomicBool,
    is_closed: AtomicBool,
    rope: UnixStream,
}

impl Bell {
    fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            // It is full only if there is enough to hear already.
            let _ = (&self.rope).write(&[1]);
        }
    }
}

/// The end of an inbox that its shard reads, on its way there.
pub(crate) struct Arrivals {
    receiver: Receiver<Handoff>,
    bell: Arc<Bell>,
    ear: UnixStream,
    waiting: Arc<Waiting>,
}

/// The end of an inbox that its shard reads.
pub(crate) struct Open {
    arrivals: Arrivals,
    ear: monoio::net::UnixStream,
    /// How much may still be taken out in this turn.
    left: usize,
}

impl Inbox {
    /// An inbox and the end that is read.
    ///
    /// # Errors
    /// When there can be no pair of sockets.
    pub(crate) fn new() -> io::Result<(Self, Arrivals)> {
        let (sender, receiver) = channel();
        let (rope, ear) = UnixStream::pair()?;
        rope.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let bell = Arc::new(Bell {
            is_rung: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            rope,
        });
        let waiting = Arc::<Waiting>::default();
        let arrivals = Arrivals {
            receiver,
            bell: Arc::clone(&bell),
            ear,
            waiting: Arc::clone(&waiting),
        };
        let inbox = Self {
            sender,
            bell,
            waiting,
        };
        Ok((inbox, arrivals))
    }

    /// Puts in anything but a message; false if the shard has ended.
    pub(crate) fn put(&self, handoff: Handoff) -> bool {
        let is_open = !self.bell.is_closed.load(Ordering::Acquire);
        let is_put = is_open && self.sender.send(handoff).is_ok();
        if is_put {
            self.bell.ring();
        }
        is_put
    }

    /// Tells that time has passed, if the shard has heard the last time.
    pub(crate) fn tick(&self) {
        if !self.waiting.tick.swap(true, Ordering::Relaxed) {
            self.put(Handoff::Tick);
        }
    }

    /// From now on nothing can be put in.
    pub(super) fn close(&self) {
        self.bell.is_closed.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Puts in a message; gives it back if there is no room.
    pub(crate) fn put_packet(&self, packet: Packet) -> Option<Packet> {
        if !self.waiting.enter(packet.len()) {
            return Some(packet);
        }
        self.put(Handoff::Packet(packet));
        None
    }
}

impl Arrivals {
    /// Makes it ready to be read by the shard of this thread.
    ///
    /// # Errors
    /// When the runtime cannot wait for its socket.
    pub(crate) fn open(self) -> io::Result<Open> {
        let ear = monoio::net::UnixStream::from_std(self.ear.try_clone()?)?;
        Ok(Open {
            arrivals: self,
            ear,
            left: 0,
        })
    }
}

impl Open {
    /// Waits until something may have been put in; false if there is nothing more to come.
    pub(super) async fn wait(&mut self) -> bool {
        let bell = &self.arrivals.bell;
        if self.left == 0 {
            // The turn before has left something behind, perhaps.
            bell.ring();
        } else if bell.is_closed.load(Ordering::Acquire) {
            return false;
        }
        let mut heard = [0; 64];
        loop {
            if self.ear.readable(false).await.is_err() {
                return false;
            }
            if (&self.arrivals.ear).read(&mut heard).is_ok() {
                break;
            }
        }
        // What was put in before it was rung last is seen from here on.
        bell.is_rung.swap(false, Ordering::AcqRel);
        self.left = TURN;
        true
    }

    /// What comes next in this turn.
    pub(super) fn next(&mut self) -> Option<Handoff> {
        self.left = self.left.checked_sub(1)?;
        let next = self.arrivals.receiver.try_recv().ok()?;
        let waiting = &self.arrivals.waiting;
        match &next {
            Handoff::Packet(packet) => waiting.leave(packet.len()),
            Handoff::Tick => waiting.tick.store(false, Ordering::Relaxed),
            Handoff::Link(_) | Handoff::Run(_) => {}
        }
        Some(next)
    }
}
