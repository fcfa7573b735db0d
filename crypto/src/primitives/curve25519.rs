//! X25519 and Ed25519.

use ed25519_dalek::Signer as _;
use x25519_dalek::{PublicKey, StaticSecret};

use super::KeyError;
use crate::secret::Secret;

/// The X25519 public key of a secret, which is clamped here and not before.
#[must_use]
pub fn x25519_public_key(secret: &Secret<32>) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret.expose())).to_bytes()
}

/// The X25519 shared secret.
///
/// # Errors
/// The result is all zeros, as it is for public keys of small order. A real node goes on with a
/// key everybody knows; no honest peer is affected by refusing.
pub fn x25519(secret: &Secret<32>, public_key: &[u8; 32]) -> Result<Secret<32>, KeyError> {
    let shared = StaticSecret::from(*secret.expose()).diffie_hellman(&PublicKey::from(*public_key));
    if !shared.was_contributory() {
        return Err(KeyError);
    }
    Ok(Secret::new(shared.to_bytes()))
}

/// The Ed25519 public key of a seed.
#[must_use]
pub fn ed25519_public_key(seed: &Secret<32>) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(seed.expose())
        .verifying_key()
        .to_bytes()
}

/// Pure Ed25519 over `data`.
#[must_use]
pub fn ed25519_sign(seed: &Secret<32>, data: &[u8]) -> [u8; 64] {
    ed25519_dalek::SigningKey::from_bytes(seed.expose())
        .sign(data)
        .to_bytes()
}

/// Whether an Ed25519 signature is right: cofactorless, S below the group order.
///
/// Unlike a real node this refuses public keys and R of small order, for which anybody can make
/// signatures.
#[must_use]
pub fn ed25519_verify(public_key: &[u8; 32], data: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(public_key) else {
        return false;
    };
    key.verify_strict(data, &ed25519_dalek::Signature::from_bytes(signature))
        .is_ok()
}
