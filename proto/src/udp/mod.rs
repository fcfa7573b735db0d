//! The UDP transport: transport messages cut into datagrams and put together again.
//!
//! Specification: `protocol/01-transport.md` 4. There is no handshake, no acknowledgement and no
//! retransmission: a message arrives whole or not at all. What travels is the
//! [message](crate::message) that TCP carries too, without the length in front of it:
//!
//! ```text
//! message (up to 16 MiB)  = part 0 | part 1 | ... | last part
//! datagram (508 bytes)    = 85 version number index total part
//! ```
//!
//! [`Splitter`] makes datagrams, [`Reassembler`] takes them. What the reference does and we do not:
//!
//! * it sends a message whose length is a multiple of the part size with an empty last part, which
//!   it refuses itself. We never send one, and take it when it comes: the message is complete.
//! * a repeated part makes it forget the message, a repeated message is delivered again. Here
//!   neither changes anything.
//! * it keeps what it has of every peer for ever. Here everything is limited and expires.
//!
//! # Example
//!
//! ```
//! use core::net::SocketAddr;
//! use culvert_proto::udp::{Config, Reassembler, Received, RoutingNumber, Splitter};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let message = [7; 1000];
//! let mut splitter = Splitter::new(RoutingNumber(65_535));
//! let mut reassembler = Reassembler::new(Config::default());
//! let from: SocketAddr = "192.0.2.7:4015".parse()?;
//!
//! let mut datagram = Vec::new();
//! let mut whole = None;
//! for part in splitter.split(&message)? {
//!     datagram.clear();
//!     part.encode_into(&mut datagram);
//!     if let Received::Message(message) = reassembler.receive(0, from, &datagram)? {
//!         whole = Some(message.into_owned());
//!     }
//! }
//! assert_eq!(whole.as_deref(), Some(&message[..]));
//! # Ok(())
//! # }
//! ```

mod datagram;
mod partial;
mod peer;
mod reassembly;
mod split;

pub use datagram::{Datagram, DatagramError, RoutingNumber, VERSION};
pub use reassembly::{Config, Expired, Reassembler, Received, Refusal};
pub use split::{Parts, SplitError, Splitter};

use crate::address::{Address, AddressRef, UDP};
use crate::limits::MAX_SOCKET_ADDRESS;
use core::net::SocketAddr;

/// The routing address of a UDP peer: type 2, value `ip:port`. A receiver puts it into return
/// routes (`protocol/01-transport.md` 4.4).
#[must_use]
pub fn peer_address(peer: SocketAddr) -> Address {
    Address::new(UDP, canonical(peer).to_string())
}

/// The peer that a routing address of type 2 stands for; `None` for other types and other values.
///
/// The reference also resolves host names here. A peer could then choose whom we ask for which
/// name, so names are for the operator and are resolved before they become addresses.
#[must_use]
pub fn peer_of(address: AddressRef<'_>) -> Option<SocketAddr> {
    if address.transport != UDP {
        return None;
    }
    parse_peer(str::from_utf8(address.value).ok()?)
}

/// Reads `ip:port`.
pub(crate) fn parse_peer(text: &str) -> Option<SocketAddr> {
    if text.len() > MAX_SOCKET_ADDRESS {
        return None;
    }
    text.parse().ok().map(canonical)
}

/// The same address in the form in which two equal ones compare equal: without scope and flow, and
/// IPv4 as IPv4 even when it came through an IPv6 socket.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_as_addresses() {
        for (text, canonical) in [
            ("192.0.2.7:4015", "192.0.2.7:4015"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
            ("[::ffff:192.0.2.7]:4015", "192.0.2.7:4015"),
            ("[fe80::1%3]:9", "[fe80::1]:9"),
        ] {
            let peer = peer_of(Address::new(UDP, text).as_ref()).unwrap();
            assert_eq!(peer_address(peer), Address::new(UDP, canonical));
        }
        for text in ["", "localhost:1", "192.0.2.7", "192.0.2.7:70000", ":1"] {
            assert_eq!(peer_of(Address::new(UDP, text).as_ref()), None, "{text}");
        }
        assert_eq!(peer_of(Address::local("192.0.2.7:1").as_ref()), None);
        assert_eq!(peer_of(Address::new(UDP, [0xff]).as_ref()), None);
    }
}
