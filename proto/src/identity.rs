//! Wire structs of identities: keys, signatures, change histories, identifiers.
//!
//! Specification: `protocol/11-identities.md`, keys and signatures `protocol/10-vault.md` 3.
//!
//! Decoding accepts what a real node accepts: extra array elements, indefinite arrays, explicit
//! nulls, integers longer than necessary. What was signed is always kept as the byte string that
//! arrived ([`Change::data`]), never encoded again. Whether a structure is *true* (signatures,
//! links between changes) is decided in the crypto crate.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Decoder, Encode};
use thiserror::Error;

/// Why bytes are not the expected structure.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// Not CBOR, another shape, a missing field or a wrong fixed length.
    #[error("not the expected CBOR structure (at byte {0})")]
    Malformed(usize),
    /// Bytes follow the complete structure where none are allowed.
    #[error("{0} bytes after the end of the structure")]
    Trailing(usize),
}

/// Decodes one structure from the front of `bytes`; also answers how many bytes it took.
///
/// # Errors
/// [`WireError::Malformed`] with the place where decoding stopped.
pub fn decode_prefix<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<(T, usize), WireError> {
    let mut decoder = Decoder::new(bytes);
    match decoder.decode() {
        Ok(value) => Ok((value, decoder.position())),
        Err(error) => Err(WireError::Malformed(
            error.position().unwrap_or_else(|| decoder.position()),
        )),
    }
}

/// Decodes one structure that fills `bytes` completely.
///
/// # Errors
/// [`WireError::Malformed`], or [`WireError::Trailing`] with the number of surplus bytes.
pub fn decode_exact<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, WireError> {
    let (value, used) = decode_prefix(bytes)?;
    match bytes.len() - used {
        0 => Ok(value),
        surplus => Err(WireError::Trailing(surplus)),
    }
}

/// Encodes a structure canonically: shortest heads, definite lengths, absent fields at the end
/// dropped.
#[must_use]
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to a `Vec` cannot fail and no structure here has a failing encoder.
    let _: Result<(), minicbor::encode::Error<core::convert::Infallible>> =
        minicbor::encode(value, &mut out);
    out
}

/// The name of an identity: SHA-256 of the signed part of its first change.
///
/// CBOR: `58 20` and 32 bytes. Text: `I` and 64 lower-case hexadecimal digits.
/// Specification: `protocol/11-identities.md` 4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Identifier(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("I")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an [`Identifier`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an identifier is the letter I followed by 64 hexadecimal digits")]
pub struct IdentifierError;

impl FromStr for Identifier {
    type Err = IdentifierError;

    /// Surrounding white space is ignored, digits may be of either case, the `I` may not.
    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let digits = text.trim().strip_prefix('I').ok_or(IdentifierError)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| IdentifierError)?;
        Ok(Self(bytes))
    }
}

/// SHA-256 of the signed part of one change. The first one of a history is its [`Identifier`].
///
/// CBOR: `58 20` and 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct ChangeHash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl fmt::Display for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that verifies signatures: primary key of an identity, or key that signs credentials.
///
/// Not checked to be a point of its curve.
///
/// ```text
/// 82 00 81 58 20 <32 bytes>    Ed25519, compressed point
/// 82 01 81 58 41 <65 bytes>    P-256, uncompressed point, first byte 04
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
pub enum PublicKey {
    /// EdDSA over Curve25519.
    #[n(0)]
    Ed25519(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]),
    /// ECDSA with SHA-256 over P-256.
    #[n(1)]
    P256(#[cbor(n(0), with = "minicbor::bytes")] [u8; 65]),
}

impl PublicKey {
    /// The raw key bytes, 32 or 65.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(bytes) => bytes,
            Self::P256(bytes) => bytes,
        }
    }
}

/// A signature by a [`PublicKey`] of the same variant.
///
/// ```text
/// 82 00 81 58 40 <64 bytes>    Ed25519, R || S
/// 82 01 81 58 40 <64 bytes>    ECDSA, r || s, big-endian
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Signature {
    /// EdDSA over Curve25519.
    #[n(0)]
    Ed25519(#[cbor(n(0), with = "minicbor::bytes")] [u8; 64]),
    /// ECDSA with SHA-256 over P-256.
    #[n(1)]
    P256(#[cbor(n(0), with = "minicbor::bytes")] [u8; 64]),
}

/// The only version of signed content there is.
pub const VERSION: u8 = 1;

/// What a [`VersionedData`] holds. The number is the only domain separation of signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum DataType {
    /// A [`ChangeData`].
    Change = 1,
    /// A [`crate::credential::PurposeKeyAttestationData`].
    PurposeKeyAttestation = 2,
    /// A [`crate::credential::CredentialData`].
    Credential = 3,
}

/// The envelope of everything that is signed; its encoding is what gets hashed.
///
/// ```text
/// 83 <version u8> <data type u8> <byte string>
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct VersionedData {
    /// [`VERSION`].
    #[n(0)]
    pub version: u8,
    /// A [`DataType`].
    #[n(1)]
    pub data_type: u8,
    /// The encoded content.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub data: Vec<u8>,
}

impl VersionedData {
    /// Wraps encoded content.
    #[must_use]
    pub fn new(data_type: DataType, data: Vec<u8>) -> Self {
        Self {
            version: VERSION,
            data_type: data_type as u8,
            data,
        }
    }
}

/// What a change says: the signed part of a [`Change`].
///
/// ```text
/// 85 <previous change hash or f6> <public key> <revoke bool> <from u64> <until u64>
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ChangeData {
    /// Hash of the change before; absent in the first one.
    #[n(0)]
    pub previous_change: Option<ChangeHash>,
    /// Primary key from this change on.
    #[n(1)]
    pub primary_public_key: PublicKey,
    /// Has no effect anywhere: every rotation voids all older attestations.
    #[n(2)]
    pub revoke_all_purpose_keys: bool,
    /// Start of the range that attestations by this key must lie in, UNIX seconds.
    #[n(3)]
    pub attestations_valid_from: u64,
    /// End of that range, UNIX seconds.
    #[n(4)]
    pub attestations_valid_until: u64,
}

/// One link of a history.
///
/// ```text
/// 82 <byte string: encoded VersionedData> <signature>                         first
/// 83 <byte string: encoded VersionedData> <signature> <previous signature>    later
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Change {
    /// Encoded [`VersionedData`] with a [`ChangeData`]: the bytes that are hashed.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub data: Vec<u8>,
    /// By the key inside this change, over the change hash.
    #[n(1)]
    pub signature: Signature,
    /// By the key of the change before, over the same hash. Ignored in the first change.
    #[n(2)]
    pub previous_signature: Option<Signature>,
}

/// All changes of an identity, oldest first.
///
/// CBOR: array of [`Change`]. Text: lower-case hexadecimal of that.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct ChangeHistory(#[n(0)] pub Vec<Change>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifier_text() {
        let text = "If6f374f5888e1c0be8e1e6e79b3257eedbc4656fbe974b128701e35e1a4d7246";
        let id: Identifier = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("  {text}\n").parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        for wrong in [
            "",
            "I",
            &text[1..],
            &text[..64],
            &text.to_lowercase(),
            &format!("{text}0"),
        ] {
            assert_eq!(wrong.parse::<Identifier>(), Err(IdentifierError));
        }
    }

    #[test]
    fn fixed_lengths_are_checked() {
        let mut key = vec![0x82, 0, 0x81, 0x58, 0x20];
        key.extend([7; 32]);
        assert_eq!(decode_exact(&key), Ok(PublicKey::Ed25519([7; 32])));
        assert_eq!(encode(&PublicKey::Ed25519([7; 32])), key);
        key.push(0);
        assert_eq!(decode_exact::<PublicKey>(&key), Err(WireError::Trailing(1)));
        key[4] = 0x21;
        assert!(matches!(
            decode_exact::<PublicKey>(&key),
            Err(WireError::Malformed(_))
        ));
    }
}
