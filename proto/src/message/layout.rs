//! Where the parts of an encoded message are.

use super::MessageError;
use crate::cbor::{Cursor, Items};
use crate::limits::MAX_FRAME;
use crate::route::{self, RouteView, Span};
use core::ops::Range;

/// Offsets of the parts of one encoded transport message, relative to its first byte.
///
/// A layout holds no bytes: it stays valid when the message is moved, or lies somewhere inside a
/// larger buffer. Methods take the bytes starting at the message (more may follow). Given other
/// bytes than those it was made from, they return nonsense or nothing but do not panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Elements of the outer array, `None` when indefinite.
    pub(crate) elements: Option<u32>,
    pub(crate) onward_start: u32,
    /// End of the first onward address.
    pub(crate) first_end: u32,
    pub(crate) onward_end: u32,
    pub(crate) onward_hops: u8,
    pub(crate) return_hops: u8,
    pub(crate) return_indefinite: bool,
    pub(crate) return_start: u32,
    pub(crate) return_end: u32,
    pub(crate) payload_start: u32,
    pub(crate) payload_end: u32,
    /// Start and end of the text, without its head; equal when there is none.
    pub(crate) tracing: Option<(u32, u32)>,
    pub(crate) end: u32,
}

impl Layout {
    /// Reads and checks the message at the start of `msg`, without allocating.
    ///
    /// Everything a node of the reference checks is checked, and the limits of [`crate::limits`].
    /// Accepted are 3, 4 or more elements, indefinite arrays, and bytes after the message.
    ///
    /// # Errors
    /// [`MessageError`] when the bytes are not a message.
    pub fn parse(msg: &[u8]) -> Result<Self, MessageError> {
        if msg.len() > MAX_FRAME {
            return Err(MessageError::TooLong);
        }
        let mut cursor = Cursor::new(msg);
        let count = cursor.array()?;
        let mut elements = Items::new(count);
        let onward = route_element(&mut elements, &mut cursor)?;
        let back = route_element(&mut elements, &mut cursor)?;
        if !elements.more(&mut cursor)? {
            return Err(MessageError::Missing);
        }
        let payload = cursor.bytes()?;
        let payload_end = cursor.position();
        let tracing = tracing_element(&mut elements, &mut cursor)?;
        while elements.more(&mut cursor)? {
            cursor.skip()?;
        }
        // No offset exceeds MAX_FRAME, and the count is at most the number of bytes.
        Ok(Self {
            elements: count.map(|count| count as u32),
            onward_start: onward.start as u32,
            first_end: onward.first_end as u32,
            onward_end: onward.end as u32,
            onward_hops: onward.hops,
            return_hops: back.hops,
            return_indefinite: back.indefinite,
            return_start: back.start as u32,
            return_end: back.end as u32,
            payload_start: (payload_end - payload.len()) as u32,
            payload_end: payload_end as u32,
            tracing,
            end: cursor.position() as u32,
        })
    }

    /// The onward route: where the message still has to go.
    #[inline]
    #[must_use]
    pub fn onward<'a>(&self, msg: &'a [u8]) -> RouteView<'a> {
        let elements = slice(msg, self.onward_start, self.onward_end);
        RouteView::from_checked(self.onward_hops.into(), elements)
    }

    /// The return route: the way back.
    #[inline]
    #[must_use]
    pub fn return_route<'a>(&self, msg: &'a [u8]) -> RouteView<'a> {
        let elements = slice(msg, self.return_start, self.return_end);
        RouteView::from_checked(self.return_hops.into(), elements)
    }

    /// Number of addresses of the onward route.
    #[inline]
    #[must_use]
    pub const fn onward_hops(&self) -> usize {
        self.onward_hops as usize
    }

    /// Number of addresses of the return route.
    #[inline]
    #[must_use]
    pub const fn return_hops(&self) -> usize {
        self.return_hops as usize
    }

    /// Where the payload is, relative to the message.
    #[inline]
    #[must_use]
    pub const fn payload_range(&self) -> Range<usize> {
        self.payload_start as usize..self.payload_end as usize
    }

    /// Where the payload is in a buffer that has the message at `base`.
    #[inline]
    #[must_use]
    pub const fn payload_range_at(&self, base: usize) -> Range<usize> {
        base + self.payload_start as usize..base + self.payload_end as usize
    }

    /// The payload.
    #[inline]
    #[must_use]
    pub fn payload<'a>(&self, msg: &'a [u8]) -> &'a [u8] {
        slice(msg, self.payload_start, self.payload_end)
    }

    /// The tracing context, if there is one. Its content means nothing to Culvert.
    #[must_use]
    pub fn tracing<'a>(&self, msg: &'a [u8]) -> Option<&'a str> {
        let (start, end) = self.tracing?;
        str::from_utf8(slice(msg, start, end)).ok()
    }

    /// Start of the tail: the addresses of the return route, the payload and what follows it. A
    /// [`crate::rewrite::Rewrite`] replaces everything before it and nothing after it.
    #[inline]
    #[must_use]
    pub const fn tail_start(&self) -> usize {
        self.return_start as usize
    }

    /// End of the message. Bytes after it, in the same frame, are ignored.
    #[inline]
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end as usize
    }
}

#[inline]
fn slice(msg: &[u8], start: u32, end: u32) -> &[u8] {
    msg.get(start as usize..end as usize).unwrap_or_default()
}

#[inline]
fn route_element(elements: &mut Items, cursor: &mut Cursor<'_>) -> Result<Span, MessageError> {
    if !elements.more(cursor)? {
        return Err(MessageError::Missing);
    }
    Ok(route::parse(cursor)?)
}

#[inline]
fn tracing_element(
    elements: &mut Items,
    cursor: &mut Cursor<'_>,
) -> Result<Option<(u32, u32)>, MessageError> {
    if !elements.more(cursor)? || cursor.null()? {
        return Ok(None);
    }
    let text = cursor.text()?;
    let end = cursor.position();
    Ok(Some(((end - text.len()) as u32, end as u32)))
}
