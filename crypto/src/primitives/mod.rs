//! The primitives under everything else, behind two narrow traits.
//!
//! AES-256-GCM and P-256 come from a backend chosen by cargo feature: `aws_lc` (default) or
//! `rustcrypto` (no C compiler needed). When both are on, `aws_lc` is used and `rustcrypto` is the
//! oracle it is tested against. Curve25519 and SHA-256 are the same crates in both.
//! Specification: `protocol/10-vault.md` 4 and 8.

use thiserror::Error;

use crate::secret::Secret;

#[cfg(feature = "aws-lc")]
pub mod aws_lc;
pub mod curve25519;
#[cfg(feature = "rustcrypto")]
pub mod rustcrypto;

#[cfg(feature = "aws-lc")]
pub use aws_lc::{AeadKey, P256};
#[cfg(all(feature = "rustcrypto", not(feature = "aws-lc")))]
pub use rustcrypto::{AeadKey, P256};

/// Bytes of an authentication tag.
pub const TAG: usize = 16;

/// A sealed message did not verify, or a buffer is shorter than a tag.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("authentication failed")]
pub struct AeadError;

/// Bytes that are not a usable secret or public key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a usable key")]
pub struct KeyError;

/// AES-256-GCM with one key, its schedule expanded once.
pub trait Aead: Sized + Send + Sync {
    /// Expands a key.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    fn new(key: &[u8; 32]) -> Result<Self, AeadError>;

    /// Seals in place. `buf` is the plaintext followed by [`TAG`] bytes of any content, which
    /// receive the tag.
    ///
    /// # Errors
    /// `buf` is shorter than a tag, or longer than AES-GCM allows (64 GiB).
    fn seal(&self, nonce: u64, aad: &[u8], buf: &mut [u8]) -> Result<(), AeadError>;

    /// Opens in place. `buf` is ciphertext and tag; the plaintext replaces the ciphertext.
    ///
    /// # Errors
    /// Did not verify; the content of `buf` is then unspecified.
    fn open(&self, nonce: u64, aad: &[u8], buf: &mut [u8]) -> Result<(), AeadError>;

    /// The key after this one: the first 32 bytes of 32 zeros sealed with the nonce 2^64-1.
    ///
    /// # Errors
    /// As [`Aead::new`].
    fn rekey(&self) -> Result<Self, AeadError> {
        let mut buf = zeroize::Zeroizing::new([0; 32 + TAG]);
        self.seal(u64::MAX, &[], &mut *buf)?;
        let (next, _) = buf.split_first_chunk().ok_or(AeadError)?;
        Self::new(next)
    }
}

/// ECDSA with SHA-256 over P-256. Signatures are r || s, big-endian; s is not reduced to the
/// lower half and both halves are accepted, because real nodes produce both.
pub trait Ecdsa {
    /// The uncompressed public point, first byte `04`.
    ///
    /// # Errors
    /// The scalar is zero or not below the group order.
    fn public_key(secret: &Secret<32>) -> Result<[u8; 65], KeyError>;

    /// Signs `data`, which is hashed here.
    ///
    /// # Errors
    /// As [`Ecdsa::public_key`].
    fn sign(secret: &Secret<32>, data: &[u8]) -> Result<[u8; 64], KeyError>;

    /// Whether the signature is right. False for keys that are not on the curve or compressed.
    fn verify(public_key: &[u8; 65], data: &[u8], signature: &[u8; 64]) -> bool;
}

/// SHA-256.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(data).into()
}

/// The nonce layout of AESGCM in Noise: 4 zero bytes, then the counter big-endian.
fn nonce_bytes(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}
