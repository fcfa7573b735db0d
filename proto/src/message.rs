//! The transport message: what one TCP frame carries.
//!
//! Specification: `protocol/01-transport.md` 3.3.
//!
//! ```text
//! 84                     array of 4 (3 without tracing)
//!   8n address*n         onward route: where to deliver, first hop first
//!   8m address*m         return route: the way back
//!   bytes                payload
//!   text                 tracing context, optional: "{}" is 62 7b7d
//! ```
//!
//! [`Layout`] is the hot path: offsets into the received bytes. [`Message`] owns its parts, for the
//! control plane. [`write_header`] builds what stands in front of a payload that is already in
//! place.

mod layout;
mod owned;

pub use layout::Layout;
pub use owned::{Message, TRACING_NONE, header_len, write_header};

use crate::cbor::CborError;
use crate::route::RouteError;

/// Why a message is refused. The connection it came on cannot go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The bytes are not the CBOR of a message.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// The onward or the return route is not acceptable.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A mandatory field is missing.
    #[error("message of fewer than three elements")]
    Missing,
    /// Longer than [`crate::limits::MAX_FRAME`].
    #[error("message too long")]
    TooLong,
}
