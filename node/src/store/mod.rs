//! The state directory: identities, and vaults with their secret keys, one file each.
//!
//! ```text
//! <home>/                       0700 when made here
//!   identities/                 0700
//!     default.json              0600, see [`record`]
//!   vaults/                     0700
//!     default.json              0600, see [`vault`]
//!   histories/                  0700, change histories of other nodes
//!   culvert.db                  0600, see [`database`]
//! ```
//!
//! A change that needs two files writes what is new before what refers to it, and deletes what is
//! old last: whatever fails in between, a whole identity is left.

pub mod database;
mod error;
pub mod file;
pub mod histories;
mod identities;
mod manage;
pub mod nodes;
pub mod policies;
pub mod projects;
pub mod record;
mod rotate;
pub mod service;
mod stored;
pub mod unlock;
pub mod vault;

use std::io;
use std::path::{Path, PathBuf};

pub use error::StoreError;
pub use identities::NewIdentity;
pub use manage::{KeyUse, NewVault};
pub use rotate::Rotation;
pub use stored::{Entry, Stored};

use service::OpenService;
use unlock::{Unlock, With};

/// Name of the identity, and of the vault, used when none is asked for.
pub const DEFAULT_NAME: &str = "default";
/// Longest name of an identity or a vault, in bytes.
const LONGEST_NAME: usize = 64;

/// A state directory.
#[derive(Clone)]
pub struct Store {
    home: PathBuf,
    unlock: Unlock,
    services: Option<OpenService>,
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
        Ok(Self {
            home,
            unlock: Unlock::default(),
            services: None,
        })
    }

    /// Opens encrypted vaults with this.
    #[must_use]
    pub fn with_unlock(self, unlock: Unlock) -> Self {
        Self { unlock, ..self }
    }

    /// Opens vaults that are services with this.
    #[must_use]
    pub fn with_services(self, open: OpenService) -> Self {
        let services = Some(open);
        Self { services, ..self }
    }

    /// What was given to open encrypted vaults with, without asking anybody.
    #[must_use]
    pub fn given(&self) -> Option<With> {
        self.unlock.given()
    }

    /// What a process of the same user needs in its environment to open the same vaults; secrets are
    /// not in it.
    #[must_use]
    pub fn unlock_variables(&self) -> Vec<(&'static str, PathBuf)> {
        self.unlock.variables()
    }

    /// Where it is.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The file of an identity.
    ///
    /// # Errors
    ///
    /// [`StoreError::Name`].
    pub fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        self.file("identities", name)
    }

    /// The file of a vault.
    ///
    /// # Errors
    ///
    /// [`StoreError::Name`].
    pub fn vault_path(&self, name: &str) -> Result<PathBuf, StoreError> {
        self.file("vaults", name)
    }

    fn file(&self, directory: &str, name: &str) -> Result<PathBuf, StoreError> {
        match is_name(name) {
            true => Ok(self.home.join(directory).join(format!("{name}.json"))),
            false => Err(StoreError::Name(name.to_owned())),
        }
    }

    /// Names of all identities, sorted.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]. A directory that does not exist has none.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        names_in(&self.home.join("identities"), ".json", is_name)
    }

    /// Names of all vaults, sorted.
    ///
    /// # Errors
    ///
    /// As [`Store::names`].
    pub fn vaults(&self) -> Result<Vec<String>, StoreError> {
        names_in(&self.home.join("vaults"), ".json", is_name)
    }

    /// Keeps other processes from changing anything until the result is dropped.
    fn lock(&self) -> Result<std::fs::File, StoreError> {
        file::lock(&self.home)
    }
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Names of the files with this ending, without it, sorted.
fn names_in(
    directory: &Path,
    ending: &str,
    is_name: impl Fn(&str) -> bool,
) -> Result<Vec<String>, StoreError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", directory, error)),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let name = file.strip_suffix(ending)?;
            is_name(name).then(|| name.to_owned())
        })
        .collect();
    names.sort();
    Ok(names)
}
