//! Change histories of other nodes that somebody imported, to compare later ones with.
//!
//! ```text
//! <home>/histories/I0123….hex     lower-case hexadecimal digits, as `identity export` prints
//! ```

use std::io;
use std::path::PathBuf;

use culvert_crypto::Identifier;
use culvert_crypto::identity::{Comparison, Identity};

use super::file::{self, Existing};
use super::{Store, StoreError, names_in};

/// Reads a history as people pass it on: hexadecimal digits of either case, without white space
/// (`protocol/11-identities.md` 8), and verifies it.
///
/// # Errors
///
/// [`StoreError::History`].
pub fn parse(text: &str) -> Result<Identity, StoreError> {
    let bytes = hex::decode(text)
        .map_err(|_| StoreError::History("it is not hexadecimal text".to_owned()))?;
    Identity::verify(&bytes, None).map_err(|error| StoreError::History(error.to_string()))
}

impl Store {
    fn history_path(&self, identifier: &Identifier) -> PathBuf {
        self.home
            .join("histories")
            .join(format!("{identifier}.hex"))
    }

    /// The imported history of another node, verified again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] and [`StoreError::Corrupt`].
    pub fn known_history(&self, identifier: &Identifier) -> Result<Option<Identity>, StoreError> {
        let path = self.history_path(identifier);
        let text = match file::read(&path) {
            Ok(text) => text,
            Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let bytes = hex::decode(text.trim_ascii())
            .map_err(|_| StoreError::corrupt(&path, "it is not hexadecimal text"))?;
        Identity::verify(&bytes, Some(identifier))
            .map(Some)
            .map_err(|error| StoreError::corrupt(&path, error.to_string()))
    }

    /// Identifiers of all imported histories, sorted.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn known_histories(&self) -> Result<Vec<Identifier>, StoreError> {
        // Identifiers have 65 characters, one more than names.
        let names = names_in(&self.home.join("histories"), ".hex", |name| {
            name.parse::<Identifier>().is_ok()
        })?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Imports a history: stored if nothing is known or it goes on from what is known (normal update
    /// of `protocol/11-identities.md` 6). Tells how it compares; none if nothing was known.
    ///
    /// # Errors
    ///
    /// [`StoreError::History`] for one that is older or in conflict; what was known stays then.
    pub fn import_history(&self, received: &Identity) -> Result<Option<Comparison>, StoreError> {
        let _turn = self.lock()?;
        let identifier = received.identifier();
        let known = self.known_history(&identifier)?;
        let comparison = known.map(|known| received.compare(&known));
        match comparison {
            Some(Comparison::Equal) => return Ok(comparison),
            Some(Comparison::Older) => {
                let what = format!("a newer one of {identifier} is known");
                return Err(StoreError::History(what));
            }
            Some(Comparison::Conflict) => {
                let what =
                    format!("another one of {identifier} is known: somebody else may have its key");
                return Err(StoreError::History(what));
            }
            Some(Comparison::Newer) | None => {}
        }
        file::make_directory(&self.home.join("histories"))?;
        let text = hex::encode(received.history()) + "\n";
        file::write(
            &self.history_path(&identifier),
            text.as_bytes(),
            Existing::Replace,
        )?;
        Ok(comparison)
    }
}
