//! Wire structs of purpose keys and credentials.
//!
//! Specification: `protocol/12-credentials.md` 2 and 5.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::identity::{ChangeHash, Identifier, PublicKey, Signature};

/// What a purpose key is for, with the key.
///
/// ```text
/// 82 00 81 58 20 <32 bytes>    static X25519 key of secure channels
/// 82 01 81 <public key>        key that signs credentials
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum PurposePublicKey {
    /// Static X25519 key of secure channels.
    #[n(0)]
    SecureChannel(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]),
    /// Key that signs credentials.
    #[n(1)]
    CredentialSigning(#[n(0)] PublicKey),
}

/// What an attestation says: the signed part of a [`PurposeKeyAttestation`].
///
/// ```text
/// 85 <identifier> <change hash> <purpose key> <created u64> <expires u64>
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PurposeKeyAttestationData {
    /// Whose key it is.
    #[n(0)]
    pub subject: Identifier,
    /// The subject's latest change when it signed.
    #[n(1)]
    pub subject_latest_change_hash: ChangeHash,
    /// The key and its purpose.
    #[n(2)]
    pub public_key: PurposePublicKey,
    /// UNIX seconds.
    #[n(3)]
    pub created_at: u64,
    /// UNIX seconds; this second included.
    #[n(4)]
    pub expires_at: u64,
}

/// An identity's statement that a key serves one purpose.
///
/// ```text
/// 82 <byte string: encoded VersionedData of data type 2> <signature>
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PurposeKeyAttestation {
    /// Encoded [`crate::identity::VersionedData`]: the bytes that are hashed.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub data: Vec<u8>,
    /// By the primary key of the subject's latest change, over SHA-256 of `data`.
    #[n(1)]
    pub signature: Signature,
}

/// What a credential says about its subject.
///
/// ```text
/// 82 <schema u64> <map: byte string -> byte string, ascending by raw key bytes>
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Attributes {
    /// Meaning of the names; 1 for authorities, not checked by anybody.
    #[n(0)]
    pub schema: u64,
    /// Names and values, normally UTF-8. Of duplicates the last one received counts.
    #[n(1)]
    pub map: BTreeMap<ByteVec, ByteVec>,
}

impl Attributes {
    /// Attributes from pairs of bytes.
    pub fn new<N, V>(schema: u64, pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<Vec<u8>>,
        V: Into<Vec<u8>>,
    {
        let map = pairs
            .into_iter()
            .map(|(name, value)| (ByteVec::from(name.into()), ByteVec::from(value.into())))
            .collect();
        Self { schema, map }
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.map
            .get(<&minicbor::bytes::ByteSlice>::from(name))
            .map(|value| value.as_slice())
    }
}

/// The signed part of a [`Credential`].
///
/// ```text
/// 85 <identifier or f6> <change hash or f6> <attributes> <created u64> <expires u64>
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct CredentialData {
    /// Whom it is about. Nobody accepts a credential without.
    #[n(0)]
    pub subject: Option<Identifier>,
    /// The subject's latest change known to the issuer; not checked by a real node.
    #[n(1)]
    pub subject_latest_change_hash: Option<ChangeHash>,
    /// What is stated.
    #[n(2)]
    pub subject_attributes: Attributes,
    /// UNIX seconds.
    #[n(3)]
    pub created_at: u64,
    /// UNIX seconds; this second included.
    #[n(4)]
    pub expires_at: u64,
}

/// An authority's statement about a subject.
///
/// ```text
/// 82 <byte string: encoded VersionedData of data type 3> <signature>
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Credential {
    /// Encoded [`crate::identity::VersionedData`]: the bytes that are hashed.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub data: Vec<u8>,
    /// By the issuer's credential purpose key, over SHA-256 of `data`.
    #[n(1)]
    pub signature: Signature,
}

/// A credential with what is needed to verify it. Text: lower-case hexadecimal.
///
/// ```text
/// 82 <credential> <purpose key attestation>
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct CredentialAndPurposeKey {
    /// The credential.
    #[n(0)]
    pub credential: Credential,
    /// Attestation, by the issuer, of the key that signed it.
    #[n(1)]
    pub purpose_key_attestation: PurposeKeyAttestation,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{decode_exact, encode};

    #[test]
    fn attributes_are_ordered_by_raw_bytes() {
        let attributes = Attributes::new(1, [("b", "3"), ("ab", "2"), ("aaa", "1")]);
        let bytes = encode(&attributes);
        assert_eq!(
            hex::encode(&bytes),
            "8201a343616161413142616241324162 4133".replace(' ', "")
        );
        assert_eq!(decode_exact(&bytes), Ok(attributes.clone()));
        assert_eq!(attributes.get(b"ab"), Some(b"2".as_slice()));
        // Any order is read, and the last duplicate counts.
        let twice = hex::decode("8201a2416241314162 4132".replace(' ', "")).unwrap();
        let twice: Attributes = decode_exact(&twice).unwrap();
        assert_eq!(twice, Attributes::new(1, [("b", "2")]));
    }
}
