//! Portals: TCP connections carried by routed messages.
//!
//! An *inlet* accepts TCP clients, an *outlet* connects to the TCP service. Each accepted
//! connection gets one [`Stream`] at either end; the two talk in [`PortalMessage`]s, one per routed
//! message. Neither type owns a socket, a buffer or a clock.
//!
//! ```text
//! TCP client   inlet Stream                       outlet Stream        target
//!    | connect -> |  -- Ping ---------------------->  |  -- connect ---> |
//!    |            |  <---------------------- Pong --  |                  |
//!    | bytes ---> |  -- Payload ------------------->  |  -- bytes -----> |
//!    | <--------- |  <------------------- Payload --  |  <-------------- |
//! ```
//!
//! The messages and states of `protocol/03-portals.md` 1-6 are kept to the byte, so either end may
//! be an Ockam node. Two Culvert ends find each other through the [`Extension`] behind the first
//! byte of Ping and Pong, where an Ockam node never looks, and then also have per-stream credit,
//! half-close and reset. Those messages are never sent to a peer that did not name them.
//!
//! Not here: the return-route check, the identity check and the choice of addresses
//! (`protocol/03-portals.md` 2 rule 6 and "Identity"). They need the routed message around the
//! payload and belong to the worker that owns the stream.
//!
//! # Example
//!
//! ```
//! use culvert_proto::portal::{Config, MAX_CONTROL, PortalMessage, Received, Stream};
//! # fn main() -> Result<(), culvert_proto::portal::PortalError> {
//! let cfg = Config::default();
//! let mut space = [0; MAX_CONTROL];
//!
//! let mut inlet = Stream::inlet(&cfg, 0);
//! let len = inlet.poll_send().map_or(0, |ping| ping.encode(&mut space));
//!
//! let mut outlet = Stream::outlet(&cfg, &PortalMessage::decode(&space[..len])?);
//! outlet.connected();
//! let len = outlet.poll_send().map_or(0, |pong| pong.encode(&mut space));
//!
//! assert_eq!(inlet.on_message(&space[..len])?, Received::Opened);
//! assert!(inlet.can_read() > 0 && inlet.peer_is_culvert());
//!
//! // What an inlet read from its client, behind the bytes of `payload_header`:
//! assert_eq!(outlet.on_message(b"\x03\x05hello")?, Received::Data(2..7));
//! # Ok(())
//! # }
//! ```

mod codec;
mod config;
mod credit;
mod error;
mod skip;
mod stream;

pub use codec::{
    Control, Extension, Features, Kind, MAX_CONTROL, MAX_WINDOW, PortalMessage, payload_header,
};
pub use config::Config;
pub use error::PortalError;
pub use skip::{SkipError, SkipHandshake};
pub use stream::{Received, Stream};
