//! The rendezvous: a UDP service that tells nodes their public address.
//!
//! Specification: `protocol/01-transport.md` 5.1. A node behind a NAT asks through the socket it
//! will use; the service answers with where the datagram came from.
//!
//! ```text
//! request    82 00 80          Ping
//!            82 01 80          GetMyAddress
//! response   82 00 80          Pong
//!            82 01 81 <text>   GetMyAddress: "ip:port"
//! ```
//!
//! [`Request`] and [`Response`] are what travels, [`Service`] is who answers.

mod service;

pub use service::{Config, Refusal, Seen, Service, asker};

use crate::cbor::{self, CborError, Cursor, Items};
use crate::udp;
use core::net::SocketAddr;

/// Local address of the service on nodes of the reference.
pub const SERVICE: &str = "rendezvous";

/// Number of the variants Ping and Pong.
const PING: u64 = 0;
/// Number of the variants GetMyAddress.
const GET_MY_ADDRESS: u64 = 1;

/// Why bytes are not a request or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RendezvousError {
    /// The bytes are not the CBOR of a message.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// The outer item is no enum: an array of two.
    #[error("not an enum of two elements")]
    NotAnEnum,
    /// A variant that the specification does not know.
    #[error("unknown rendezvous message {0}")]
    Variant(u64),
    /// A response without the address it is about.
    #[error("response without an address")]
    Missing,
    /// The text is not `ip:port`.
    #[error("response with something else than an IP address and a port")]
    Address,
}

/// What a node asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Whether the service is there.
    Ping,
    /// Where the request came from.
    GetMyAddress,
}

impl Request {
    /// Reads the payload of a request.
    ///
    /// # Errors
    /// [`RendezvousError`] when it is none.
    pub fn decode(payload: &[u8]) -> Result<Self, RendezvousError> {
        let mut cursor = Cursor::new(payload);
        let request = match enum_head(&mut cursor)?.ok_or(RendezvousError::NotAnEnum)? {
            PING => Self::Ping,
            GET_MY_ADDRESS => Self::GetMyAddress,
            other => return Err(RendezvousError::Variant(other)),
        };
        cursor.skip()?;
        Ok(request)
    }

    /// The payload.
    #[must_use]
    pub const fn encode(self) -> [u8; 3] {
        match self {
            Self::Ping => [0x82, PING as u8, 0x80],
            Self::GetMyAddress => [0x82, GET_MY_ADDRESS as u8, 0x80],
        }
    }
}

/// What the service answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response {
    /// It is there.
    Pong,
    /// Where the request came from, in [canonical](udp::canonical) form.
    ///
    /// The reference would take any text. Its services only write IP addresses, and we look nothing
    /// up that a peer tells us.
    GetMyAddress(SocketAddr),
}

impl Response {
    /// Reads the payload of a response.
    ///
    /// # Errors
    /// [`RendezvousError`] when it is none.
    pub fn decode(payload: &[u8]) -> Result<Self, RendezvousError> {
        let mut cursor = Cursor::new(payload);
        match enum_head(&mut cursor)?.ok_or(RendezvousError::NotAnEnum)? {
            PING => {
                cursor.skip()?;
                Ok(Self::Pong)
            }
            GET_MY_ADDRESS => {
                let mut fields = Items::new(cursor.array()?);
                if !fields.more(&mut cursor)? {
                    return Err(RendezvousError::Missing);
                }
                let text = cursor.text()?;
                while fields.more(&mut cursor)? {
                    cursor.skip()?;
                }
                let address = udp::parse_peer(text).ok_or(RendezvousError::Address)?;
                Ok(Self::GetMyAddress(address))
            }
            other => Err(RendezvousError::Variant(other)),
        }
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Pong => vec![0x82, PING as u8, 0x80],
            Self::GetMyAddress(address) => {
                let mut out = vec![0x82, GET_MY_ADDRESS as u8, 0x81];
                cbor::put_text(&mut out, &udp::canonical(*address).to_string());
                out
            }
        }
    }
}

/// Reads the head of an enum and the number of its variant; `None` if it is not an array of exactly
/// two elements (`protocol/01-transport.md` 1.2). The variant's fields follow.
pub(crate) fn enum_head(cursor: &mut Cursor<'_>) -> Result<Option<u64>, CborError> {
    match cursor.array()? {
        Some(2) => cursor.u64().map(Some),
        _ => Ok(None),
    }
}
