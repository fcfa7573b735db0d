//! The file of one vault.
//!
//! ```text
//! { "version": 1,
//!   "service": null | { "name": "aws-kms", "region": "eu-west-1", "multi_region": false },
//!   "keys": { "signing": [{ "type": "EdDSACurve25519", "secret": "<hex>" }],
//!             "channel": [{ "secret": "<hex>" }],
//!             "remote": [{ "id": "…", "public_key": "<hex>" }] } }
//! ```
//!
//! An encrypted one has `sealed` in place of `keys`:
//!
//! ```text
//!   "sealed": { "with": "passphrase" | "key-file", "kdf": "argon2id", "memory_kib": 65536,
//!               "passes": 3, "lanes": 1, "salt": "<hex>", "content": "<hex of sealed JSON>" }
//! ```
//!
//! What stands in clear is authenticated with the rest (`culvert_crypto::vault::sealed`).

use std::io;
use std::path::{Path, PathBuf};

use culvert_crypto::secret::Secret;
use culvert_crypto::vault::sealed::{Cost, Lock, SALT, SealedError};
use culvert_crypto::vault::{
    ChannelVault, KeyType, SigningHandle, SigningVault, SoftwareVault, VaultError,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::file::{self, Existing};
use super::record::{self, secret};
use super::service::{RemoteFailure, RemoteKey, RemoteVault, Service};
use super::unlock::{Opener, Unlock, With};
use super::{Store, StoreError};

/// Version of the format.
const VERSION: u32 = 1;
/// The only derivation of keys there is.
const KDF: &str = "argon2id";
/// Most keys of a vault: its file must stay below what is read.
const MOST_KEYS: usize = 1000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultRecord {
    version: u32,
    service: Option<Service>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<KeysRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<SealedRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedRecord {
    with: With,
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    #[serde(with = "hex")]
    salt: [u8; SALT],
    #[serde(with = "hex")]
    content: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysRecord {
    signing: Vec<SigningRecord>,
    channel: Vec<ChannelSecret>,
    remote: Vec<RemoteKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SigningRecord {
    #[serde(rename = "type")]
    key_type: String,
    #[serde(with = "secret")]
    secret: Secret<32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelSecret {
    #[serde(with = "secret")]
    secret: Secret<32>,
}

/// How the file of a vault is protected, apart from its mode.
#[derive(Clone)]
pub(super) enum Protection {
    /// Not at all.
    Plain,
    /// Encrypted.
    Sealed {
        with: With,
        cost: Cost,
        secret: Opener,
    },
}

/// What the file of a vault says to everybody who can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is encrypted with; none if it is not.
    pub with: Option<With>,
    /// Where its signing keys are, if not in the file.
    pub service: Option<Service>,
}

/// An open vault.
pub struct Vault {
    /// Its name.
    pub name: String,
    pub(super) path: PathBuf,
    pub(super) protection: Protection,
    pub(super) service: Option<Service>,
    pub(super) software: SoftwareVault,
    pub(super) remote: Option<Box<dyn RemoteVault>>,
}

impl Vault {
    /// What signs.
    #[must_use]
    pub fn signing(&self) -> &dyn SigningVault {
        match &self.remote {
            Some(remote) => &**remote,
            None => &self.software,
        }
    }

    /// What makes and deletes signing keys. Nothing is durable before the vault is saved.
    pub(super) fn signing_mut(&mut self) -> &mut dyn SigningVault {
        match &mut self.remote {
            Some(remote) => &mut **remote,
            None => &mut self.software,
        }
    }

    /// Type of the keys it makes when no other is asked for.
    #[must_use]
    pub fn default_type(&self) -> KeyType {
        match self.remote {
            Some(_) => KeyType::P256,
            None => KeyType::default(),
        }
    }

    /// What the file says in clear.
    #[must_use]
    pub fn header(&self) -> Header {
        Header {
            with: match &self.protection {
                Protection::Plain => None,
                Protection::Sealed { with, .. } => Some(*with),
            },
            service: self.service.clone(),
        }
    }

    /// Handles of all signing keys, sorted.
    #[must_use]
    pub fn handles(&self) -> Vec<SigningHandle> {
        let mut handles: Vec<SigningHandle> = match &self.remote {
            Some(remote) => {
                let of = |key: RemoteKey| SigningHandle {
                    key_type: KeyType::P256,
                    bytes: key.id.into_bytes(),
                };
                remote.keys().into_iter().map(of).collect()
            }
            None => {
                let secrets = self.software.signing_secrets();
                secrets.map(|(handle, _)| handle.clone()).collect()
            }
        };
        handles.sort_by(|a, b| a.bytes.cmp(&b.bytes));
        handles
    }

    /// An error of the vault as one of the store: with what the service said.
    pub(super) fn failed(&self, error: impl ToString) -> StoreError {
        match self.remote.as_ref().and_then(|remote| remote.failure()) {
            Some(failure) => remote_failed(&self.name, failure),
            None => StoreError::vault(&self.name, error),
        }
    }

    /// Writes the file.
    pub(super) fn save(&self, existing: Existing) -> Result<(), StoreError> {
        let remote = self.remote.as_ref().map(|remote| remote.keys());
        let (remote, mut signing, mut channel) =
            (remote.unwrap_or_default(), Vec::new(), Vec::new());
        for (handle, secret) in self.software.signing_secrets() {
            signing.push(SigningRecord {
                key_type: handle.key_type.name().to_owned(),
                secret: secret.clone(),
            });
        }
        for (_, secret) in self.software.channel_secrets() {
            let secret = secret.clone();
            channel.push(ChannelSecret { secret });
        }
        let count = signing.len() + channel.len() + remote.len();
        if count > MOST_KEYS {
            let what = format!("it would hold {count} keys, more than {MOST_KEYS}");
            return Err(StoreError::vault(&self.name, what));
        }
        let keys = KeysRecord {
            signing,
            channel,
            remote,
        };
        let room = 4096 + 512 * count;
        let mut record = VaultRecord {
            version: VERSION,
            service: self.service.clone(),
            keys: None,
            sealed: None,
        };
        match &self.protection {
            Protection::Plain => record.keys = Some(keys),
            Protection::Sealed { with, cost, secret } => {
                let lock = Lock {
                    cost: *cost,
                    salt: crate::random_bytes(),
                };
                let content = lock
                    .seal(
                        secret,
                        &context(*with, record.service.as_ref()),
                        &record::text(&keys, room),
                    )
                    .map_err(|error| StoreError::vault(&self.name, error))?;
                record.sealed = Some(SealedRecord {
                    with: *with,
                    kdf: KDF.to_owned(),
                    memory_kib: cost.memory_kib,
                    passes: cost.passes,
                    lanes: cost.lanes,
                    salt: lock.salt,
                    content,
                });
            }
        }
        file::write(&self.path, &record::text(&record, 3 * room), existing)
    }

    fn take_keys(&mut self, keys: KeysRecord) -> Result<Vec<RemoteKey>, StoreError> {
        let corrupt = |what: &str| StoreError::corrupt(&self.path, what);
        for key in keys.signing {
            let key_type = KeyType::from_name(&key.key_type)
                .ok_or_else(|| corrupt("it has a key of unknown type"))?;
            self.software
                .import_signing(key_type, key.secret)
                .map_err(|error: VaultError| corrupt(&error.to_string()))?;
        }
        for key in keys.channel {
            self.software.import_channel(key.secret);
        }
        if self.service.is_none() && !keys.remote.is_empty() {
            return Err(corrupt("it has keys of a service, but none is named"));
        }
        Ok(keys.remote)
    }
}

pub(super) fn remote_failed(vault: &str, failure: RemoteFailure) -> StoreError {
    let RemoteFailure { message, hint } = failure;
    let vault = vault.to_owned();
    StoreError::Remote {
        vault,
        message,
        hint,
    }
}

/// What stands in clear and must not be changed: JSON of an array.
fn context(with: With, service: Option<&Service>) -> Vec<u8> {
    // Writing to memory fails only when it runs out, which ends the process.
    serde_json::to_vec(&(VERSION, KDF, with, service)).unwrap_or_default()
}

fn read(path: &Path, name: &str, home: &Path) -> Result<VaultRecord, StoreError> {
    let text = file::read(path).map_err(|error| match error {
        StoreError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => {
            StoreError::MissingVault {
                name: name.to_owned(),
                home: home.to_owned(),
            }
        }
        other => other,
    })?;
    let record: VaultRecord = record::parse(path, &text)?;
    let corrupt = |what: &str| Err(StoreError::corrupt(path, what));
    if record.version != VERSION {
        return corrupt(&format!("its version is {}, not {VERSION}", record.version));
    }
    match (&record.keys, &record.sealed) {
        (Some(_), None) => Ok(record),
        (None, Some(sealed)) if sealed.kdf == KDF => Ok(record),
        (None, Some(_)) => corrupt("its key is derived in an unknown way"),
        _ => corrupt("it must have either keys or a sealed part"),
    }
}

/// Opens the sealed part.
fn unseal(
    sealed: &SealedRecord,
    service: Option<&Service>,
    secret: &Opener,
) -> Result<Zeroizing<Vec<u8>>, SealedError> {
    let lock = Lock {
        cost: sealed.cost(),
        salt: sealed.salt,
    };
    lock.open(secret, &context(sealed.with, service), &sealed.content)
}

impl SealedRecord {
    fn cost(&self) -> Cost {
        Cost {
            memory_kib: self.memory_kib,
            passes: self.passes,
            lanes: self.lanes,
        }
    }
}

impl Store {
    /// What the file of a vault says in clear: needs no passphrase.
    ///
    /// # Errors
    ///
    /// [`StoreError::MissingVault`], [`StoreError::Corrupt`] and others.
    pub fn vault_header(&self, name: &str) -> Result<Header, StoreError> {
        let record = read(&self.vault_path(name)?, name, self.home())?;
        Ok(Header {
            with: record.sealed.map(|sealed| sealed.with),
            service: record.service,
        })
    }

    /// Opens a vault, with what the store has for it or with `unlock`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`], [`StoreError::WrongSecret`] and others.
    pub fn open_vault(&self, name: &str, unlock: Option<&Unlock>) -> Result<Vault, StoreError> {
        let path = self.vault_path(name)?;
        let VaultRecord {
            service,
            keys,
            sealed,
            ..
        } = read(&path, name, self.home())?;
        let unlock = unlock.unwrap_or(&self.unlock);
        let (keys, protection) = match (keys, sealed) {
            (Some(keys), _) => (keys, Protection::Plain),
            (None, Some(sealed)) => {
                let with = sealed.with;
                let secret = unlock.secret(name, with)?;
                let opened = match unseal(&sealed, service.as_ref(), &secret) {
                    Ok(opened) => opened,
                    Err(SealedError::Wrong) => {
                        return Err(StoreError::WrongSecret {
                            vault: name.to_owned(),
                            with: with.name(),
                            path,
                        });
                    }
                    Err(SealedError::Memory) => {
                        return Err(StoreError::vault(name, SealedError::Memory));
                    }
                    Err(error) => return Err(StoreError::corrupt(&path, error.to_string())),
                };
                unlock.remember(name, with, &secret);
                let cost = sealed.cost();
                let keys = record::parse(&path, &opened)?;
                (keys, Protection::Sealed { with, cost, secret })
            }
            (None, None) => return Err(StoreError::corrupt(&path, "it holds nothing")),
        };
        let mut vault = Vault {
            name: name.to_owned(),
            path,
            protection,
            service,
            software: SoftwareVault::new(),
            remote: None,
        };
        let remote = vault.take_keys(keys)?;
        if let Some(service) = &vault.service {
            vault.remote = Some(self.open_service(name, service, remote)?);
        }
        Ok(vault)
    }

    pub(super) fn open_service(
        &self,
        vault: &str,
        service: &Service,
        keys: Vec<RemoteKey>,
    ) -> Result<Box<dyn RemoteVault>, StoreError> {
        let Some(open) = self.services else {
            return Err(StoreError::NoService {
                vault: vault.to_owned(),
                service: service.name.clone(),
            });
        };
        open(service, keys).map_err(|failure| remote_failed(vault, failure))
    }
}
