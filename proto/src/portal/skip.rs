//! The outlet listener's table in skip-handshake mode (`protocol/03-portals.md` 6).

use std::collections::HashMap;

use crate::address::AddressRef;
use crate::identity::Identifier;
use crate::limits::MAX_ADDRESS;

/// Longest key: whether there is an identifier, the identifier, transport type, address value.
const MAX_KEY: usize = 1 + 32 + 1 + MAX_ADDRESS;

/// Why a message of a skip-handshake inlet cannot be given a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkipError {
    /// As many streams as the outlet allows are open.
    #[error("too many skip-handshake streams")]
    Full,
    /// The address that would identify the inlet is longer than [`MAX_ADDRESS`].
    #[error("inlet address too long")]
    AddressTooLong,
}

/// Which stream a message to the outlet listener belongs to, when both ends skip the handshake.
///
/// Such an inlet sends everything to the listener, so its streams are told apart by who sent the
/// message: the authenticated peer, or none, and the **last** address of the return route, which is
/// the inlet worker's own. An unknown key makes a new stream
/// ([`Stream::outlet_skip_handshake`](super::Stream::outlet_skip_handshake)), whatever the message
/// is, and the message is handed to it in any case. The return route of the first message is used
/// for the whole life of the stream. The entry goes when the stream is done.
///
/// Never holds more than its limit. Finding a stream does not allocate.
#[derive(Debug)]
pub struct SkipHandshake<T> {
    streams: HashMap<Box<[u8]>, T>,
    limit: usize,
}

impl<T> SkipHandshake<T> {
    /// An empty table of at most `limit` streams.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            streams: HashMap::new(),
            limit,
        }
    }

    /// Adds a stream, and returns the one it replaces.
    ///
    /// # Errors
    ///
    /// [`SkipError::Full`] or [`SkipError::AddressTooLong`]; the table is unchanged.
    pub fn insert(
        &mut self,
        peer: Option<&Identifier>,
        inlet: AddressRef<'_>,
        stream: T,
    ) -> Result<Option<T>, SkipError> {
        let key = Key::new(peer, inlet).ok_or(SkipError::AddressTooLong)?;
        if self.streams.len() >= self.limit && !self.streams.contains_key(key.bytes()) {
            return Err(SkipError::Full);
        }
        Ok(self.streams.insert(key.bytes().into(), stream))
    }

    /// Takes the stream out: it is done.
    pub fn remove(&mut self, peer: Option<&Identifier>, inlet: AddressRef<'_>) -> Option<T> {
        self.streams.remove(Key::new(peer, inlet)?.bytes())
    }

    /// The stream that a message from `peer` with `inlet` as last return address belongs to.
    #[must_use]
    pub fn find(&self, peer: Option<&Identifier>, inlet: AddressRef<'_>) -> Option<&T> {
        self.streams.get(Key::new(peer, inlet)?.bytes())
    }

    /// Forgets the streams that `is_open` does not accept.
    pub fn retain(&mut self, is_open: impl Fn(&T) -> bool) {
        self.streams.retain(|_, stream| is_open(stream));
    }

    /// Open streams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}

/// A key as bytes. Only the last part has no fixed length, so equal bytes mean equal parts.
struct Key {
    space: [u8; MAX_KEY],
    len: usize,
}

impl Key {
    fn new(peer: Option<&Identifier>, inlet: AddressRef<'_>) -> Option<Self> {
        let mut space = [0; MAX_KEY];
        if let Some(peer) = peer {
            space[0] = 1;
            space[1..33].copy_from_slice(&peer.0);
        }
        space[33] = inlet.transport;
        let len = 34 + inlet.value.len();
        space.get_mut(34..len)?.copy_from_slice(inlet.value);
        Some(Self { space, len })
    }

    fn bytes(&self) -> &[u8] {
        &self.space[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INLET: AddressRef<'_> = AddressRef {
        transport: 0,
        value: b"inlet",
    };

    #[test]
    fn peer_and_address_tell_streams_apart() {
        let (one, two) = (Identifier([1; 32]), Identifier([2; 32]));
        let udp = AddressRef {
            transport: 2,
            ..INLET
        };
        let longer = AddressRef {
            value: b"inlet2",
            ..INLET
        };
        let keys = [
            (None, INLET),
            (Some(&one), INLET),
            (Some(&two), INLET),
            (None, udp),
            (None, longer),
        ];
        let mut table = SkipHandshake::new(keys.len());
        for (n, (peer, inlet)) in keys.into_iter().enumerate() {
            assert_eq!(table.find(peer, inlet), None);
            assert_eq!(table.insert(peer, inlet, n), Ok(None));
        }
        for (n, (peer, inlet)) in keys.into_iter().enumerate() {
            assert_eq!(table.find(peer, inlet), Some(&n));
            assert_eq!(table.remove(peer, inlet), Some(n));
            assert_eq!(table.find(peer, inlet), None);
        }
        assert!(table.is_empty());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = SkipHandshake::new(1);
        assert_eq!(table.insert(None, INLET, 'a'), Ok(None));
        assert_eq!(table.insert(None, INLET, 'b'), Ok(Some('a')));
        let other = AddressRef {
            value: b"other",
            ..INLET
        };
        assert_eq!(table.insert(None, other, 'c'), Err(SkipError::Full));
        assert_eq!(table.len(), 1);
        let long = AddressRef {
            value: &[0; MAX_ADDRESS + 1],
            ..INLET
        };
        assert_eq!(
            table.insert(None, long, 'd'),
            Err(SkipError::AddressTooLong)
        );
        assert_eq!(table.find(None, long), None);
        table.retain(|stream| *stream == 'b');
        assert_eq!(table.len(), 1);
        table.retain(|stream| *stream == 'a');
        assert!(table.is_empty());
        assert_eq!(table.remove(None, long), None);
    }
}
