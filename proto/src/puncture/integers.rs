//! Bytes that are written as an array of unsigned integers.

use crate::cbor::{self, CborError, Cursor, Items};

/// Bytes below this are an integer of one byte, others of two.
const SHORT: u8 = 24;

/// Bytes written as integers, checked and borrowed.
///
/// ```text
/// 85 00 17 18 7f 18 18 18 ff     00 17 7f 18 ff
/// ```
///
/// The reference declared some fields as plain lists, so this is what they look like
/// (`protocol/01-transport.md` 1.2, rule 8). A byte string is refused in their place.
#[derive(Clone, Copy, Debug)]
pub struct Integers<'a> {
    elements: &'a [u8],
    len: usize,
}

impl<'a> Integers<'a> {
    /// Reads an array of integers that fit into bytes.
    ///
    /// # Errors
    /// [`CborError`] when the next item is something else.
    pub fn decode(cursor: &mut Cursor<'a>) -> Result<Self, CborError> {
        let mut items = Items::new(cursor.array()?);
        let start = *cursor;
        let mut end = start.position();
        let mut len = 0;
        while items.more(cursor)? {
            cursor.u8()?;
            end = cursor.position();
            len += 1;
        }
        let elements = start.rest().get(..end - start.position());
        Ok(Self {
            elements: elements.unwrap_or_default(),
            len,
        })
    }

    /// Number of bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn iter(&self) -> impl Iterator<Item = u8> + use<'a> {
        let mut cursor = Cursor::new(self.elements);
        core::iter::from_fn(move || cursor.u8().ok())
    }

    /// Appends the bytes.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.len);
        out.extend(self.iter());
    }

    /// The bytes, owned.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.append_to(&mut out);
        out
    }
}

/// Bytes of the encoding of `bytes` as integers: up to twice as many, and a head.
#[must_use]
pub fn integers_len(bytes: &[u8]) -> usize {
    let long = bytes.iter().filter(|byte| **byte >= SHORT).count();
    cbor::head_len(bytes.len()) + bytes.len() + long
}

/// Appends `bytes` as integers.
pub fn put_integers(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(integers_len(bytes));
    cbor::put_head(out, cbor::ARRAY, bytes.len() as u64);
    for &byte in bytes {
        if byte >= SHORT {
            out.push(cbor::UNSIGNED << 5 | SHORT);
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_both_ways() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        put_integers(&mut out, &bytes);
        assert_eq!(
            (out.len(), &out[..3]),
            (integers_len(&bytes), &[0x99, 1, 0][..])
        );
        let mut cursor = Cursor::new(&out);
        let integers = Integers::decode(&mut cursor).unwrap();
        assert!(cursor.is_at_end());
        assert_eq!((integers.len(), integers.to_vec()), (256, bytes));
    }

    #[test]
    fn what_is_accepted() {
        for (item, expected) in [
            ("80", Ok(&[][..])),
            ("9fff", Ok(&[])),
            ("9f0118ffff", Ok(&[1, 255])),
            ("8218011900ff", Ok(&[1, 255])),
            ("81190100", Err(CborError::Overflow)),
            ("8120", Err(CborError::Type(0x20))),
            ("4101", Err(CborError::Type(0x41))),
            ("8201", Err(CborError::End)),
            ("9f01", Err(CborError::End)),
            ("9bffffffffffffffff01", Err(CborError::End)),
        ] {
            let bytes = hex::decode(item).unwrap();
            let decoded = Integers::decode(&mut Cursor::new(&bytes));
            let decoded = decoded.map(|integers| integers.to_vec());
            assert_eq!(decoded.as_deref(), expected.as_ref().copied(), "{item}");
        }
    }
}
