//! AES-256-GCM and P-256 from AWS-LC.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};

use super::{Aead, AeadError, Ecdsa, KeyError, TAG, nonce_bytes};
use crate::secret::Secret;

/// AES-256-GCM; 512-bit vectors where the processor has them.
pub struct AeadKey(LessSafeKey);

impl Aead for AeadKey {
    fn new(key: &[u8; 32]) -> Result<Self, AeadError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| AeadError)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    fn seal(&self, nonce: u64, aad: &[u8], buf: &mut [u8]) -> Result<(), AeadError> {
        let (plain, tag) = buf.split_last_chunk_mut::<TAG>().ok_or(AeadError)?;
        let nonce = Nonce::assume_unique_for_key(nonce_bytes(nonce));
        let sealed = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), plain);
        tag.copy_from_slice(sealed.map_err(|_| AeadError)?.as_ref());
        Ok(())
    }

    fn open(&self, nonce: u64, aad: &[u8], buf: &mut [u8]) -> Result<(), AeadError> {
        let nonce = Nonce::assume_unique_for_key(nonce_bytes(nonce));
        self.0
            .open_in_place(nonce, Aad::from(aad), buf)
            .map_err(|_| AeadError)?;
        Ok(())
    }
}

/// ECDSA with nonces drawn by AWS-LC, so signing twice gives two different signatures.
pub struct P256;

impl Ecdsa for P256 {
    fn public_key(secret: &Secret<32>) -> Result<[u8; 65], KeyError> {
        let key = PrivateKey::from_private_key(&ECDH_P256, secret.expose());
        let public = key
            .map_err(|_| KeyError)?
            .compute_public_key()
            .map_err(|_| KeyError)?;
        public.as_ref().try_into().map_err(|_| KeyError)
    }

    fn sign(secret: &Secret<32>, data: &[u8]) -> Result<[u8; 64], KeyError> {
        let public = Self::public_key(secret)?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            secret.expose(),
            &public,
        );
        let pair = pair.map_err(|_| KeyError)?;
        let signature = pair
            .sign(&SystemRandom::new(), data)
            .map_err(|_| KeyError)?;
        signature.as_ref().try_into().map_err(|_| KeyError)
    }

    fn verify(public_key: &[u8; 65], data: &[u8], signature: &[u8; 64]) -> bool {
        // The library would also take the hybrid encodings, which nobody else does.
        public_key[0] == 4
            && UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key)
                .verify(data, signature)
                .is_ok()
    }
}
