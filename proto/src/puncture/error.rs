//! What is refused, and why punctures fail.

use crate::cbor::CborError;
use crate::message::MessageError;
use crate::rendezvous::RendezvousError;
use crate::route::RouteError;
use core::net::SocketAddr;

/// Why something was refused. Only [`Self::Family`] and a refused Acknowledge end a puncture; what
/// comes from the network otherwise changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PunctureError {
    /// The bytes are not a transport message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The payload is not the CBOR of a puncture message.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A route inside the payload is not acceptable.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The payload is no enum: an array of two.
    #[error("not an enum of two elements")]
    NotAnEnum,
    /// A variant that the specification does not know.
    #[error("unknown puncture message {0}")]
    Variant(u64),
    /// A mandatory field is missing.
    #[error("puncture message with a field missing")]
    Missing,
    /// The answer of the rendezvous is none.
    #[error(transparent)]
    Rendezvous(#[from] RendezvousError),
    /// An answer in the name of the rendezvous came from elsewhere.
    #[error("answer of the rendezvous from {0}")]
    NotTheRendezvous(SocketAddr),
    /// A public address that is not an IP address and a port, or to which nothing can be sent.
    #[error("public address that nothing can be sent to")]
    PublicAddress,
    /// The value of a worker's address is empty or too long. In bytes.
    #[error("worker address of {0} bytes")]
    Worker(usize),
    /// The worker's address and that for the rendezvous are the same.
    #[error("one address for the peer and for the rendezvous")]
    SameAddress,
    /// One side has an IPv4 address and the other an IPv6 address.
    #[error("public addresses of two families: {ours} and {theirs}")]
    Family {
        /// Our public address.
        ours: SocketAddr,
        /// The peer's.
        theirs: SocketAddr,
    },
    /// The message is for another local address than those of this puncture.
    #[error("message for an address that is not of this puncture")]
    OtherAddress,
    /// A message that this puncture does not accept in its phase.
    #[error("message not expected in this phase")]
    Unexpected,
    /// The path is not open: the message has to wait, or to go through the relay.
    #[error("the path is not open")]
    NotOpen,
    /// A message that is too long to be sent. In bytes, as encoded.
    #[error("message of {0} bytes is too long")]
    TooLong(usize),
}

/// Why there is no path, or none any more. The caller stays with, or goes back to, the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The rendezvous did not answer: it is down, or UDP is blocked.
    #[error("the rendezvous does not answer over UDP")]
    NoRendezvous,
    /// The peer did not acknowledge: it offers no punctures, or its rendezvous is down.
    #[error("the peer does not acknowledge the puncture")]
    NoAcknowledge,
    /// The peer acknowledged with something else than an address.
    #[error("the peer acknowledged the puncture without a usable address")]
    BadAcknowledge,
    /// One side has an IPv4 address and the other an IPv6 address.
    #[error("the two sides have addresses of different families")]
    Family,
    /// No Pong came: the NATs do not allow it, or UDP is blocked on the way.
    #[error("the NATs between the two sides let nothing through")]
    NotOpened,
    /// The path was open, and no Pong came for too long.
    #[error("the path fell silent")]
    Silent,
}
