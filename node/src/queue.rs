//! The send queue of a socket: bounded in bytes, written with as few calls as possible.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Buf, BytesMut};

use crate::buffer::{CLASSES, Pool};
use crate::notify::{Gate, Notify};
use crate::shard::Shard;
use crate::socket::Socket;
use crate::sys::Parts;

/// A queue that was as full as this many bytes once, and takes less than that for too long, is stuck.
pub(crate) const FULL: usize = 1 << 20;
/// What a queued buffer counts for beside its bytes: it may keep a whole read buffer in use.
const CHUNK: usize = 4 << 10;
/// Up to this many bytes a message is appended to those before it: to describe it to the system would cost
/// more than to copy it, and the buffer it arrived in would have to wait with it.
pub(crate) const SMALL: usize = 2 << 10;

/// What becomes of what is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Nothing more is taken; what is queued is written.
    Draining,
    /// Nothing is queued and nothing is taken.
    Ended,
}

/// How what waits to be written to a socket gets on, looked at about four times a second.
#[derive(Default)]
pub(crate) struct Progress {
    /// What had been written when it was last looked at.
    seen: Cell<u64>,
    /// How often in a row nothing was written since, although something waits.
    still: Cell<u32>,
    /// Since when it has taken too little, in shard milliseconds, and what had been written then.
    slow_since: Cell<Option<(u64, u64)>>,
}

impl Progress {
    /// Looks at what has been written so far.
    pub(crate) fn look(&self, is_waiting: bool, written: u64) {
        let has_moved = self.seen.replace(written) != written;
        self.still.set(match is_waiting && !has_moved {
            true => self.still.get() + 1,
            false => 0,
        });
    }

    /// Whether nothing of what waits has been written for a while.
    pub(crate) fn is_stuck(&self) -> bool {
        self.still.get() > 1
    }

    /// For how many milliseconds it has been full and taken no more than `most` bytes.
    pub(crate) fn slow_ms(&self, now_ms: u64, is_full: bool, written: u64, most: u64) -> u64 {
        match self.slow_since.get().filter(|_| is_full) {
            Some((since, before)) if written - before <= most => now_ms.saturating_sub(since),
            _ => {
                self.slow_since.set(is_full.then_some((now_ms, written)));
                0
            }
        }
    }
}

/// A queued buffer.
struct Chunk {
    data: BytesMut,
    /// For one that small messages are gathered in, what it was taken from the pool as.
    size: Option<usize>,
}

impl Chunk {
    /// Whether so many bytes can be appended without moving anything.
    fn has_room_for(&self, len: usize) -> bool {
        self.size.is_some() && self.data.capacity() - self.data.len() >= len
    }

    /// How much memory it may keep in use.
    fn held(&self) -> usize {
        self.size.unwrap_or(CHUNK + self.data.len())
    }

    fn release(self, pool: &Pool) {
        if let Some(size) = self.size {
            pool.give(self.data, size);
        }
    }
}

/// Buffers waiting to be written to one socket.
///
/// A producer may always append (so that nothing is dropped); when it finds the gate shut afterwards it must
/// wait before it produces more, which bounds the queue by the high mark plus what each producer
/// had in hand.
pub(crate) struct SendQueue {
    chunks: RefCell<VecDeque<Chunk>>,
    bytes: Cell<usize>,
    mode: Cell<Mode>,
    gate: Rc<Gate>,
    /// Below this many bytes the sources are read again.
    low: Cell<usize>,
    /// Whether it is written at the end of this turn.
    due: Cell<bool>,
    /// Whether a task waits until the socket takes more.
    blocked: Cell<bool>,
    ended: Notify,
    /// Total written, to tell a slow peer from one that has stopped reading.
    written: Cell<u64>,
}

/// Where a message of `len` bytes, which are few, can be appended: behind others, in a little room at first and in
/// more when that is full. Behind a large one it has storage that it shares with what else is small on the
/// shard, or one of each in turn would take much more room than it has bytes.
fn gather<'a>(chunks: &'a mut VecDeque<Chunk>, len: usize, pool: &Pool) -> &'a mut BytesMut {
    let fresh = match chunks.back() {
        Some(last) if last.has_room_for(len) => None,
        Some(last) if last.size.is_none() => {
            let mut data = pool.small(len);
            data.clear();
            Some(Chunk { data, size: None })
        }
        last => {
            let class = usize::from(last.is_some());
            Some(Chunk {
                data: pool.take(class),
                size: Some(CLASSES[class]),
            })
        }
    };
    chunks.extend(fresh);
    let last = chunks.len() - 1;
    &mut chunks[last].data
}

/// How far writing came.
enum Sent {
    /// Everything was written.
    All,
    /// The socket takes nothing at present.
    Blocked,
    /// The socket takes nothing any more.
    Broken,
}

impl SendQueue {
    pub(crate) fn new() -> Self {
        Self {
            chunks: RefCell::default(),
            bytes: Cell::new(0),
            mode: Cell::new(Mode::Open),
            gate: Rc::default(),
            low: Cell::new(0),
            due: Cell::new(false),
            blocked: Cell::new(false),
            ended: Notify::default(),
            written: Cell::new(0),
        }
    }

    /// Appends a message, its beginning in a buffer of its own or not; gives the gate to wait at if more than
    /// `high` bytes are queued now. Whoever owns the queue has it written ([`Shard::send_soon`]).
    pub(crate) fn push(
        &self,
        front: Option<BytesMut>,
        body: BytesMut,
        high: usize,
        pool: &Pool,
    ) -> Option<Rc<Gate>> {
        if !self.is_open() {
            return None;
        }
        let len = front.as_ref().map_or(0, BytesMut::len) + body.len();
        if len <= SMALL {
            return self.push_small(&[front.as_deref().unwrap_or_default(), &body], high, pool);
        }
        let parts = front.into_iter().chain([body]);
        let mut chunks = self.chunks.borrow_mut();
        chunks.extend(parts.map(|data| Chunk { data, size: None }));
        self.grew(len, high)
    }

    /// Appends a small message, like [`SendQueue::push`]. It must be open.
    pub(crate) fn push_small(&self, parts: &[&[u8]], high: usize, pool: &Pool) -> Option<Rc<Gate>> {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut chunks = self.chunks.borrow_mut();
        let data = gather(&mut chunks, len, pool);
        for part in parts {
            data.extend_from_slice(part);
        }
        self.grew(len, high)
    }

    fn grew(&self, len: usize, high: usize) -> Option<Rc<Gate>> {
        self.bytes.set(self.bytes.get() + len);
        if self.bytes.get() > high && !self.gate.is_shut() {
            self.gate.shut();
            self.low.set(high / 4);
        }
        self.gate.is_shut().then(|| Rc::clone(&self.gate))
    }

    /// Whether anything is taken.
    pub(crate) fn is_open(&self) -> bool {
        self.mode.get() == Mode::Open
    }

    /// Bytes queued.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.get() == 0
    }

    /// How much memory it may keep in use.
    pub(crate) fn held(&self) -> usize {
        self.chunks.borrow().iter().map(Chunk::held).sum()
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.get()
    }

    /// Whether producers are told to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.gate.is_shut()
    }

    /// Whether a task waits until the socket takes more.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// Notes that it is to be written; false if that is known, or has to wait for the socket.
    pub(crate) fn becomes_due(&self) -> bool {
        !self.blocked.get() && !self.due.replace(true)
    }

    /// Writes as much as the socket takes; gives how many bytes that was.
    fn write(&self, socket: &Socket, parts: &mut Parts, pool: &Pool) -> (usize, Sent) {
        let mut total = 0;
        while !self.is_empty() {
            let chunks = self.chunks.borrow();
            let sent = socket.send(parts, chunks.iter().map(|chunk| &chunk.data[..]));
            drop(chunks);
            match sent {
                Ok(Some(n)) if n > 0 => {
                    total += n;
                    self.consume(n, pool);
                }
                Ok(None) => return (total, Sent::Blocked),
                Ok(_) | Err(_) => return (total, Sent::Broken),
            }
        }
        (total, Sent::All)
    }

    fn consume(&self, written: usize, pool: &Pool) {
        let mut left = written;
        let mut chunks = self.chunks.borrow_mut();
        while let Some(first) = chunks.front_mut() {
            if left < first.data.len() {
                first.data.advance(left);
                break;
            }
            left -= first.data.len();
            if let Some(first) = chunks.pop_front() {
                first.release(pool);
            }
        }
        self.written.set(self.written.get() + written as u64);
        self.bytes.set(self.bytes.get().saturating_sub(written));
        if self.bytes.get() < self.low.get() || self.bytes.get() == 0 {
            self.gate.open();
        }
    }

    /// Lets producers go on.
    pub(crate) fn open_gate(&self) {
        self.gate.open();
    }

    /// Takes nothing more; what is queued is still written.
    pub(crate) fn drain(&self) {
        if self.mode.get() == Mode::Open {
            self.mode.set(Mode::Draining);
        }
        self.gate.open();
    }

    /// Whether it is draining and all is written: true once, then it has ended.
    pub(crate) fn finishes(&self) -> bool {
        let is_over = self.mode.get() == Mode::Draining && self.is_empty();
        if is_over {
            self.mode.set(Mode::Ended);
            self.ended.notify();
        }
        is_over
    }

    /// Ends at once; what is queued is dropped.
    pub(crate) fn end(&self, pool: &Pool) {
        self.mode.set(Mode::Ended);
        self.bytes.set(0);
        for chunk in self.chunks.borrow_mut().drain(..) {
            chunk.release(pool);
        }
        self.gate.open();
        self.ended.notify();
    }

    /// Waits until it has ended, by itself or after everything was written.
    pub(crate) async fn wait_end(&self) {
        self.ended
            .until(|| (self.mode.get() == Mode::Ended).then_some(()))
            .await;
    }
}

/// Something with a queue of bytes for a socket: a link, or a stream.
pub(crate) trait Outgoing {
    /// The queue.
    fn queue(&self) -> &SendQueue;

    /// The socket, while there is one.
    fn socket(&self) -> Option<Rc<Socket>>;

    /// Bytes were written.
    fn wrote(&self, shard: &Shard, bytes: usize);

    /// Nothing waits to be written.
    fn is_idle(&self, shard: &Shard);

    /// The socket takes nothing any more.
    fn broke(&self, shard: &Shard);
}

/// Writes what is queued now, and the rest as soon as the socket takes it.
pub(crate) fn write_out(shard: &Shard, to: &Rc<dyn Outgoing>) {
    let queue = to.queue();
    queue.due.set(false);
    if queue.blocked.get() {
        return;
    }
    let Some(socket) = to.socket() else { return };
    if write_some(shard, &**to, &socket) {
        queue.blocked.set(true);
        monoio::spawn(write_rest(shard.clone(), Rc::clone(to), socket));
    }
}

/// Whether something is left that has to wait.
fn write_some(shard: &Shard, to: &dyn Outgoing, socket: &Socket) -> bool {
    let (written, sent) = to.queue().write(socket, &mut shard.parts(), shard.pool());
    if written > 0 {
        to.wrote(shard, written);
    }
    match sent {
        Sent::Blocked => return true,
        Sent::Broken => to.broke(shard),
        // What it had written may have led to something new.
        Sent::All if to.queue().is_empty() => to.is_idle(shard),
        Sent::All => return write_some(shard, to, socket),
    }
    false
}

async fn write_rest(shard: Shard, to: Rc<dyn Outgoing>, socket: Rc<Socket>) {
    loop {
        socket.writable().await;
        if !write_some(&shard, &*to, &socket) {
            break;
        }
    }
    to.queue().blocked.set(false);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(queue: &SendQueue) -> Vec<u8> {
        let chunks = queue.chunks.borrow();
        chunks
            .iter()
            .flat_map(|chunk| chunk.data.to_vec())
            .collect()
    }

    #[test]
    fn what_is_small_takes_little_wherever_it_stands() {
        let pool = Pool::new(64 << 20);
        let queue = SendQueue::new();
        let mut expected = Vec::new();
        for number in 0..1000_usize {
            let [front, small] = [[number as u8; 100], [!number as u8; 100]];
            let body = vec![number as u8; SMALL + number];
            let mut beginning = pool.small(front.len());
            beginning.copy_from_slice(&front);
            expected.extend([&front[..], &body, &small].concat());
            queue.push(
                Some(beginning),
                BytesMut::from(&body[..]),
                usize::MAX,
                &pool,
            );
            queue.push_small(&[&small[..60], &small[60..]], usize::MAX, &pool);
            if number % 3 == 0 {
                expected.extend(small);
                queue.push(None, BytesMut::from(&small[..]), usize::MAX, &pool);
            }
        }
        assert_eq!(queued(&queue), expected);
        assert_eq!(queue.bytes(), expected.len());
        assert!(queue.held() >= queue.bytes());
        // Some 230 KB are small.
        assert!(pool.held() <= 5 * CLASSES[1], "{}", pool.held());
    }

    #[test]
    fn small_messages_are_gathered() {
        let pool = Pool::new(64 << 20);
        let queue = SendQueue::new();
        for _ in 0..1000 {
            queue.push_small(&[&[7; 100]], usize::MAX, &pool);
        }
        assert_eq!(queued(&queue), vec![7; 100_000]);
        assert!(queue.chunks.borrow().len() <= 3);
    }
}
