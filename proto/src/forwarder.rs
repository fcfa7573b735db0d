//! Registration of a name with a relay.
//!
//! Specification: `protocol/04-relay.md` 1 to 4 and 8.
//!
//! A node sends a name to the relay's service and learns from the reply which worker forwards to it:
//!
//! ```text
//! request        BARE string: name, or "register" for a random one
//! confirmation   BARE string: ends with the name        (sent by the worker itself)
//! ```
//!
//! Culvert nodes add bytes that decoders of the reference ignore:
//!
//! ```text
//! request, confirmation   string "CVT1" flags(u8) [ process(u64 big-endian) lane(u8) ]
//!                         flags: 01 forward over the link, 02 process and lane follow
//! refusal                 string "CVT1" 80 reason(u8)    only to a peer that sent the marker
//! ```

use crate::address::LOCAL;
use crate::bare::{self, BareError};
use crate::limits::MAX_RELAY_NAME;
use crate::route::RouteView;

/// Address of the service that the reference uses for random names.
pub const FORWARDING_SERVICE: &str = "forwarding_service";
/// Address of the service that the reference uses for given names. Both behave alike.
pub const STATIC_FORWARDING_SERVICE: &str = "static_forwarding_service";
/// Address of the service of Culvert relays that the first message on a link goes to when the process
/// has several: the registration that will be made over it. It is not answered.
pub const PLACEMENT: &str = "culvert_placement";
/// What the address of a relay worker starts with.
pub const PREFIX: &str = "forward_to_";
/// The request for a random name.
pub const REGISTER: &str = "register";

/// What bytes after a complete value start with when a Culvert node wrote them.
pub const MARKER: &[u8; 4] = b"CVT1";
/// Flag of a refusal.
const REFUSED: u8 = 0x80;

/// Why a request or a reply is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwarderError {
    /// The payload is not a BARE string.
    #[error(transparent)]
    Bare(#[from] BareError),
    /// The name contains `#`, which ends the process of a relay of the reference.
    #[error("relay name with a '#'")]
    Hash,
    /// The name is longer than [`MAX_RELAY_NAME`] bytes.
    #[error("relay name of {0} bytes is too long")]
    TooLong(usize),
    /// A refusal without a reason.
    #[error("refusal without a reason")]
    Reason,
    /// The confirmed name is not the one that was asked for.
    #[error("confirmation of another name")]
    OtherName,
    /// The confirmation's return route does not end with a local worker.
    #[error("confirmation without the address of a worker")]
    NoWorker,
}

/// Most links over which a process holds a name.
pub const MAX_LANES: u8 = 16;

/// One of several links over which a process holds the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lane {
    /// When the process started, in milliseconds since 1970-01-01 UTC, and 16 random bits below
    /// that: a later process of the same identity takes the name over, the same one adds to it.
    pub process: u64,
    /// Which of its links this is, below [`MAX_LANES`].
    pub number: u8,
}

/// What a Culvert node wants or grants beyond the reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extension {
    /// Forward messages over the link they would take anyway, not through the channel in which the
    /// registration was made: their own end-to-end channel protects them.
    pub over_link: bool,
    /// Hold the name over several links at once.
    pub lane: Option<Lane>,
}

impl Extension {
    const OVER_LINK: u8 = 0x01;
    const LANE: u8 = 0x02;

    fn encode_into(self, out: &mut Vec<u8>) {
        let over_link = if self.over_link { Self::OVER_LINK } else { 0 };
        let lane = if self.lane.is_some() { Self::LANE } else { 0 };
        out.extend_from_slice(MARKER);
        out.push(over_link | lane);
        if let Some(lane) = self.lane {
            out.extend_from_slice(&lane.process.to_be_bytes());
            out.push(lane.number);
        }
    }

    // Unknown flags are for later versions: ignored.
    fn decode(flags: u8, rest: &[u8]) -> Self {
        let lane = match rest.split_first_chunk() {
            Some((process, [number, ..])) if flags & Self::LANE != 0 => Some(Lane {
                process: u64::from_be_bytes(*process),
                number: *number,
            }),
            _ => None,
        };
        Self {
            over_link: flags & Self::OVER_LINK != 0,
            lane,
        }
    }
}

/// Why a relay refuses a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Someone else holds the name.
    Taken,
    /// The peer may not register this name.
    NotAllowed,
    /// The name is not valid.
    BadName,
    /// The relay or the peer has as many registrations as it may.
    Full,
    /// A later process of the same identity holds the name.
    Later,
    /// A reason of a later version.
    Other(u8),
}

impl Refusal {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Taken => 1,
            Self::NotAllowed => 2,
            Self::BadName => 3,
            Self::Full => 4,
            Self::Later => 5,
            Self::Other(reason) => reason,
        }
    }

    const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Taken,
            2 => Self::NotAllowed,
            3 => Self::BadName,
            4 => Self::Full,
            5 => Self::Later,
            reason => Self::Other(reason),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Registration<'a> {
    /// A given name, without the prefix.
    Named(&'a str),
    /// A random name, chosen by the relay.
    Ephemeral,
}

impl<'a> Registration<'a> {
    /// The text that stands for it in the request.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        match self {
            Self::Named(name) => name,
            Self::Ephemeral => REGISTER,
        }
    }
}

/// Checks a name: any text without `#`, at most [`MAX_RELAY_NAME`] bytes, may be empty.
///
/// # Errors
/// [`ForwarderError::Hash`] or [`ForwarderError::TooLong`].
pub fn check_name(name: &str) -> Result<(), ForwarderError> {
    if name.contains('#') {
        return Err(ForwarderError::Hash);
    }
    if name.len() > MAX_RELAY_NAME {
        return Err(ForwarderError::TooLong(name.len()));
    }
    Ok(())
}

/// The address value of the worker that forwards to `name`.
#[must_use]
pub fn worker_name(name: &str) -> String {
    [PREFIX, name].concat()
}

/// A registration request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// What is asked for.
    pub registration: Registration<'a>,
    /// The marker of a Culvert node, `None` from the reference.
    pub extension: Option<Extension>,
}

impl<'a> Request<'a> {
    /// Reads the payload of a request and checks the name.
    ///
    /// # Errors
    /// [`ForwarderError`] when the payload is no string or the name is not valid.
    pub fn decode(payload: &'a [u8]) -> Result<Self, ForwarderError> {
        let (name, rest) = bare::read_string(payload)?;
        check_name(name)?;
        let registration = match name {
            REGISTER => Registration::Ephemeral,
            name => Registration::Named(name),
        };
        let extension = marked(rest).map(|(flags, rest)| Extension::decode(flags, rest));
        Ok(Self {
            registration,
            extension,
        })
    }

    /// The payload.
    ///
    /// # Errors
    /// [`ForwarderError`] when the name is not valid: a relay of the reference would not survive it.
    pub fn encode(&self) -> Result<Vec<u8>, ForwarderError> {
        check_name(self.registration.text())?;
        Ok(with_extension(self.registration.text(), self.extension))
    }
}

/// The relay's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply<'a> {
    /// The name was registered.
    Confirmed {
        /// The worker's address on relays of the reference, the bare name on others.
        text: &'a str,
        /// What a Culvert relay grants; `None` from the reference.
        extension: Option<Extension>,
    },
    /// The name was refused. Only between Culvert nodes: the reference stays silent.
    Refused {
        /// The name that was asked for.
        name: &'a str,
        /// Why.
        reason: Refusal,
    },
}

impl<'a> Reply<'a> {
    /// Reads the payload of a reply.
    ///
    /// # Errors
    /// [`ForwarderError`] when the payload is no string.
    pub fn decode(payload: &'a [u8]) -> Result<Self, ForwarderError> {
        let (text, rest) = bare::read_string(payload)?;
        match marked(rest) {
            Some((flags, rest)) if flags & REFUSED != 0 => {
                let reason = rest.first().copied().ok_or(ForwarderError::Reason)?;
                Ok(Self::Refused {
                    name: text,
                    reason: Refusal::from_byte(reason),
                })
            }
            other => Ok(Self::Confirmed {
                text,
                extension: other.map(|(flags, rest)| Extension::decode(flags, rest)),
            }),
        }
    }

    /// The payload. A refusal must only be sent to a peer whose request carried the marker: the
    /// reference would take it for a confirmation.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Confirmed { text, extension } => with_extension(text, extension),
            Self::Refused { name, reason } => {
                let mut out = bare::string(name);
                out.extend_from_slice(MARKER);
                out.extend_from_slice(&[REFUSED, reason.to_byte()]);
                out
            }
        }
    }
}

/// Checks a confirmation as the reference does and returns the value of the relay worker's address.
///
/// The text must end with the requested name, unless a random one was asked for; the last address of
/// the confirmation's return route is the worker on the relay.
///
/// # Errors
/// [`ForwarderError::OtherName`] or [`ForwarderError::NoWorker`].
pub fn check_confirmation<'r>(
    requested: Registration<'_>,
    text: &str,
    return_route: RouteView<'r>,
) -> Result<&'r [u8], ForwarderError> {
    if let Registration::Named(name) = requested
        && !text.ends_with(name)
    {
        return Err(ForwarderError::OtherName);
    }
    match return_route.last() {
        Some(worker) if worker.transport == LOCAL => Ok(worker.value),
        _ => Err(ForwarderError::NoWorker),
    }
}

/// The flags after the marker, and what follows them.
fn marked(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (flags, rest) = rest.strip_prefix(MARKER)?.split_first()?;
    Some((*flags, rest))
}

fn with_extension(text: &str, extension: Option<Extension>) -> Vec<u8> {
    let mut out = bare::string(text);
    if let Some(extension) = extension {
        extension.encode_into(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Route;

    const OVER_LINK: Extension = Extension {
        over_link: true,
        lane: None,
    };
    const LANE: Extension = Extension {
        over_link: true,
        lane: Some(Lane {
            process: 0x0102_0304_0506_0708,
            number: 9,
        }),
    };

    #[test]
    fn a_lane_needs_all_its_bytes() {
        let request = Request {
            registration: Registration::Named("bob"),
            extension: Some(LANE),
        };
        let bytes = request.encode().unwrap();
        assert_eq!(hex::encode(&bytes), "03626f624356543103010203040506070809");
        for len in bytes.len() - 9..bytes.len() {
            let got = Request::decode(&bytes[..len]).unwrap();
            assert_eq!(got.extension, Some(OVER_LINK), "{len} bytes");
        }
    }

    #[test]
    fn requests_round_trip() {
        for registration in [
            Registration::Named("bob"),
            Registration::Named(""),
            Registration::Ephemeral,
        ] {
            for extension in [
                None,
                Some(Extension::default()),
                Some(OVER_LINK),
                Some(LANE),
            ] {
                let request = Request {
                    registration,
                    extension,
                };
                assert_eq!(Request::decode(&request.encode().unwrap()), Ok(request));
            }
        }
        assert_eq!(
            hex::encode(
                Request {
                    registration: Registration::Named("bob"),
                    extension: Some(OVER_LINK)
                }
                .encode()
                .unwrap()
            ),
            "03626f624356543101"
        );
    }

    #[test]
    fn replies_round_trip() {
        for reply in [
            Reply::Confirmed {
                text: "forward_to_bob",
                extension: None,
            },
            Reply::Confirmed {
                text: "bob",
                extension: Some(OVER_LINK),
            },
            Reply::Refused {
                name: "bob",
                reason: Refusal::Taken,
            },
            Reply::Refused {
                name: "bob",
                reason: Refusal::Other(200),
            },
        ] {
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
        assert_eq!(
            Reply::decode(b"\x03bobCVT1\x80"),
            Err(ForwarderError::Reason)
        );
        // Anything else after the string is ignored.
        assert_eq!(
            Reply::decode(b"\x03bobCVT"),
            Ok(Reply::Confirmed {
                text: "bob",
                extension: None
            })
        );
    }

    #[test]
    fn names() {
        assert_eq!(check_name("a#b"), Err(ForwarderError::Hash));
        assert_eq!(check_name(&"n".repeat(255)), Ok(()));
        assert_eq!(
            check_name(&"n".repeat(256)),
            Err(ForwarderError::TooLong(256))
        );
        assert_eq!(Request::decode(b"\x03a#b"), Err(ForwarderError::Hash));
    }

    #[test]
    fn confirmations() {
        let route: Route = "0#link => 0#forward_to_bob".parse().unwrap();
        let named = Registration::Named("bob");
        for text in ["bob", "forward_to_bob"] {
            assert_eq!(
                check_confirmation(named, text, route.view()),
                Ok(&b"forward_to_bob"[..])
            );
        }
        let other = check_confirmation(named, "forward_to_eve", route.view());
        assert_eq!(other, Err(ForwarderError::OtherName));
        let any = check_confirmation(Registration::Ephemeral, "FWD_1", route.view());
        assert_eq!(any, Ok(&b"forward_to_bob"[..]));
        let tcp: Route = "1#h:1".parse().unwrap();
        assert_eq!(
            check_confirmation(named, "bob", tcp.view()),
            Err(ForwarderError::NoWorker)
        );
        let none = check_confirmation(named, "bob", RouteView::EMPTY);
        assert_eq!(none, Err(ForwarderError::NoWorker));
    }
}
