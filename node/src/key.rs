//! Local addresses minted by a node: self-describing and unguessable.

use std::fmt;

use culvert_proto::address::{AddressRef, LOCAL};

/// Characters of a minted address.
pub const ADDRESS_LEN: usize = 20;
/// Bytes of a minted address in a route: array head, transport type, byte-string head, characters.
pub const ENCODED_LEN: usize = 3 + ADDRESS_LEN;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Names one slot of one shard at one time: never given out again before 2^24 reuses of the slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u64);

impl Key {
    /// Packs shard (8 bits), slot (24 bits) and generation (24 bits).
    pub(crate) const fn new(shard: u8, slot: u32, generation: u32) -> Self {
        Self((shard as u64) << 48 | (slot as u64 & 0xff_ffff) << 24 | generation as u64 & 0xff_ffff)
    }

    /// The shard the slot belongs to.
    pub const fn shard(self) -> u8 {
        (self.0 >> 48) as u8
    }

    pub(crate) const fn slot(self) -> usize {
        (self.0 >> 24 & 0xff_ffff) as usize
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0 & 0xff_ffff) as u32
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.shard(), self.slot(), self.generation())
    }
}

/// A minted local address: a key and a random tag that nobody can guess.
///
/// Text form, 20 characters of the URL-safe base64 alphabet over 15 bytes:
///
/// ```text
/// shard u8 | slot u24 | generation u24 | tag u64      (big endian)
/// ```
///
/// A lookup is an index and a comparison. Peers treat the value as opaque
/// (`protocol/01-transport.md` 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalAddress {
    /// The slot.
    pub key: Key,
    /// The random tag.
    pub tag: u64,
}

impl LocalAddress {
    /// The characters of the address.
    pub fn text(&self) -> [u8; ADDRESS_LEN] {
        let wide = (self.key.0 as u128) << 64 | self.tag as u128;
        let mut out = [0; ADDRESS_LEN];
        for (i, c) in out.iter_mut().enumerate() {
            *c = ALPHABET[(wide >> (114 - 6 * i) & 63) as usize];
        }
        out
    }

    /// The address as one element of an encoded route.
    pub fn encoded(&self) -> [u8; ENCODED_LEN] {
        let mut out = [0; ENCODED_LEN];
        out[0] = 0x82;
        out[1] = LOCAL;
        out[2] = 0x40 | ADDRESS_LEN as u8;
        out[3..].copy_from_slice(&self.text());
        out
    }

    /// Reads an address; none if the text has another form than [`LocalAddress::text`] writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != ADDRESS_LEN {
            return None;
        }
        let mut wide = 0u128;
        for c in text {
            let digit = DIGITS[*c as usize];
            if digit > 63 {
                return None;
            }
            wide = wide << 6 | digit as u128;
        }
        Some(Self {
            key: Key((wide >> 64) as u64),
            tag: wide as u64,
        })
    }
}

const DIGITS: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut i = 0;
    while i < 64 {
        table[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    table
};

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tag is what makes the address unguessable, so it stays out of logs.
        self.key.fmt(f)
    }
}

/// Whether an address can be a minted one, and which.
pub(crate) fn minted(address: AddressRef<'_>) -> Option<LocalAddress> {
    LocalAddress::parse(address.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for (shard, slot, generation, tag) in [
            (0, 0, 0, 0),
            (255, 0xff_ffff, 0xff_ffff, u64::MAX),
            (3, 70_000, 9, 0x0123_4567_89ab),
        ] {
            let address = LocalAddress {
                key: Key::new(shard, slot, generation),
                tag,
            };
            assert_eq!(LocalAddress::parse(&address.text()), Some(address));
            assert_eq!(address.key.shard(), shard);
            assert_eq!(address.key.slot(), slot as usize);
            assert_eq!(address.key.generation(), generation);
        }
    }

    #[test]
    fn other_text_is_not_an_address() {
        for text in [
            &b""[..],
            b"echo",
            b"forward_to_database!",
            b"AAAAAAAAAAAAAAAAAAAA=",
            b"\xff",
        ] {
            assert_eq!(LocalAddress::parse(text), None);
        }
    }
}
