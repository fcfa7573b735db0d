//! Buffers that messages travel in, and the pool they come from.
//!
//! A buffer is a [`BytesMut`]: parts split off it share its storage and can be changed and sent on
//! their own. When every part is gone the whole storage is used again. Nothing is copied except what is
//! small, and an unfinished frame where there is no room for the rest of it.

mod pool;

use std::io;

use bytes::{Buf, BytesMut};

pub(crate) use self::pool::Pool;

/// Sizes of buffers in bytes: for the beginning of a frame, for what is small, for reading. The last stays in the
/// processor's cache and has room for two frames of portal data, wherever in a page it begins.
pub(crate) const CLASSES: [usize; 3] = [4 << 10, 64 << 10, 276 << 10];
/// The class that is read into.
const READ: usize = 2;

/// Room in front of data that will become a message: portal header, two nested secure channels
/// with their routes, frame length.
pub(crate) const HEADROOM: usize = 768;
/// What a frame may take even when memory is scarce: one of portal data.
const FAIR: usize = 132 << 10;
/// Room behind such data: padding and tag of two nested channels.
pub(crate) const TAILROOM: usize = 2 * 17;
/// The least room to read into.
const ROOM: usize = 16 << 10;
/// Up to so many bytes of an unfinished frame are moved, rather than keep the buffer they are in.
const MOVED: usize = 16 << 10;
/// From this length on it pays to have reads end where frames end.
const LARGE: usize = 8 << 10;

/// The bytes a connection has read and not yet handed on.
///
/// While nothing is under way it has no storage: one buffer of the shard serves all its connections, one after
/// the other. Only the beginning of a frame is kept, in little storage or, if it is long, where it is.
///
/// Invariant: `buffer` holds exactly the unread bytes; everything before them was split off or skipped.
#[derive(Default)]
pub(crate) struct ReadBuffer {
    buffer: BytesMut,
    /// What the storage was taken as; 0 for none.
    size: usize,
    /// Length of the last large frame, or 0: most others will be as long.
    frame: usize,
}

impl ReadBuffer {
    /// Continues with bytes another shard has read.
    pub(crate) fn resume(pool: &Pool, unread: &[u8]) -> Self {
        let mut buffer = Self::default();
        if !unread.is_empty() {
            buffer.renew(pool, unread.len());
            buffer.buffer.extend_from_slice(unread);
        }
        buffer
    }

    /// Whether a frame that needs so many bytes takes more storage than what everybody may have, and
    /// more than there is.
    pub(crate) fn wants(&self, need: usize) -> bool {
        need > FAIR && self.buffer.capacity() < need
    }

    /// How much storage it holds beyond the least there is.
    pub(crate) fn held(&self) -> usize {
        self.size.saturating_sub(CLASSES[0])
    }

    /// The unread bytes.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// Splits the first `len` unread bytes off.
    pub(crate) fn split(&mut self, len: usize) -> BytesMut {
        if len >= LARGE {
            self.frame = len;
        }
        self.buffer.split_to(len)
    }

    /// Forgets the first `len` unread bytes.
    pub(crate) fn skip(&mut self, len: usize) {
        self.buffer.advance(len);
    }

    /// Takes the unread bytes, to move them elsewhere.
    pub(crate) fn into_unread(self, pool: &Pool) -> Vec<u8> {
        let unread = self.buffer.to_vec();
        self.release(pool);
        unread
    }

    /// Gives back what is not needed to keep the unread bytes: before a wait. `need` is how many bytes the
    /// frame that they begin has in all.
    pub(crate) fn rest(&mut self, pool: &Pool, need: usize) {
        let unread = self.buffer.len();
        if unread == 0 {
            return self.put_back(pool);
        }
        let is_shared = self.size == CLASSES[READ];
        if is_shared && unread > MOVED && pool.has_room_to_keep() {
            return;
        }
        // Room for the rest, if it can be far from nothing: a length alone is worth nothing.
        let wanted = if need / 4 <= unread {
            need.max(unread)
        } else {
            unread
        };
        let class = (0..READ).find(|class| CLASSES[*class] >= wanted);
        let size = match class {
            Some(class) => CLASSES[class],
            // What has the size of the shared one is taken for it.
            None => wanted + usize::from(wanted == CLASSES[READ]),
        };
        // Storage of its own stays if it is not much more.
        if is_shared || size < self.size / 4 {
            let fresh = match class {
                Some(class) => pool.take(class),
                None => pool.take_odd(size),
            };
            self.replace(pool, fresh, size);
        }
    }

    /// Reads with `receive`, which is given where to append and how many bytes at most, and says how many they
    /// were: into the buffer of the shard, or where the frame under way is. `need` is how many bytes that
    /// has in all, or 0 if it is not known.
    pub(crate) fn fill(
        &mut self,
        pool: &Pool,
        need: usize,
        receive: impl FnOnce(&mut BytesMut, usize) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        let unread = self.buffer.len();
        if unread <= MOVED && self.size != CLASSES[READ] {
            let mut shared = pool.lend(unread + ROOM.max(self.frame.min(FAIR)));
            if shared.capacity() == CLASSES[READ] {
                stagger(&mut shared);
            }
            self.replace(pool, shared, CLASSES[READ]);
        }
        let room = self.buffer.capacity();
        if room == unread || (room < need && need <= CLASSES[READ]) {
            self.renew(pool, need);
        }
        let most = self.most(need);
        receive(&mut self.buffer, most)
    }

    /// How many bytes to ask for: where frames are large, a read ends with one of them, so that the
    /// next begins in a buffer where it has room and nothing has to move.
    fn most(&self, need: usize) -> usize {
        let unread = self.buffer.len();
        let spare = self.buffer.capacity() - unread;
        let missing = need.saturating_sub(unread);
        let length = self.frame.max(if need >= LARGE { need } else { 0 });
        if length == 0 || missing > spare {
            return spare;
        }
        match missing + (spare - missing) / length * length {
            0 => spare,
            whole => whole,
        }
    }

    /// Replaces the storage by one for a frame of `need` bytes, bringing the unread bytes along. Room grows with
    /// the bytes that arrive, so a length announced by a stranger costs nothing by itself.
    fn renew(&mut self, pool: &Pool, need: usize) {
        let unread = self.buffer.len();
        let size = need.min((2 * unread).max(CLASSES[READ])).max(unread + 1);
        if size <= CLASSES[READ] {
            self.replace(pool, pool.lend(size), CLASSES[READ]);
        } else {
            self.replace(pool, pool.take_odd(size), size);
        }
    }

    fn replace(&mut self, pool: &Pool, mut fresh: BytesMut, size: usize) {
        fresh.extend_from_slice(&self.buffer);
        self.buffer.clear();
        self.put_back(pool);
        (self.buffer, self.size) = (fresh, size);
    }

    fn put_back(&mut self, pool: &Pool) {
        let buffer = core::mem::take(&mut self.buffer);
        match core::mem::take(&mut self.size) {
            0 => {}
            size if size == CLASSES[READ] => pool.put_back(buffer),
            size => pool.give(buffer, size),
        }
    }

    /// Gives the storage back to the pool.
    pub(crate) fn release(mut self, pool: &Pool) {
        self.buffer.clear();
        self.put_back(pool);
    }
}

/// Has an empty buffer begin in the middle of a page. What the system copies to and from mostly begins where a page
/// does, and copying to where the address modulo the page is a little higher than where it comes from,
/// as a message whose prefix has grown would, takes several times as long on many processors.
fn stagger(buffer: &mut BytesMut) {
    const PAGE: usize = 4096;
    let at = buffer.as_ptr().addr() % PAGE;
    let pad = (PAGE + PAGE / 2 - at) % PAGE;
    buffer.resize(pad, 0);
    buffer.advance(pad);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` into a buffer as if they had been there.
    fn feed(reader: &mut ReadBuffer, pool: &Pool, need: usize, bytes: &[u8]) -> usize {
        let read = reader.fill(pool, need, |storage, most| {
            assert!(0 < most && most <= storage.capacity() - storage.len());
            let n = most.min(bytes.len());
            storage.extend_from_slice(&bytes[..n]);
            Ok(Some(n))
        });
        read.expect("read").expect("some bytes")
    }

    #[test]
    fn connections_take_turns_with_one_buffer() {
        let pool = Pool::new(64 << 20);
        let (mut one, mut other) = (ReadBuffer::default(), ReadBuffer::default());
        feed(&mut one, &pool, 0, &[7; 4096]);
        let first = one.buffer.as_ptr();
        drop(one.split(4096));
        one.rest(&pool, 0);
        assert_eq!(one.size, 0);
        feed(&mut other, &pool, 0, &[8; 4096]);
        assert_eq!(other.buffer.as_ptr(), first);
    }

    #[test]
    fn what_is_still_queued_stays_as_it_is() {
        let pool = Pool::new(64 << 20);
        let mut reader = ReadBuffer::default();
        let mut queued = Vec::new();
        for n in 0..1000_usize {
            feed(&mut reader, &pool, 0, &[n as u8; 1000]);
            queued.push(reader.split(1000));
            reader.rest(&pool, 0);
        }
        for (n, part) in queued.iter().enumerate() {
            assert!(part.iter().all(|b| *b == n as u8));
        }
        // They lie close to each other.
        assert!(pool.held() <= 5 * CLASSES[READ], "{}", pool.held());
    }

    #[test]
    fn the_beginning_of_a_frame_is_kept_in_little_storage() {
        let pool = Pool::new(64 << 20);
        let mut reader = ReadBuffer::default();
        feed(&mut reader, &pool, 0, &[1; 100]);
        reader.rest(&pool, 1 << 20);
        assert_eq!((reader.size, reader.unread()), (CLASSES[0], &[1; 100][..]));
        feed(&mut reader, &pool, 200, &[2; 100]);
        assert_eq!(reader.unread().len(), 200);
    }

    #[test]
    fn large_frames_are_not_moved() {
        let pool = Pool::new(64 << 20);
        let mut reader = ReadBuffer::default();
        let frame = 131_500;
        feed(&mut reader, &pool, 0, &vec![1; 65_536]);
        reader.rest(&pool, frame);
        let start = reader.buffer.as_ptr();
        feed(&mut reader, &pool, frame, &vec![1; frame]);
        assert_eq!(reader.buffer.as_ptr(), start);
        assert_eq!(reader.unread().len(), frame + 65_536);
        drop(reader.split(frame));
        // From now on reads end with a frame.
        feed(&mut reader, &pool, frame, &vec![1; 1 << 20]);
        assert_eq!(reader.unread().len() % frame, 0);
    }

    #[test]
    fn a_frame_of_any_length_is_read_within_the_room_there_is() {
        let pool = Pool::new(64 << 20);
        let mut reader = ReadBuffer::default();
        let need = 16 << 20;
        let bytes = vec![3; 300_000];
        while reader.unread().len() < need {
            feed(&mut reader, &pool, need, &bytes);
            reader.rest(&pool, need);
            let unread = reader.unread().len();
            assert!(reader.size <= (2 * unread).max(CLASSES[READ]));
        }
        assert_eq!(reader.unread().len(), need);
    }
}
