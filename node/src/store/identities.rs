//! Identities of this machine: made, read, and kept usable.

use std::io;
use std::path::Path;

use culvert_crypto::Identifier;
use culvert_crypto::identity::{self, Identity};
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{
    ChannelHandle, ChannelVault, KeyType, SigningHandle, SigningVault, SoftwareVault,
    channel_handle,
};

use super::file::{self, Existing};
use super::record::{ChannelRecord, InlineRecord, Record};
use super::stored::{Entry, Keys, Stored, new_channel_key, show};
use super::vault::Vault;
use super::{DEFAULT_NAME, NewVault, Store, StoreError};

/// How often an identity is read again whose keys were moved while it was read.
const ATTEMPTS: u32 = 5;

/// A new identity: its keys and what is said about it.
#[derive(Clone, Debug, Default)]
pub struct NewIdentity {
    /// The vault for its keys; the default one, which is made when missing, without.
    pub vault: Option<String>,
    /// Type of its primary key; what the vault prefers, without.
    pub key_type: Option<KeyType>,
    /// Handle of a key of the vault to be used in place of a new one: hexadecimal digits, or what a
    /// service calls it.
    pub key: Option<String>,
}

impl Store {
    /// Makes an identity in the default vault, valid from `now_s` (UNIX seconds) for ten years.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] when the name is taken, and others.
    pub fn create(&self, name: &str, key_type: KeyType, now_s: u64) -> Result<Stored, StoreError> {
        let new = NewIdentity {
            key_type: Some(key_type),
            ..NewIdentity::default()
        };
        self.create_identity(name, &new, now_s)
    }

    /// Makes an identity, valid from `now_s` (UNIX seconds) for ten years.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] when the name is taken, and others.
    pub fn create_identity(
        &self,
        name: &str,
        new: &NewIdentity,
        now_s: u64,
    ) -> Result<Stored, StoreError> {
        let path = self.path(name)?;
        let _turn = self.lock()?;
        if path.exists() {
            return Err(StoreError::Exists(path));
        }
        let mut vault = self.vault_for_new(new.vault.as_deref())?;
        let handle = match &new.key {
            Some(key) => vault.find(key)?,
            None => {
                let random = Secret::new(crate::random_bytes());
                let key_type = new.key_type.unwrap_or_else(|| vault.default_type());
                let made = vault.signing_mut().generate(key_type, &random);
                made.map_err(|error| vault.failed(error))?
            }
        };
        let valid_until = now_s.saturating_add(identity::DEFAULT_LIFETIME);
        let made = Identity::create(vault.signing(), &handle, now_s, valid_until)
            .map_err(|error| vault.failed(error));
        let stored = made
            .and_then(|identity| self.adopt_identity(name, identity, vault, handle.clone(), now_s));
        if stored.is_err() && new.key.is_none() {
            tracing::warn!(handle = %show(&handle), "a new key may be left in the vault");
        }
        stored
    }

    /// Makes an identity of this machine out of a history and the key it ends with, which must be in
    /// the vault (`protocol/11-identities.md` 7).
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`], [`StoreError::NoKey`] and others; nothing is stored then.
    pub fn import_identity(
        &self,
        name: &str,
        identity: Identity,
        vault: &str,
        now_s: u64,
    ) -> Result<Stored, StoreError> {
        let path = self.path(name)?;
        let _turn = self.lock()?;
        if path.exists() {
            return Err(StoreError::Exists(path));
        }
        let vault = self.open_vault(vault, None)?;
        let handle = primary_key(&vault, &identity, name)?;
        self.adopt_identity(name, identity, vault, handle, now_s)
    }

    fn adopt_identity(
        &self,
        name: &str,
        identity: Identity,
        vault: Vault,
        handle: SigningHandle,
        now_s: u64,
    ) -> Result<Stored, StoreError> {
        let keys = Keys::In(vault);
        let channel = new_channel_key(name, &keys, &identity, now_s)?;
        let mut stored = Stored {
            name: name.to_owned(),
            identity,
            keys,
            handle,
            channel,
        };
        let secret = stored.channel.secret.clone();
        stored.keys.software().import_channel(secret);
        self.save(&stored, Existing::Keep)?;
        Ok(stored)
    }

    /// Reads what the file of an identity tells, and checks it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::Readable`], [`StoreError::Corrupt`] and others.
    pub fn entry(&self, name: &str) -> Result<Entry, StoreError> {
        let path = self.path(name)?;
        let text = file::read(&path).map_err(|error| match error {
            StoreError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                StoreError::Missing {
                    name: name.to_owned(),
                    home: self.home.clone(),
                }
            }
            other => other,
        })?;
        parse_entry(name, &path, &text)
    }

    /// Reads an identity and checks all of it.
    ///
    /// # Errors
    ///
    /// As [`Store::entry`] and [`Store::open_vault`]; [`StoreError::NoKey`].
    pub fn load(&self, name: &str) -> Result<Stored, StoreError> {
        let mut entry = self.entry(name)?;
        for _ in 1..ATTEMPTS {
            let (history, vault) = (
                entry.identity.history().to_vec(),
                entry.vault().map(str::to_owned),
            );
            let missing = match self.with_keys(entry) {
                Err(error @ (StoreError::NoKey { .. } | StoreError::MissingVault { .. })) => error,
                loaded => return loaded,
            };
            // Another process may have replaced or moved the keys after its file was read.
            entry = self.entry(name)?;
            if entry.identity.history() == history && entry.vault() == vault.as_deref() {
                return Err(missing);
            }
        }
        self.with_keys(entry)
    }

    fn with_keys(&self, entry: Entry) -> Result<Stored, StoreError> {
        let path = self.path(&entry.name)?;
        let Entry {
            name,
            identity,
            record,
        } = entry;
        let record = match record {
            Record::Inline(record) => return inline(&path, name, identity, record),
            Record::InVault(record) => record,
        };
        let vault = self.open_vault(&record.vault, None)?;
        let handle = primary_key(&vault, &identity, &name)?;
        let channel = vault
            .software
            .channel_secret(&channel_handle(&record.channel.public_key));
        let Some(secret) = channel.cloned() else {
            return Err(StoreError::NoKey {
                vault: vault.name,
                key: format!("for secure channels of the identity '{name}'"),
            });
        };
        Ok(Stored {
            name,
            identity,
            keys: Keys::In(vault),
            handle,
            channel: ChannelRecord {
                secret,
                attestation: record.channel.attestation,
            },
        })
    }

    /// Reads an identity for use: makes a new channel key first if the attestation of the stored
    /// one has ended or will soon.
    ///
    /// # Errors
    ///
    /// As [`Store::load`], and [`StoreError::Expired`].
    pub fn load_for_use(&self, name: &str, now_s: u64) -> Result<Stored, StoreError> {
        let stored = self.load(name)?;
        if stored.identity.latest().valid_until < now_s {
            return Err(StoreError::Expired(name.to_owned()));
        }
        if stored.is_attested(now_s) {
            return Ok(stored);
        }
        let _turn = self.lock()?;
        let mut stored = self.load(name)?;
        if !stored.is_attested(now_s) {
            let old = stored.renew_channel_key(now_s)?;
            self.save(&stored, Existing::Replace)?;
            self.forget(&mut stored, &[], &[old]);
            tracing::info!(identity = name, "made a new key for secure channels");
        }
        Ok(stored)
    }

    /// Reads an identity for use, making it first if there is none.
    ///
    /// # Errors
    ///
    /// As [`Store::load_for_use`] and [`Store::create`].
    pub fn load_or_create(&self, name: &str, now_s: u64) -> Result<Stored, StoreError> {
        match self.load_for_use(name, now_s) {
            Err(StoreError::Missing { .. }) => {}
            loaded => return loaded,
        }
        match self.create_identity(name, &NewIdentity::default(), now_s) {
            Ok(stored) => {
                let identifier = stored.identifier();
                tracing::info!(%identifier, "made the identity '{name}': tell it to the peers");
                Ok(stored)
            }
            // Another process was faster.
            Err(StoreError::Exists(_)) => self.load_for_use(name, now_s),
            Err(error) => Err(error),
        }
    }

    /// Makes an identity durable: first its keys, then the file that needs them.
    pub(super) fn save(&self, stored: &Stored, existing: Existing) -> Result<(), StoreError> {
        if let Keys::In(vault) = &stored.keys {
            vault.save(Existing::Replace)?;
        }
        self.save_entry(stored, existing)
    }

    pub(super) fn save_entry(&self, stored: &Stored, existing: Existing) -> Result<(), StoreError> {
        let path = self.path(&stored.name)?;
        file::make_directory(&self.home.join("identities"))?;
        file::write(&path, &stored.record()?.text(), existing)
    }

    /// Deletes keys that an identity needs no more. That this fails is no reason to fail: the
    /// identity is stored, and the keys remain in its vault until the next time.
    pub(super) fn forget(
        &self,
        stored: &mut Stored,
        signing: &[SigningHandle],
        channel: &[ChannelHandle],
    ) {
        let Keys::In(vault) = &mut stored.keys else {
            return;
        };
        if let Err(error) = self.forget_in(vault, signing, channel) {
            let vault = &vault.name;
            tracing::warn!(%error, "old keys are still in the vault '{vault}'");
        }
    }

    /// Deletes keys of a vault, except those that an identity uses.
    pub(super) fn forget_in(
        &self,
        vault: &mut Vault,
        signing: &[SigningHandle],
        channel: &[ChannelHandle],
    ) -> Result<(), StoreError> {
        let users = self.users(&vault.name)?;
        let mut changed = false;
        for handle in signing {
            let used = users.iter().any(|user| {
                vault.signing().handle_of(&user.identity.latest().key) == Ok(handle.clone())
            });
            if !used {
                let deleted = vault.signing_mut().delete(handle);
                changed |= deleted.map_err(|error| vault.failed(error))?;
            }
        }
        for handle in channel {
            if users
                .iter()
                .all(|user| user.channel_handle() != Some(*handle))
            {
                changed |= vault.software.delete_channel(handle);
            }
        }
        match changed {
            true => vault.save(Existing::Replace),
            false => Ok(()),
        }
    }

    /// The vault that keys of a new identity go to. The default one is made when missing: encrypted
    /// if there is something to encrypt it with.
    fn vault_for_new(&self, name: Option<&str>) -> Result<Vault, StoreError> {
        let vault = name.unwrap_or(DEFAULT_NAME);
        match self.open_vault(vault, None) {
            Err(StoreError::MissingVault { .. }) if vault == DEFAULT_NAME => {
                let with = self.unlock.given();
                if with.is_none() {
                    tracing::info!("keys in the new vault 'default' are not encrypted");
                }
                self.make_vault(
                    vault,
                    &NewVault {
                        with,
                        ..Default::default()
                    },
                )
            }
            opened => opened,
        }
    }
}

/// The handle of the key that signs for an identity, if the vault has it.
fn primary_key(
    vault: &Vault,
    identity: &Identity,
    name: &str,
) -> Result<SigningHandle, StoreError> {
    let key = identity.latest().key;
    let handle = vault.signing().handle_of(&key).ok();
    match handle.filter(|handle| vault.signing().public_key(handle) == Ok(key)) {
        Some(handle) => Ok(handle),
        None => Err(StoreError::NoKey {
            vault: vault.name.clone(),
            key: format!("of the identity '{name}'"),
        }),
    }
}

fn parse_entry(name: &str, path: &Path, text: &[u8]) -> Result<Entry, StoreError> {
    let record = Record::parse(path, text)?;
    let corrupt = |what: &str| StoreError::corrupt(path, what);
    let identifier: Identifier = record
        .identifier()
        .parse()
        .map_err(|_| corrupt("its identifier is not one"))?;
    let identity = Identity::verify(record.change_history(), Some(&identifier))
        .map_err(|error| corrupt(&error.to_string()))?;
    Ok(Entry {
        name: name.to_owned(),
        identity,
        record,
    })
}

fn inline(
    path: &Path,
    name: String,
    identity: Identity,
    record: InlineRecord,
) -> Result<Stored, StoreError> {
    let corrupt = |what: &str| StoreError::corrupt(path, what);
    let key_type =
        KeyType::from_name(&record.key_type).ok_or_else(|| corrupt("unknown type of key"))?;
    let mut vault = SoftwareVault::new();
    let handle = vault
        .import_signing(key_type, record.primary_secret)
        .map_err(|error| corrupt(&error.to_string()))?;
    if vault.public_key(&handle).ok() != Some(identity.latest().key) {
        return Err(corrupt("its secret key belongs to another identity"));
    }
    Ok(Stored {
        name,
        identity,
        keys: Keys::Inline(vault),
        handle,
        channel: record.channel,
    })
}
