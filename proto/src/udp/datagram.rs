//! One datagram, and the numbers of messages.

use crate::cbor::{self, CborError, Cursor, Items};

/// The version written. Receivers do not look at it.
pub const VERSION: u8 = 1;

/// Why bytes are not a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// The bytes are not the CBOR of a datagram.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// One of the five fields is missing.
    #[error("datagram of fewer than five elements")]
    Missing,
    /// It announces no parts at all.
    #[error("datagram of a message without parts")]
    NoParts,
    /// The part's index is not below the number of parts.
    #[error("part {index} of {total}")]
    Index {
        /// Index of the part, from 0.
        index: u16,
        /// Number of parts.
        total: u16,
    },
    /// A part without bytes that is not the last of several.
    #[error("part without bytes")]
    Empty,
}

/// Number of a message between two sockets: counts up by one and wraps.
///
/// Numbers are compared around the circle: one is older if it lies in the half before the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoutingNumber(pub u16);

impl RoutingNumber {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The number `count` after this one.
    #[must_use]
    pub const fn plus(self, count: u16) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// Steps from `earlier` to this number, forward.
    #[must_use]
    pub const fn steps_from(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether this number is older than the other. Two that are opposite are both older, as in the
    /// reference.
    #[must_use]
    pub const fn is_older_than(self, other: Self) -> bool {
        let steps = other.steps_from(self);
        steps != 0 && steps <= 0x8000
    }
}

/// One datagram.
///
/// ```text
/// 85             array of 5
///   01           version
///   u16          routing number: which message
///   u16          index of the part, from 0
///   u16          number of parts
///   bytes        the part
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// Version: [`VERSION`] when sent, anything when received.
    pub version: u8,
    /// The message that the part belongs to.
    pub number: RoutingNumber,
    /// Index of the part, from 0.
    pub index: u16,
    /// Number of parts of the message.
    pub total: u16,
    /// Bytes of the message.
    pub part: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads a datagram. Whether its numbers make sense is not looked at, see [`Self::check`].
    ///
    /// # Errors
    /// [`DatagramError`] when the bytes are none; those after it are ignored.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        let mut cursor = Cursor::new(bytes);
        let mut elements = Items::new(cursor.array()?);
        let mut field = |cursor: &mut Cursor<'a>| match elements.more(cursor)? {
            true => Ok(()),
            false => Err(DatagramError::Missing),
        };
        field(&mut cursor)?;
        let version = cursor.u8()?;
        field(&mut cursor)?;
        let number = RoutingNumber(cursor.u16()?);
        field(&mut cursor)?;
        let index = cursor.u16()?;
        field(&mut cursor)?;
        let total = cursor.u16()?;
        field(&mut cursor)?;
        let part = cursor.bytes()?;
        while elements.more(&mut cursor)? {
            cursor.skip()?;
        }
        Ok(Self {
            version,
            number,
            index,
            total,
            part,
        })
    }

    /// Whether this is the last part.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.total.wrapping_sub(self.index) == 1
    }

    /// Checks what can be checked without knowing other parts.
    ///
    /// # Errors
    /// [`DatagramError`] when no message can have this part.
    pub const fn check(&self) -> Result<(), DatagramError> {
        if self.total == 0 {
            return Err(DatagramError::NoParts);
        }
        if self.index >= self.total {
            return Err(DatagramError::Index {
                index: self.index,
                total: self.total,
            });
        }
        // The reference ends messages of certain lengths with an empty part.
        if self.part.is_empty() && (self.total == 1 || !self.is_last()) {
            return Err(DatagramError::Empty);
        }
        Ok(())
    }

    /// Appends the encoding.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        cbor::put_head(out, cbor::ARRAY, 5);
        for number in [self.version.into(), self.number.0, self.index, self.total] {
            cbor::put_unsigned(out, number.into());
        }
        cbor::put_bytes(out, self.part);
    }

    /// Bytes of the encoding.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        1 + cbor::head_len(self.version as usize)
            + cbor::head_len(self.number.0 as usize)
            + cbor::head_len(self.index as usize)
            + cbor::head_len(self.total as usize)
            + cbor::head_len(self.part.len())
            + self.part.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_a_circle() {
        let n = RoutingNumber;
        assert!(n(5).is_older_than(n(6)) && !n(6).is_older_than(n(5)));
        assert!(!n(5).is_older_than(n(5)));
        assert!(n(65_535).is_older_than(n(0)) && !n(0).is_older_than(n(65_535)));
        assert!(n(0).is_older_than(n(0x8000)) && n(0x8000).is_older_than(n(0)));
        assert!(!n(0).is_older_than(n(0x8001)) && n(0x8001).is_older_than(n(0)));
        assert_eq!(n(65_535).next(), n(0));
        assert_eq!(n(2).steps_from(n(65_534)), 4);
    }

    #[test]
    fn parts_that_no_message_has() {
        let check = |index, total, part: &[u8]| {
            let number = RoutingNumber(0);
            let version = VERSION;
            Datagram {
                version,
                number,
                index,
                total,
                part,
            }
            .check()
        };
        assert_eq!(check(0, 0, b"x"), Err(DatagramError::NoParts));
        for (index, total) in [(1, 1), (65_535, 65_535)] {
            let error = DatagramError::Index { index, total };
            assert_eq!(check(index, total, b"x"), Err(error));
        }
        assert_eq!(check(0, 1, b""), Err(DatagramError::Empty));
        assert_eq!(check(0, 2, b""), Err(DatagramError::Empty));
        assert_eq!(check(1, 2, b""), Ok(()));
        assert_eq!(check(65_534, 65_535, b"x"), Ok(()));
    }
}
