//! Where storage comes from and goes to, and how much of it a shard holds.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::BytesMut;

use super::CLASSES;

/// Free buffers of each class a shard keeps for later.
const KEPT: [usize; 3] = [256, 64, 8];
/// How many retired buffers are looked at for one that is free again.
const LOOKS: usize = 4;
/// Bounds of what may be queued for one destination before its sources stop being read.
const HIGH_WATER: [usize; 2] = [1 << 20, 8 << 20];

/// Keeps storage in use: buffers are taken from it, and given back while parts of them may still
/// be queued somewhere.
///
/// One small message that waits keeps the whole storage it arrived in, so what is bounded is storage
/// and not messages: everything taken counts until nothing uses it any more, except the smallest
/// class, which each connection has one of.
///
/// Invariant: `held` is the sum of all storage taken and not known to be free, without buffers of
/// the smallest class that were not given back yet.
pub(crate) struct Pool {
    limit: usize,
    held: Cell<usize>,
    retired: RefCell<[Retired; 3]>,
    /// Storage larger than the largest class, until it is free.
    odd: RefCell<Vec<(BytesMut, usize)>>,
    /// What small buffers are cut from, and what it was taken as.
    scratch: RefCell<(BytesMut, usize)>,
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
        }
    }

    /// Bytes above the limit.
    pub(crate) fn excess(&self) -> usize {
        self.held.get().saturating_sub(self.limit)
    }

    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        self.held.get()
    }

    /// Whether connections may go on to larger buffers: not when memory is getting scarce.
    pub(crate) fn has_room_for(&self, class: usize) -> bool {
        self.held.get() < self.limit >> class
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

    /// An empty buffer with at least `capacity` bytes of room, of the smallest class that fits.
    pub(crate) fn take(&self, capacity: usize) -> BytesMut {
        let Some(class) = class_of(capacity) else {
            self.add(capacity);
            return BytesMut::with_capacity(capacity);
        };
        let retired = &mut self.retired.borrow_mut()[class];
        if let Some(buffer) = retired.free.pop() {
            self.uncount_idle(class);
            return buffer;
        }
        for _ in 0..LOOKS.min(retired.pinned.len()) {
            let Some(mut buffer) = retired.pinned.pop_front() else {
                break;
            };
            if buffer.try_reclaim(CLASSES[class]) {
                self.uncount_idle(class);
                return buffer;
            }
            retired.pinned.push_back(buffer);
        }
        if class > 0 {
            self.add(CLASSES[class]);
        }
        BytesMut::with_capacity(CLASSES[class])
    }

    /// A buffer of the smallest class leaves the pool: it counts no longer.
    fn uncount_idle(&self, class: usize) {
        if class == 0 {
            self.sub(CLASSES[0]);
        }
    }

    /// Gives a buffer back; parts split off it may still be alive. `size` is what was asked for
    /// when it was taken.
    pub(crate) fn give(&self, mut buffer: BytesMut, size: usize) {
        buffer.clear();
        let Some(class) = class_of(size) else {
            if buffer.try_reclaim(size) {
                self.sub(size);
            } else {
                self.odd.borrow_mut().push((buffer, size));
            }
            return;
        };
        if class == 0 {
            self.add(CLASSES[0]);
        }
        let retired = &mut self.retired.borrow_mut()[class];
        if buffer.try_reclaim(CLASSES[class]) {
            self.keep(&mut retired.free, buffer, class);
        } else {
            retired.pinned.push_back(buffer);
        }
    }

    /// Keeps a free buffer, or returns its memory when there are enough.
    fn keep(&self, free: &mut Vec<BytesMut>, buffer: BytesMut, class: usize) {
        if free.len() < KEPT[class] {
            free.push(buffer);
        } else {
            self.sub(CLASSES[class]);
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
                } else {
                    self.keep(&mut retired.free, buffer, class);
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
        let wanted = CLASSES[1].max(len);
        if scratch.0.capacity() < len && !scratch.0.try_reclaim(wanted) {
            let (old, size) = std::mem::replace(&mut *scratch, (self.take(wanted), wanted));
            if size > 0 {
                self.give(old, size);
            }
        }
        scratch.0.resize(len, 0);
        scratch.0.split()
    }
}

fn class_of(size: usize) -> Option<usize> {
    CLASSES.iter().position(|class| *class >= size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    /// A buffer with a part of it that is still in use.
    fn used(pool: &Pool, size: usize) -> BytesMut {
        let mut buffer = pool.take(size);
        buffer.extend_from_slice(&[1]);
        let part = buffer.split();
        pool.give(buffer, size);
        part
    }

    #[test]
    fn a_part_in_use_counts_as_the_whole() {
        let pool = Pool::new(LIMIT);
        for size in [CLASSES[0], CLASSES[1], CLASSES[2], 3 << 20] {
            let part = used(&pool, size);
            pool.sweep();
            assert_eq!(pool.held(), size, "in use");
            drop(part);
            pool.sweep();
            // The pool keeps one of a class for later.
            let kept = if size > CLASSES[2] { 0 } else { size };
            assert_eq!(pool.held(), kept);
            if kept > 0 {
                let size = if size == CLASSES[0] { 0 } else { size };
                let buffer = pool.take(kept);
                assert_eq!(pool.held(), size, "taken again");
                drop(buffer);
                pool.sub(size);
            }
        }
    }

    #[test]
    fn free_storage_is_returned_beyond_a_few() {
        let pool = Pool::new(LIMIT);
        let parts: Vec<_> = (0..1000).map(|_| used(&pool, CLASSES[0])).collect();
        assert_eq!(pool.held(), 1000 * CLASSES[0]);
        assert!(pool.excess() > 0);
        drop(parts);
        pool.sweep();
        assert_eq!(pool.held(), KEPT[0] * CLASSES[0]);
    }

    #[test]
    fn scarce_memory_means_smaller_buffers_and_queues() {
        let pool = Pool::new(512 << 20);
        assert_eq!(pool.high_water(), HIGH_WATER[1]);
        assert!(pool.has_room_for(2));
        pool.add(200 << 20);
        assert!(!pool.has_room_for(2) && pool.has_room_for(1));
        pool.add(300 << 20);
        assert!(!pool.has_room_for(1));
        assert_eq!(pool.high_water(), HIGH_WATER[0]);
    }
}
