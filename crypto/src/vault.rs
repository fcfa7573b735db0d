//! Where secret keys live.
//!
//! [`SigningVault`] is what identities and credentials need and what a cloud key service can
//! offer; [`ChannelVault`] holds the static keys of secure channels. [`SoftwareVault`] does both
//! in memory and lets a store persist what it holds.
//! Specification: `protocol/10-vault.md` 1, 4, 5 and 6.

pub mod der;
#[cfg(feature = "passphrase")]
pub mod sealed;

use std::collections::HashMap;

use culvert_proto::identity::{PublicKey, Signature};
use thiserror::Error;

use crate::primitives::{Ecdsa, KeyError, P256, curve25519, sha256};
use crate::secret::Secret;

/// Why a vault refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum VaultError {
    /// Nothing is stored under this handle.
    #[error("the vault has no such key")]
    NotFound,
    /// The bytes are not a secret of this type.
    #[error("not a valid secret key")]
    InvalidSecret,
    /// The vault cannot hold keys of this type.
    #[error("the vault does not support this type of key")]
    UnsupportedType,
    /// The service behind the vault failed.
    #[error("the vault is not available")]
    Unavailable,
}

impl From<KeyError> for VaultError {
    fn from(_: KeyError) -> Self {
        Self::InvalidSecret
    }
}

/// Types of signing keys. The preferred one is Ed25519; P-256 is what cloud key services have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum KeyType {
    /// EdDSA over Curve25519; the secret is the 32-byte seed.
    #[default]
    Ed25519,
    /// ECDSA with SHA-256 over P-256; the secret is the 32-byte big-endian scalar.
    P256,
}

impl KeyType {
    /// The name used in storage.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "EdDSACurve25519",
            Self::P256 => "ECDSASHA256CurveP256",
        }
    }

    /// The type with this [`KeyType::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ed25519, Self::P256]
            .into_iter()
            .find(|key_type| key_type.name() == name)
    }

    /// The type of a public key.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        match key {
            PublicKey::Ed25519(_) => Self::Ed25519,
            PublicKey::P256(_) => Self::P256,
        }
    }
}

/// Names a signing secret inside one vault. Never leaves the node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SigningHandle {
    /// Type of the key.
    pub key_type: KeyType,
    /// SHA-256 of the raw public key in a software vault; the key's name in a cloud service.
    pub bytes: Vec<u8>,
}

/// Operations on signing secrets.
pub trait SigningVault {
    /// Makes a new secret out of `random`, 32 bytes from a secure generator.
    ///
    /// # Errors
    /// [`VaultError::UnsupportedType`] or [`VaultError::Unavailable`].
    fn generate(
        &mut self,
        key_type: KeyType,
        random: &Secret<32>,
    ) -> Result<SigningHandle, VaultError>;

    /// The public key of a stored secret.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    fn public_key(&self, handle: &SigningHandle) -> Result<PublicKey, VaultError>;

    /// The handle of the secret that belongs to a public key. A software vault computes it
    /// without checking that the secret is there.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] where handles cannot be computed.
    fn handle_of(&self, public_key: &PublicKey) -> Result<SigningHandle, VaultError>;

    /// Signs `data`: Ed25519 over the data itself, ECDSA over its SHA-256.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] or [`VaultError::Unavailable`].
    fn sign(&self, handle: &SigningHandle, data: &[u8]) -> Result<Signature, VaultError>;

    /// Forgets a secret; whether there was one.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`].
    fn delete(&mut self, handle: &SigningHandle) -> Result<bool, VaultError>;
}

/// Handle of a static X25519 secret: SHA-256 of its public key.
pub type ChannelHandle = [u8; 32];

/// Operations on the static keys of secure channels.
pub trait ChannelVault {
    /// Stores 32 bytes from a secure generator as a secret; they are clamped only when used.
    fn import_channel(&mut self, secret: Secret<32>) -> ChannelHandle;

    /// The secret, for a [`crate::channel::Endpoint`].
    fn channel_secret(&self, handle: &ChannelHandle) -> Option<&Secret<32>>;

    /// Forgets a secret; whether there was one.
    fn delete_channel(&mut self, handle: &ChannelHandle) -> bool;
}

/// The handle of a static X25519 public key.
#[must_use]
pub fn channel_handle(public_key: &[u8; 32]) -> ChannelHandle {
    sha256(public_key)
}

/// The handle of a signing key in a software vault.
#[must_use]
pub fn signing_handle(public_key: &PublicKey) -> SigningHandle {
    let bytes = sha256(public_key.bytes()).to_vec();
    SigningHandle {
        key_type: KeyType::of(public_key),
        bytes,
    }
}

/// Secrets in memory, wiped when dropped.
///
/// Storing is insert-or-replace. To persist, walk [`SoftwareVault::signing_secrets`] and
/// [`SoftwareVault::channel_secrets`]; to restore, import them.
#[derive(Default)]
pub struct SoftwareVault {
    signing: HashMap<SigningHandle, (Secret<32>, PublicKey)>,
    channel: HashMap<ChannelHandle, Secret<32>>,
}

impl SoftwareVault {
    /// An empty vault.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a signing secret.
    ///
    /// # Errors
    /// [`VaultError::InvalidSecret`] for a P-256 scalar that is zero or too large.
    pub fn import_signing(
        &mut self,
        key_type: KeyType,
        secret: Secret<32>,
    ) -> Result<SigningHandle, VaultError> {
        let public_key = public_key(key_type, &secret)?;
        let handle = signing_handle(&public_key);
        self.signing.insert(handle.clone(), (secret, public_key));
        Ok(handle)
    }

    /// A stored signing secret.
    #[must_use]
    pub fn export_signing(&self, handle: &SigningHandle) -> Option<&Secret<32>> {
        self.signing.get(handle).map(|(secret, _)| secret)
    }

    /// Every signing secret, in no particular order.
    pub fn signing_secrets(&self) -> impl Iterator<Item = (&SigningHandle, &Secret<32>)> {
        self.signing
            .iter()
            .map(|(handle, (secret, _))| (handle, secret))
    }

    /// Every static X25519 secret, in no particular order.
    pub fn channel_secrets(&self) -> impl Iterator<Item = (&ChannelHandle, &Secret<32>)> {
        self.channel.iter()
    }
}

impl SigningVault for SoftwareVault {
    fn generate(
        &mut self,
        key_type: KeyType,
        random: &Secret<32>,
    ) -> Result<SigningHandle, VaultError> {
        // One scalar in 2^32 is not valid for P-256; its hash is the next candidate.
        let mut candidate = random.clone();
        loop {
            match self.import_signing(key_type, candidate.clone()) {
                Err(VaultError::InvalidSecret) => {
                    candidate = Secret::new(sha256(candidate.expose()));
                }
                done => return done,
            }
        }
    }

    fn public_key(&self, handle: &SigningHandle) -> Result<PublicKey, VaultError> {
        self.signing
            .get(handle)
            .map(|(_, public_key)| *public_key)
            .ok_or(VaultError::NotFound)
    }

    fn handle_of(&self, public_key: &PublicKey) -> Result<SigningHandle, VaultError> {
        Ok(signing_handle(public_key))
    }

    fn sign(&self, handle: &SigningHandle, data: &[u8]) -> Result<Signature, VaultError> {
        let (secret, _) = self.signing.get(handle).ok_or(VaultError::NotFound)?;
        Ok(match handle.key_type {
            KeyType::Ed25519 => Signature::Ed25519(curve25519::ed25519_sign(secret, data)),
            KeyType::P256 => Signature::P256(P256::sign(secret, data)?),
        })
    }

    fn delete(&mut self, handle: &SigningHandle) -> Result<bool, VaultError> {
        Ok(self.signing.remove(handle).is_some())
    }
}

impl ChannelVault for SoftwareVault {
    fn import_channel(&mut self, secret: Secret<32>) -> ChannelHandle {
        let handle = channel_handle(&curve25519::x25519_public_key(&secret));
        self.channel.insert(handle, secret);
        handle
    }

    fn channel_secret(&self, handle: &ChannelHandle) -> Option<&Secret<32>> {
        self.channel.get(handle)
    }

    fn delete_channel(&mut self, handle: &ChannelHandle) -> bool {
        self.channel.remove(handle).is_some()
    }
}

fn public_key(key_type: KeyType, secret: &Secret<32>) -> Result<PublicKey, VaultError> {
    Ok(match key_type {
        KeyType::Ed25519 => PublicKey::Ed25519(curve25519::ed25519_public_key(secret)),
        KeyType::P256 => PublicKey::P256(P256::public_key(secret)?),
    })
}

/// Whether a signature over `data` is right. False when key and signature types differ.
///
/// Specification: `protocol/10-vault.md` 4, but refusing Ed25519 keys of small order.
#[must_use]
pub fn verify(public_key: &PublicKey, data: &[u8], signature: &Signature) -> bool {
    match (public_key, signature) {
        (PublicKey::Ed25519(key), Signature::Ed25519(signature)) => {
            curve25519::ed25519_verify(key, data, signature)
        }
        (PublicKey::P256(key), Signature::P256(signature)) => P256::verify(key, data, signature),
        _ => false,
    }
}
