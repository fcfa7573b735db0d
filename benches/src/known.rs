//! Bytes that both ends of a stream know, so that each can check what the other sent.

use std::sync::OnceLock;

use culvert_tests::net::Pattern;

/// After so many bytes they repeat. A prime, so that no buffer size hides a loss.
pub const PERIOD: usize = 65_521;
/// Most bytes looked at in one piece.
pub const CHUNK: usize = 256 * 1024;

/// The `length` bytes that follow after `at`; at most [`CHUNK`].
pub fn bytes(at: u64, length: usize) -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let mut period = vec![0; PERIOD];
        Pattern::new(6).fill(&mut period);
        period.into_iter().cycle().take(PERIOD + CHUNK).collect()
    });
    let start = (at % PERIOD as u64) as usize;
    &bytes[start..start + length]
}

/// A place in the bytes of one direction of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Cursor(u64);

impl Cursor {
    /// The beginning of what the client of stream `id` sends.
    pub fn up(id: u32) -> Self {
        Self(u64::from(id) * 7919)
    }

    /// The beginning of what it gets.
    pub fn down(id: u32) -> Self {
        Self(u64::from(id) * 7919 + 31_337)
    }

    /// The bytes to send next.
    pub fn next(self) -> &'static [u8] {
        bytes(self.0, CHUNK)
    }

    /// Goes on by `count` bytes.
    pub fn advance(&mut self, count: usize) {
        self.0 += count as u64;
    }

    /// Whether `read` is what has to come next; goes on by its length.
    pub fn accepts(&mut self, read: &[u8]) -> bool {
        let same = bytes(self.0, read.len()) == read;
        self.advance(read.len());
        same
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Cursor};

    #[test]
    fn a_cursor_notices_loss_change_and_another_stream() {
        let sent = Cursor::up(3).next();
        assert!(Cursor::up(3).accepts(sent));
        assert!(!Cursor::up(4).accepts(sent));
        assert!(!Cursor::down(3).accepts(sent));
        let mut changed = sent.to_vec();
        changed[70_000] ^= 1;
        assert!(!Cursor::up(3).accepts(&changed));
        let mut cursor = Cursor::up(3);
        assert!(cursor.accepts(&sent[..1000]));
        assert!(!cursor.accepts(&sent[1001..]));
        assert_eq!(sent.len(), CHUNK);
    }
}
