//! Addresses: a transport type and a value.
//!
//! Specification: `protocol/01-transport.md` 2.1. On the wire `82 <type> <byte string>`.

use crate::cbor::{self, CborError, Cursor, Items};
use crate::limits::MAX_ADDRESS;
use core::fmt;
use core::str::FromStr;

/// Transport type of workers on the receiving node.
pub const LOCAL: u8 = 0;
/// Transport type of TCP addresses. They never travel; a receiver drops messages to them.
pub const TCP: u8 = 1;
/// Transport type of UDP addresses.
pub const UDP: u8 = 2;

/// Why an address cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The bytes are not the CBOR of an address.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// One of the two elements is missing.
    #[error("address without a value")]
    Missing,
    /// The value is longer than [`MAX_ADDRESS`].
    #[error("address of {0} bytes is too long")]
    TooLong(usize),
    /// The text form has two or more `#`, or something else than 0..255 before it.
    #[error("not the text of an address")]
    Text,
}

/// A borrowed address.
///
/// Values are opaque bytes; most are text. One read from a peer is at most [`MAX_ADDRESS`] long.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AddressRef<'a> {
    /// Transport type: [`LOCAL`], [`TCP`], [`UDP`] or another one.
    pub transport: u8,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> AddressRef<'a> {
    /// A local address.
    #[must_use]
    pub const fn local(value: &'a [u8]) -> Self {
        Self {
            transport: LOCAL,
            value,
        }
    }

    /// The value of a local address, `None` for other types.
    #[inline]
    #[must_use]
    pub const fn local_value(&self) -> Option<&'a [u8]> {
        match self.transport {
            LOCAL => Some(self.value),
            _ => None,
        }
    }

    /// Reads one address. Extra elements and indefinite arrays are accepted.
    ///
    /// # Errors
    /// [`AddressError`] when the next item is not an address, or too long.
    #[inline]
    pub fn decode(cursor: &mut Cursor<'a>) -> Result<Self, AddressError> {
        // Nearly every address on the wire: a two-element array, a small type, up to 255 bytes.
        let (transport, head, length) = match *cursor.rest() {
            [0x82, transport @ 0..=23, head @ 0x40..=0x57, ..] => {
                (transport, 3, usize::from(head & 0x1f))
            }
            [0x82, transport @ 0..=23, 0x58, length, ..] => (transport, 4, usize::from(length)),
            _ => return Self::decode_any(cursor),
        };
        cursor.take(head)?;
        Ok(Self {
            transport,
            value: cursor.take(length)?,
        })
    }

    #[cold]
    fn decode_any(cursor: &mut Cursor<'a>) -> Result<Self, AddressError> {
        let mut elements = Items::new(cursor.array()?);
        if !elements.more(cursor)? {
            return Err(AddressError::Missing);
        }
        let transport = cursor.u8()?;
        if !elements.more(cursor)? {
            return Err(AddressError::Missing);
        }
        let value = cursor.bytes()?;
        while elements.more(cursor)? {
            cursor.skip()?;
        }
        if value.len() > MAX_ADDRESS {
            return Err(AddressError::TooLong(value.len()));
        }
        Ok(Self { transport, value })
    }

    /// Bytes of the encoding.
    #[inline]
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        1 + cbor::head_len(self.transport as usize)
            + cbor::head_len(self.value.len())
            + self.value.len()
    }

    /// Appends the encoding.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        cbor::put_head(out, cbor::ARRAY, 2);
        cbor::put_unsigned(out, u64::from(self.transport));
        cbor::put_bytes(out, self.value);
    }

    /// A copy that owns its value.
    #[must_use]
    pub fn to_owned(&self) -> Address {
        Address::new(self.transport, self.value)
    }
}

impl fmt::Display for AddressRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = str::from_utf8(self.value).unwrap_or("Invalid UTF-8");
        write!(f, "{}#{value}", self.transport)
    }
}

/// An address that owns its value.
///
/// A value longer than [`MAX_ADDRESS`] can be built but is refused by every receiver of this crate.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Address {
    transport: u8,
    value: Vec<u8>,
}

impl Address {
    /// An address of any type.
    #[must_use]
    pub fn new(transport: u8, value: impl Into<Vec<u8>>) -> Self {
        Self {
            transport,
            value: value.into(),
        }
    }

    /// A local address.
    #[must_use]
    pub fn local(value: impl Into<Vec<u8>>) -> Self {
        Self::new(LOCAL, value)
    }

    /// The transport type.
    #[must_use]
    pub const fn transport(&self) -> u8 {
        self.transport
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The same, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> AddressRef<'_> {
        AddressRef {
            transport: self.transport,
            value: &self.value,
        }
    }

    /// Bytes of the encoding.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.as_ref().encoded_len()
    }

    /// Appends the encoding.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        self.as_ref().encode_into(out);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// The text form `<type>#<value>`, or a value alone for a local address. Only for text from the
/// operator: text from a peer must never be parsed into an address.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (transport, value) = match text.split_once('#') {
            None => (LOCAL, text),
            Some((transport, value)) if !value.contains('#') => {
                (transport.parse().map_err(|_| AddressError::Text)?, value)
            }
            Some(_) => return Err(AddressError::Text),
        };
        if value.len() > MAX_ADDRESS {
            return Err(AddressError::TooLong(value.len()));
        }
        Ok(Self::new(transport, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form() {
        for (text, transport, value) in [
            ("echo", LOCAL, "echo"),
            ("0#echo", LOCAL, "echo"),
            ("1#[::1]:4000", TCP, "[::1]:4000"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address, Address::new(transport, value));
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        for text in ["a#b", "0#a#b", "256#x", "#x"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Text), "{text}");
        }
        assert_eq!(Address::local([0xff]).to_string(), "0#Invalid UTF-8");
    }

    #[test]
    fn too_long() {
        for (length, ok) in [(MAX_ADDRESS, true), (MAX_ADDRESS + 1, false)] {
            let mut encoded = Vec::new();
            Address::local(vec![b'a'; length]).encode_into(&mut encoded);
            assert_eq!(AddressRef::decode(&mut Cursor::new(&encoded)).is_ok(), ok);
        }
    }
}
