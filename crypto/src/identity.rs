//! Identities: create, rotate, verify, compare, remember.
//!
//! Specification: `protocol/11-identities.md`.
//!
//! # Stricter than a real node
//!
//! Everything an honest node produces is accepted, and so is every unusual encoding a real node
//! accepts, except these, which nobody produces and which are safe to refuse (section 9 there):
//!
//! * bytes after the history, and bytes after the two nested structures inside the signed bytes;
//! * Ed25519 keys (and R) of small order, for which anybody can make signatures;
//! * more than [`MAX_CHANGES`] changes, or more than [`MAX_HISTORY`] bytes.

use std::collections::{BTreeMap, HashMap};

use culvert_proto::identity::{
    Change, ChangeData, ChangeHash, ChangeHistory, DataType, Identifier, PublicKey, WireError,
    decode_exact, encode,
};
use thiserror::Error;

use crate::primitives::sha256;
use crate::signed::{self, EnvelopeError};
use crate::vault::{SigningHandle, SigningVault, VaultError, verify};

/// Most changes of a history that are looked at; each costs two signature checks.
pub const MAX_CHANGES: usize = 64;
/// Most bytes of a history; [`MAX_CHANGES`] rotations between P-256 keys take 21 KB.
pub const MAX_HISTORY: usize = 32 * 1024;
/// How long a new identity may attest keys when nothing else is asked for: ten years, seconds.
pub const DEFAULT_LIFETIME: u64 = 10 * 365 * 24 * 3600;

/// Why a history is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    /// Not a history.
    #[error("change history: {0}")]
    Wire(#[from] WireError),
    /// The signed part of a change is unusable.
    #[error("change: {0}")]
    Envelope(#[from] EnvelopeError),
    /// There is no first change.
    #[error("the change history is empty")]
    Empty,
    /// More than [`MAX_CHANGES`] changes or [`MAX_HISTORY`] bytes.
    #[error("the change history is too large")]
    TooLarge,
    /// A change does not name the one before it, or the first one names any.
    #[error("a change does not follow the one before it")]
    BrokenLink,
    /// A change starts earlier than the one before it.
    #[error("a change is older than the one before it")]
    TimeGoesBack,
    /// The key inside a change did not sign it.
    #[error("a change is not signed by its key")]
    Signature,
    /// The key of the change before did not sign a change.
    #[error("a change is not signed by the key before it")]
    PreviousSignature,
    /// It is somebody else's history.
    #[error("the change history belongs to another identity")]
    OtherIdentity,
    /// Our own key could not be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// What one verified change says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifiedChange {
    /// Hash of its signed part.
    pub hash: ChangeHash,
    /// Primary key from this change on.
    pub key: PublicKey,
    /// Attestations by this key may not be created earlier, UNIX seconds.
    pub valid_from: u64,
    /// Attestations by this key may not expire later, UNIX seconds.
    pub valid_until: u64,
}

/// A verified identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    identifier: Identifier,
    latest: VerifiedChange,
    hashes: Vec<ChangeHash>,
    history: Vec<u8>,
}

/// How a received history relates to a known one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// The same changes.
    Equal,
    /// It goes on where the known one ends.
    Newer,
    /// It ends before the known one does.
    Older,
    /// They fork, or are unrelated.
    Conflict,
}

impl Identity {
    /// Makes a new identity whose primary key is in the vault.
    ///
    /// Attestations will be possible from `created_at` to `valid_until`, UNIX seconds; see
    /// [`DEFAULT_LIFETIME`].
    ///
    /// # Errors
    /// [`IdentityError::Vault`].
    pub fn create(
        vault: &dyn SigningVault,
        key: &SigningHandle,
        created_at: u64,
        valid_until: u64,
    ) -> Result<Self, IdentityError> {
        let data = ChangeData {
            previous_change: None,
            primary_public_key: vault.public_key(key)?,
            revoke_all_purpose_keys: false,
            attestations_valid_from: created_at,
            attestations_valid_until: valid_until,
        };
        let (data, hash) = signed::wrap(DataType::Change, &data);
        let signature = vault.sign(key, &hash)?;
        let change = Change {
            data,
            signature,
            previous_signature: None,
        };
        Self::verify_history(&ChangeHistory(vec![change]), None)
    }

    /// The identity with its primary key replaced. Both keys must be in the vault.
    ///
    /// Voids every attestation made so far. Store the result before deleting the old secret.
    ///
    /// # Errors
    /// [`IdentityError::Vault`], [`IdentityError::TooLarge`], or [`IdentityError::TimeGoesBack`]
    /// when `created_at` is before the previous change.
    pub fn rotate(
        &self,
        vault: &dyn SigningVault,
        new_key: &SigningHandle,
        created_at: u64,
        valid_until: u64,
    ) -> Result<Self, IdentityError> {
        self.rotate_and(vault, new_key, created_at, valid_until, false)
    }

    /// As [`Identity::rotate`]; `revoke_purpose_keys` sets the mark of that name in the change. No
    /// known implementation looks at it: every rotation voids all attestations (11, section 10).
    ///
    /// # Errors
    /// As [`Identity::rotate`].
    pub fn rotate_and(
        &self,
        vault: &dyn SigningVault,
        new_key: &SigningHandle,
        created_at: u64,
        valid_until: u64,
        revoke_purpose_keys: bool,
    ) -> Result<Self, IdentityError> {
        let data = ChangeData {
            previous_change: Some(self.latest.hash),
            primary_public_key: vault.public_key(new_key)?,
            revoke_all_purpose_keys: revoke_purpose_keys,
            attestations_valid_from: created_at,
            attestations_valid_until: valid_until,
        };
        let (data, hash) = signed::wrap(DataType::Change, &data);
        let signature = vault.sign(new_key, &hash)?;
        let old_key = vault.handle_of(&self.latest.key)?;
        let previous_signature = Some(vault.sign(&old_key, &hash)?);
        let mut history: ChangeHistory = decode_exact(&self.history)?;
        history.0.push(Change {
            data,
            signature,
            previous_signature,
        });
        Self::verify_history(&history, Some(&self.identifier))
    }

    /// Verifies an encoded history, optionally of a certain identity.
    ///
    /// The current time plays no role: an expired identity verifies, only its attestations do
    /// not. Specification: `protocol/11-identities.md` 5.
    ///
    /// # Errors
    /// Everything but [`IdentityError::Vault`].
    pub fn verify(bytes: &[u8], expected: Option<&Identifier>) -> Result<Self, IdentityError> {
        if bytes.len() > MAX_HISTORY {
            return Err(IdentityError::TooLarge);
        }
        Self::verify_history(&decode_exact(bytes)?, expected)
    }

    /// Verifies a decoded history, optionally of a certain identity.
    ///
    /// # Errors
    /// As [`Identity::verify`].
    pub fn verify_history(
        history: &ChangeHistory,
        expected: Option<&Identifier>,
    ) -> Result<Self, IdentityError> {
        let bytes = encode(history);
        if history.0.len() > MAX_CHANGES || bytes.len() > MAX_HISTORY {
            return Err(IdentityError::TooLarge);
        }
        let changes = links(history)?;
        let (first, latest) = match (changes.first(), changes.last()) {
            (Some(first), Some(latest)) => (first.hash, *latest),
            _ => return Err(IdentityError::Empty),
        };
        let identifier = Identifier(first.0);
        if expected.is_some_and(|expected| *expected != identifier) {
            return Err(IdentityError::OtherIdentity);
        }
        signatures(history, &changes)?;
        let hashes = changes.iter().map(|change| change.hash).collect();
        Ok(Self {
            identifier,
            latest,
            hashes,
            history: bytes,
        })
    }

    /// Its name.
    #[must_use]
    pub fn identifier(&self) -> Identifier {
        self.identifier
    }

    /// The encoded history, in canonical form: what is stored, exported and sent.
    #[must_use]
    pub fn history(&self) -> &[u8] {
        &self.history
    }

    /// The latest change: the key that signs, and when.
    #[must_use]
    pub fn latest(&self) -> &VerifiedChange {
        &self.latest
    }

    /// Hashes of all changes, oldest first.
    #[must_use]
    pub fn change_hashes(&self) -> &[ChangeHash] {
        &self.hashes
    }

    /// The keys of all changes but the latest, oldest first: nobody needs their secrets any more.
    #[must_use]
    pub fn replaced_keys(&self) -> Vec<PublicKey> {
        let history = decode_exact(&self.history).unwrap_or_default();
        let mut keys: Vec<_> = links(&history)
            .unwrap_or_default()
            .iter()
            .map(|change| change.key)
            .collect();
        keys.pop();
        // A key may have been used again.
        keys.retain(|key| *key != self.latest.key);
        keys
    }

    /// How this (received) history relates to a known one.
    #[must_use]
    pub fn compare(&self, known: &Self) -> Comparison {
        compare(&self.hashes, &known.hashes)
    }
}

fn compare(received: &[ChangeHash], known: &[ChangeHash]) -> Comparison {
    if received
        .iter()
        .zip(known)
        .any(|(received, known)| received != known)
    {
        return Comparison::Conflict;
    }
    match received.len().cmp(&known.len()) {
        core::cmp::Ordering::Equal => Comparison::Equal,
        core::cmp::Ordering::Greater => Comparison::Newer,
        core::cmp::Ordering::Less => Comparison::Older,
    }
}

/// Decodes all changes and checks how each follows the one before it.
fn links(history: &ChangeHistory) -> Result<Vec<VerifiedChange>, IdentityError> {
    let mut changes: Vec<VerifiedChange> = Vec::with_capacity(history.0.len());
    for change in &history.0 {
        let (data, hash) = signed::unwrap::<ChangeData>(DataType::Change, &change.data)?;
        let previous = changes.last();
        if data.previous_change != previous.map(|previous| previous.hash) {
            return Err(IdentityError::BrokenLink);
        }
        if previous.is_some_and(|previous| previous.valid_from > data.attestations_valid_from) {
            return Err(IdentityError::TimeGoesBack);
        }
        changes.push(VerifiedChange {
            hash: ChangeHash(hash),
            key: data.primary_public_key,
            valid_from: data.attestations_valid_from,
            valid_until: data.attestations_valid_until,
        });
    }
    Ok(changes)
}

fn signatures(history: &ChangeHistory, changes: &[VerifiedChange]) -> Result<(), IdentityError> {
    let mut previous: Option<&VerifiedChange> = None;
    for (change, verified) in history.0.iter().zip(changes) {
        if let Some(previous) = previous {
            let signature = change
                .previous_signature
                .ok_or(IdentityError::PreviousSignature)?;
            if !verify(&previous.key, &verified.hash.0, &signature) {
                return Err(IdentityError::PreviousSignature);
            }
        }
        if !verify(&verified.key, &verified.hash.0, &change.signature) {
            return Err(IdentityError::Signature);
        }
        previous = Some(verified);
    }
    Ok(())
}

/// Remembers one history per identity; implemented by the shells' stores.
pub trait Histories {
    /// The stored history.
    fn get(&self, identifier: &Identifier) -> Option<Vec<u8>>;
    /// Stores or replaces it. A store that is full may decline.
    fn put(&mut self, identifier: &Identifier, history: &[u8]);
}

impl Histories for BTreeMap<Identifier, Vec<u8>> {
    fn get(&self, identifier: &Identifier) -> Option<Vec<u8>> {
        Self::get(self, identifier).cloned()
    }

    fn put(&mut self, identifier: &Identifier, history: &[u8]) {
        self.insert(*identifier, history.to_vec());
    }
}

impl<S: core::hash::BuildHasher> Histories for HashMap<Identifier, Vec<u8>, S> {
    fn get(&self, identifier: &Identifier) -> Option<Vec<u8>> {
        Self::get(self, identifier).cloned()
    }

    fn put(&mut self, identifier: &Identifier, history: &[u8]) {
        self.insert(*identifier, history.to_vec());
    }
}

/// Why a history does not fit what is known about its identity.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HistoryError {
    /// A newer history is known: the peer presents a key it has replaced.
    #[error("the peer presents an older change history than the known one")]
    Older,
    /// A fork.
    #[error("the peer presents another change history than the known one")]
    Conflict,
    /// The stored history cannot be read.
    #[error("the stored change history is damaged")]
    Stored,
}

/// Compares a received, verified history with the stored one; whether it is to be stored.
///
/// # Errors
/// Older and conflicting histories, and a stored one that is damaged.
pub fn compare_with_known(
    received: &Identity,
    known: &dyn Histories,
) -> Result<bool, HistoryError> {
    let Some(stored) = known.get(&received.identifier) else {
        return Ok(true);
    };
    // Only the chain of hashes matters here, so the stored signatures need no second look.
    let stored: ChangeHistory = decode_exact(&stored).map_err(|_| HistoryError::Stored)?;
    let hashes: Vec<_> = stored
        .0
        .iter()
        .map(|change| ChangeHash(sha256(&change.data)))
        .collect();
    match compare(&received.hashes, &hashes) {
        Comparison::Equal => Ok(false),
        Comparison::Newer => Ok(true),
        Comparison::Older => Err(HistoryError::Older),
        Comparison::Conflict => Err(HistoryError::Conflict),
    }
}

/// Stores a received, verified history if it is new or newer.
///
/// Specification: `protocol/11-identities.md` 6, normal update.
///
/// # Errors
/// As [`compare_with_known`]; nothing is stored then.
pub fn update(received: &Identity, known: &mut dyn Histories) -> Result<(), HistoryError> {
    if compare_with_known(received, known)? {
        known.put(&received.identifier, &received.history);
    }
    Ok(())
}

/// As [`update`], but an older history is no error: the stored one stays.
///
/// # Errors
/// [`HistoryError::Conflict`] and [`HistoryError::Stored`].
pub fn update_ignoring_older(
    received: &Identity,
    known: &mut dyn Histories,
) -> Result<(), HistoryError> {
    match update(received, known) {
        Err(HistoryError::Older) => Ok(()),
        result => result,
    }
}

/// The stored identity, verified again because a store is not trusted.
#[must_use]
pub fn stored(identifier: &Identifier, known: &dyn Histories) -> Option<Identity> {
    Identity::verify(&known.get(identifier)?, Some(identifier)).ok()
}
