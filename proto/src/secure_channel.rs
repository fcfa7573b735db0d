//! Wire structs of secure channels: identity payloads of the handshake, inner messages after it.
//!
//! Specification: `protocol/13-secure-channel.md` 3, 5, 7 and 8.

use minicbor::{Decode, Decoder, Encode};

use crate::credential::{CredentialAndPurposeKey, PurposeKeyAttestation};
use crate::identity::ChangeHistory;

/// Largest handshake message, bytes.
pub const MAX_HANDSHAKE_MESSAGE: usize = 65535;
/// Bytes of message 2 around the identity payload: ephemeral key, sealed static key, tag.
pub const MESSAGE_2_OVERHEAD: usize = 32 + 48 + 16;
/// Bytes of message 3 around the identity payload: sealed static key, tag.
pub const MESSAGE_3_OVERHEAD: usize = 48 + 16;
/// Largest identity payload that fits into both messages, bytes.
pub const MAX_IDENTITY_PAYLOAD: usize = MAX_HANDSHAKE_MESSAGE - MESSAGE_2_OVERHEAD;

/// What both sides prove in messages 2 and 3.
///
/// ```text
/// 83 <change history> <purpose key attestation> <array of credentials, 80 when empty>
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct IdentityPayload {
    /// The sender's history.
    #[n(0)]
    pub change_history: ChangeHistory,
    /// For the static key used in this handshake.
    #[n(1)]
    pub purpose_key_attestation: PurposeKeyAttestation,
    /// A real node sends none or one.
    #[n(2)]
    pub credentials: Vec<CredentialAndPurposeKey>,
}

/// Content of a refresh of credentials.
///
/// ```text
/// 82 <change history> <array of credentials>
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RefreshCredentials {
    /// The sender's history.
    #[n(0)]
    pub change_history: ChangeHistory,
    /// What it presents from now on.
    #[n(1)]
    pub credentials: Vec<CredentialAndPurposeKey>,
}

/// The plaintext of transport messages.
///
/// ```text
/// 82 <message> <padding byte string>
///      82 00 81 83 <route> <route> <byte string>    Payload
///      82 01 81 82 <history> <credentials>          RefreshCredentials
///      82 02 80                                     Close
/// ```
pub mod inner {
    use core::ops::Range;

    use super::{Decoder, Encode, RefreshCredentials};
    use crate::identity::WireError;

    /// Written in front of a 3-element routed message (`83 onward return payload`).
    pub const PAYLOAD_PREFIX: [u8; 4] = [0x82, 0x82, 0x00, 0x81];
    /// Written behind it: no padding.
    pub const PAYLOAD_SUFFIX: [u8; 1] = [0x40];
    /// A complete Close message.
    pub const CLOSE: [u8; 5] = [0x82, 0x82, 0x02, 0x80, 0x40];

    /// What a plaintext is. Ranges are offsets into it.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Inner {
        /// A routed message; the range covers its CBOR array, which is not looked into.
        Payload {
            /// The array of onward route, return route and payload.
            message: Range<usize>,
        },
        /// New credentials; the range covers the CBOR of a [`RefreshCredentials`].
        Refresh {
            /// The encoded [`RefreshCredentials`].
            content: Range<usize>,
        },
        /// The peer has stopped its side.
        Close,
    }

    /// Finds out what a plaintext is, without copying. Bytes after it, extra fields and any
    /// content of the padding are accepted as a real node accepts them.
    ///
    /// Does not allocate for anything a real node sends.
    ///
    /// # Errors
    /// [`WireError::Malformed`] for unknown variants, a missing padding field and anything else.
    pub fn parse(plaintext: &[u8]) -> Result<Inner, WireError> {
        let mut decoder = Decoder::new(plaintext);
        read(&mut decoder).map_err(|error| {
            WireError::Malformed(error.position().unwrap_or_else(|| decoder.position()))
        })
    }

    fn read(d: &mut Decoder<'_>) -> Result<Inner, minicbor::decode::Error> {
        let fields = d.array()?;
        let inner = read_message(d)?;
        // The padding must be there and be a definite byte string.
        d.bytes()?;
        skip_rest(d, fields, 2)?;
        Ok(inner)
    }

    fn read_message(d: &mut Decoder<'_>) -> Result<Inner, minicbor::decode::Error> {
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message(
                "expected enum (2-element array)",
            ));
        }
        let variant = d.u32()?;
        let fields = d.array()?;
        match variant {
            0 | 1 => {
                let start = d.position();
                d.skip()?;
                let range = start..d.position();
                skip_rest(d, fields, 1)?;
                Ok(if variant == 0 {
                    Inner::Payload { message: range }
                } else {
                    Inner::Refresh { content: range }
                })
            }
            2 => {
                skip_rest(d, fields, 0)?;
                Ok(Inner::Close)
            }
            other => Err(minicbor::decode::Error::unknown_variant(other.into())),
        }
    }

    /// Skips the elements of an array of which `read` were read.
    fn skip_rest(
        d: &mut Decoder<'_>,
        elements: Option<u64>,
        read: u64,
    ) -> Result<(), minicbor::decode::Error> {
        match elements {
            Some(n) if n < read => Err(minicbor::decode::Error::message("missing field")),
            Some(n) => (read..n).try_for_each(|_| d.skip()),
            None => {
                while d.datatype()? != minicbor::data::Type::Break {
                    d.skip()?;
                }
                d.skip()
            }
        }
    }

    /// The plaintext of a refresh message.
    #[must_use]
    pub fn refresh(content: &RefreshCredentials) -> Vec<u8> {
        #[derive(Encode)]
        enum Message<'a> {
            #[n(1)]
            Refresh(#[n(0)] &'a RefreshCredentials),
        }
        let mut out = vec![0x82];
        out.extend(crate::identity::encode(&Message::Refresh(content)));
        out.extend(PAYLOAD_SUFFIX);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::inner::{CLOSE, Inner, parse};
    use crate::identity::WireError;

    fn payload(hex_text: &str) -> Result<Inner, WireError> {
        parse(&hex::decode(hex_text.replace(' ', "")).unwrap())
    }

    #[test]
    fn payload_message() {
        let message = "83 81820041 61 80 4178";
        let len = message.replace(' ', "").len() / 2;
        let plain = Inner::Payload {
            message: 4..4 + len,
        };
        assert_eq!(
            payload(&format!("82 820081 {message} 40")),
            Ok(plain.clone())
        );
        assert_eq!(
            payload(&format!("82 820081 {message} 43010203")),
            Ok(plain.clone())
        );
        assert_eq!(
            payload(&format!("82 820081 {message} 40 ffff")),
            Ok(plain.clone())
        );
        assert_eq!(
            payload(&format!("83 820081 {message} 40 00")),
            Ok(plain.clone())
        );
        assert_eq!(
            payload(&format!("82 820082 {message} 00 40")),
            Ok(plain.clone())
        );
        assert_eq!(payload(&format!("9f 82009f {message} ff 40 ff")), Ok(plain));
    }

    #[test]
    fn refused() {
        for wrong in [
            "",
            "00",
            "82",
            "81 820280",
            "82 820380 40",
            "82 820080 40",
            "82 820280 00",
            "82 8202 80",
            "82 820081 83 8080 58",
            "82 83028000 40",
        ] {
            assert!(payload(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn close_and_refresh() {
        assert_eq!(parse(&CLOSE), Ok(Inner::Close));
        let content = super::RefreshCredentials {
            change_history: crate::identity::ChangeHistory::default(),
            credentials: Vec::new(),
        };
        let bytes = super::inner::refresh(&content);
        assert_eq!(hex::encode(&bytes), "828201818280 8040".replace(' ', ""));
        assert_eq!(parse(&bytes), Ok(Inner::Refresh { content: 4..7 }));
    }
}
