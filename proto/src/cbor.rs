//! CBOR as the peers use it: a borrowed reader and writers of heads.
//!
//! Specification: `protocol/01-transport.md` 1.2. What is accepted is what the reference accepts:
//! non-shortest heads, indefinite arrays and maps, extra elements; not indefinite strings, tags in
//! front of a value, or the wrong type. What is written is the shortest, definite form.

mod write;

pub use write::{
    head, head_len, put_bool, put_bytes, put_head, put_text, put_unsigned, write_head,
};

use crate::limits::MAX_SKIP_DEPTH;

/// Major type of unsigned integers.
pub const UNSIGNED: u8 = 0;
/// Major type of negative integers.
pub const NEGATIVE: u8 = 1;
/// Major type of byte strings.
pub const BYTES: u8 = 2;
/// Major type of text strings.
pub const TEXT: u8 = 3;
/// Major type of arrays.
pub const ARRAY: u8 = 4;
/// Major type of maps.
pub const MAP: u8 = 5;
/// Major type of tags.
pub const TAG: u8 = 6;
/// Major type of simple values, floats and the break.
pub const SIMPLE: u8 = 7;

/// The byte of an array of indefinite length.
pub const ARRAY_INDEFINITE: u8 = 0x9f;
/// The byte that ends an item of indefinite length.
pub const BREAK: u8 = 0xff;
/// The byte of null.
pub const NULL: u8 = 0xf6;
/// The byte of false.
pub const FALSE: u8 = 0xf4;
/// The byte of true.
pub const TRUE: u8 = 0xf5;

/// Additional information of a head that stands for "indefinite".
const INDEFINITE: u8 = 31;

/// Why an item cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The input ends inside the item.
    #[error("end of input inside an item")]
    End,
    /// The item has another type than the one expected.
    #[error("unexpected type: head {0:#04x}")]
    Type(u8),
    /// An integer does not fit its field.
    #[error("integer out of range")]
    Overflow,
    /// A text string is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A break stands where an item must.
    #[error("break outside of an indefinite item")]
    UnexpectedBreak,
    /// A skipped item is nested deeper than [`MAX_SKIP_DEPTH`].
    #[error("item nested too deeply")]
    TooDeep,
}

/// A reader over borrowed bytes. Nothing is copied; a failed read leaves the position undefined.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    input: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// A reader at the start of `input`.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { input, position: 0 }
    }

    /// Offset of the next byte, from the start of the input.
    #[inline]
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// The bytes not read yet.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.input.get(self.position..).unwrap_or_default()
    }

    /// Whether all bytes were read.
    #[inline]
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.position >= self.input.len()
    }

    /// The next byte, which stays unread.
    ///
    /// # Errors
    /// [`CborError::End`] when there is none.
    #[inline]
    pub fn peek(&self) -> Result<u8, CborError> {
        self.input.get(self.position).copied().ok_or(CborError::End)
    }

    /// Reads `count` bytes as they are.
    ///
    /// # Errors
    /// [`CborError::End`] when fewer are left.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], CborError> {
        let end = self.position.checked_add(count).ok_or(CborError::End)?;
        let taken = self.input.get(self.position..end).ok_or(CborError::End)?;
        self.position = end;
        Ok(taken)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, CborError> {
        let byte = self.peek()?;
        self.position += 1;
        Ok(byte)
    }

    fn big_endian<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        self.take(N)?.try_into().map_err(|_| CborError::End)
    }

    /// The number that belongs to the head `head`, which was just read.
    #[inline]
    fn argument(&mut self, head: u8) -> Result<u64, CborError> {
        match head & 0x1f {
            small @ 0..=23 => Ok(u64::from(small)),
            24 => self.byte().map(u64::from),
            25 => self.big_endian().map(|b| u64::from(u16::from_be_bytes(b))),
            26 => self.big_endian().map(|b| u64::from(u32::from_be_bytes(b))),
            27 => self.big_endian().map(u64::from_be_bytes),
            _ => Err(CborError::Type(head)),
        }
    }

    /// The number of a head of type `major` with a definite argument.
    #[inline]
    fn definite(&mut self, major: u8) -> Result<u64, CborError> {
        let head = self.byte()?;
        if head >> 5 != major {
            return Err(CborError::Type(head));
        }
        self.argument(head)
    }

    /// The number of elements of a head of type `major`, `None` when indefinite.
    #[inline]
    fn container(&mut self, major: u8) -> Result<Option<u64>, CborError> {
        let head = self.byte()?;
        if head >> 5 != major {
            return Err(CborError::Type(head));
        }
        if head & 0x1f == INDEFINITE {
            return Ok(None);
        }
        self.argument(head).map(Some)
    }

    /// Reads the head of an array: its number of elements, or `None` for an indefinite one.
    ///
    /// # Errors
    /// [`CborError`] when the next item is not an array.
    #[inline]
    pub fn array(&mut self) -> Result<Option<u64>, CborError> {
        self.container(ARRAY)
    }

    /// Reads the head of a map: its number of pairs, or `None` for an indefinite one.
    ///
    /// # Errors
    /// [`CborError`] when the next item is not a map.
    #[inline]
    pub fn map(&mut self) -> Result<Option<u64>, CborError> {
        self.container(MAP)
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// [`CborError`] when the next item is something else.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, CborError> {
        self.definite(UNSIGNED)
    }

    /// Reads an unsigned integer of at most 32 bits.
    ///
    /// # Errors
    /// [`CborError`] when the next item is something else or larger.
    pub fn u32(&mut self) -> Result<u32, CborError> {
        u32::try_from(self.u64()?).map_err(|_| CborError::Overflow)
    }

    /// Reads an unsigned integer of at most 16 bits.
    ///
    /// # Errors
    /// [`CborError`] when the next item is something else or larger.
    pub fn u16(&mut self) -> Result<u16, CborError> {
        u16::try_from(self.u64()?).map_err(|_| CborError::Overflow)
    }

    /// Reads an unsigned integer of at most 8 bits.
    ///
    /// # Errors
    /// [`CborError`] when the next item is something else or larger.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, CborError> {
        u8::try_from(self.u64()?).map_err(|_| CborError::Overflow)
    }

    /// Reads a boolean.
    ///
    /// # Errors
    /// [`CborError`] when the next item is something else.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        match self.byte()? {
            FALSE => Ok(false),
            TRUE => Ok(true),
            head => Err(CborError::Type(head)),
        }
    }

    /// Reads a byte string of definite length.
    ///
    /// # Errors
    /// [`CborError`] when the next item is something else or longer than the input.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let length = self.definite(BYTES)?;
        self.take(usize::try_from(length).map_err(|_| CborError::End)?)
    }

    /// Reads a text string of definite length.
    ///
    /// # Errors
    /// [`CborError`] when the next item is something else, longer than the input or not UTF-8.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, CborError> {
        let length = self.definite(TEXT)?;
        let bytes = self.take(usize::try_from(length).map_err(|_| CborError::End)?)?;
        str::from_utf8(bytes).map_err(|_| CborError::Utf8)
    }

    /// Reads a null if there is one, and says so.
    ///
    /// # Errors
    /// [`CborError::End`] at the end of the input.
    #[inline]
    pub fn null(&mut self) -> Result<bool, CborError> {
        self.one(NULL)
    }

    /// Reads a break if there is one, and says so.
    ///
    /// # Errors
    /// [`CborError::End`] at the end of the input.
    #[inline]
    pub fn end_break(&mut self) -> Result<bool, CborError> {
        self.one(BREAK)
    }

    #[inline]
    fn one(&mut self, wanted: u8) -> Result<bool, CborError> {
        let found = self.peek()? == wanted;
        self.position += usize::from(found);
        Ok(found)
    }

    /// Skips one item of any type, checking that it is well formed.
    ///
    /// # Errors
    /// [`CborError`] when it is not, or nested deeper than [`MAX_SKIP_DEPTH`].
    pub fn skip(&mut self) -> Result<(), CborError> {
        let mut open = [Items::definite(0); MAX_SKIP_DEPTH];
        let mut depth = 0;
        loop {
            if let Some(inside) = self.skip_head()? {
                *open.get_mut(depth).ok_or(CborError::TooDeep)? = inside;
                depth += 1;
            }
            // Leave every container that has no element left.
            loop {
                let Some(innermost) = depth.checked_sub(1).and_then(|top| open.get_mut(top)) else {
                    return Ok(());
                };
                if innermost.more(self)? {
                    break;
                }
                depth -= 1;
            }
        }
    }

    /// Skips a scalar, or the head of a container whose elements are then to be skipped.
    fn skip_head(&mut self) -> Result<Option<Items>, CborError> {
        loop {
            let head = self.byte()?;
            if head == BREAK {
                return Err(CborError::UnexpectedBreak);
            }
            if head & 0x1f == INDEFINITE {
                return match head >> 5 {
                    major @ (BYTES | TEXT) => self.skip_chunks(major).map(|()| None),
                    ARRAY | MAP => Ok(Some(Items::indefinite())),
                    _ => Err(CborError::Type(head)),
                };
            }
            let argument = self.argument(head)?;
            match head >> 5 {
                // The tagged item follows.
                TAG => continue,
                ARRAY => return Ok(Some(Items::definite(argument))),
                MAP => return Ok(Some(Items::definite(argument.saturating_mul(2)))),
                major @ (BYTES | TEXT) => self.skip_string(major, argument)?,
                _ => {}
            }
            return Ok(None);
        }
    }

    fn skip_string(&mut self, major: u8, length: u64) -> Result<(), CborError> {
        let bytes = self.take(usize::try_from(length).map_err(|_| CborError::End)?)?;
        if major == TEXT && str::from_utf8(bytes).is_err() {
            return Err(CborError::Utf8);
        }
        Ok(())
    }

    fn skip_chunks(&mut self, major: u8) -> Result<(), CborError> {
        while !self.end_break()? {
            let length = self.definite(major)?;
            self.skip_string(major, length)?;
        }
        Ok(())
    }
}

/// Counts the elements of an array or the pairs of a map, definite or not.
#[derive(Clone, Copy, Debug)]
pub struct Items {
    left: Option<u64>,
}

impl Items {
    /// For a container whose head said `count` (`None`: indefinite).
    #[must_use]
    pub const fn new(count: Option<u64>) -> Self {
        Self { left: count }
    }

    const fn definite(count: u64) -> Self {
        Self { left: Some(count) }
    }

    const fn indefinite() -> Self {
        Self { left: None }
    }

    /// Whether another element follows at the cursor. Reads the break of an indefinite container.
    ///
    /// # Errors
    /// [`CborError::End`] when an indefinite container is cut off.
    #[inline]
    pub fn more(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, CborError> {
        match &mut self.left {
            None => {
                let ended = cursor.end_break()?;
                if ended {
                    // Asking again finds no break any more.
                    self.left = Some(0);
                }
                Ok(!ended)
            }
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_shortest() {
        for (n, expected) in [
            (0u64, "00"),
            (23, "17"),
            (24, "1818"),
            (255, "18ff"),
            (256, "190100"),
            (65535, "19ffff"),
            (65536, "1a00010000"),
            (0xffff_ffff, "1affffffff"),
            (0x1_0000_0000, "1b0000000100000000"),
        ] {
            let mut out = Vec::new();
            put_unsigned(&mut out, n);
            assert_eq!(hex::encode(&out), expected);
            assert_eq!(out.len(), head_len(n as usize));
            assert_eq!(Cursor::new(&out).u64(), Ok(n));
        }
    }

    #[test]
    fn skip_is_bounded_and_strict() {
        let deep = vec![0x81u8; MAX_SKIP_DEPTH + 1];
        assert_eq!(Cursor::new(&deep).skip(), Err(CborError::TooDeep));
        for (item, outcome) in [
            ("ff", Err(CborError::UnexpectedBreak)),
            ("81ff", Err(CborError::UnexpectedBreak)),
            ("5f4101ff", Ok(())),
            ("5f6101ff", Err(CborError::Type(0x61))),
            ("9f9f01ffa10102ff", Ok(())),
            ("d8208101", Ok(())),
            ("61ff", Err(CborError::Utf8)),
            ("fb0000000000000000", Ok(())),
            ("1c", Err(CborError::Type(0x1c))),
            ("3f", Err(CborError::Type(0x3f))),
            ("a2010203", Err(CborError::End)),
        ] {
            let bytes = hex::decode(item).unwrap();
            let mut cursor = Cursor::new(&bytes);
            let result = cursor.skip();
            assert_eq!(result, outcome, "{item}");
            if result.is_ok() {
                assert!(cursor.is_at_end(), "{item}");
            }
        }
    }
}
