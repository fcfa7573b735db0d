//! Purpose keys: an identity's statement that a key serves one purpose.
//!
//! Specification: `protocol/12-credentials.md` 1 to 4.

use culvert_proto::credential::{
    PurposeKeyAttestation, PurposeKeyAttestationData, PurposePublicKey,
};
use culvert_proto::identity::{DataType, WireError, decode_exact, encode};
use thiserror::Error;

use crate::Identifier;
use crate::identity::{Histories, Identity, stored};
use crate::primitives::curve25519;
use crate::secret::Secret;
use crate::signed::{self, EnvelopeError};
use crate::vault::{SigningVault, VaultError, verify as verify_signature};

/// How long a purpose key is attested when nothing else is asked for: five years, seconds.
pub const DEFAULT_LIFETIME: u64 = 5 * 365 * 24 * 3600;
/// How far ahead of ours the clock of a peer may be, seconds.
pub const ALLOWED_DRIFT: u64 = 60;

/// Why an attestation is refused, or cannot be made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PurposeKeyError {
    /// Not an attestation.
    #[error("purpose key attestation: {0}")]
    Wire(#[from] WireError),
    /// Its signed part is unusable.
    #[error("purpose key attestation: {0}")]
    Envelope(#[from] EnvelopeError),
    /// It is about another identity than expected.
    #[error("the purpose key belongs to another identity")]
    OtherSubject,
    /// The history of its subject is not known.
    #[error("the identity behind the purpose key is not known")]
    UnknownSubject,
    /// It was made before (or after) a rotation of its subject.
    #[error("the purpose key was attested by a replaced key")]
    Superseded,
    /// It reaches outside of what the identity's latest key may attest.
    #[error("the purpose key is valid longer than the key that attests it")]
    OutsideIdentity,
    /// It was made more than [`ALLOWED_DRIFT`] seconds in the future.
    #[error("the purpose key is not valid yet")]
    FromTheFuture,
    /// It has ended.
    #[error("the purpose key has expired")]
    Expired,
    /// Not signed by the latest primary key.
    #[error("the purpose key is not signed by its identity")]
    Signature,
    /// Our own key could not be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// `protocol/12-credentials.md` 1: 60 seconds ahead are tolerated, the last second counts.
pub(crate) fn is_from_the_future(created_at: u64, now_s: u64) -> bool {
    created_at.saturating_sub(now_s) > ALLOWED_DRIFT
}

/// The public half of a static X25519 secret, as what an attestation is about.
#[must_use]
pub fn channel_key(static_secret: &Secret<32>) -> PurposePublicKey {
    PurposePublicKey::SecureChannel(curve25519::x25519_public_key(static_secret))
}

/// Attests a key of `identity` from `now_s` (UNIX seconds) on, for five years or until the
/// identity ends, whichever is first. The result is the encoded [`PurposeKeyAttestation`].
///
/// # Errors
/// [`PurposeKeyError::Vault`]; [`PurposeKeyError::OutsideIdentity`] when the identity may not
/// attest anything at this time.
pub fn attest(
    vault: &dyn SigningVault,
    identity: &Identity,
    key: &PurposePublicKey,
    now_s: u64,
) -> Result<Vec<u8>, PurposeKeyError> {
    let until = now_s
        .saturating_add(DEFAULT_LIFETIME)
        .min(identity.latest().valid_until);
    attest_until(vault, identity, key, now_s, until)
}

/// As [`attest`], ending at `expires_at`.
///
/// # Errors
/// As [`attest`].
pub fn attest_until(
    vault: &dyn SigningVault,
    identity: &Identity,
    key: &PurposePublicKey,
    created_at: u64,
    expires_at: u64,
) -> Result<Vec<u8>, PurposeKeyError> {
    let latest = identity.latest();
    if created_at < latest.valid_from || expires_at > latest.valid_until || expires_at < created_at
    {
        return Err(PurposeKeyError::OutsideIdentity);
    }
    let data = PurposeKeyAttestationData {
        subject: identity.identifier(),
        subject_latest_change_hash: latest.hash,
        public_key: *key,
        created_at,
        expires_at,
    };
    let (data, hash) = signed::wrap(DataType::PurposeKeyAttestation, &data);
    let signature = vault.sign(&vault.handle_of(&latest.key)?, &hash)?;
    Ok(encode(&PurposeKeyAttestation { data, signature }))
}

/// Verifies an encoded attestation against the stored history of its subject.
///
/// The caller looks at the purpose. Specification: `protocol/12-credentials.md` 3.
///
/// # Errors
/// Everything but [`PurposeKeyError::Vault`].
pub fn verify(
    bytes: &[u8],
    expected: Option<&Identifier>,
    known: &dyn Histories,
    now_s: u64,
) -> Result<PurposeKeyAttestationData, PurposeKeyError> {
    verify_attestation(&decode_exact(bytes)?, expected, known, now_s)
}

/// As [`verify`], for a decoded attestation.
///
/// # Errors
/// As [`verify`].
pub fn verify_attestation(
    attestation: &PurposeKeyAttestation,
    expected: Option<&Identifier>,
    known: &dyn Histories,
    now_s: u64,
) -> Result<PurposeKeyAttestationData, PurposeKeyError> {
    let (data, hash) = open(attestation)?;
    if expected.is_some_and(|expected| *expected != data.subject) {
        return Err(PurposeKeyError::OtherSubject);
    }
    let subject = stored(&data.subject, known).ok_or(PurposeKeyError::UnknownSubject)?;
    check(attestation, data, &hash, &subject, now_s)
}

/// Verifies an attestation against the verified identity it must be about.
///
/// # Errors
/// As [`verify`], except [`PurposeKeyError::UnknownSubject`].
pub fn verify_for(
    attestation: &PurposeKeyAttestation,
    subject: &Identity,
    now_s: u64,
) -> Result<PurposeKeyAttestationData, PurposeKeyError> {
    let (data, hash) = open(attestation)?;
    if data.subject != subject.identifier() {
        return Err(PurposeKeyError::OtherSubject);
    }
    check(attestation, data, &hash, subject, now_s)
}

/// The key an attestation is about, whoever signed it.
pub(crate) fn attested_key(attestation: &PurposeKeyAttestation) -> Option<PurposePublicKey> {
    open(attestation).ok().map(|(data, _)| data.public_key)
}

fn open(
    attestation: &PurposeKeyAttestation,
) -> Result<(PurposeKeyAttestationData, [u8; 32]), EnvelopeError> {
    signed::unwrap(DataType::PurposeKeyAttestation, &attestation.data)
}

fn check(
    attestation: &PurposeKeyAttestation,
    data: PurposeKeyAttestationData,
    hash: &[u8; 32],
    subject: &Identity,
    now_s: u64,
) -> Result<PurposeKeyAttestationData, PurposeKeyError> {
    let latest = subject.latest();
    if data.subject_latest_change_hash != latest.hash {
        return Err(PurposeKeyError::Superseded);
    }
    if data.expires_at > latest.valid_until || data.created_at < latest.valid_from {
        return Err(PurposeKeyError::OutsideIdentity);
    }
    if is_from_the_future(data.created_at, now_s) {
        return Err(PurposeKeyError::FromTheFuture);
    }
    if data.expires_at < now_s {
        return Err(PurposeKeyError::Expired);
    }
    if !verify_signature(&latest.key, hash, &attestation.signature) {
        return Err(PurposeKeyError::Signature);
    }
    Ok(data)
}
