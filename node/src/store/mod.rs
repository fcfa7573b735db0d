//! The state directory: identities with their secret keys, one file each.
//!
//! ```text
//! <home>/                       0700 when made here
//!   identities/                 0700
//!     default.json              0600, see [`record`]
//!   culvert.db                  0600, see [`database`]
//! ```

pub mod database;
pub mod file;
pub mod policies;
pub mod projects;
pub mod record;

use std::io;
use std::path::{Path, PathBuf};

use culvert_crypto::Identifier;
use culvert_crypto::channel::Endpoint;
use culvert_crypto::identity::{self, Identity};
use culvert_crypto::primitives::curve25519::x25519_public_key;
use culvert_crypto::purpose_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{KeyType, SigningHandle, SigningVault, SoftwareVault};
use culvert_proto::credential::{PurposeKeyAttestation, PurposePublicKey};
use culvert_proto::identity::decode_exact;

use file::Existing;
use record::{ChannelRecord, Record};

/// Name of the identity used when none is asked for.
pub const DEFAULT_NAME: &str = "default";
/// Longest name of an identity, in bytes.
const LONGEST_NAME: usize = 64;
/// A channel key is replaced this long before its attestation ends: 30 days, seconds.
const RENEW_BEFORE: u64 = 30 * 24 * 3600;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {what} {path}: {error}", path = .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The database cannot be used.
    #[error("cannot {what} the database {path}: {error}", path = .path.display())]
    Database {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        error: rusqlite::Error,
    },
    /// The database was written by a later version of Culvert.
    #[error("the database {path} was written by a later version of Culvert", path = .0.display())]
    Later(PathBuf),
    /// No directory was named and there is no usual one.
    #[error("there is no state directory: neither CULVERT_HOME nor XDG_STATE_HOME nor HOME is set")]
    NoHome,
    /// Others than the owner may read or write a file with secrets.
    #[error(
        "{path} has mode {mode:04o} and holds secret keys; it must have mode 0600",
        path = .path.display()
    )]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file is damaged.
    #[error("the identity file {path} is damaged: {what}", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The name is taken.
    #[error("there is already an identity at {path}", path = .0.display())]
    Exists(PathBuf),
    /// No identity has this name.
    #[error("there is no identity '{name}' in {home}", home = .home.display())]
    Missing {
        /// The name.
        name: String,
        /// Where it was looked for.
        home: PathBuf,
    },
    /// Not usable as a name.
    #[error("'{0}' is not a name: use 1 to 64 of a-z A-Z 0-9 . _ -, not starting with . or -")]
    Name(String),
    /// The identity may not attest keys any more.
    #[error("the identity '{0}' has expired")]
    Expired(String),
    /// A key could not be used.
    #[error("the keys of the identity '{name}' cannot be used: {what}")]
    Keys {
        /// Name of the identity.
        name: String,
        /// Why not.
        what: String,
    },
}

impl StoreError {
    fn io(what: &'static str, path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { what, path, error }
    }

    fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        let (path, what) = (path.to_owned(), what.into());
        Self::Corrupt { path, what }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } => {
                "check that the directory exists and belongs to this user, or choose \
                                another one with --home"
                    .into()
            }
            Self::Database { .. } => {
                "check that its directory exists, belongs to this user and has \
                                      room; if the file is damaged, restore it from a backup"
                    .into()
            }
            Self::Later(_) => "use that version, or another --home".into(),
            Self::NoHome => "name a directory with --home".into(),
            Self::Readable { path, .. } => format!(
                "run `chmod 600 {}`; if somebody may have read it, create a new identity",
                path.display()
            ),
            Self::Corrupt { .. } => {
                "restore the file from a backup, or move it away and create a new \
                                     identity (its identifier will be another one)"
                    .into()
            }
            Self::Exists(_) => "choose another --name, or move that file away".into(),
            Self::Missing { name, .. } => {
                format!(
                    "run `culvert-edge identity create --name {name}`, or choose another --home"
                )
            }
            Self::Name(_) => "choose another name".into(),
            Self::Expired(_) => "create a new identity and tell its identifier to the peers".into(),
            Self::Keys { .. } => "check the clock of this machine, or create a new identity".into(),
        }
    }
}

/// An identity read from the store, with its secrets.
pub struct Stored {
    /// Name on this machine.
    pub name: String,
    /// The verified identity.
    pub identity: Identity,
    vault: SoftwareVault,
    handle: SigningHandle,
    channel: ChannelRecord,
}

impl Stored {
    /// Its identifier.
    #[must_use]
    pub fn identifier(&self) -> Identifier {
        self.identity.identifier()
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
        } = &self.channel;
        Endpoint::new(
            &self.identity,
            secret.clone(),
            attestation.clone(),
            Vec::new(),
        )
        .map_err(|error| self.unusable(error))
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
        purpose_key::attest_until(&self.vault, &self.identity, key, now_s, until)
            .map_err(|error| self.unusable(error))
    }

    fn unusable(&self, error: impl ToString) -> StoreError {
        unusable(&self.name, error)
    }

    /// Whether the attestation of the channel key can be used, and will be for a while.
    fn is_attested(&self, now_s: u64) -> bool {
        let usable_until = now_s
            .saturating_add(RENEW_BEFORE)
            .min(self.identity.latest().valid_until);
        decode_exact::<PurposeKeyAttestation>(&self.channel.attestation).is_ok_and(|attestation| {
            [now_s, usable_until]
                .iter()
                .all(|at| purpose_key::verify_for(&attestation, &self.identity, *at).is_ok())
        })
    }
}

fn unusable(name: &str, error: impl ToString) -> StoreError {
    StoreError::Keys {
        name: name.to_owned(),
        what: error.to_string(),
    }
}

/// A state directory.
#[derive(Clone, Debug)]
pub struct Store {
    home: PathBuf,
}

impl Store {
    /// The store in `home`, or in the usual place: `$XDG_STATE_HOME/culvert` or
    /// `~/.local/state/culvert`. Nothing is created yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoHome`].
    pub fn open(home: Option<PathBuf>) -> Result<Self, StoreError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = home
            .or_else(|| set("XDG_STATE_HOME").map(|state| PathBuf::from(state).join("culvert")))
            .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/state/culvert")))
            .ok_or(StoreError::NoHome)?;
        Ok(Self { home })
    }

    /// Where it is.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    fn directory(&self) -> PathBuf {
        self.home.join("identities")
    }

    /// The file of an identity.
    ///
    /// # Errors
    ///
    /// [`StoreError::Name`].
    pub fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        let is_name = (1..=LONGEST_NAME).contains(&name.len())
            && !name.starts_with(['.', '-'])
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if is_name {
            Ok(self.directory().join(format!("{name}.json")))
        } else {
            Err(StoreError::Name(name.to_owned()))
        }
    }

    /// Makes an identity, valid from `now_s` (UNIX seconds) for ten years, and stores it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] when the name is taken, and others.
    pub fn create(&self, name: &str, key_type: KeyType, now_s: u64) -> Result<Stored, StoreError> {
        let path = self.path(name)?;
        if path.exists() {
            return Err(StoreError::Exists(path));
        }
        let mut vault = SoftwareVault::new();
        let random = Secret::new(crate::random_bytes());
        let handle = vault
            .generate(key_type, &random)
            .map_err(|error| unusable(name, error))?;
        let valid_until = now_s.saturating_add(identity::DEFAULT_LIFETIME);
        let identity = Identity::create(&vault, &handle, now_s, valid_until)
            .map_err(|error| unusable(name, error))?;
        let channel = new_channel_key(name, &vault, &identity, now_s)?;
        let stored = Stored {
            name: name.to_owned(),
            identity,
            vault,
            handle,
            channel,
        };
        file::make_directory(&self.directory())?;
        self.save(&stored, Existing::Keep)?;
        Ok(stored)
    }

    /// Reads an identity and checks all of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::Readable`], [`StoreError::Corrupt`] and others.
    pub fn load(&self, name: &str) -> Result<Stored, StoreError> {
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
        let record = Record::parse(&path, &text)?;
        let corrupt = |what: &str| StoreError::corrupt(&path, what);
        let identifier: Identifier = record
            .identifier
            .parse()
            .map_err(|_| corrupt("its identifier is not one"))?;
        let identity = Identity::verify(&record.change_history, Some(&identifier))
            .map_err(|error| corrupt(&error.to_string()))?;
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
            name: name.to_owned(),
            identity,
            vault,
            handle,
            channel: record.channel,
        })
    }

    /// Reads an identity for use: makes a new channel key first if the attestation of the stored
    /// one has ended or will soon.
    ///
    /// # Errors
    ///
    /// As [`Store::load`], and [`StoreError::Expired`].
    pub fn load_for_use(&self, name: &str, now_s: u64) -> Result<Stored, StoreError> {
        let mut stored = self.load(name)?;
        if stored.identity.latest().valid_until < now_s {
            return Err(StoreError::Expired(name.to_owned()));
        }
        if !stored.is_attested(now_s) {
            stored.channel = new_channel_key(name, &stored.vault, &stored.identity, now_s)?;
            self.save(&stored, Existing::Replace)?;
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
        match self.create(name, KeyType::default(), now_s) {
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

    /// Names of all identities, sorted.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]. A directory that does not exist has none.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let directory = self.directory();
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("read", &directory, error)),
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| {
                let file = entry.file_name().into_string().ok()?;
                let name = file.strip_suffix(".json")?;
                self.path(name).is_ok().then(|| name.to_owned())
            })
            .collect();
        names.sort();
        Ok(names)
    }

    fn save(&self, stored: &Stored, existing: Existing) -> Result<(), StoreError> {
        let secret = stored.vault.export_signing(&stored.handle);
        let record = Record {
            version: record::VERSION,
            name: stored.name.clone(),
            identifier: stored.identifier().to_string(),
            change_history: stored.identity.history().to_vec(),
            key_type: stored.handle.key_type.name().to_owned(),
            primary_secret: secret
                .ok_or_else(|| stored.unusable("the vault has no such key"))?
                .clone(),
            channel: ChannelRecord {
                secret: stored.channel.secret.clone(),
                attestation: stored.channel.attestation.clone(),
            },
        };
        file::write(&self.path(&stored.name)?, &record.text(), existing)
    }
}

fn new_channel_key(
    name: &str,
    vault: &SoftwareVault,
    identity: &Identity,
    now_s: u64,
) -> Result<ChannelRecord, StoreError> {
    let secret = Secret::new(crate::random_bytes());
    let public = PurposePublicKey::SecureChannel(x25519_public_key(&secret));
    let attestation = purpose_key::attest(vault, identity, &public, now_s)
        .map_err(|error| unusable(name, error))?;
    Ok(ChannelRecord {
        secret,
        attestation,
    })
}
