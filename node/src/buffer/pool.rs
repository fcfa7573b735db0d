//! Where storage comes from and goes to, and how much of it a shard holds.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::BytesMut;

use super::CLASSES;

/// Free buffers of each class a shard keeps for later.
const KEPT: [usize; 3] = [256, 64, 8];
/// How many connections may keep a buffer of the largest class until their frame is complete; the frames of more
/// are moved to storage of their size.
const LENT: usize = 32;
/// How many retired buffers are looked at for one that is free again.
const LOOKS: usize = 4;
/// Bounds of what may be queued for one destination before its sources stop being read.
const HIGH_WATER: [usize; 2] = [64 << 10, 8 << 20];

/// Keeps storage in use: buffers are taken from it, and given back while parts of them may still
/// be queued somewhere.
///
/// One small message that waits keeps the whole storage it arrived in, so what is bounded is storage
/// and not messages: everything taken counts until nothing uses it any more, except the smallest
/// class, of which each connection has two at most. What is free and kept for later does not count; it is
/// at most 9 MiB.
pub(crate) struct Pool {
    limit: usize,
    held: Cell<usize>,
    retired: RefCell<[Retired; 3]>,
    /// Storage of other sizes, until it is free.
    odd: RefCell<Vec<(BytesMut, usize)>>,
    /// What small buffers are cut from, and its size.
    scratch: RefCell<(BytesMut, usize)>,
    /// What is read into next, or what is left of it.
    shared: RefCell<Option<BytesMut>>,
    /// How many of that class connections have at present.
    lent: Cell<usize>,
}

#[derive(Default)]
struct Retired {
    /// Known to be free.
    free: Vec<BytesMut>,
    /// Not free when last looked at.
    pinned: VecDeque<BytesMut>,
}

impl Pool {
    /// An empty pool that is to hold at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Cell::new(0),
            retired: RefCell::default(),
            odd: RefCell::default(),
            scratch: RefCell::default(),
            shared: RefCell::default(),
            lent: Cell::new(0),
        }
    }

    /// Bytes above the limit.
    pub(crate) fn excess(&self) -> usize {
        self.held.get().saturating_sub(self.limit)
    }

    /// Whether half as much again as the limit is held.
    pub(crate) fn is_far_above(&self) -> bool {
        self.held.get() > self.limit + self.limit / 2
    }

    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        self.held.get()
    }

    /// Whether a connection may keep a buffer that is larger than what it has to keep: a few may, while memory
    /// is not getting scarce.
    pub(crate) fn has_room_to_keep(&self) -> bool {
        self.lent.get() <= LENT && self.held.get() < self.limit / 4
    }

    /// How many bytes may be queued for one destination: a share of what is left, so that one that
    /// is slow does not hold up others while there is memory.
    pub(crate) fn high_water(&self) -> usize {
        let left = self.limit.saturating_sub(self.held.get());
        (left / 16).clamp(HIGH_WATER[0], HIGH_WATER[1])
    }

    fn add(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
    }

    fn sub(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_sub(bytes));
    }

    /// An empty buffer of a class.
    pub(crate) fn take(&self, class: usize) -> BytesMut {
        let size = CLASSES[class];
        let retired = &mut self.retired.borrow_mut()[class];
        let buffer = retired.free.pop().or_else(|| {
            for _ in 0..LOOKS.min(retired.pinned.len()) {
                let mut buffer = retired.pinned.pop_front()?;
                if buffer.try_reclaim(size) {
                    self.sub(size);
                    return Some(buffer);
                }
                retired.pinned.push_back(buffer);
            }
            None
        });
        if class > 0 {
            self.add(size);
        }
        buffer.unwrap_or_else(|| BytesMut::with_capacity(size))
    }

    /// An empty buffer of the largest class to read into, with room for `wanted` bytes at least: the one
    /// that was used last, so that it is still in the processor's cache, or what is left of it while
    /// parts of it are queued.
    pub(crate) fn lend(&self, wanted: usize) -> BytesMut {
        let class = CLASSES.len() - 1;
        self.lent.set(self.lent.get() + 1);
        if let Some(mut buffer) = self.shared.take() {
            if buffer.try_reclaim(CLASSES[class]) || buffer.capacity() >= wanted {
                return buffer;
            }
            self.give(buffer, CLASSES[class]);
        }
        self.take(class)
    }

    /// Takes back what [`Pool::lend`] gave.
    pub(crate) fn put_back(&self, mut buffer: BytesMut) {
        self.lent.set(self.lent.get().saturating_sub(1));
        buffer.clear();
        if let Some(other) = self.shared.replace(Some(buffer)) {
            self.give(other, CLASSES[CLASSES.len() - 1]);
        }
    }

    /// An empty buffer of another size.
    pub(crate) fn take_odd(&self, size: usize) -> BytesMut {
        self.add(size);
        BytesMut::with_capacity(size)
    }

    /// Gives a buffer back; parts split off it may still be alive. `size` is that of its class, or
    /// what was asked for.
    pub(crate) fn give(&self, mut buffer: BytesMut, size: usize) {
        buffer.clear();
        let is_free = buffer.try_reclaim(size);
        match CLASSES.iter().position(|class| *class == size) {
            Some(class) => {
                let retired = &mut self.retired.borrow_mut()[class];
                // Those of the smallest class count only from now on.
                match (is_free, class) {
                    (true, 0) => {}
                    (true, _) => self.sub(size),
                    (false, 0) => self.add(size),
                    (false, _) => {}
                }
                if !is_free {
                    retired.pinned.push_back(buffer);
                } else if retired.free.len() < KEPT[class] {
                    retired.free.push(buffer);
                }
            }
            None if is_free => self.sub(size),
            None => self.odd.borrow_mut().push((buffer, size)),
        }
    }

    /// Finds out what is free again, and returns what is more than a shard keeps for later.
    pub(crate) fn sweep(&self) {
        for (class, retired) in self.retired.borrow_mut().iter_mut().enumerate() {
            for _ in 0..retired.pinned.len() {
                let Some(mut buffer) = retired.pinned.pop_front() else {
                    break;
                };
                if !buffer.try_reclaim(CLASSES[class]) {
                    retired.pinned.push_back(buffer);
                    continue;
                }
                self.sub(CLASSES[class]);
                if retired.free.len() < KEPT[class] {
                    retired.free.push(buffer);
                }
            }
        }
        self.odd.borrow_mut().retain_mut(|(buffer, size)| {
            let is_free = buffer.try_reclaim(*size);
            if is_free {
                self.sub(*size);
            }
            !is_free
        });
    }

    /// A small buffer of exactly `len` zero bytes, cut from a shared piece of storage: for message
    /// prefixes that find no room in front of their message, and for control messages.
    pub(crate) fn small(&self, len: usize) -> BytesMut {
        let mut scratch = self.scratch.borrow_mut();
        let size = CLASSES[1].max(len);
        if !scratch.0.try_reclaim(size) && scratch.0.capacity() < len {
            let fresh = match CLASSES[1] >= len {
                true => (self.take(1), CLASSES[1]),
                false => (self.take_odd(len), len),
            };
            let (old, size) = std::mem::replace(&mut *scratch, fresh);
            if size > 0 {
                self.give(old, size);
            }
        }
        scratch.0.resize(len, 0);
        scratch.0.split()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    /// A buffer with a part of it that is still in use.
    fn used(pool: &Pool, size: usize) -> BytesMut {
        let mut buffer = match CLASSES.iter().position(|class| *class == size) {
            Some(class) => pool.take(class),
            None => pool.take_odd(size),
        };
        buffer.extend_from_slice(&[1]);
        let part = buffer.split();
        pool.give(buffer, size);
        part
    }

    #[test]
    fn a_part_in_use_counts_as_the_whole() {
        let pool = Pool::new(LIMIT);
        for size in [CLASSES[0], CLASSES[1], 70_000, CLASSES[2], 3 << 20] {
            for _ in 0..3 {
                let part = used(&pool, size);
                pool.sweep();
                assert_eq!(pool.held(), size, "in use");
                drop(part);
                pool.sweep();
                assert_eq!(pool.held(), 0, "free");
            }
        }
    }

    #[test]
    fn what_a_connection_reads_into_counts_beyond_the_smallest() {
        let pool = Pool::new(LIMIT);
        for (class, held) in [(0, 0), (1, CLASSES[1]), (2, CLASSES[2])] {
            for _ in 0..3 {
                let buffer = pool.take(class);
                assert_eq!(pool.held(), held);
                pool.give(buffer, CLASSES[class]);
                assert_eq!(pool.held(), 0);
            }
        }
    }

    #[test]
    fn many_parts_are_too_much() {
        let pool = Pool::new(LIMIT);
        let parts: Vec<_> = (0..1000).map(|_| used(&pool, CLASSES[0])).collect();
        assert_eq!(pool.held(), 1000 * CLASSES[0]);
        assert!(pool.excess() > 0 && pool.is_far_above());
        drop(parts);
        pool.sweep();
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn scarce_memory_means_smaller_buffers_and_queues() {
        let pool = Pool::new(512 << 20);
        assert_eq!(pool.high_water(), HIGH_WATER[1]);
        assert!(pool.has_room_to_keep());
        pool.add(200 << 20);
        assert!(!pool.has_room_to_keep());
        pool.add(312 << 20);
        assert_eq!(pool.high_water(), HIGH_WATER[0]);
    }
}
