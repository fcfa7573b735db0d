//! The file of one identity.
//!
//! ```text
//! { "version": 2, "name": "default", "identifier": "I…", "change_history": "<hex>",
//!   "vault": "default", "channel": { "public_key": "<hex>", "attestation": "<hex>" } }
//! ```
//!
//! The secrets are in the vault. Files of version 1 hold them themselves; they stay as they are until
//! the keys are moved to a vault:
//!
//! ```text
//! { "version": 1, "name": "default", "identifier": "I…", "change_history": "<hex>",
//!   "key_type": "EdDSACurve25519", "primary_secret": "<hex>",
//!   "channel": { "secret": "<hex>", "attestation": "<hex>" } }
//! ```

use core::fmt;
use std::path::Path;

use culvert_crypto::secret::Secret;
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use super::StoreError;

/// What the file of an identity holds.
pub enum Record {
    /// The secrets too.
    Inline(InlineRecord),
    /// The name of the vault that has them.
    InVault(VaultedRecord),
}

/// A file of version 1.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InlineRecord {
    /// 1.
    pub version: u32,
    /// Name on this machine.
    pub name: String,
    /// Identifier, as people see it.
    pub identifier: String,
    /// Encoded change history.
    #[serde(with = "hex")]
    pub change_history: Vec<u8>,
    /// Name of the type of the primary key.
    pub key_type: String,
    /// The primary secret.
    #[serde(with = "secret")]
    pub primary_secret: Secret<32>,
    /// The key of secure channels.
    pub channel: ChannelRecord,
}

/// The static key of secure channels, which the identity attests.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelRecord {
    /// X25519 secret.
    #[serde(with = "secret")]
    pub secret: Secret<32>,
    /// Encoded attestation of its public key.
    #[serde(with = "hex")]
    pub attestation: Vec<u8>,
}

/// A file of version 2.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultedRecord {
    /// 2.
    pub version: u32,
    /// Name on this machine.
    pub name: String,
    /// Identifier, as people see it.
    pub identifier: String,
    /// Encoded change history.
    #[serde(with = "hex")]
    pub change_history: Vec<u8>,
    /// Name of the vault with the keys.
    pub vault: String,
    /// The key of secure channels.
    pub channel: PublicChannelRecord,
}

/// The public half of a static key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicChannelRecord {
    /// X25519 public key.
    #[serde(with = "hex")]
    pub public_key: [u8; 32],
    /// Encoded attestation of it.
    #[serde(with = "hex")]
    pub attestation: Vec<u8>,
}

/// All that is needed of a file before its form is known.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Record {
    /// Reads the text of a file; `path` is for messages only.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], which never holds what the file says.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, StoreError> {
        match parse::<Versioned>(path, text)?.version {
            1 => parse(path, text).map(Self::Inline),
            2 => parse(path, text).map(Self::InVault),
            other => {
                let what = format!("its version is {other}, not 1 or 2");
                Err(StoreError::corrupt(path, what))
            }
        }
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Inline(record) => text(record, room(&record.change_history)),
            Self::InVault(record) => text(record, room(&record.change_history)),
        }
    }

    /// Identifier, as people see it.
    #[must_use]
    pub fn identifier(&self) -> &str {
        match self {
            Self::Inline(record) => &record.identifier,
            Self::InVault(record) => &record.identifier,
        }
    }

    /// Encoded change history.
    #[must_use]
    pub fn change_history(&self) -> &[u8] {
        match self {
            Self::Inline(record) => &record.change_history,
            Self::InVault(record) => &record.change_history,
        }
    }

    /// The vault with the keys; none if they are in the file.
    #[must_use]
    pub fn vault(&self) -> Option<&str> {
        match self {
            Self::Inline(_) => None,
            Self::InVault(record) => Some(&record.vault),
        }
    }
}

fn room(history: &[u8]) -> usize {
    4096 + 2 * history.len()
}

/// Reads JSON; what is wrong is told without what the file says, because that may be secret.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(text).map_err(|error| {
        use serde_json::error::Category;
        let what = match error.classify() {
            Category::Eof => "it ends too early",
            Category::Data => "a field is missing, unknown or not valid",
            Category::Syntax | Category::Io => "it is not JSON",
        };
        let (line, column) = (error.line(), error.column());
        StoreError::corrupt(path, format!("{what} (line {line}, column {column})"))
    })
}

/// Writes JSON into `room` bytes, enough not to grow: that would leave copies of secrets in memory.
pub(super) fn text(record: &impl Serialize, room: usize) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    // Writing to memory fails only when it runs out, which ends the process.
    let _ = serde_json::to_writer_pretty(&mut *text, record);
    text.push(b'\n');
    text
}

/// Secrets as hexadecimal text.
pub(super) mod secret {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        secret: &Secret<32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut digits = Zeroizing::new([0; 64]);
        hex::encode_to_slice(secret.expose(), &mut *digits).map_err(serde::ser::Error::custom)?;
        let text = std::str::from_utf8(&*digits).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(text)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Secret<32>, D::Error> {
        deserializer.deserialize_str(Hexadecimal)
    }

    struct Hexadecimal;

    impl Visitor<'_> for Hexadecimal {
        type Value = Secret<32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("64 hexadecimal digits")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret<32>, E> {
            let mut bytes = [0; 32];
            let decoded = hex::decode_to_slice(text, &mut bytes);
            let secret = Secret::new(bytes);
            bytes.zeroize();
            decoded.map_err(|_| E::custom("not 64 hexadecimal digits"))?;
            Ok(secret)
        }
    }
}
