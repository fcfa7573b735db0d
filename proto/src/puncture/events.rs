//! What a puncture says to its caller.

use super::{Failure, Payload};
use core::net::SocketAddr;

/// Which side of a puncture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Proposes.
    Initiator,
    /// Was proposed to.
    Responder,
}

/// How far a puncture is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Asks the rendezvous for our public address.
    Locating,
    /// The initiator waits for the Acknowledge.
    Negotiating,
    /// Both addresses are known; what comes through has to be seen.
    Probing,
    /// A Ping was answered, and the peer's Pings come.
    Open,
    /// It is over: nothing more is sent. A new attempt is a new puncture on a new socket.
    Failed(Failure),
}

/// A message to be sent over the puncture's socket, in datagrams.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// A transport message.
    pub message: Vec<u8>,
}

/// What to do now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this over the puncture's socket.
    Datagrams(Transmit),
    /// Send this payload through the relay: an initiator's is an Initiate, for the worker
    /// [`NEGOTIATION`](super::NEGOTIATION) of the peer; a responder's is an Acknowledge, for the
    /// return route of the Initiate.
    Negotiate(Vec<u8>),
}

/// What a message from the socket led to, beside what [`Puncture`](super::Puncture) says of itself.
#[derive(Clone, Debug)]
pub enum Received<'a> {
    /// Nothing the caller has to do.
    Nothing,
    /// Send this back.
    Answer(Transmit),
    /// The peer sent a message: to be delivered here, with the address of the local sender of this
    /// puncture in front of the return route, as allowed by the puncture's flow control. May come
    /// before the path is open for this side.
    Payload(Payload<'a>),
    /// The peer, another Culvert node, sent a segment.
    Segment(&'a [u8]),
}
