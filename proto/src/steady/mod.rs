//! Messages along a direct path that loses nothing and keeps their order.
//!
//! UDP loses datagrams and changes their order; a secure channel needs every message. Between Culvert
//! nodes messages therefore travel along a [punctured](crate::puncture) path in numbered segments that
//! are acknowledged and sent again. Ockam nodes know nothing of this: to them each message goes by
//! itself, and one that is lost ends the channel.
//!
//! ```text
//! part of a message     00 number u64 | bytes         more parts follow
//! its last part         01 number u64 | bytes
//! acknowledgement       02 next u64   | bits          bit i: segment next + 1 + i has arrived
//! ```
//!
//! Numbers are big endian and count from 0 in each direction; bit 0 is the lowest of the first byte.
//! A segment is the content of a puncture message of its own
//! ([`PunctureMessage::Segment`](crate::puncture::PunctureMessage::Segment)).
//!
//! How much may be under way grows and shrinks as with TCP (RFC 5681), and what counts as lost is
//! decided as with QUIC (RFC 9002): what was sent three transmissions before something that arrived.
//!
//! Nothing here is authenticated. A forged segment makes a message that the secure channel inside
//! refuses, and then the channel ends.

mod receive;
mod send;

use crate::limits::MAX_FRAME;
use receive::Receiver;
use send::Sender;

/// Segments that may be under way, or wait for one that is missing, at a time.
pub const WINDOW: usize = 512;
/// Most bytes of a message in one segment: with everything around it a datagram of 1200 bytes, which
/// practically every path takes.
pub const SEGMENT: usize = 1_100;
/// Bytes in front of those.
const HEAD: usize = 9;

const PART: u8 = 0;
const LAST: u8 = 1;
const ACK: u8 = 2;

/// Why a segment was refused. Nothing was changed, but by [`Self::TooLong`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SteadyError {
    /// Shorter than its head, of an unknown kind, or a part without bytes or with more than
    /// [`SEGMENT`].
    #[error("not a segment")]
    Malformed,
    /// Acknowledges what was never sent.
    #[error("acknowledges segment {0}, which was not sent")]
    NotSent(u64),
    /// Further ahead than anything that may be under way.
    #[error("segment {0} is too far ahead")]
    TooFar(u64),
    /// The message is longer than [`MAX_FRAME`]. The path cannot go on.
    #[error("message is too long")]
    TooLong,
}

/// Both directions of one path, at one end.
///
/// After each call, and when [`Self::deadline_ms`] has passed, call [`Self::poll`] until it gives
/// nothing, and send what it gives; take what has arrived from [`Self::next_message`]. Times are
/// milliseconds of any clock that does not go back.
///
/// Memory is bounded by [`WINDOW`] segments in each direction, one unfinished message, and what the
/// caller pushes: it looks at [`Self::waiting`] before.
#[derive(Debug)]
pub struct Steady {
    send: Sender,
    receive: Receiver,
}

impl Default for Steady {
    fn default() -> Self {
        Self::new()
    }
}

impl Steady {
    /// A path on which nothing was sent.
    #[must_use]
    pub fn new() -> Self {
        Self {
            send: Sender::new(),
            receive: Receiver::new(),
        }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// [`SteadyError::TooLong`], and [`SteadyError::Malformed`] for one without bytes.
    pub fn push(&mut self, message: Vec<u8>) -> Result<(), SteadyError> {
        match message.len() {
            0 => Err(SteadyError::Malformed),
            len if len > MAX_FRAME => Err(SteadyError::TooLong),
            _ => {
                self.send.push(message);
                Ok(())
            }
        }
    }

    /// Bytes that were pushed and not sent for the first time.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.send.waiting()
    }

    /// Whether everything that was pushed has arrived.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.send.is_idle()
    }

    /// Segments that were sent more than once so far.
    #[must_use]
    pub const fn sent_again(&self) -> u64 {
        self.send.sent_again()
    }

    /// When to ask [`Self::poll`] again although nothing happens.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        self.send.deadline_ms()
    }

    /// The next segment to send now.
    pub fn poll(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        self.receive
            .acknowledgement()
            .or_else(|| self.send.poll(now_ms))
    }

    /// Takes a segment of the other end.
    ///
    /// # Errors
    /// [`SteadyError`] when it was refused.
    pub fn on_segment(&mut self, now_ms: u64, segment: &[u8]) -> Result<(), SteadyError> {
        let (head, rest) = segment
            .split_first_chunk::<HEAD>()
            .ok_or(SteadyError::Malformed)?;
        let [kind, number @ ..] = *head;
        let number = u64::from_be_bytes(number);
        match kind {
            ACK => self.send.on_acknowledgement(now_ms, number, rest),
            PART | LAST if (1..=SEGMENT).contains(&rest.len()) => {
                self.receive.on_part(number, kind == LAST, rest)
            }
            _ => Err(SteadyError::Malformed),
        }
    }

    /// The next message that has arrived, in the order in which they were pushed.
    pub fn next_message(&mut self) -> Option<Vec<u8>> {
        self.receive.next_message()
    }
}

fn segment(kind: u8, number: u64, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + rest.len());
    out.push(kind);
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(rest);
    out
}
