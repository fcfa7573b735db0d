//! Datagrams of messages, and reassemblers to feed them to.

use core::net::SocketAddr;
use culvert_proto::udp::{
    Config, Datagram, Reassembler, Received, Refusal, RoutingNumber, Splitter, VERSION,
};

/// Some peer.
pub(crate) fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

/// The datagram of one part.
pub(crate) fn part(number: u16, index: u16, total: u16, part: &[u8]) -> Vec<u8> {
    let datagram = Datagram {
        version: VERSION,
        number: RoutingNumber(number),
        index,
        total,
        part,
    };
    let mut out = Vec::new();
    datagram.encode_into(&mut out);
    assert_eq!(out.len(), datagram.encoded_len());
    out
}

/// All datagrams of one message.
pub(crate) fn split(number: u16, longest: usize, message: &[u8]) -> Vec<Vec<u8>> {
    let mut splitter = Splitter::new(RoutingNumber(number)).with_longest_datagram(longest);
    let parts = splitter.split(message).expect("a message within limits");
    parts
        .map(|datagram| {
            let mut out = Vec::new();
            datagram.encode_into(&mut out);
            out
        })
        .collect()
}

/// Bytes of which no two neighbouring parts are alike.
pub(crate) fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|at| (at / 7) as u8 ^ (at as u8).wrapping_mul(31) ^ seed)
        .collect()
}

/// A reassembler, and one peer of it.
pub(crate) struct Receiver {
    pub(crate) reassembler: Reassembler,
    pub(crate) now_ms: u64,
}

impl Receiver {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            reassembler: Reassembler::new(config),
            now_ms: 0,
        }
    }

    /// What a datagram of the peer with this port leads to: a message, or nothing yet.
    pub(crate) fn hear(&mut self, port: u16, datagram: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let received = self
            .reassembler
            .receive(self.now_ms, peer(port), datagram)?;
        Ok(match received {
            Received::Message(message) => Some(message.into_owned()),
            Received::Stored => None,
        })
    }
}
