//! Buffers that messages travel in, and the pool they come from.
//!
//! A buffer is a [`BytesMut`]: parts split off it share its storage and can be changed and sent on
//! their own. When every part is gone the whole storage is used again. Nothing is copied except
//! the unfinished frame at the end of a read buffer that has no room for the rest of it.

mod pool;

use bytes::BytesMut;

pub(crate) use self::pool::Pool;

/// Sizes of read buffers in bytes: an idle connection holds the smallest.
pub(crate) const CLASSES: [usize; 3] = [4 << 10, 64 << 10, 512 << 10];

/// Room in front of data that will become a message: portal header, two nested secure channels
/// with their routes, frame length.
pub(crate) const HEADROOM: usize = 768;
/// What a frame may take even when memory is scarce: one of portal data.
const FAIR: usize = 132 << 10;
/// Room behind such data: padding and tag of two nested channels.
pub(crate) const TAILROOM: usize = 2 * 17;

/// The bytes a connection has read and not yet handed on.
///
/// Invariant: `buffer` holds exactly the unread bytes; everything before them was split off.
pub(crate) struct ReadBuffer {
    buffer: BytesMut,
    /// Size of buffers this connection needs at present.
    class: usize,
    /// What the current storage was taken as.
    size: usize,
}

impl ReadBuffer {
    /// Nothing read yet, smallest class.
    pub(crate) fn new(pool: &Pool) -> Self {
        Self {
            buffer: pool.take(0),
            class: 0,
            size: CLASSES[0],
        }
    }

    /// Continues with bytes another shard has read.
    pub(crate) fn resume(pool: &Pool, unread: &[u8]) -> Self {
        let mut buffer = Self::new(pool);
        if unread.len() > CLASSES[0] {
            buffer.replace(pool, unread.len());
        }
        buffer.buffer.extend_from_slice(unread);
        buffer
    }

    /// Whether a frame that needs so many bytes takes more storage than what everybody may have, and
    /// more than there is.
    pub(crate) fn wants(&self, need: usize) -> bool {
        need > FAIR && self.buffer.capacity() < need
    }

    /// Whether it keeps a large buffer while nothing is under way.
    pub(crate) fn is_large_and_empty(&self) -> bool {
        self.size > CLASSES[0] && self.buffer.is_empty()
    }

    /// Goes back to a small buffer if nothing is under way.
    pub(crate) fn shrink(&mut self, pool: &Pool) {
        if self.is_large_and_empty() {
            self.class = 0;
            self.replace(pool, CLASSES[0]);
        }
    }

    /// How much storage it holds beyond that of an idle connection.
    pub(crate) fn held(&self) -> usize {
        self.size - CLASSES[0]
    }

    /// The unread bytes.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// Splits the first `len` unread bytes off.
    pub(crate) fn split(&mut self, len: usize) -> BytesMut {
        self.buffer.split_to(len)
    }

    /// Takes the unread bytes, to move them elsewhere.
    pub(crate) fn into_unread(self, pool: &Pool) -> Vec<u8> {
        let unread = self.buffer.to_vec();
        self.release(pool);
        unread
    }

    /// Makes room for a read and says how many bytes to ask for at most.
    ///
    /// `need`: bytes from the start of the unread ones that the frame under way needs in all (0 when
    /// unknown). A frame that has begun always ends in the same buffer; where the room behind it
    /// would not hold another such frame the read stops at its end, so that the next one begins
    /// in a fresh buffer and nothing has to move.
    pub(crate) fn prepare(&mut self, pool: &Pool, need: usize) -> usize {
        let unread = self.buffer.len();
        let class = CLASSES[self.class];
        let wanted = if unread == 0 { class / 2 } else { unread + 1 };
        // Room grows with the bytes that arrive, so a length announced by a stranger costs nothing
        // by itself.
        let target = need.min(class.max(2 * unread)).max(wanted);
        if self.buffer.capacity() < target {
            self.renew(pool, target);
        }
        let spare = self.buffer.capacity() - unread;
        let missing = need.saturating_sub(unread);
        if need >= CLASSES[0] && spare < missing + need {
            missing.min(spare)
        } else {
            spare
        }
    }

    /// Replaces the storage by one with room for `wanted` bytes, bringing the unread bytes along.
    fn renew(&mut self, pool: &Pool, wanted: usize) {
        let size = CLASSES[self.class].max(wanted);
        if self.buffer.is_empty() && self.buffer.try_reclaim(size) {
            return;
        }
        self.replace(pool, size);
    }

    fn replace(&mut self, pool: &Pool, wanted: usize) {
        // Of the classes the smallest that fits. When memory gets scarce, none above what the connection
        // has shown to use: the length of one frame says little.
        let largest = if pool.has_room_for(2) {
            2
        } else {
            self.class.max(1)
        };
        let class = (0..=largest).find(|class| CLASSES[*class] >= wanted);
        let (mut fresh, size) = match class {
            Some(class) => (pool.take(class), CLASSES[class]),
            None => (pool.take_odd(wanted), wanted),
        };
        fresh.extend_from_slice(&self.buffer);
        pool.give(std::mem::replace(&mut self.buffer, fresh), self.size);
        self.size = size;
    }

    /// Hands the storage to a read operation; put it back with [`ReadBuffer::restore`].
    pub(crate) fn lend(&mut self) -> BytesMut {
        std::mem::take(&mut self.buffer)
    }

    /// Takes the storage back after a read of `read` bytes with room for `asked`, and adapts the
    /// size of later buffers to what the connection carries.
    pub(crate) fn restore(&mut self, buffer: BytesMut, read: usize, asked: usize, pool: &Pool) {
        self.buffer = buffer;
        if read == asked && self.class + 1 < CLASSES.len() && pool.has_room_for(self.class + 1) {
            self.class += 1;
        } else if read < CLASSES[0] / 2 && self.class > 0 && self.buffer.len() <= CLASSES[0] / 2 {
            // Back to a small buffer, so that an idle connection holds little memory.
            self.class = 0;
            self.replace(pool, CLASSES[0]);
        }
    }

    /// Gives the storage back to the pool.
    pub(crate) fn release(self, pool: &Pool) {
        pool.give(self.buffer, self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_used_again_once_every_part_is_gone() {
        let pool = Pool::new(64 << 20);
        let mut reader = ReadBuffer::new(&pool);
        reader.prepare(&pool, 0);
        let before = reader.buffer.as_ptr();
        reader.buffer.extend_from_slice(&[7; 4096]);
        let part = reader.split(4096);
        drop(part);
        reader.prepare(&pool, 0);
        assert_eq!(reader.buffer.as_ptr(), before);
    }

    #[test]
    fn a_frame_that_has_begun_ends_in_the_same_buffer_once_frames_are_large() {
        let pool = Pool::new(64 << 20);
        let mut reader = ReadBuffer::new(&pool);
        reader.class = 2;
        reader.prepare(&pool, 0);
        reader.buffer.extend_from_slice(&[1; 3000]);
        let asked = reader.prepare(&pool, 131_500);
        assert!(reader.unread().iter().all(|b| *b == 1));
        assert!(reader.unread().len() + asked >= 131_500);
    }

    #[test]
    fn a_frame_of_any_length_is_read_within_the_room_there_is() {
        let pool = Pool::new(64 << 20);
        let mut reader = ReadBuffer::new(&pool);
        let need = 16 << 20;
        while reader.unread().len() < need {
            let asked = reader.prepare(&pool, need);
            let start = reader.unread().len();
            let mut storage = reader.lend();
            assert!(0 < asked && start + asked <= storage.capacity());
            storage.resize(start + asked, 0);
            reader.restore(storage, asked, asked, &pool);
        }
        assert_eq!(reader.unread().len(), need);
    }

    #[test]
    fn an_announced_length_alone_takes_no_memory() {
        let pool = Pool::new(64 << 20);
        let mut reader = ReadBuffer::new(&pool);
        reader.prepare(&pool, 0);
        reader.buffer.extend_from_slice(&[0; 4]);
        reader.prepare(&pool, 16 << 20);
        assert!(reader.buffer.capacity() <= CLASSES[0]);
    }
}
