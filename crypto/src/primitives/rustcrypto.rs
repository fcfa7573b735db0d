//! AES-256-GCM and P-256 from pure Rust crates.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};

use super::{Aead, AeadError, Ecdsa, KeyError, TAG, nonce_bytes};
use crate::secret::Secret;

/// AES-256-GCM; wiped on drop.
pub struct AeadKey(Aes256Gcm);

impl Aead for AeadKey {
    fn new(key: &[u8; 32]) -> Result<Self, AeadError> {
        Ok(Self(Aes256Gcm::new(key.into())))
    }

    fn seal(&self, nonce: u64, aad: &[u8], buf: &mut [u8]) -> Result<(), AeadError> {
        let (plain, tag) = buf.split_last_chunk_mut::<TAG>().ok_or(AeadError)?;
        let nonce = nonce_bytes(nonce);
        let sealed = self
            .0
            .encrypt_inout_detached(&nonce.into(), aad, plain.into());
        tag.copy_from_slice(&sealed.map_err(|_| AeadError)?);
        Ok(())
    }

    fn open(&self, nonce: u64, aad: &[u8], buf: &mut [u8]) -> Result<(), AeadError> {
        let (sealed, tag) = buf.split_last_chunk_mut::<TAG>().ok_or(AeadError)?;
        let (nonce, tag) = (nonce_bytes(nonce), *tag);
        let opened = self
            .0
            .decrypt_inout_detached(&nonce.into(), aad, sealed.into(), &tag.into());
        opened.map_err(|_| AeadError)
    }
}

/// ECDSA with nonces of RFC 6979: the same data gives the same signature, as in a real node.
pub struct P256;

fn signing_key(secret: &Secret<32>) -> Result<SigningKey, KeyError> {
    SigningKey::from_slice(secret.expose()).map_err(|_| KeyError)
}

impl Ecdsa for P256 {
    fn public_key(secret: &Secret<32>) -> Result<[u8; 65], KeyError> {
        let point = signing_key(secret)?.verifying_key().to_sec1_point(false);
        point.as_bytes().try_into().map_err(|_| KeyError)
    }

    fn sign(secret: &Secret<32>, data: &[u8]) -> Result<[u8; 64], KeyError> {
        let signature: Signature = signing_key(secret)?.try_sign(data).map_err(|_| KeyError)?;
        Ok(signature.to_bytes().into())
    }

    fn verify(public_key: &[u8; 65], data: &[u8], signature: &[u8; 64]) -> bool {
        let (Ok(key), Ok(signature)) = (
            VerifyingKey::from_sec1_bytes(public_key),
            Signature::from_slice(signature),
        ) else {
            return false;
        };
        public_key[0] == 4 && key.verify(data, &signature).is_ok()
    }
}
