//! Why a portal message was refused.

use super::Kind;
use crate::bare::BareError;

/// Why a portal message was refused. Always the peer's doing.
///
/// [`PortalError::is_fatal`] separates the two consequences: most messages are dropped and the
/// stream goes on as if they had never arrived (`protocol/03-portals.md` 1 and 2 rule 7); a few
/// mean that bytes were lost or that the peer breaks what it agreed to, and end the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortalError {
    /// The payload of the routed message has no byte at all.
    #[error("empty portal message")]
    Empty,
    /// The first byte names no message that was agreed on.
    #[error("unknown portal message {0:#04x}")]
    UnknownKind(u8),
    /// The message ends inside a length or inside the data that its length announces.
    #[error("truncated portal message")]
    Truncated,
    /// A number is larger than its type or than its documented limit.
    #[error("number out of range in portal message")]
    OutOfRange,
    /// A message that this end does not accept in its present state.
    #[error("portal message {0:?} not expected in this state")]
    Unexpected(Kind),
    /// Payload counters have a gap or a repetition.
    #[error("payload counter {got}, expected {expected}")]
    WrongCounter {
        /// The counter that would have continued the sequence.
        expected: u16,
        /// The counter received.
        got: u16,
    },
    /// The peer sent more bytes than its credit.
    #[error("payload of {got} bytes with credit for {allowed}")]
    CreditExceeded {
        /// Bytes the peer was allowed to send.
        allowed: u32,
        /// Bytes it sent.
        got: usize,
    },
    /// The peer returned more credit than was used.
    #[error("credit above the announced window")]
    CreditOverflow,
    /// Data, or a second end, after the end of data.
    #[error("{0:?} after the end of data")]
    AfterEnd(Kind),
}

impl PortalError {
    /// Whether the stream has ended because of it.
    ///
    /// A fatal error has already put the goodbye to the peer in line, see
    /// [`Stream::poll_send`](super::Stream::poll_send); any other one changed nothing.
    #[must_use]
    pub fn is_fatal(self) -> bool {
        match self {
            Self::WrongCounter { .. }
            | Self::CreditExceeded { .. }
            | Self::CreditOverflow
            | Self::AfterEnd(_) => true,
            Self::Empty
            | Self::UnknownKind(_)
            | Self::Truncated
            | Self::OutOfRange
            | Self::Unexpected(_) => false,
        }
    }
}

impl From<BareError> for PortalError {
    fn from(error: BareError) -> Self {
        match error {
            BareError::Overflow => Self::OutOfRange,
            BareError::End | BareError::Utf8 => Self::Truncated,
        }
    }
}
