//! Why something could not be stored or read, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

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
        "{path} has mode {mode:04o} and holds secrets; it must have mode 0600",
        path = .path.display()
    )]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file is damaged.
    #[error("the file {path} is damaged: {what}", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The name is taken.
    #[error("there is already an identity at {path}", path = .0.display())]
    Exists(PathBuf),
    /// The name is taken.
    #[error("there is already a vault at {path}", path = .0.display())]
    VaultExists(PathBuf),
    /// No identity has this name.
    #[error("there is no identity '{name}' in {home}", home = .home.display())]
    Missing {
        /// The name.
        name: String,
        /// Where it was looked for.
        home: PathBuf,
    },
    /// No vault has this name.
    #[error("there is no vault '{name}' in {home}", home = .home.display())]
    MissingVault {
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
    /// A vault is encrypted, and nothing was given to open it with.
    #[error("the vault '{vault}' is encrypted with a {with}, and none was given")]
    Locked {
        /// Name of the vault.
        vault: String,
        /// `passphrase` or `key file`.
        with: &'static str,
    },
    /// What was given does not open the vault, or somebody changed its file.
    #[error("the {with} does not open the vault '{vault}', or {path} was changed", path = .path.display())]
    WrongSecret {
        /// Name of the vault.
        vault: String,
        /// `passphrase` or `key file`.
        with: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Not usable as a passphrase or key file.
    #[error("{what}")]
    Secret {
        /// What is wrong, and with what.
        what: String,
    },
    /// A vault cannot be opened or saved, although nothing is wrong with what was given.
    #[error("the vault '{vault}' cannot be used: {what}")]
    Vault {
        /// Name of the vault.
        vault: String,
        /// Why not.
        what: String,
    },
    /// A vault does not hold the key that was asked for.
    #[error("the vault '{vault}' has no key {key}")]
    NoKey {
        /// Name of the vault.
        vault: String,
        /// The handle or, of an identity, what it is for.
        key: String,
    },
    /// Something that is to be deleted is used.
    #[error("{what} is used by {}", .by.join(", "))]
    InUse {
        /// What is to be deleted.
        what: String,
        /// Names of the identities that use it.
        by: Vec<String>,
    },
    /// A vault is a service that this program does not know.
    #[error(
        "the keys of the vault '{vault}' are in the service '{service}', which this program was built without"
    )]
    NoService {
        /// Name of the vault.
        vault: String,
        /// The service.
        service: String,
    },
    /// The service behind a vault refused.
    #[error("the vault '{vault}': {message}")]
    Remote {
        /// Name of the vault.
        vault: String,
        /// What it said.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A change history that is not one, or does not fit what is known.
    #[error("the change history cannot be taken: {0}")]
    History(String),
}

impl StoreError {
    pub(super) fn io(what: &'static str, path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { what, path, error }
    }

    pub(super) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        let (path, what) = (path.to_owned(), what.into());
        Self::Corrupt { path, what }
    }

    pub(super) fn keys(name: &str, what: impl ToString) -> Self {
        let (name, what) = (name.to_owned(), what.to_string());
        Self::Keys { name, what }
    }

    pub(super) fn vault(name: &str, what: impl ToString) -> Self {
        let (vault, what) = (name.to_owned(), what.to_string());
        Self::Vault { vault, what }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Io { .. } => {
                "check that the directory exists and belongs to this user, or choose another one \
                 with --home"
            }
            Self::Database { error, .. } => about_database(error.sqlite_error_code()),
            Self::Later(_) => "use that version, or another --home",
            Self::NoHome => "name a directory with --home",
            Self::Corrupt { .. } => {
                "restore the file from a backup, or move it away and create a new identity (its \
                 identifier will be another one)"
            }
            Self::Exists(_) | Self::VaultExists(_) => {
                "choose another --name, or move that file away"
            }
            Self::Name(_) => "choose another name",
            Self::Expired(_) => {
                "run `culvert-edge identity rotate`, or create a new identity and tell its \
                 identifier to the peers"
            }
            Self::Keys { .. } => "check the clock of this machine, or create a new identity",
            Self::Locked { with, .. } | Self::WrongSecret { with, .. } => return how_to_open(with),
            Self::Secret { .. } => {
                "a passphrase has 8 to 1024 bytes on one line; a key file has 32 bytes or more, \
                 for example of `head -c 32 /dev/urandom`"
            }
            Self::Vault { .. } => "see the message; other vaults can be used",
            Self::NoKey { .. } => {
                "restore the vault from a backup, or see `culvert-edge vault show` for the keys \
                 it has"
            }
            Self::InUse { .. } => {
                "delete those identities, or move their keys to another vault; --force deletes it \
                 all the same, and makes them useless"
            }
            Self::NoService { .. } => "build culvert-edge with `--features aws-kms`",
            Self::Remote { hint, .. } => hint,
            Self::History(_) => "ask the peer for the output of `identity export` once more",
            Self::Readable { path, .. } => {
                return format!(
                    "run `chmod 600 {}`; if somebody may have read it, create a new one",
                    path.display()
                );
            }
            Self::Missing { name, .. } => {
                return format!(
                    "run `culvert-edge identity create --name {name}`, or choose another --home"
                );
            }
            Self::MissingVault { name, .. } => {
                return format!(
                    "run `culvert-edge vault create --name {name}`, or choose another --home"
                );
            }
        };
        text.to_owned()
    }
}

fn about_database(code: Option<rusqlite::ErrorCode>) -> &'static str {
    use rusqlite::ErrorCode;
    match code {
        Some(ErrorCode::DiskFull) => "nothing was changed: make room on its disk, and try again",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the file is damaged: restore a backup with `culvert-edge restore`, or move it, and those \
             with -wal and -shm behind its name, away to begin anew"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process is changing it for longer than usual: try again"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "this user has to be able to write the file and its directory, or choose another --home"
        }
        _ => {
            "check that its directory exists, belongs to this user and has room; if the file is \
             damaged, restore it from a backup"
        }
    }
}

fn how_to_open(with: &str) -> String {
    match with {
        super::unlock::PASSPHRASE => {
            "pass --passphrase-file (--new-passphrase-file for a new one), set CULVERT_PASSPHRASE \
             (CULVERT_NEW_PASSPHRASE), or start it in a terminal to be asked"
        }
        _ => "pass --key-file with the file it was made with (--new-key-file for a new one)",
    }
    .to_owned()
}
