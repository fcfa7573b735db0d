//! Portal messages as bytes (`protocol/03-portals.md` 1).

use core::ops::{BitAnd, Range};

use super::PortalError;
use crate::bare;

/// Marks the extension behind the first byte of Ping and Pong.
const MARK: &[u8; 4] = b"CVT1";

/// Largest window honoured, in bytes: a larger announcement is read as this one.
///
/// Bounds what one stream can have in flight, whatever the peer offers.
pub const MAX_WINDOW: u32 = 64 << 20;

/// Space that every [`Control`] message fits in, in bytes.
pub const MAX_CONTROL: usize = 32;

// Kind, mark, features, window.
const _: () = assert!(1 + MARK.len() + 2 * bare::MAX_ULEB128 <= MAX_CONTROL);

/// First byte of a portal message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Inlet to outlet listener: open a connection to the target.
    Ping = 0,
    /// Outlet to inlet: the target is connected.
    Pong = 1,
    /// Either way: the TCP connection is closed in both directions.
    Disconnect = 2,
    /// Either way: bytes of the TCP connection.
    Payload = 3,
    /// Extension: more bytes may be sent.
    Credit = 4,
    /// Extension: no more bytes will be sent in this direction.
    Eof = 5,
    /// Extension: the TCP connection broke.
    Reset = 6,
}

/// A set of things that both ends must name before either uses them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features(u64);

impl Features {
    /// Bit 0: payload bytes count against a window; [`Kind::Credit`] opens it again.
    pub const CREDIT: Self = Self(1);
    /// Bit 1: one direction may end before the other, [`Kind::Eof`].
    pub const HALF_CLOSE: Self = Self(1 << 1);
    /// Bit 2: a broken TCP connection is told from a closed one, [`Kind::Reset`].
    pub const RESET: Self = Self(1 << 2);
    /// Everything this version knows.
    pub const ALL: Self = Self(0b111);

    /// Reads the flags of a message; bits without a meaning yet are kept and match nothing.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The flags as written in a message.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether every member of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitAnd for Features {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// What a Culvert end adds to Ping or Pong.
///
/// ```text
/// 43 56 54 31   "CVT1"
/// ULEB128       features, one bit each
/// ULEB128       window granted to the receiver of this message, in payload bytes
/// ```
///
/// An Ockam node ignores everything behind the first byte of Ping and Pong, and bytes behind the
/// window are ignored here in the same way. A window of zero means that the extension is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// What the sender is ready for (Ping) or agrees to (Pong).
    pub features: Features,
    /// Payload bytes the receiver of this message may have outstanding, 1 to [`MAX_WINDOW`].
    pub window: u32,
}

impl Extension {
    /// Reads what follows the first byte of Ping or Pong.
    ///
    /// # Errors
    ///
    /// [`PortalError::Truncated`] or [`PortalError::OutOfRange`] for a marker with broken numbers.
    fn decode(rest: &[u8]) -> Result<Option<Self>, PortalError> {
        let Some(rest) = rest.strip_prefix(MARK) else {
            return Ok(None);
        };
        let (bits, rest) = read_uleb128(rest)?;
        let (window, _) = read_uleb128(rest)?;
        if window == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            features: Features(bits),
            window: window.min(u64::from(MAX_WINDOW)) as u32,
        }))
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.bytes(MARK);
        out.uleb128(self.features.bits());
        out.uleb128(u64::from(self.window));
    }
}

/// One portal message, borrowed from the payload of a routed message.
///
/// ```text
/// 00 [extension]                   Ping
/// 01 [extension]                   Pong
/// 02                               Disconnect
/// 03 ULEB128 n, n bytes [counter]  Payload
/// 04 ULEB128 n                     Credit   (extension)
/// 05                               Eof      (extension)
/// 06                               Reset    (extension)
/// ```
///
/// `counter` is nothing, `00`, or `01` and a little-endian u16; it is read and never written.
/// Bytes behind a complete message are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortalMessage<'a> {
    /// Open a connection to the target.
    Ping {
        /// Present when the inlet is Culvert.
        ext: Option<Extension>,
    },
    /// The target is connected.
    Pong {
        /// Present when the outlet is Culvert and the Ping carried one.
        ext: Option<Extension>,
    },
    /// The TCP connection is closed in both directions.
    Disconnect,
    /// Bytes of the TCP connection.
    Payload {
        /// The bytes; may be none.
        data: &'a [u8],
        /// Position of this message among the payloads of its direction, modulo 65536.
        counter: Option<u16>,
    },
    /// This many more payload bytes may be sent.
    Credit {
        /// Payload bytes, at most [`MAX_WINDOW`].
        bytes: u32,
    },
    /// No more payload will follow in this direction.
    Eof,
    /// The TCP connection broke: nothing more can be delivered or sent.
    Reset,
}

impl<'a> PortalMessage<'a> {
    /// Reads one message.
    ///
    /// # Errors
    ///
    /// [`PortalError::Empty`], [`PortalError::UnknownKind`], [`PortalError::Truncated`] or
    /// [`PortalError::OutOfRange`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, PortalError> {
        let Some((&kind, rest)) = payload.split_first() else {
            return Err(PortalError::Empty);
        };
        match kind {
            0 => Ok(Self::Ping {
                ext: Extension::decode(rest)?,
            }),
            1 => Ok(Self::Pong {
                ext: Extension::decode(rest)?,
            }),
            2 => Ok(Self::Disconnect),
            3 => {
                let (data, counter) = decode_payload(payload)?;
                Ok(Self::Payload {
                    data: &payload[data],
                    counter,
                })
            }
            4 => match read_uleb128(rest)? {
                (n, _) if n > u64::from(MAX_WINDOW) => Err(PortalError::OutOfRange),
                (n, _) => Ok(Self::Credit { bytes: n as u32 }),
            },
            5 => Ok(Self::Eof),
            6 => Ok(Self::Reset),
            other => Err(PortalError::UnknownKind(other)),
        }
    }

    /// Appends the encoding, without a counter, as every release that can be met writes it.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let control = match *self {
            Self::Ping { ext } => Control::Ping(ext),
            Self::Pong { ext } => Control::Pong(ext),
            Self::Disconnect => Control::Disconnect,
            Self::Credit { bytes } => Control::Credit(bytes),
            Self::Eof => Control::Eof,
            Self::Reset => Control::Reset,
            Self::Payload { data, .. } => {
                let (head, len) = payload_header(data.len());
                out.extend_from_slice(&head[..len]);
                out.extend_from_slice(data);
                return;
            }
        };
        let mut space = [0; MAX_CONTROL];
        let len = control.encode(&mut space);
        out.extend_from_slice(&space[..len]);
    }

    /// The first byte of this message.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Ping { .. } => Kind::Ping,
            Self::Pong { .. } => Kind::Pong,
            Self::Disconnect => Kind::Disconnect,
            Self::Payload { .. } => Kind::Payload,
            Self::Credit { .. } => Kind::Credit,
            Self::Eof => Kind::Eof,
            Self::Reset => Kind::Reset,
        }
    }
}

/// A message without payload bytes: what [`Stream::poll_send`](super::Stream::poll_send) yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// See [`PortalMessage::Ping`].
    Ping(Option<Extension>),
    /// See [`PortalMessage::Pong`].
    Pong(Option<Extension>),
    /// See [`PortalMessage::Credit`].
    Credit(u32),
    /// See [`PortalMessage::Eof`].
    Eof,
    /// See [`PortalMessage::Reset`].
    Reset,
    /// See [`PortalMessage::Disconnect`].
    Disconnect,
}

impl Control {
    /// Writes the message to the front of `out` and returns its length.
    #[must_use]
    pub fn encode(&self, out: &mut [u8; MAX_CONTROL]) -> usize {
        let mut out = Writer { out, len: 0 };
        match self {
            Self::Ping(ext) | Self::Pong(ext) => {
                out.kind(if matches!(self, Self::Ping(_)) {
                    Kind::Ping
                } else {
                    Kind::Pong
                });
                if let Some(ext) = ext {
                    ext.encode(&mut out);
                }
            }
            Self::Credit(bytes) => {
                out.kind(Kind::Credit);
                out.uleb128(u64::from(*bytes));
            }
            Self::Eof => out.kind(Kind::Eof),
            Self::Reset => out.kind(Kind::Reset),
            Self::Disconnect => out.kind(Kind::Disconnect),
        }
        out.len
    }
}

/// The bytes in front of `n` payload bytes, `03` and ULEB128 `n`, and how many of the six count.
///
/// Lengths above `u32::MAX` have no such header; no transport carries them.
#[must_use]
pub fn payload_header(n: usize) -> ([u8; 6], usize) {
    debug_assert!(u32::try_from(n).is_ok());
    let mut head = [0; 6];
    let mut out = Writer {
        out: &mut head,
        len: 0,
    };
    out.kind(Kind::Payload);
    out.uleb128(n as u32 as u64);
    let len = out.len;
    (head, len)
}

/// Appends to a slice; what does not fit is left out, which the sizes above exclude.
struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn kind(&mut self, kind: Kind) {
        self.bytes(&[kind as u8]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(space) = self.out.get_mut(self.len..self.len + bytes.len()) {
            space.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn uleb128(&mut self, value: u64) {
        let (bytes, len) = bare::uleb128(value);
        self.bytes(&bytes[..len]);
    }
}

/// Where the data of a Payload lies in it, and its counter. The first byte is not looked at.
pub(super) fn decode_payload(payload: &[u8]) -> Result<(Range<usize>, Option<u16>), PortalError> {
    let body = payload.get(1..).ok_or(PortalError::Empty)?;
    let (len, rest) = read_uleb128(body)?;
    let (data, suffix) = usize::try_from(len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or(PortalError::Truncated)?;
    let start = payload.len() - rest.len();
    Ok((start..start + data.len(), read_counter(suffix)))
}

/// Counter behind the data: only `01` followed by at least two bytes is one.
fn read_counter(suffix: &[u8]) -> Option<u16> {
    match *suffix {
        [1, low, high, ..] => Some(u16::from_le_bytes([low, high])),
        _ => None,
    }
}

/// Reads a number, and what follows it.
fn read_uleb128(input: &[u8]) -> Result<(u64, &[u8]), PortalError> {
    let (value, len) = bare::read_uleb128(input)?;
    Ok((value, &input[len..]))
}
