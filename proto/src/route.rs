//! Routes: the addresses a message still has to visit, or the way back.
//!
//! Specification: `protocol/01-transport.md` 2.2. On the wire a CBOR array of addresses. Both types
//! here keep the addresses in encoded form, one after the other, without the array head: a hop can
//! then copy a route with one `memcpy`.

use crate::address::{Address, AddressError, AddressRef};
use crate::cbor::{self, CborError, Cursor, Items};
use crate::limits::{MAX_HOPS, MAX_ROUTE};
use core::fmt;
use core::str::FromStr;

/// Why a route cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// One of the addresses is not acceptable.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The item is not an array, or its end is missing.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// More than [`MAX_HOPS`] addresses.
    #[error("route of more than {MAX_HOPS} hops")]
    TooManyHops,
    /// The addresses take more than [`MAX_ROUTE`] bytes.
    #[error("route of more than {MAX_ROUTE} bytes")]
    TooLong,
}

/// Where the parts of an encoded route are, as offsets into the bytes it was read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Start of the first address, after the array head.
    pub(crate) start: usize,
    /// End of the first address, `start` for an empty route.
    pub(crate) first_end: usize,
    /// End of the last address, in front of the break of an indefinite array.
    pub(crate) end: usize,
    /// Number of addresses.
    pub(crate) hops: u8,
    /// Whether the array is indefinite and a break follows at `end`.
    pub(crate) indefinite: bool,
}

/// Reads and checks one route.
#[inline]
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Span, RouteError> {
    let count = cursor.array()?;
    if count.is_some_and(|count| count > MAX_HOPS as u64) {
        return Err(RouteError::TooManyHops);
    }
    let start = cursor.position();
    let mut span = Span {
        start,
        first_end: start,
        end: start,
        hops: 0,
        indefinite: count.is_none(),
    };
    let mut elements = Items::new(count);
    while elements.more(cursor)? {
        if usize::from(span.hops) == MAX_HOPS {
            return Err(RouteError::TooManyHops);
        }
        AddressRef::decode(cursor)?;
        span.end = cursor.position();
        if span.hops == 0 {
            span.first_end = span.end;
        }
        span.hops += 1;
    }
    if span.end - span.start > MAX_ROUTE {
        return Err(RouteError::TooLong);
    }
    Ok(span)
}

/// A borrowed route whose addresses were checked: at most [`MAX_HOPS`] when read from a peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteView<'a> {
    hops: usize,
    elements: &'a [u8],
}

impl<'a> RouteView<'a> {
    /// The route without addresses.
    pub const EMPTY: Self = Self {
        hops: 0,
        elements: &[],
    };

    /// A view of `elements`, which the caller knows to be exactly `hops` encoded addresses: it
    /// wrote or checked them. Otherwise the view ends early, and messages rewritten with it are
    /// malformed; nothing panics.
    #[must_use]
    pub const fn from_checked(hops: usize, elements: &'a [u8]) -> Self {
        Self { hops, elements }
    }

    /// Reads and checks one route, with its array head.
    ///
    /// # Errors
    /// [`RouteError`] when the next item is not a route within the limits.
    pub fn decode(cursor: &mut Cursor<'a>) -> Result<Self, RouteError> {
        let before = cursor.position();
        let bytes = cursor.rest();
        let span = parse(cursor)?;
        let elements = bytes
            .get(span.start - before..span.end - before)
            .unwrap_or_default();
        Ok(Self {
            hops: span.hops.into(),
            elements,
        })
    }

    /// Number of addresses.
    #[inline]
    #[must_use]
    pub const fn hops(&self) -> usize {
        self.hops
    }

    /// Whether there is no address.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.hops == 0
    }

    /// The first address.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<AddressRef<'a>> {
        self.iter().next()
    }

    /// The last address. Walks the route.
    #[must_use]
    pub fn last(&self) -> Option<AddressRef<'a>> {
        self.iter().last()
    }

    /// The addresses, first hop first.
    #[inline]
    pub fn iter(&self) -> Hops<'a> {
        Hops {
            left: self.hops,
            cursor: Cursor::new(self.elements),
        }
    }

    /// The encoded addresses as they were received, without the array head.
    #[inline]
    #[must_use]
    pub const fn elements(&self) -> &'a [u8] {
        self.elements
    }

    /// The same without the first address. Empty stays empty.
    #[must_use]
    pub fn without_first(&self) -> Self {
        let mut hops = self.iter();
        match hops.next() {
            None => Self::EMPTY,
            Some(_) => Self {
                hops: self.hops - 1,
                elements: hops.cursor.rest(),
            },
        }
    }

    /// A copy that owns its bytes, in canonical form.
    #[must_use]
    pub fn to_owned(&self) -> Route {
        let mut route = Route {
            hops: 0,
            elements: Vec::with_capacity(self.elements.len()),
        };
        route.extend(*self);
        route
    }
}

impl fmt::Display for RouteView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" => ")?;
            }
            address.fmt(f)?;
        }
        Ok(())
    }
}

/// The addresses of a route.
#[derive(Clone, Debug)]
pub struct Hops<'a> {
    left: usize,
    cursor: Cursor<'a>,
}

impl Hops<'_> {
    /// Offset in the elements where the next address starts.
    pub(crate) const fn position(&self) -> usize {
        self.cursor.position()
    }
}

impl<'a> Iterator for Hops<'a> {
    type Item = AddressRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<AddressRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        AddressRef::decode(&mut self.cursor).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

/// An owned route. Always in canonical encoding, so equal routes have equal bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Route {
    hops: usize,
    elements: Vec<u8>,
}

impl Route {
    /// The route without addresses.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            hops: 0,
            elements: Vec::new(),
        }
    }

    /// The same, borrowed.
    #[inline]
    #[must_use]
    pub fn view(&self) -> RouteView<'_> {
        RouteView {
            hops: self.hops,
            elements: &self.elements,
        }
    }

    /// Number of addresses.
    #[must_use]
    pub const fn hops(&self) -> usize {
        self.hops
    }

    /// Whether there is no address.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.hops == 0
    }

    /// The first address.
    #[must_use]
    pub fn first(&self) -> Option<AddressRef<'_>> {
        self.view().first()
    }

    /// The last address. Walks the route.
    #[must_use]
    pub fn last(&self) -> Option<AddressRef<'_>> {
        self.view().last()
    }

    /// The addresses, first hop first.
    pub fn iter(&self) -> Hops<'_> {
        self.view().iter()
    }

    /// Puts an address in front.
    pub fn push_front(&mut self, address: AddressRef<'_>) {
        let mut encoded = Vec::with_capacity(address.encoded_len() + self.elements.len());
        address.encode_into(&mut encoded);
        encoded.append(&mut self.elements);
        self.elements = encoded;
        self.hops += 1;
    }

    /// Puts an address at the end.
    pub fn push_back(&mut self, address: AddressRef<'_>) {
        address.encode_into(&mut self.elements);
        self.hops += 1;
    }

    /// Puts all addresses of `other` at the end.
    pub fn extend(&mut self, other: RouteView<'_>) {
        // Re-encoded one by one: the bytes of a peer need not be canonical.
        for address in other.iter() {
            self.push_back(address);
        }
    }

    /// The same without the first address. Empty stays empty.
    #[must_use]
    pub fn without_first(&self) -> Self {
        let rest = self.view().without_first();
        Self {
            hops: rest.hops,
            elements: rest.elements.to_vec(),
        }
    }

    /// The same without the last address. Empty stays empty.
    #[must_use]
    pub fn without_last(&self) -> Self {
        self.iter().take(self.hops.saturating_sub(1)).collect()
    }

    /// The encoded addresses, without the array head.
    #[must_use]
    pub fn elements(&self) -> &[u8] {
        &self.elements
    }

    /// Bytes of the encoding, with the array head.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        cbor::head_len(self.hops) + self.elements.len()
    }

    /// Appends the encoding, with the array head.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        cbor::put_head(out, cbor::ARRAY, self.hops as u64);
        out.extend_from_slice(&self.elements);
    }
}

impl<'a> FromIterator<AddressRef<'a>> for Route {
    fn from_iter<I: IntoIterator<Item = AddressRef<'a>>>(addresses: I) -> Self {
        let mut route = Self::new();
        for address in addresses {
            route.push_back(address);
        }
        route
    }
}

impl FromIterator<Address> for Route {
    fn from_iter<I: IntoIterator<Item = Address>>(addresses: I) -> Self {
        let mut route = Self::new();
        for address in addresses {
            route.push_back(address.as_ref());
        }
        route
    }
}

impl<'a> FromIterator<&'a Address> for Route {
    fn from_iter<I: IntoIterator<Item = &'a Address>>(addresses: I) -> Self {
        addresses.into_iter().map(Address::as_ref).collect()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// The text form: addresses separated by `=>`. Only for text from the operator.
impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let mut route = Self::new();
        if text.trim().is_empty() {
            return Ok(route);
        }
        for address in text.split("=>") {
            if route.hops == MAX_HOPS {
                return Err(RouteError::TooManyHops);
            }
            route.push_back(address.trim().parse::<Address>()?.as_ref());
        }
        Ok(route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> Route {
        text.parse().unwrap()
    }

    #[test]
    fn edits() {
        let mut r = route("0#hop => 0#echo");
        assert_eq!(r.first().unwrap().value, b"hop");
        assert_eq!(r.last().unwrap().value, b"echo");
        assert_eq!(r.without_first(), route("echo"));
        assert_eq!(r.without_last(), route("hop"));
        r.push_front(AddressRef {
            transport: 1,
            value: b"h:1",
        });
        r.extend(route("a => b").view());
        assert_eq!(r.to_string(), "1#h:1 => 0#hop => 0#echo => 0#a => 0#b");
        assert_eq!(r.view().to_owned(), r);
        assert_eq!(Route::new().without_first(), Route::new());
        assert_eq!(Route::new().without_last(), Route::new());
    }

    #[test]
    fn owned_routes_are_canonical() {
        let odd = hex::decode("9f9f00416101ff821900004162ff").unwrap();
        let view = RouteView::decode(&mut Cursor::new(&odd)).unwrap();
        assert_eq!((view.hops(), view.to_owned()), (2, route("a => b")));
    }

    #[test]
    fn limits() {
        let address = Address::local("a");
        for (hops, ok) in [(MAX_HOPS, true), (MAX_HOPS + 1, false)] {
            let long: Route = core::iter::repeat_n(&address, hops).collect();
            let mut encoded = Vec::new();
            long.encode_into(&mut encoded);
            assert_eq!(encoded.len(), long.encoded_len());
            assert_eq!(RouteView::decode(&mut Cursor::new(&encoded)).is_ok(), ok);
            // The same as an indefinite array.
            let mut encoded = vec![0x9f];
            encoded.extend_from_slice(long.elements());
            encoded.push(0xff);
            assert_eq!(RouteView::decode(&mut Cursor::new(&encoded)).is_ok(), ok);
        }
    }
}
