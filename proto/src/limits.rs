//! Every limit of the wire formats, in one place.
//!
//! The reference implementation has few limits of its own; a peer could then choose how much memory
//! or time a message costs. The values here are far above what real peers send. Relations between
//! them are checked when the crate is compiled.

/// Longest transport message in bytes, without the 4 length bytes in front of it.
///
/// Specification: `protocol/01-transport.md` 3.2 (inclusive).
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

/// Most addresses accepted in one route. The reference has no limit.
pub const MAX_HOPS: usize = 32;

/// Longest value of an address in bytes. The reference has no limit.
pub const MAX_ADDRESS: usize = 512;

/// Longest canonical encoding of one address in bytes: array head, type, byte-string head, value.
pub const MAX_ADDRESS_ENCODED: usize = 1 + 2 + 3 + MAX_ADDRESS;

/// Longest encoding of the addresses of one route in bytes, without the array head.
///
/// It also bounds routes that carry ignored extra elements, so that rewriting stays cheap.
pub const MAX_ROUTE: usize = MAX_HOPS * MAX_ADDRESS_ENCODED;

/// Deepest nesting of arrays, maps and indefinite strings in an item that is skipped.
pub const MAX_SKIP_DEPTH: usize = 16;

/// Most data bytes in one portal message: what the reference reads from a TCP connection at once.
///
/// Specification: `protocol/03-portals.md`. Larger messages are accepted up to [`MAX_FRAME`].
pub const PORTAL_PAYLOAD: usize = 128 * 1024;

/// Longest name that can be registered with a relay, in bytes, without the prefix.
pub const MAX_RELAY_NAME: usize = 255;

/// Longest secure channel handshake message in bytes (a Noise message).
pub const MAX_HANDSHAKE: usize = 65535;

/// Longest request or response of an API service in bytes, with its length prefix.
pub const MAX_REQUEST: usize = 1024 * 1024;

/// Most causes followed inside an error body of an API response.
pub const MAX_ERROR_CAUSES: usize = 8;

/// Most attributes of a member of an authority.
pub const MAX_ATTRIBUTES: usize = 64;

/// Most bytes of their names and values together: a credential has to fit into a handshake.
pub const MAX_ATTRIBUTE_BYTES: usize = 8 * 1024;

/// Longest request to an authority in bytes, with its length prefix. Others than members may ask.
pub const MAX_AUTHORITY_REQUEST: usize = 64 * 1024;

/// Longest body of a request to the node API in bytes: the largest has a policy and two routes.
pub const MAX_NODE_REQUEST: usize = 64 * 1024;

/// Longest text of an enrollment ticket in bytes: two of the longest histories, in digits of digits.
pub const MAX_TICKET: usize = 320 * 1024;

/// Longest name of a project in bytes.
pub const MAX_PROJECT_NAME: usize = 64;

/// Longest multiaddr in bytes, as text or in binary form.
pub const MAX_MULTIADDR: usize = 4096;

/// Most parts of a multiaddr.
pub const MAX_MULTIADDR_PARTS: usize = 64;

/// Most addresses that may be consumers of one flow control id: on a relay, the connections that
/// may answer one another.
pub const MAX_FLOW_CONSUMERS: usize = 1024 * 1024;

/// Most producers, and most spawners, in one set of flow controls.
pub const MAX_FLOW_PRODUCERS: usize = 1024 * 1024;

/// Longest UDP datagram that every receiver of the reference takes, in bytes: what is sent to a
/// peer of whom nothing else is known.
///
/// Specification: `protocol/01-transport.md` 4.2.
pub const UDP_DATAGRAM: usize = 508;

/// Most bytes of a datagram in front of its part, for parts of up to 65535 bytes.
pub const UDP_HEADER: usize = 1 + 2 + 3 + 3 + 3 + 3;

/// Longest UDP datagram there is (over IPv4), in bytes: room for one is enough to receive any.
pub const MAX_UDP_DATAGRAM: usize = 65_507;

/// Consecutive messages of one UDP peer that may be incomplete at a time. The reference has 5.
pub const UDP_WINDOW: u16 = 16;

/// Most UDP peers whose messages are put together at a time. The reference has no limit.
pub const UDP_PEERS: usize = 4096;

/// Most parts of incomplete messages kept for one UDP peer.
pub const UDP_PEER_PARTS: usize = 65_535;

/// Most memory for incomplete messages of one UDP peer, in bytes.
pub const UDP_PEER_BYTES: usize = 32 * 1024 * 1024;

/// Most memory for incomplete messages of all UDP peers of a socket, in bytes.
pub const UDP_BYTES: usize = 128 * 1024 * 1024;

/// Longest text of an IP address and a port that is looked at, in bytes.
pub const MAX_SOCKET_ADDRESS: usize = 64;

/// Most hosts that a rendezvous service remembers.
pub const RENDEZVOUS_HOSTS: usize = 16 * 1024;

// Offsets inside a message are stored as u32, hop counts as u8.
const _: () = assert!(MAX_FRAME <= u32::MAX as usize);
const _: () = assert!(2 * MAX_HOPS <= u8::MAX as usize);
// The head of an address value is at most 3 bytes long (see `MAX_ADDRESS_ENCODED`).
const _: () = assert!(MAX_ADDRESS <= u16::MAX as usize);
// Both routes, the heads and a full portal payload sealed by a channel fit in a frame.
const _: () = assert!(2 * MAX_ROUTE + PORTAL_PAYLOAD + 1024 <= MAX_FRAME);
const _: () = assert!(MAX_HANDSHAKE + 2 * MAX_ROUTE + 64 <= MAX_FRAME);
const _: () = assert!(MAX_REQUEST + 2 * MAX_ROUTE + 64 <= MAX_FRAME);
// Attributes take at most a text head of three bytes more for each name and value.
const _: () = assert!(MAX_ATTRIBUTE_BYTES + 6 * MAX_ATTRIBUTES + 1024 <= MAX_AUTHORITY_REQUEST);
const _: () = assert!(MAX_AUTHORITY_REQUEST <= MAX_REQUEST);
const _: () = assert!(MAX_NODE_REQUEST <= MAX_REQUEST);
// A relay worker's address is the prefix and the name.
const _: () = assert!("forward_to_".len() + MAX_RELAY_NAME <= MAX_ADDRESS);
// The longest message, in parts of the usual size, fits into what one UDP peer may have waiting,
// with the few bytes per part that are spent on knowing where it belongs.
const _: () = assert!(MAX_FRAME.div_ceil(UDP_DATAGRAM - UDP_HEADER) <= UDP_PEER_PARTS);
const _: () = assert!(MAX_FRAME + 4 * UDP_PEER_PARTS <= UDP_PEER_BYTES);
const _: () = assert!(UDP_PEER_BYTES <= UDP_BYTES);
