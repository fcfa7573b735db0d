//! Secure channels: the handshake, and the transport that follows it.
//!
//! Specification: `protocol/13-secure-channel.md`.
//!
//! ```text
//! initiator                               responder
//! Initiator::start       -- message 1 ->  Responder::accept
//! handle_message2        <- message 2 --
//!                        -- message 3 ->  handle_message3
//! Established { seal, open }              Established { seal, open }
//! ```
//!
//! The handshake is Noise XX under Ockam's own protocol name, driven by `snow`; after it the raw
//! keys are taken out and [`Sealer`] and [`Opener`] protect messages in place.
//!
//! What is stricter or better than a real node, without being visible to an honest one:
//!
//! * an all-zero DH result ends the handshake;
//! * the peer's history is stored only after every check has passed, trust policy included;
//! * a bad message 2 does not end the handshake (see [`Initiator::read_message2`]);
//! * more than 32 lost messages do not end the channel (see [`MAX_AHEAD`]).

mod handshake;
mod noise;
mod transport;

pub use culvert_proto::secure_channel::inner;
pub use handshake::{
    Endpoint, EndpointError, Established, HandshakeError, Initiator, MAX_CREDENTIALS, Responder,
    accept_refresh,
};
pub use transport::{
    MAX_AHEAD, MAX_BEHIND, OVERHEAD, OpenError, Opened, Opener, REKEY_INTERVAL, SealError, Sealer,
};
