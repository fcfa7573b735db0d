//! What is closed when a shard holds more memory than it may.

use std::cell::Cell;
use std::cmp::Reverse;

use super::Shard;
use crate::reason::CloseReason;
use crate::table::Entry;

/// How often connections are looked through at most.
const PAUSE_MS: u64 = 5;

/// What is known about closings under way.
#[derive(Default)]
pub(super) struct Relief {
    /// What connections that were closed will give back as soon as their tasks have ended.
    pending: Cell<usize>,
    next_ms: Cell<u64>,
}

impl Shard {
    /// Closes what does not move and holds most while more is held than the limit: frames that are
    /// not finished, and what waits for somebody who does not read. What does move is closed only
    /// when half as much again is held, and a link that this node opened, which others depend on,
    /// never.
    pub(crate) fn relieve(&self) {
        let (now, relief) = (self.now_ms(), &self.0.relief);
        if self.0.pool.excess() == 0 || now < relief.next_ms.get() {
            return;
        }
        relief.next_ms.set(now + PAUSE_MS);
        self.0.pool.sweep();
        let mut excess = self.0.pool.excess().saturating_sub(relief.pending.get());
        if excess == 0 {
            return;
        }
        let is_far_above = self.0.pool.is_far_above();
        let mut holders: Vec<_> = self
            .entries()
            .into_iter()
            .map(|(_, entry)| entry)
            .chain(self.0.leaving.borrow().iter().cloned().map(Entry::Stream))
            .filter_map(|entry| {
                let (held, is_stuck, may_close) = match &entry {
                    Entry::Link(link) => (link.held(), link.is_stuck(now), link.is_accepted()),
                    Entry::Stream(stream) => (stream.held(), stream.is_stuck(), true),
                    _ => return None,
                };
                let is_victim = held > 0 && (is_stuck || (is_far_above && may_close));
                is_victim.then_some((is_stuck, held, entry))
            })
            .collect();
        holders.sort_by_key(|(is_stuck, held, _)| Reverse((*is_stuck, *held)));
        for (_, held, entry) in holders {
            self.close_holder(&entry, held);
            excess = excess.saturating_sub(held);
            if excess == 0 {
                break;
            }
        }
    }

    fn close_holder(&self, entry: &Entry, held: usize) {
        match entry {
            Entry::Link(link) => {
                tracing::warn!(peer = %link.peer, held, "closed a connection: memory is used up");
                let pending = &self.0.relief.pending;
                pending.set(pending.get() + link.relieve(self));
            }
            Entry::Stream(stream) => {
                tracing::warn!(held, "reset a stream: memory is used up");
                stream.break_off(self, CloseReason::MemoryLimit);
            }
            _ => {}
        }
    }

    /// A connection that was closed for its memory has given it back.
    pub(crate) fn relief_done(&self, bytes: usize) {
        let pending = &self.0.relief.pending;
        pending.set(pending.get().saturating_sub(bytes));
    }
}
