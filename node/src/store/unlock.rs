//! What opens encrypted vaults, and where it comes from.

use std::collections::HashMap;
use std::io::{IsTerminal, stderr, stdin};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{StoreError, file};

/// As messages name it.
pub(super) const PASSPHRASE: &str = "passphrase";
const KEY_FILE: &str = "key file";
/// Environment variable with the passphrase of vaults that exist.
const VARIABLE: &str = "CULVERT_PASSPHRASE";
/// Environment variable with the passphrase of what is made out of them.
const NEW_VARIABLE: &str = "CULVERT_NEW_PASSPHRASE";
/// Bytes of a passphrase; short ones are refused only when a vault is made.
const SHORTEST: usize = 8;
const LONGEST: usize = 1024;
/// Fewest bytes of a key file: it must be random, not words.
const SHORTEST_KEY: usize = 32;

/// What a vault is encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum With {
    /// Words that somebody remembers or keeps.
    Passphrase,
    /// The content of a file.
    KeyFile,
}

impl With {
    /// As messages name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passphrase => PASSPHRASE,
            Self::KeyFile => KEY_FILE,
        }
    }
}

/// A passphrase or the content of a key file.
pub(super) type Opener = Zeroizing<Vec<u8>>;

/// Where passphrases and key files come from. Clones share what was asked on the terminal, so that a
/// process that reads its vault again need not ask again.
#[derive(Clone)]
pub struct Unlock {
    passphrase_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    variable: &'static str,
    /// What opened which vault.
    known: Arc<Mutex<HashMap<(String, &'static str), Opener>>>,
}

impl Default for Unlock {
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl Unlock {
    /// For vaults that exist: these files, `CULVERT_PASSPHRASE`, or the terminal.
    #[must_use]
    pub fn new(passphrase_file: Option<PathBuf>, key_file: Option<PathBuf>) -> Self {
        Self {
            passphrase_file,
            key_file,
            variable: VARIABLE,
            known: Arc::default(),
        }
    }

    /// Environment variables that name the files of this.
    pub(super) fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        let files = [
            ("CULVERT_PASSPHRASE_FILE", &self.passphrase_file),
            ("CULVERT_KEY_FILE", &self.key_file),
        ];
        let set = files.into_iter();
        set.filter_map(|(name, file)| Some((name, std::path::absolute(file.as_ref()?).ok()?)))
            .collect()
    }

    /// For what is made out of them: as [`Unlock::new`], with `CULVERT_NEW_PASSPHRASE`.
    #[must_use]
    pub fn renewed(passphrase_file: Option<PathBuf>, key_file: Option<PathBuf>) -> Self {
        Self {
            variable: NEW_VARIABLE,
            ..Self::new(passphrase_file, key_file)
        }
    }

    /// What was given, without asking anybody.
    #[must_use]
    pub fn given(&self) -> Option<With> {
        if self.key_file.is_some() {
            return Some(With::KeyFile);
        }
        let has_words = self.passphrase_file.is_some() || self.in_environment().is_some();
        has_words.then_some(With::Passphrase)
    }

    /// What opens a vault.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] when there is nothing and nobody can be asked, [`StoreError::Secret`],
    /// and what reading a file may say.
    pub(super) fn secret(&self, vault: &str, with: With) -> Result<Opener, StoreError> {
        if let Some(known) = self.known().get(&(vault.to_owned(), with.name())) {
            return Ok(known.clone());
        }
        match self.find(with)? {
            Some(given) => Ok(given),
            None => ask(vault, with, &format!("Passphrase of the vault '{vault}': ")),
        }
    }

    /// What a new vault is encrypted with: typed twice where it is typed, and not too short.
    ///
    /// # Errors
    ///
    /// As [`Unlock::secret`].
    pub(super) fn new_secret(&self, vault: &str, with: With) -> Result<Opener, StoreError> {
        let (secret, asked) = match self.find(with)? {
            Some(given) => (given, false),
            None => {
                let prompt = format!("New passphrase of the vault '{vault}': ");
                (ask(vault, with, &prompt)?, true)
            }
        };
        if with == With::Passphrase && secret.len() < SHORTEST {
            let what = format!("a new passphrase needs {SHORTEST} bytes or more");
            return Err(StoreError::Secret { what });
        }
        if asked && ask(vault, with, "The same passphrase again: ")? != secret {
            let what = "the two passphrases differ".to_owned();
            return Err(StoreError::Secret { what });
        }
        Ok(secret)
    }

    /// Remembers what opened a vault, while this process runs.
    pub(super) fn remember(&self, vault: &str, with: With, secret: &Opener) {
        self.known()
            .insert((vault.to_owned(), with.name()), secret.clone());
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(String, &'static str), Opener>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, with: With) -> Result<Option<Opener>, StoreError> {
        match with {
            With::KeyFile => self.key_file.as_deref().map(key_file).transpose(),
            With::Passphrase => match &self.passphrase_file {
                Some(path) => passphrase_file(path).map(Some),
                None => self
                    .in_environment()
                    .map(|words| checked(words, self.variable))
                    .transpose(),
            },
        }
    }

    fn in_environment(&self) -> Option<Opener> {
        std::env::var_os(self.variable).map(|words| Zeroizing::new(words.into_vec()))
    }
}

/// Asks somebody at a terminal, if there is one and a passphrase would do.
fn ask(vault: &str, with: With, prompt: &str) -> Result<Opener, StoreError> {
    if with != With::Passphrase || !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(StoreError::Locked {
            vault: vault.to_owned(),
            with: with.name(),
        });
    }
    let words = rpassword::prompt_password(prompt)
        .map_err(|error| StoreError::io("ask on", Path::new("/dev/tty"), error))?;
    checked(Zeroizing::new(words.into_bytes()), "what was typed")
}

fn passphrase_file(path: &Path) -> Result<Opener, StoreError> {
    let mut words = file::read(path)?;
    if words.last() == Some(&b'\n') {
        words.pop();
        if words.last() == Some(&b'\r') {
            words.pop();
        }
    }
    checked(words, &path.display().to_string())
}

fn key_file(path: &Path) -> Result<Opener, StoreError> {
    let key = file::read(path)?;
    if key.len() < SHORTEST_KEY {
        let what = format!(
            "{} has {} bytes: too few for a key file",
            path.display(),
            key.len()
        );
        return Err(StoreError::Secret { what });
    }
    Ok(key)
}

fn checked(words: Opener, from: &str) -> Result<Opener, StoreError> {
    let usable = (1..=LONGEST).contains(&words.len()) && !words.contains(&b'\n');
    if usable {
        return Ok(words);
    }
    let what = format!("{from} holds no usable passphrase");
    Err(StoreError::Secret { what })
}
