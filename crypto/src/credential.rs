//! Credentials: an authority's statement about somebody else.
//!
//! Specification: `protocol/12-credentials.md` 5, 6 and 8.

use culvert_proto::credential::{
    Attributes, Credential, CredentialAndPurposeKey, CredentialData, PurposeKeyAttestation,
    PurposeKeyAttestationData, PurposePublicKey,
};
use culvert_proto::identity::{ChangeHash, DataType, PublicKey, WireError, decode_exact, encode};
use thiserror::Error;

use crate::Identifier;
use crate::identity::{Histories, Identity};
use crate::purpose_key::{self, PurposeKeyError, is_from_the_future};
use crate::secret::Secret;
use crate::signed::{self, EnvelopeError};
use crate::vault::{KeyType, SigningVault, SoftwareVault, VaultError, verify as verify_signature};

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

/// What a credential claims. Nothing of it has been verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// Whom it is about; nobody accepts a credential without.
    pub subject: Option<Identifier>,
    /// The subject's latest change that the issuer knew.
    pub subject_latest_change: Option<ChangeHash>,
    /// Who says so.
    pub issuer: Identifier,
    /// What is said.
    pub attributes: Attributes,
    /// UNIX seconds.
    pub created_at: u64,
    /// UNIX seconds; this second included.
    pub expires_at: u64,
    /// End of the validity of the key that signed it, UNIX seconds.
    pub key_expires_at: u64,
}

/// Reads an encoded [`CredentialAndPurposeKey`] to show it, without verifying anything.
///
/// # Errors
/// [`CredentialError::TooLarge`], [`CredentialError::Wire`], [`CredentialError::Envelope`].
pub fn read(bytes: &[u8]) -> Result<Claims, CredentialError> {
    if bytes.len() > MAX_CREDENTIAL {
        return Err(CredentialError::TooLarge);
    }
    let encoded: CredentialAndPurposeKey = decode_exact(bytes)?;
    let (data, _) =
        signed::unwrap::<CredentialData>(DataType::Credential, &encoded.credential.data)?;
    let (attested, _) = signed::unwrap::<PurposeKeyAttestationData>(
        DataType::PurposeKeyAttestation,
        &encoded.purpose_key_attestation.data,
    )?;
    Ok(Claims {
        subject: data.subject,
        subject_latest_change: data.subject_latest_change_hash,
        issuer: attested.subject,
        attributes: data.subject_attributes,
        created_at: data.created_at,
        expires_at: data.expires_at,
        key_expires_at: attested.expires_at,
    })
}

/// Whom a credential is issued for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The identity.
    pub identifier: Identifier,
    /// Its latest change, where its history is known. Nobody checks it.
    pub latest_change: Option<ChangeHash>,
}

impl From<&Identity> for Subject {
    fn from(identity: &Identity) -> Self {
        Self {
            identifier: identity.identifier(),
            latest_change: Some(identity.latest().hash),
        }
    }
}

/// An issuer's credential key with its attestation.
pub struct Issuer<'a> {
    vault: &'a dyn SigningVault,
    key: PublicKey,
    attestation: PurposeKeyAttestation,
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
        let attestation: PurposeKeyAttestation = decode_exact(attestation)?;
        let (data, _) = signed::unwrap::<PurposeKeyAttestationData>(
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
    /// Which names of attributes nobody may issue is up to the caller:
    /// [`culvert_proto::policy::is_reserved_attribute`].
    ///
    /// # Errors
    /// [`CredentialError::Vault`]; [`CredentialError::OutsidePurposeKey`] when the credential
    /// key is not valid at `now_s`; [`CredentialError::TooLarge`].
    pub fn issue(
        &self,
        subject: &Identity,
        attributes: Attributes,
        now_s: u64,
        ttl_s: u64,
    ) -> Result<Vec<u8>, CredentialError> {
        self.issue_for(&subject.into(), attributes, now_s, ttl_s)
    }

    /// As [`Issuer::issue`], for a subject whose history may be unknown.
    ///
    /// # Errors
    /// As [`Issuer::issue`].
    pub fn issue_for(
        &self,
        subject: &Subject,
        attributes: Attributes,
        now_s: u64,
        ttl_s: u64,
    ) -> Result<Vec<u8>, CredentialError> {
        if now_s < self.created_at || now_s > self.expires_at {
            return Err(CredentialError::OutsidePurposeKey);
        }
        let data = CredentialData {
            subject: Some(subject.identifier),
            subject_latest_change_hash: subject.latest_change,
            subject_attributes: attributes,
            created_at: now_s,
            expires_at: now_s.saturating_add(ttl_s).min(self.expires_at),
        };
        let (data, hash) = signed::wrap(DataType::Credential, &data);
        let signature = self.vault.sign(&self.vault.handle_of(&self.key)?, &hash)?;
        let credential = encode(&CredentialAndPurposeKey {
            credential: Credential { data, signature },
            purpose_key_attestation: self.attestation.clone(),
        });
        // Nobody would look at it.
        if credential.len() > MAX_CREDENTIAL {
            return Err(CredentialError::TooLarge);
        }
        Ok(credential)
    }
}

/// Issues a credential with a key that is made for it alone, out of `random`, and attested by
/// `identity`, whose primary key is in the vault. Otherwise as [`Issuer::issue_for`]; the validity
/// ends with the identity's.
///
/// # Errors
/// As [`Issuer::issue_for`], and [`CredentialError::PurposeKey`] when the identity may not attest
/// anything at this time.
pub fn issue_once(
    (vault, identity): (&dyn SigningVault, &Identity),
    random: &Secret<32>,
    subject: &Subject,
    attributes: Attributes,
    (now_s, ttl_s): (u64, u64),
) -> Result<Vec<u8>, CredentialError> {
    let mut own = SoftwareVault::new();
    let key = own.generate(KeyType::Ed25519, random)?;
    let public = PurposePublicKey::CredentialSigning(own.public_key(&key)?);
    let until = now_s
        .saturating_add(ttl_s)
        .min(identity.latest().valid_until);
    let attestation = purpose_key::attest_until(vault, identity, &public, now_s, until)?;
    Issuer::new(&own, &attestation)?.issue_for(subject, attributes, now_s, ttl_s)
}
