//! TCP framing: one version byte, then frames.
//!
//! Specification: `protocol/01-transport.md` 3.1 and 3.2.
//!
//! ```text
//! connection = 01 frame*             each direction for itself
//! frame      = length(u32be) message
//! ```

use crate::limits::MAX_FRAME;
use core::ops::Range;

/// The protocol version: the first byte either side sends. Any other value ends the connection.
pub const VERSION: u8 = 1;

/// Bytes of the length in front of a message.
pub const LEN: usize = 4;

/// Why a length is refused. The connection cannot go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame of length 0: no message is that short.
    #[error("empty frame")]
    Empty,
    /// A length above [`MAX_FRAME`], in bytes (saturated).
    #[error("frame of {0} bytes is too long")]
    TooLong(u32),
}

/// What the bytes at the start of the input are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Not a whole frame yet: at least this many bytes, from the start, are needed.
    Need(usize),
    /// A whole frame: where its message is in the input. The next frame starts at the end of it.
    Frame(Range<usize>),
}

/// Looks for a frame at the start of `input`. Costs nothing: the message is not looked at.
///
/// # Errors
/// [`FrameError`] as soon as the four length bytes are there and not acceptable.
#[inline]
pub fn decode(input: &[u8]) -> Result<Decoded, FrameError> {
    let Some((prefix, body)) = input.split_first_chunk::<LEN>() else {
        return Ok(Decoded::Need(LEN));
    };
    let announced = u32::from_be_bytes(*prefix);
    let length = announced as usize;
    if length == 0 {
        return Err(FrameError::Empty);
    }
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(announced));
    }
    if body.len() < length {
        return Ok(Decoded::Need(LEN + length));
    }
    Ok(Decoded::Frame(LEN..LEN + length))
}

/// The length bytes of a message of `message_len` bytes.
///
/// # Errors
/// [`FrameError`] when no receiver would accept that length.
#[inline]
pub fn length_prefix(message_len: usize) -> Result<[u8; LEN], FrameError> {
    match u32::try_from(message_len) {
        Ok(0) => Err(FrameError::Empty),
        Ok(length) if message_len <= MAX_FRAME => Ok(length.to_be_bytes()),
        Ok(length) => Err(FrameError::TooLong(length)),
        Err(_) => Err(FrameError::TooLong(u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(decode(&[]), Ok(Decoded::Need(4)));
        assert_eq!(decode(&[0, 0, 0]), Ok(Decoded::Need(4)));
        assert_eq!(decode(&[0, 0, 0, 0]), Err(FrameError::Empty));
        assert_eq!(decode(&[0, 0, 0, 2, 9]), Ok(Decoded::Need(6)));
        assert_eq!(decode(&[0, 0, 0, 2, 9, 9, 7]), Ok(Decoded::Frame(4..6)));
        assert_eq!(decode(&[1, 0, 0, 0]), Ok(Decoded::Need(4 + MAX_FRAME)));
        assert_eq!(decode(&[1, 0, 0, 1]), Err(FrameError::TooLong(0x0100_0001)));
        assert_eq!(decode(&[0xff; 4]), Err(FrameError::TooLong(u32::MAX)));
    }

    #[test]
    fn prefixes() {
        assert_eq!(length_prefix(0), Err(FrameError::Empty));
        assert_eq!(length_prefix(65), Ok([0, 0, 0, 0x41]));
        assert_eq!(length_prefix(MAX_FRAME), Ok([1, 0, 0, 0]));
        assert_eq!(
            length_prefix(MAX_FRAME + 1),
            Err(FrameError::TooLong(0x0100_0001))
        );
    }
}
