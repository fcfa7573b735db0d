//! What the two sides tell each other through the relay.

use super::{Integers, PunctureError, put_integers};
use crate::cbor::{self, Cursor, Items};
use crate::limits::MAX_ADDRESS;
use crate::udp;
use core::net::{IpAddr, SocketAddr};

/// One side's half of the negotiation. Initiate and Acknowledge look alike; who gets it knows which
/// it is.
///
/// ```text
/// 82              array of 2
///   text          the side's public "ip:port", as the rendezvous saw it
///   integers      value of the local address of its worker for this puncture
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Public address, in [canonical](udp::canonical) form.
    pub public: SocketAddr,
    /// Value of the worker's address.
    pub worker: Vec<u8>,
}

impl Endpoint {
    /// Reads the payload of an Initiate or Acknowledge.
    ///
    /// # Errors
    /// [`PunctureError`] when it is none, or one that nothing can be sent to.
    pub fn decode(payload: &[u8]) -> Result<Self, PunctureError> {
        let mut cursor = Cursor::new(payload);
        let mut fields = Items::new(cursor.array()?);
        if !fields.more(&mut cursor)? {
            return Err(PunctureError::Missing);
        }
        let text = cursor.text()?;
        if !fields.more(&mut cursor)? {
            return Err(PunctureError::Missing);
        }
        let worker = Integers::decode(&mut cursor)?;
        while fields.more(&mut cursor)? {
            cursor.skip()?;
        }
        let public = udp::parse_peer(text).filter(|public| is_usable(*public));
        let public = public.ok_or(PunctureError::PublicAddress)?;
        if worker.is_empty() || worker.len() > MAX_ADDRESS {
            return Err(PunctureError::Worker(worker.len()));
        }
        Ok(Self {
            public,
            worker: worker.to_vec(),
        })
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        cbor::put_head(&mut out, cbor::ARRAY, 2);
        cbor::put_text(&mut out, &udp::canonical(self.public).to_string());
        put_integers(&mut out, &self.worker);
        out
    }
}

/// Whether a datagram can be sent there: to one host, and a port.
///
/// The node's own addresses and those of its networks are among them: two nodes may well be there.
pub(super) fn is_usable(address: SocketAddr) -> bool {
    let ip = address.ip();
    let is_broadcast = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}
