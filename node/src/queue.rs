//! The send queue of a link: bounded in bytes, flushed with vectored writes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::BytesMut;
use monoio::io::{AsyncWriteRent, OwnedWriteHalf};
use monoio::net::TcpStream;

use crate::notify::{Gate, Notify};
use crate::sys::IovBatch;

/// A queue that was as full as this many bytes once, and takes less than that for too long, is stuck.
pub(crate) const FULL: usize = 1 << 20;
/// What a queued buffer counts for beside its bytes: it may keep a whole read buffer in use.
pub(crate) const CHUNK: usize = 4 << 10;
/// Most bytes of one vectored write.
const BATCH_BYTES: usize = 1 << 20;

/// What the writing task should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Write what is queued, then end.
    Draining,
    /// End after the write under way.
    Ended,
}

/// What the writing task is told to do next.
pub(crate) enum Work {
    /// Write the batch.
    Write,
    /// Everything was written and the queue is closing.
    Drained,
    /// Stop now.
    Stop,
}

/// Writes what a socket takes of a batch; what was written is gone from it. None if the socket takes
/// nothing any more.
pub(crate) async fn write_some(
    half: &mut OwnedWriteHalf<TcpStream>,
    mut batch: IovBatch,
) -> (IovBatch, Option<usize>) {
    batch.seal();
    let (result, mut batch) = half.writev(batch).await;
    let written = result.ok().filter(|n| *n > 0);
    batch.consume(written.unwrap_or(0));
    (batch, written)
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

/// Buffers waiting to be written to one socket.
///
/// `bytes` counts what is queued and what is being written. A producer may always append (so that
/// nothing is dropped); when it finds the gate shut afterwards it must wait before it
/// produces more, which bounds the queue by the high mark plus what each producer had in hand.
pub(crate) struct SendQueue {
    chunks: RefCell<VecDeque<BytesMut>>,
    bytes: Cell<usize>,
    mode: Cell<Mode>,
    gate: Rc<Gate>,
    /// Below this many bytes the sources are read again.
    low: Cell<usize>,
    ready: Notify,
    /// Total written, to tell a slow peer from one that has stopped reading.
    written: Cell<u64>,
}

impl SendQueue {
    pub(crate) fn new() -> Self {
        Self {
            chunks: RefCell::default(),
            bytes: Cell::new(0),
            mode: Cell::new(Mode::Open),
            gate: Rc::default(),
            low: Cell::new(0),
            ready: Notify::default(),
            written: Cell::new(0),
        }
    }

    /// Appends a buffer; gives the gate to wait at if more than `high` bytes are queued now.
    pub(crate) fn push(&self, chunk: BytesMut, high: usize) -> Option<Rc<Gate>> {
        if self.mode.get() != Mode::Open {
            return None;
        }
        self.bytes.set(self.bytes.get() + chunk.len());
        self.chunks.borrow_mut().push_back(chunk);
        self.ready.notify();
        if self.bytes.get() > high && !self.gate.is_shut() {
            self.gate.shut();
            self.low.set(high / 4);
        }
        self.gate.is_shut().then(|| Rc::clone(&self.gate))
    }

    /// Bytes queued and being written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// How much memory it may keep in use.
    pub(crate) fn held(&self) -> usize {
        self.bytes.get() + CHUNK * self.chunks.borrow().len()
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.get()
    }

    /// Whether producers are told to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.gate.is_shut()
    }

    /// Waits for something to write and fills the batch with it.
    pub(crate) async fn fill(&self, batch: &mut IovBatch) -> Work {
        self.ready
            .until(|| match self.mode.get() {
                Mode::Ended => Some(Work::Stop),
                mode => {
                    let mut chunks = self.chunks.borrow_mut();
                    while batch.has_room() && batch.bytes() < BATCH_BYTES {
                        let Some(chunk) = chunks.pop_front() else {
                            break;
                        };
                        batch.push(chunk);
                    }
                    if !batch.is_empty() {
                        Some(Work::Write)
                    } else if mode == Mode::Draining {
                        Some(Work::Drained)
                    } else {
                        None
                    }
                }
            })
            .await
    }

    /// Notes that `n` bytes were written.
    pub(crate) fn wrote(&self, n: usize) {
        self.written.set(self.written.get() + n as u64);
        self.bytes.set(self.bytes.get().saturating_sub(n));
        if self.bytes.get() < self.low.get() {
            self.gate.open();
        }
    }

    /// Ends after what is queued was written.
    pub(crate) fn drain(&self) {
        if self.mode.get() == Mode::Open {
            self.mode.set(Mode::Draining);
        }
        self.release();
    }

    /// Ends at once; what is queued is dropped.
    pub(crate) fn end(&self) {
        self.mode.set(Mode::Ended);
        self.chunks.borrow_mut().clear();
        self.release();
    }

    fn release(&self) {
        self.gate.open();
        self.ready.notify();
    }
}
