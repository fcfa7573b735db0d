//! Authorities that this node believes, as people name them.

use std::io::Read;
use std::path::Path;

use culvert_crypto::Identifier;
use culvert_crypto::identity::{Histories, Identity};

/// Longest text of a change history that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// An authority: whose statements about others are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Its identifier.
    pub identifier: Identifier,
    /// Its encoded change history (`protocol/11-identities.md` 2), verified.
    pub history: Vec<u8>,
}

impl Authority {
    /// Takes an encoded change history.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(history: Vec<u8>) -> Result<Self, String> {
        let identity = Identity::verify(&history, None)
            .map_err(|error| format!("not a change history: {error}"))?;
        Ok(Self {
            identifier: identity.identifier(),
            history,
        })
    }

    /// Reads a change history in hexadecimal digits, or the file that holds one.
    ///
    /// # Errors
    ///
    /// What was expected, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(history) = hex::decode(text.trim()) {
            return Self::new(history);
        }
        let digits = read(Path::new(text)).map_err(|error| {
            format!(
                "expected the change history of an authority in hexadecimal digits, or a file with it: \
                 {error}"
            )
        })?;
        let history = hex::decode(digits.trim())
            .map_err(|_| format!("the file {text} does not hold hexadecimal digits only"))?;
        Self::new(history)
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(LONGEST)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The identifiers of authorities, for [`crate::channel::Credentials::authorities`]; `known` learns
/// their histories, which credentials are verified with.
pub fn believe(authorities: &[Authority], known: &mut dyn Histories) -> Vec<Identifier> {
    for authority in authorities {
        known.put(&authority.identifier, &authority.history);
    }
    authorities.iter().map(|a| a.identifier).collect()
}
