//! Vaults as people manage them: make, protect otherwise, empty, delete.

use std::path::Path;

use culvert_crypto::vault::sealed::Cost;
use culvert_crypto::vault::{ChannelVault, KeyType, SigningHandle, SoftwareVault};

use super::file::{self, Existing};
use super::service::Service;
use super::stored::{Entry, Keys, show};
use super::unlock::{Unlock, With};
use super::vault::{Protection, Vault};
use super::{Store, StoreError};

/// A signing key of a vault, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Its handle: hexadecimal digits, or what a service calls it.
    pub name: String,
    /// Its type.
    pub key_type: KeyType,
    /// Names of the identities that sign with it.
    pub users: Vec<String>,
}

/// A new vault.
#[derive(Clone, Debug, Default)]
pub struct NewVault {
    /// What it is encrypted with; without, its keys are in clear.
    pub with: Option<With>,
    /// Cost of a guess at the passphrase.
    pub cost: Cost,
    /// The service with its signing keys, if they are not to be in the file.
    pub service: Option<Service>,
    /// Keys of the service that exist already and are to be used.
    pub adopt: Vec<String>,
}

impl Vault {
    /// The handle of a key: hexadecimal digits, or what a service calls it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoKey`].
    pub fn find(&self, key: &str) -> Result<SigningHandle, StoreError> {
        let found = self
            .handles()
            .into_iter()
            .find(|handle| show(handle) == key);
        found.ok_or_else(|| StoreError::NoKey {
            vault: self.name.clone(),
            key: key.to_owned(),
        })
    }

    /// All signing keys, and which of these identities use each.
    #[must_use]
    pub fn keys_and_users(&self, identities: &[Entry]) -> Vec<KeyUse> {
        let uses = |entry: &&Entry, handle: &SigningHandle| {
            self.signing()
                .handle_of(&entry.identity.latest().key)
                .ok()
                .as_ref()
                == Some(handle)
        };
        let of = |handle: SigningHandle| KeyUse {
            name: show(&handle),
            key_type: handle.key_type,
            users: identities
                .iter()
                .filter(|entry| uses(entry, &handle))
                .map(|entry| entry.name.clone())
                .collect(),
        };
        self.handles().into_iter().map(of).collect()
    }

    /// Has the next save protect the file in another way; none for not at all.
    fn protect(
        &mut self,
        with: Option<With>,
        cost: Cost,
        unlock: &Unlock,
    ) -> Result<(), StoreError> {
        self.protection = match with {
            None => Protection::Plain,
            Some(with) => Protection::Sealed {
                with,
                cost,
                secret: unlock.new_secret(&self.name, with)?,
            },
        };
        Ok(())
    }
}

impl Store {
    /// Makes a vault.
    ///
    /// # Errors
    ///
    /// [`StoreError::VaultExists`], and what its passphrase or service may say.
    pub fn create_vault(&self, name: &str, new: &NewVault) -> Result<Vault, StoreError> {
        let _turn = self.lock()?;
        self.make_vault(name, new)
    }

    pub(super) fn make_vault(&self, name: &str, new: &NewVault) -> Result<Vault, StoreError> {
        let path = self.vault_path(name)?;
        if path.exists() {
            return Err(StoreError::VaultExists(path));
        }
        let mut vault = Vault {
            name: name.to_owned(),
            path,
            protection: Protection::Plain,
            service: new.service.clone(),
            software: SoftwareVault::new(),
            remote: None,
        };
        vault.protect(new.with, new.cost, &self.unlock)?;
        if let Some(service) = &new.service {
            let mut remote = self.open_service(name, service, Vec::new())?;
            let adopted = new
                .adopt
                .iter()
                .try_for_each(|id| remote.adopt(id).map(drop));
            vault.remote = Some(remote);
            adopted.map_err(|error| vault.failed(error))?;
        }
        file::make_directory(&self.home.join("vaults"))?;
        vault.save(Existing::Keep).map_err(|error| match error {
            StoreError::Exists(path) => StoreError::VaultExists(path),
            other => other,
        })?;
        if let Protection::Sealed { with, secret, .. } = &vault.protection {
            self.unlock.remember(name, *with, secret);
        }
        Ok(vault)
    }

    /// The identities whose keys are in a vault.
    ///
    /// # Errors
    ///
    /// What reading an identity may say: one that cannot be read may be one of them.
    pub fn users(&self, vault: &str) -> Result<Vec<Entry>, StoreError> {
        let mut users = Vec::new();
        for name in self.names()? {
            match self.entry(&name) {
                Ok(entry) if entry.vault() == Some(vault) => users.push(entry),
                // Deleted since.
                Ok(_) | Err(StoreError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(users)
    }

    /// Protects a vault in another way, or with another passphrase, key file or cost, which comes from
    /// `new`; for one that was not encrypted, without, from what the store has. Its file is replaced
    /// whole.
    ///
    /// # Errors
    ///
    /// As [`Store::open_vault`]; what is wrong with the new passphrase or key file.
    pub fn protect_vault(
        &self,
        name: &str,
        with: Option<With>,
        cost: Cost,
        new: Option<&Unlock>,
    ) -> Result<Vault, StoreError> {
        let _turn = self.lock()?;
        let mut vault = self.open_vault(name, None)?;
        let asks = Unlock::renewed(None, None);
        let new = match (new, &vault.protection) {
            (Some(new), _) => new,
            (None, Protection::Plain) => &self.unlock,
            (None, Protection::Sealed { .. }) => &asks,
        };
        vault.protect(with, cost, new)?;
        vault.save(Existing::Replace)?;
        Ok(vault)
    }

    /// Moves the keys of an identity to another vault, out of its own file too; `unlock` opens that
    /// vault, if what the store has does not.
    ///
    /// They are stored there before the identity says so, and deleted here after it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Vault`] when keys cannot leave this vault or be put into that one, and others.
    pub fn move_keys(
        &self,
        identity: &str,
        to: &str,
        unlock: Option<&Unlock>,
    ) -> Result<(), StoreError> {
        let _turn = self.lock()?;
        let mut stored = self.load(identity)?;
        if stored.vault() == Some(to) {
            return Err(StoreError::vault(to, "the keys are in it already"));
        }
        let mut target = self.open_vault(to, unlock)?;
        let in_service = |name: &str| {
            StoreError::vault(
                name,
                "its signing keys are in a service, which neither gives nor takes any; create a \
                 new identity there",
            )
        };
        if target.remote.is_some() {
            return Err(in_service(to));
        }
        let secret = stored
            .keys
            .software()
            .export_signing(&stored.handle)
            .cloned();
        let Some(secret) = secret else {
            return Err(in_service(stored.vault().unwrap_or_default()));
        };
        target
            .software
            .import_signing(stored.handle.key_type, secret)
            .map_err(|error| StoreError::vault(to, error))?;
        let channel = target
            .software
            .import_channel(stored.channel.secret.clone());
        let mut source = std::mem::replace(&mut stored.keys, Keys::In(target));
        self.save(&stored, Existing::Replace)?;
        if let Keys::In(source) = &mut source {
            let signing = [stored.handle.clone()];
            if let Err(error) = self.forget_in(source, &signing, &[channel]) {
                let vault = &source.name;
                tracing::warn!(%error, "the keys are still in the vault '{vault}' too");
            }
        }
        Ok(())
    }

    /// Deletes a vault with all keys in its file; keys in a service stay there. Needs no passphrase.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] unless forced, [`StoreError::MissingVault`] and others.
    pub fn delete_vault(&self, name: &str, force: bool) -> Result<(), StoreError> {
        let _turn = self.lock()?;
        let path = self.vault_path(name)?;
        if !path.exists() {
            let (name, home) = (name.to_owned(), self.home.clone());
            return Err(StoreError::MissingVault { name, home });
        }
        if !force {
            self.refuse_if_used(format!("the vault '{name}'"), name, |_| true)?;
        }
        file::remove(&path)
    }

    /// Deletes a signing key of a vault; in a service it is deleted after the time that takes there.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] unless forced, [`StoreError::NoKey`] and others.
    pub fn delete_key(&self, vault: &str, key: &str, force: bool) -> Result<(), StoreError> {
        let _turn = self.lock()?;
        let mut vault = self.open_vault(vault, None)?;
        let handle = vault.find(key)?;
        if !force {
            let what = format!("the key {key}");
            self.refuse_if_used(what, &vault.name, |user| {
                vault.signing().handle_of(&user.identity.latest().key) == Ok(handle.clone())
            })?;
        }
        let deleted = vault.signing_mut().delete(&handle);
        deleted.map_err(|error| vault.failed(error))?;
        vault.save(Existing::Replace)
    }

    fn refuse_if_used(
        &self,
        what: String,
        vault: &str,
        uses: impl Fn(&Entry) -> bool,
    ) -> Result<(), StoreError> {
        let users = self.users(vault)?;
        let by: Vec<String> = users
            .into_iter()
            .filter(uses)
            .map(|user| format!("'{}'", user.name))
            .collect();
        match by.is_empty() {
            true => Ok(()),
            false => Err(StoreError::InUse { what, by }),
        }
    }

    /// Deletes an identity, and its keys unless they are to stay or another identity uses them.
    ///
    /// # Errors
    ///
    /// As [`Store::load`], so that no key stays behind unnoticed; to keep the keys, only the file has
    /// to be there.
    pub fn delete_identity(&self, name: &str, keep_keys: bool) -> Result<(), StoreError> {
        let _turn = self.lock()?;
        let path = self.path(name)?;
        if keep_keys {
            return remove_identity(self, name, &path);
        }
        let mut stored = self.load(name)?;
        remove_identity(self, name, &path)?;
        let handle = stored.handle.clone();
        let secret = stored.channel.secret.clone();
        // The same secret has the same handle.
        let channel = stored.keys.software().import_channel(secret);
        match &mut stored.keys {
            Keys::Inline(_) => Ok(()),
            Keys::In(vault) => self.forget_in(vault, &[handle], &[channel]),
        }
    }
}

fn remove_identity(store: &Store, name: &str, path: &Path) -> Result<(), StoreError> {
    if path.exists() {
        return file::remove(path);
    }
    let (name, home) = (name.to_owned(), store.home.clone());
    Err(StoreError::Missing { name, home })
}

#[cfg(test)]
mod tests {
    use super::super::file::faults::{self, Fault};
    use super::*;

    const NOW: u64 = 1_780_000_000;

    /// Whatever write fails, the keys are in one vault or the other, and can be moved again.
    #[test]
    fn a_failure_loses_no_moved_key() {
        for (for_good, late) in [(false, false), (false, true), (true, false), (true, true)] {
            for after in 0.. {
                let home = tempfile::tempdir().expect("a directory");
                let store = Store::open(Some(home.path().to_owned())).expect("a store");
                let made = store.create("x", KeyType::Ed25519, NOW).expect("made");
                store
                    .create_vault("to", &NewVault::default())
                    .expect("made");
                faults::set(Some(Fault {
                    after,
                    for_good,
                    late,
                }));
                let outcome = store.move_keys("x", "to", None);
                let pending = faults::is_pending();
                faults::set(None);
                let left = store.load("x").expect("an identity");
                assert_eq!(left.identity, made.identity);
                left.endpoint().expect("an endpoint");
                if left.vault() != Some("to") {
                    assert!(outcome.is_err());
                    store.move_keys("x", "to", None).expect("moved");
                    assert_eq!(store.load("x").expect("loaded").vault(), Some("to"));
                }
                if pending {
                    break;
                }
                assert!(after < 10);
            }
        }
    }
}
