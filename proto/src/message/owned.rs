//! Messages that own their parts, and the header in front of a payload.

use super::{Layout, MessageError};
use crate::cbor::{self, head_len, write_head};
use crate::route::Route;

/// The tracing context that says nothing, encoded: what the reference always sends, and all there
/// is to append after the payload of a message of 4 elements.
pub const TRACING_NONE: &[u8] = b"\x62{}";

/// One transport message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Message {
    /// Where to deliver, first hop first.
    pub onward: Route,
    /// The way back.
    pub return_route: Route,
    /// The payload, opaque here.
    pub payload: Vec<u8>,
    /// Tracing context: a JSON object. `None` leaves the field out.
    pub tracing: Option<String>,
}

impl Message {
    /// A message without tracing context.
    #[must_use]
    pub const fn new(onward: Route, return_route: Route, payload: Vec<u8>) -> Self {
        Self {
            onward,
            return_route,
            payload,
            tracing: None,
        }
    }

    /// The canonical encoding, without the frame's length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let elements = if self.tracing.is_some() { 4 } else { 3 };
        let header = header_len(&self.onward, &self.return_route, self.payload.len());
        let mut out = vec![0; header];
        write_header(
            &mut out,
            elements,
            &self.onward,
            &self.return_route,
            self.payload.len(),
        );
        out.extend_from_slice(&self.payload);
        if let Some(tracing) = &self.tracing {
            cbor::put_text(&mut out, tracing);
        }
        out
    }

    /// Reads the message at the start of `msg`.
    ///
    /// # Errors
    /// [`MessageError`] when there is none; see [`Layout::parse`].
    pub fn decode(msg: &[u8]) -> Result<Self, MessageError> {
        let layout = Layout::parse(msg)?;
        Ok(Self {
            onward: layout.onward(msg).to_owned(),
            return_route: layout.return_route(msg).to_owned(),
            payload: layout.payload(msg).to_vec(),
            tracing: layout.tracing(msg).map(str::to_owned),
        })
    }
}

/// Bytes in front of a payload of `payload_len` bytes.
#[must_use]
pub fn header_len(onward: &Route, return_route: &Route, payload_len: usize) -> usize {
    1 + onward.encoded_len() + return_route.encoded_len() + head_len(payload_len)
}

/// Writes everything in front of a payload: array head, routes and the head of the byte string.
///
/// `elements` is 3, or 4 when a tracing context (for example [`TRACING_NONE`]) follows the payload.
///
/// # Panics
/// When `out` is not exactly [`header_len`] bytes: the caller sized it.
pub fn write_header(
    out: &mut [u8],
    elements: usize,
    onward: &Route,
    return_route: &Route,
    payload_len: usize,
) {
    debug_assert!(elements == 3 || elements == 4);
    let mut at = write_head(out, cbor::ARRAY, elements);
    for route in [onward, return_route] {
        at += write_head(&mut out[at..], cbor::ARRAY, route.hops());
        out[at..at + route.elements().len()].copy_from_slice(route.elements());
        at += route.elements().len();
    }
    at += write_head(&mut out[at..], cbor::BYTES, payload_len);
    assert_eq!(
        at,
        out.len(),
        "the header has another length than was reserved"
    );
}
