//! What travels along a path.

use super::{Integers, PunctureError, integers_len, put_integers};
use crate::cbor::{self, Cursor, Items};
use crate::rendezvous::enum_head;
use crate::route::{Route, RouteView};

/// The payload that asks whether the other end is there.
pub const PING: [u8; 3] = [0x82, 0, 0x80];
/// The payload that answers a Ping.
pub const PONG: [u8; 3] = [0x82, 1, 0x80];

/// The payload of a transport message between the two ends of a puncture.
///
/// ```text
/// 82 00 80                                 Ping
/// 82 01 80                                 Pong
/// 82 02 83 route route integers            Payload
/// 82 18 43 81 bytes                        Segment, which Ockam does not know
/// ```
#[derive(Clone, Copy, Debug)]
pub enum PunctureMessage<'a> {
    /// To be answered with a Pong on its return route.
    Ping,
    /// The answer to a Ping: messages get through both ways.
    Pong,
    /// A transport message.
    Payload(Payload<'a>),
    /// A segment of [`steady`](crate::steady): between Culvert nodes only.
    Segment(&'a [u8]),
}

/// A transport message inside a puncture message.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// Where to deliver, on the receiving node.
    pub onward: RouteView<'a>,
    /// The way back, from the other end of the path.
    pub return_route: RouteView<'a>,
    /// Its payload.
    pub data: Integers<'a>,
}

impl<'a> PunctureMessage<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`PunctureError`] when there is none; bytes after it are ignored.
    pub fn decode(payload: &'a [u8]) -> Result<Self, PunctureError> {
        let mut cursor = Cursor::new(payload);
        let message = match enum_head(&mut cursor)?.ok_or(PunctureError::NotAnEnum)? {
            0 => Self::Ping,
            1 => Self::Pong,
            2 => return Payload::decode(&mut cursor).map(Self::Payload),
            SEGMENT => return Self::decode_segment(&mut cursor),
            other => return Err(PunctureError::Variant(other)),
        };
        cursor.skip()?;
        Ok(message)
    }

    fn decode_segment(cursor: &mut Cursor<'a>) -> Result<Self, PunctureError> {
        let mut fields = Items::new(cursor.array()?);
        match fields.more(cursor)? {
            true => Ok(Self::Segment(cursor.bytes()?)),
            false => Err(PunctureError::Missing),
        }
    }
}

/// Number of the variant Segment: far from those of the reference.
const SEGMENT: u64 = 0x43;

/// The payload that carries a segment.
pub(super) fn encode_segment(segment: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + segment.len());
    cbor::put_head(&mut out, cbor::ARRAY, 2);
    cbor::put_unsigned(&mut out, SEGMENT);
    cbor::put_head(&mut out, cbor::ARRAY, 1);
    cbor::put_bytes(&mut out, segment);
    out
}

impl<'a> Payload<'a> {
    fn decode(cursor: &mut Cursor<'a>) -> Result<Self, PunctureError> {
        let mut fields = Items::new(cursor.array()?);
        let mut field = |cursor: &mut Cursor<'a>| match fields.more(cursor)? {
            true => Ok(()),
            false => Err(PunctureError::Missing),
        };
        field(cursor)?;
        let onward = RouteView::decode(cursor)?;
        field(cursor)?;
        let return_route = RouteView::decode(cursor)?;
        field(cursor)?;
        let data = Integers::decode(cursor)?;
        while fields.more(cursor)? {
            cursor.skip()?;
        }
        Ok(Self {
            onward,
            return_route,
            data,
        })
    }
}

/// Bytes of an encoded Payload.
#[must_use]
pub fn payload_len(onward: &Route, return_route: &Route, data: &[u8]) -> usize {
    3 + onward.encoded_len() + return_route.encoded_len() + integers_len(data)
}

/// Appends a Payload.
pub fn put_payload(out: &mut Vec<u8>, onward: &Route, return_route: &Route, data: &[u8]) {
    out.reserve(payload_len(onward, return_route, data));
    cbor::put_head(out, cbor::ARRAY, 2);
    cbor::put_unsigned(out, 2);
    cbor::put_head(out, cbor::ARRAY, 3);
    onward.encode_into(out);
    return_route.encode_into(out);
    put_integers(out, data);
}
