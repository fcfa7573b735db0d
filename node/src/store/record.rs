//! The file of one identity.
//!
//! ```text
//! { "version": 1, "name": "default", "identifier": "I…", "change_history": "<hex>",
//!   "key_type": "EdDSACurve25519", "primary_secret": "<hex>",
//!   "channel": { "secret": "<hex>", "attestation": "<hex>" } }
//! ```

use core::fmt;
use std::path::Path;

use culvert_crypto::secret::Secret;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use super::StoreError;

/// Version of the format written here.
pub const VERSION: u32 = 1;

/// What the file of an identity holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`VERSION`].
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
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelRecord {
    /// X25519 secret.
    #[serde(with = "secret")]
    pub secret: Secret<32>,
    /// Encoded attestation of its public key.
    #[serde(with = "hex")]
    pub attestation: Vec<u8>,
}

impl Record {
    /// Reads the text of a file; `path` is for messages only.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], which never holds what the file says.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, StoreError> {
        let record: Self = serde_json::from_slice(text).map_err(|error| {
            use serde_json::error::Category;
            let what = match error.classify() {
                Category::Eof => "it ends too early",
                Category::Data => "a field is missing, unknown or not valid",
                Category::Syntax | Category::Io => "it is not JSON",
            };
            let (line, column) = (error.line(), error.column());
            StoreError::corrupt(path, format!("{what} (line {line}, column {column})"))
        })?;
        if record.version != VERSION {
            return Err(StoreError::corrupt(
                path,
                format!("its version is {}, not {VERSION}", record.version),
            ));
        }
        Ok(record)
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> Zeroizing<Vec<u8>> {
        // Large enough not to grow: that would leave copies of the secrets in memory.
        let room = 4096 + 2 * (self.change_history.len() + self.channel.attestation.len());
        let mut text = Zeroizing::new(Vec::with_capacity(room));
        // Writing to memory fails only when it runs out, which ends the process.
        let _ = serde_json::to_writer_pretty(&mut *text, self);
        text.push(b'\n');
        text
    }
}

/// Secrets as hexadecimal text.
mod secret {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        secret: &Secret<32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut digits = Zeroizing::new([0; 64]);
        hex::encode_to_slice(secret.expose(), &mut *digits).map_err(serde::ser::Error::custom)?;
        let text = std::str::from_utf8(&*digits).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
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
