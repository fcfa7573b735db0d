//! Secrets at rest, sealed with a passphrase or the content of a key file.
//!
//! ```text
//! key    = argon2id(secret, salt, memory, passes, lanes)
//! sealed = AES-256-GCM(key, nonce 0, associated data, plaintext) | tag
//! associated data = "culvert vault" 01 | memory u32 | passes u32 | lanes u32 | salt | context
//! ```
//!
//! Numbers are big-endian. Each sealing needs a salt of its own, and so has a key of its own. The
//! context is what the file says in clear beside: nothing of it can be changed unnoticed.

use argon2::{Algorithm, Argon2, Params, Version};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::primitives::{Aead, AeadKey, TAG};

/// Bytes of a salt.
pub const SALT: usize = 16;
/// Longest plaintext, in bytes: thousands of keys.
pub const LONGEST: usize = 256 * 1024;

const DOMAIN: &[u8; 14] = b"culvert vault\x01";
/// Bounds of what a file may ask for: a hostile one costs about a second and 256 MiB.
const MEMORY_KIB: core::ops::RangeInclusive<u32> = 64..=256 * 1024;
const PASSES: core::ops::RangeInclusive<u32> = 1..=8;
const LANES: core::ops::RangeInclusive<u32> = 1..=4;

/// What a guess at the passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes; they are computed one after the other here.
    pub lanes: u32,
}

impl Default for Cost {
    /// 64 MiB and three passes, as RFC 9106 recommends: about a tenth of a second.
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        }
    }
}

/// Why something could not be sealed or opened.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SealedError {
    /// Parameters outside of what is accepted, however they got there.
    #[error("its parameters for argon2id are out of bounds")]
    Cost,
    /// More than [`LONGEST`] bytes, or less than a tag.
    #[error("its sealed part has an impossible length")]
    Length,
    /// There is not enough memory to derive the key.
    #[error("there is not enough memory to derive its key")]
    Memory,
    /// The secret is another one, or something was changed. Nobody can tell which.
    #[error("the passphrase or key file is wrong, or the file was changed")]
    Wrong,
}

/// What a sealed part was made with, beside the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Cost of a guess.
    pub cost: Cost,
    /// Random, never used before.
    pub salt: [u8; SALT],
}

impl Lock {
    /// Seals; `context` must be the same when it is opened.
    ///
    /// # Errors
    /// All but [`SealedError::Wrong`].
    pub fn seal(
        &self,
        secret: &[u8],
        context: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealedError> {
        if plaintext.len() > LONGEST {
            return Err(SealedError::Length);
        }
        let key = self.key(secret)?;
        // All room at once: a buffer that grows leaves copies of secrets behind.
        let mut sealed = Vec::with_capacity(plaintext.len() + TAG);
        sealed.extend_from_slice(plaintext);
        sealed.resize(plaintext.len() + TAG, 0);
        match key.seal(0, &self.associated(context), &mut sealed) {
            Ok(()) => Ok(sealed),
            Err(_) => Err(SealedError::Memory),
        }
    }

    /// Opens what [`Lock::seal`] sealed.
    ///
    /// # Errors
    /// See [`SealedError`].
    pub fn open(
        &self,
        secret: &[u8],
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealedError> {
        if sealed.len() < TAG || sealed.len() > LONGEST + TAG {
            return Err(SealedError::Length);
        }
        let key = self.key(secret)?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        key.open(0, &self.associated(context), &mut opened)
            .map_err(|_| SealedError::Wrong)?;
        opened.truncate(sealed.len() - TAG);
        Ok(opened)
    }

    fn key(&self, secret: &[u8]) -> Result<AeadKey, SealedError> {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        let bounded =
            MEMORY_KIB.contains(&memory_kib) && PASSES.contains(&passes) && LANES.contains(&lanes);
        if !bounded {
            return Err(SealedError::Cost);
        }
        let params =
            Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| SealedError::Cost)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(secret, &self.salt, &mut *key)
            .map_err(|_| SealedError::Memory)?;
        AeadKey::new(&key).map_err(|_| SealedError::Memory)
    }

    fn associated(&self, context: &[u8]) -> Vec<u8> {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        let mut bytes = DOMAIN.to_vec();
        for number in [memory_kib, passes, lanes] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(context);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };
    const LOCK: Lock = Lock {
        cost: CHEAP,
        salt: [7; SALT],
    };

    #[test]
    fn only_the_same_secret_and_context_open() {
        let sealed = LOCK.seal(b"secret", b"context", b"plaintext");
        let sealed = sealed.expect("sealed");
        let opened = LOCK.open(b"secret", b"context", &sealed);
        assert_eq!(opened.expect("opened").as_slice(), b"plaintext");
        let wrong = Err(SealedError::Wrong);
        assert_eq!(LOCK.open(b"Secret", b"context", &sealed), wrong);
        assert_eq!(LOCK.open(b"secret", b"contexts", &sealed), wrong);
        let cost = Cost { passes: 2, ..CHEAP };
        assert_eq!(
            Lock { cost, ..LOCK }.open(b"secret", b"context", &sealed),
            wrong
        );
        let salt = [8; SALT];
        assert_eq!(
            Lock { salt, ..LOCK }.open(b"secret", b"context", &sealed),
            wrong
        );
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(LOCK.open(b"secret", b"context", &changed), wrong, "{at}");
        }
    }

    #[test]
    fn what_a_file_asks_for_is_bounded() {
        let costs = [
            (0, 1, 1),
            (63, 1, 1),
            (256 * 1024 + 1, 1, 1),
            (u32::MAX, 1, 1),
            (64, 0, 1),
            (64, 9, 1),
            (64, u32::MAX, 1),
            (64, 1, 0),
            (64, 1, 5),
            (64, 1, u32::MAX),
        ];
        for (memory_kib, passes, lanes) in costs {
            let cost = Cost {
                memory_kib,
                passes,
                lanes,
            };
            let lock = Lock { cost, ..LOCK };
            assert_eq!(lock.seal(b"s", b"", b""), Err(SealedError::Cost));
            assert_eq!(lock.open(b"s", b"", &[0; TAG]), Err(SealedError::Cost));
        }
        assert_eq!(LOCK.open(b"s", b"", &[0; 15]), Err(SealedError::Length));
        let long = vec![0; LONGEST + TAG + 1];
        assert_eq!(LOCK.open(b"s", b"", &long), Err(SealedError::Length));
        assert_eq!(LOCK.seal(b"s", b"", &long), Err(SealedError::Length));
        assert!(Cost::default().memory_kib <= *MEMORY_KIB.end());
    }
}
