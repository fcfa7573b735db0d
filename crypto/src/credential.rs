//! Credentials: an authority's statement about somebody else.
//!
//! Specification: `protocol/12-credentials.md` 5, 6 and 8.

use culvert_proto::credential::{
    Attributes, Credential, CredentialAndPurposeKey, CredentialData, PurposePublicKey,
};
use culvert_proto::identity::{DataType, WireError, decode_exact, encode};
use thiserror::Error;

use crate::Identifier;
use crate::identity::{Histories, Identity};
use crate::purpose_key::{self, PurposeKeyError, is_from_the_future};
use crate::signed::{self, EnvelopeError};
use crate::vault::{SigningVault, VaultError, verify as verify_signature};

/// Most bytes of a credential that are looked at.
pub const MAX_CREDENTIAL: usize = 32 * 1024;

/// Why a credential is refused, or cannot be made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CredentialError {
    /// Not a credential.
    #[error("credential: {0}")]
    Wire(#[from] WireError),
    /// Its signed part is unusable.
    #[error("credential: {0}")]
    Envelope(#[from] EnvelopeError),
    /// More than [`MAX_CREDENTIAL`] bytes.
    #[error("the credential is too large")]
    TooLarge,
    /// The issuer's key is not attested.
    #[error("issuer of the credential: {0}")]
    PurposeKey(#[from] PurposeKeyError),
    /// The issuer is none of the accepted authorities.
    #[error("the credential is issued by an authority that is not accepted")]
    UnknownAuthority,
    /// The issuer's key is attested for something else.
    #[error("the key that signed the credential is not for credentials")]
    WrongPurpose,
    /// Not signed by the issuer's key.
    #[error("the credential is not signed by its issuer")]
    Signature,
    /// It is about nobody.
    #[error("the credential has no subject")]
    NoSubject,
    /// It is about somebody else than expected.
    #[error("the credential is about another identity")]
    OtherSubject,
    /// It reaches outside of the validity of the key that signed it.
    #[error("the credential is valid longer than the key that signed it")]
    OutsidePurposeKey,
    /// Made more than a minute in the future.
    #[error("the credential is not valid yet")]
    FromTheFuture,
    /// It has ended.
    #[error("the credential has expired")]
    Expired,
    /// Our own key could not be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// What a verified credential says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedCredential {
    /// Whom it is about.
    pub subject: Identifier,
    /// Who says so.
    pub issuer: Identifier,
    /// What is said.
    pub attributes: Attributes,
    /// UNIX seconds; this second included.
    pub expires_at: u64,
}

/// Verifies an encoded [`CredentialAndPurposeKey`] at `now_s` (UNIX seconds).
///
/// The histories of the accepted `authorities` must be in `known`.
///
/// # Errors
/// Everything but [`CredentialError::Vault`].
pub fn verify(
    bytes: &[u8],
    expected_subject: Option<&Identifier>,
    authorities: &[Identifier],
    known: &dyn Histories,
    now_s: u64,
) -> Result<VerifiedCredential, CredentialError> {
    if bytes.len() > MAX_CREDENTIAL {
        return Err(CredentialError::TooLarge);
    }
    let received: CredentialAndPurposeKey = decode_exact(bytes)?;
    let attestation =
        purpose_key::verify_attestation(&received.purpose_key_attestation, None, known, now_s)?;
    let issuer = attestation.subject;
    if !authorities.contains(&issuer) {
        return Err(CredentialError::UnknownAuthority);
    }
    let PurposePublicKey::CredentialSigning(key) = attestation.public_key else {
        return Err(CredentialError::WrongPurpose);
    };
    let hash = crate::primitives::sha256(&received.credential.data);
    if !verify_signature(&key, &hash, &received.credential.signature) {
        return Err(CredentialError::Signature);
    }
    let (data, _) =
        signed::unwrap::<CredentialData>(DataType::Credential, &received.credential.data)?;
    let subject = data.subject.ok_or(CredentialError::NoSubject)?;
    if expected_subject.is_some_and(|expected| *expected != subject) {
        return Err(CredentialError::OtherSubject);
    }
    if data.created_at < attestation.created_at || data.expires_at > attestation.expires_at {
        return Err(CredentialError::OutsidePurposeKey);
    }
    if is_from_the_future(data.created_at, now_s) {
        return Err(CredentialError::FromTheFuture);
    }
    if data.expires_at < now_s {
        return Err(CredentialError::Expired);
    }
    let (attributes, expires_at) = (data.subject_attributes, data.expires_at);
    Ok(VerifiedCredential {
        subject,
        issuer,
        attributes,
        expires_at,
    })
}

/// An issuer's credential key with its attestation.
pub struct Issuer<'a> {
    vault: &'a dyn SigningVault,
    key: culvert_proto::identity::PublicKey,
    attestation: culvert_proto::credential::PurposeKeyAttestation,
    created_at: u64,
    expires_at: u64,
}

impl<'a> Issuer<'a> {
    /// Takes an encoded attestation of a credential key whose secret is in the vault.
    ///
    /// # Errors
    /// [`CredentialError::Wire`], [`CredentialError::Envelope`] or
    /// [`CredentialError::WrongPurpose`]; signatures are not checked.
    pub fn new(vault: &'a dyn SigningVault, attestation: &[u8]) -> Result<Self, CredentialError> {
        let attestation: culvert_proto::credential::PurposeKeyAttestation =
            decode_exact(attestation)?;
        let (data, _) = signed::unwrap::<culvert_proto::credential::PurposeKeyAttestationData>(
            DataType::PurposeKeyAttestation,
            &attestation.data,
        )?;
        let PurposePublicKey::CredentialSigning(key) = data.public_key else {
            return Err(CredentialError::WrongPurpose);
        };
        let (created_at, expires_at) = (data.created_at, data.expires_at);
        Ok(Self {
            vault,
            key,
            attestation,
            created_at,
            expires_at,
        })
    }

    /// Issues a credential about `subject` for `ttl_s` seconds, but not longer than the
    /// credential key is attested. The result is an encoded [`CredentialAndPurposeKey`].
    ///
    /// # Errors
    /// [`CredentialError::Vault`]; [`CredentialError::OutsidePurposeKey`] when the credential
    /// key is not valid at `now_s`.
    pub fn issue(
        &self,
        subject: &Identity,
        attributes: Attributes,
        now_s: u64,
        ttl_s: u64,
    ) -> Result<Vec<u8>, CredentialError> {
        if now_s < self.created_at || now_s > self.expires_at {
            return Err(CredentialError::OutsidePurposeKey);
        }
        let data = CredentialData {
            subject: Some(subject.identifier()),
            subject_latest_change_hash: Some(subject.latest().hash),
            subject_attributes: attributes,
            created_at: now_s,
            expires_at: now_s.saturating_add(ttl_s).min(self.expires_at),
        };
        let (data, hash) = signed::wrap(DataType::Credential, &data);
        let signature = self.vault.sign(&self.vault.handle_of(&self.key)?, &hash)?;
        Ok(encode(&CredentialAndPurposeKey {
            credential: Credential { data, signature },
            purpose_key_attestation: self.attestation.clone(),
        }))
    }
}
