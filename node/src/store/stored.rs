//! An identity with its keys, wherever those are.

use culvert_crypto::Identifier;
use culvert_crypto::channel::Endpoint;
use culvert_crypto::credential::{self, CredentialError, Subject};
use culvert_crypto::identity::Identity;
use culvert_crypto::primitives::curve25519::x25519_public_key;
use culvert_crypto::purpose_key::{self, channel_key};
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{
    ChannelHandle, ChannelVault, SigningHandle, SigningVault, SoftwareVault, channel_handle,
};
use culvert_proto::credential::{Attributes, PurposeKeyAttestation, PurposePublicKey};
use culvert_proto::identity::decode_exact;

use super::StoreError;
use super::record::{ChannelRecord, InlineRecord, PublicChannelRecord, Record, VaultedRecord};
use super::vault::Vault;

/// A channel key is replaced this long before its attestation ends: 30 days, seconds.
const RENEW_BEFORE: u64 = 30 * 24 * 3600;

/// An identity as its file tells it: without secrets, so that no vault has to be opened.
pub struct Entry {
    /// Name on this machine.
    pub name: String,
    /// The verified identity.
    pub identity: Identity,
    pub(super) record: Record,
}

impl Entry {
    /// Its identifier.
    #[must_use]
    pub fn identifier(&self) -> Identifier {
        self.identity.identifier()
    }

    /// The vault with its keys; none if they are in the file of the identity.
    #[must_use]
    pub fn vault(&self) -> Option<&str> {
        self.record.vault()
    }

    /// Public key of its secure channels, where the file tells it.
    pub(super) fn channel_handle(&self) -> Option<ChannelHandle> {
        match &self.record {
            Record::Inline(_) => None,
            Record::InVault(record) => Some(channel_handle(&record.channel.public_key)),
        }
    }
}

/// Where the secrets of an identity are.
pub(super) enum Keys {
    /// In its own file.
    Inline(SoftwareVault),
    /// In a vault.
    In(Vault),
}

impl Keys {
    pub(super) fn signing(&self) -> &dyn SigningVault {
        match self {
            Self::Inline(vault) => vault,
            Self::In(vault) => vault.signing(),
        }
    }

    pub(super) fn signing_mut(&mut self) -> &mut dyn SigningVault {
        match self {
            Self::Inline(vault) => vault,
            Self::In(vault) => vault.signing_mut(),
        }
    }

    pub(super) fn software(&mut self) -> &mut SoftwareVault {
        match self {
            Self::Inline(vault) => vault,
            Self::In(vault) => &mut vault.software,
        }
    }

    /// An error of these keys, which belong to this identity.
    pub(super) fn failed(&self, name: &str, error: impl ToString) -> StoreError {
        match self {
            Self::In(vault) if vault.remote.is_some() => vault.failed(error),
            _ => StoreError::keys(name, error),
        }
    }
}

/// An identity read from the store, with its secrets.
pub struct Stored {
    /// Name on this machine.
    pub name: String,
    /// The verified identity.
    pub identity: Identity,
    pub(super) keys: Keys,
    pub(super) handle: SigningHandle,
    pub(super) channel: ChannelRecord,
}

impl Stored {
    /// Its identifier.
    #[must_use]
    pub fn identifier(&self) -> Identifier {
        self.identity.identifier()
    }

    /// The vault with its primary key, for signing.
    #[must_use]
    pub fn signing(&self) -> &dyn SigningVault {
        self.keys.signing()
    }

    /// The handle of its primary key in that vault.
    #[must_use]
    pub fn handle(&self) -> &SigningHandle {
        &self.handle
    }

    /// Name of that vault; none if the keys are in the file of the identity.
    #[must_use]
    pub fn vault(&self) -> Option<&str> {
        match &self.keys {
            Keys::Inline(_) => None,
            Keys::In(vault) => Some(&vault.name),
        }
    }

    /// Our side of secure channels.
    ///
    /// # Errors
    ///
    /// [`StoreError::Keys`] when the stored key and its attestation do not belong together.
    pub fn endpoint(&self) -> Result<Endpoint, StoreError> {
        let ChannelRecord {
            secret,
            attestation,
        } = self.channel.clone();
        Endpoint::new(&self.identity, secret, attestation, Vec::new())
            .map_err(|error| StoreError::keys(&self.name, error))
    }

    /// Issues a credential about `subject`, valid from `now_s` (UNIX seconds) for `ttl_s` seconds or
    /// until the identity ends. Its key is made for it alone.
    ///
    /// # Errors
    ///
    /// As [`credential::issue_once`].
    pub fn issue_credential(
        &self,
        subject: &Subject,
        attributes: Attributes,
        now_s: u64,
        ttl_s: u64,
    ) -> Result<Vec<u8>, CredentialError> {
        let random = Secret::new(crate::random_bytes());
        let issuer = (self.signing(), &self.identity);
        credential::issue_once(issuer, &random, subject, attributes, (now_s, ttl_s))
    }

    /// Attests a key of this identity from `now_s` until `expires_at`, UNIX seconds, or until the
    /// identity ends if that is sooner. Gives the encoded attestation.
    ///
    /// # Errors
    ///
    /// [`StoreError::Keys`].
    pub fn attest(
        &self,
        key: &PurposePublicKey,
        now_s: u64,
        expires_at: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let until = expires_at.min(self.identity.latest().valid_until);
        purpose_key::attest_until(self.signing(), &self.identity, key, now_s, until)
            .map_err(|error| self.keys.failed(&self.name, error))
    }

    /// Whether the attestation of the channel key can be used, and will be for a while.
    pub(super) fn is_attested(&self, now_s: u64) -> bool {
        let usable_until = now_s
            .saturating_add(RENEW_BEFORE)
            .min(self.identity.latest().valid_until);
        decode_exact::<PurposeKeyAttestation>(&self.channel.attestation).is_ok_and(|attestation| {
            [now_s, usable_until]
                .iter()
                .all(|at| purpose_key::verify_for(&attestation, &self.identity, *at).is_ok())
        })
    }

    /// Replaces the key of secure channels; gives the handle of the old one.
    pub(super) fn renew_channel_key(&mut self, now_s: u64) -> Result<ChannelHandle, StoreError> {
        let old = x25519_public_key(&self.channel.secret);
        self.channel = new_channel_key(&self.name, &self.keys, &self.identity, now_s)?;
        self.keys
            .software()
            .import_channel(self.channel.secret.clone());
        Ok(channel_handle(&old))
    }

    pub(super) fn record(&self) -> Result<Record, StoreError> {
        let (name, identifier) = (self.name.clone(), self.identifier().to_string());
        let change_history = self.identity.history().to_vec();
        Ok(match &self.keys {
            Keys::Inline(vault) => Record::Inline(InlineRecord {
                version: 1,
                identifier,
                change_history,
                key_type: self.handle.key_type.name().to_owned(),
                primary_secret: vault
                    .export_signing(&self.handle)
                    .ok_or_else(|| StoreError::keys(&name, "its secret key is missing"))?
                    .clone(),
                channel: self.channel.clone(),
                name,
            }),
            Keys::In(vault) => Record::InVault(VaultedRecord {
                version: 2,
                name,
                identifier,
                change_history,
                vault: vault.name.clone(),
                channel: PublicChannelRecord {
                    public_key: x25519_public_key(&self.channel.secret),
                    attestation: self.channel.attestation.clone(),
                },
            }),
        })
    }
}

/// A handle as people see it.
pub(super) fn show(handle: &SigningHandle) -> String {
    match std::str::from_utf8(&handle.bytes) {
        // What services call their keys.
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => text.to_owned(),
        _ => hex::encode(&handle.bytes),
    }
}

pub(super) fn new_channel_key(
    name: &str,
    keys: &Keys,
    identity: &Identity,
    now_s: u64,
) -> Result<ChannelRecord, StoreError> {
    let secret = Secret::new(crate::random_bytes());
    let attestation = purpose_key::attest(keys.signing(), identity, &channel_key(&secret), now_s)
        .map_err(|error| keys.failed(name, error))?;
    Ok(ChannelRecord {
        secret,
        attestation,
    })
}
