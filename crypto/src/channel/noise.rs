//! Noise XX by `snow` over our primitives.

use sha2::{Digest as _, Sha256};
use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifierList, HandshakePattern,
    HashChoice, NoiseParams,
};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, Error, HandshakeState};

use culvert_proto::secure_channel::MAX_HANDSHAKE_MESSAGE;

use super::handshake::HandshakeError;
use crate::primitives::{Aead as _, AeadKey, TAG, curve25519};
use crate::secret::Secret;

/// Exactly 32 bytes, so Noise uses it unhashed.
pub(super) const PROTOCOL_NAME: &str = "OCKAM_XX_25519_AES256_GCM_SHA256";

/// A static key with its public half, which `snow` would otherwise compute for every handshake.
#[derive(Clone)]
pub(super) struct StaticKey {
    secret: Secret<32>,
    public: [u8; 32],
}

impl StaticKey {
    pub(super) fn new(secret: Secret<32>) -> Self {
        let public = curve25519::x25519_public_key(&secret);
        Self { secret, public }
    }

    pub(super) fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

/// One side of one handshake.
///
/// Holds nothing once its keys were taken. It also starts that way should `snow` refuse to build
/// it, which it has no reason to; every operation then fails.
pub(super) struct Noise(Option<Box<HandshakeState>>);

/// The keys after the handshake, in the order Noise defines.
pub(super) struct Split {
    /// Noise: initiator to responder. Ockam: responder to initiator.
    pub(super) first: Secret<32>,
    /// The other direction.
    pub(super) second: Secret<32>,
}

impl Noise {
    /// The side that sends message 1. `ephemeral` comes from a secure generator, fresh.
    pub(super) fn initiator(key: &StaticKey, ephemeral: Secret<32>) -> Self {
        let resolver = Resolver {
            key: key.clone(),
            ephemeral,
        };
        let state = Builder::with_resolver(params(), Box::new(resolver))
            .local_private_key(key.secret.expose())
            .and_then(Builder::build_initiator);
        Self(state.ok().map(Box::new))
    }

    /// The side that receives message 1.
    pub(super) fn responder(key: &StaticKey, ephemeral: Secret<32>) -> Self {
        let resolver = Resolver {
            key: key.clone(),
            ephemeral,
        };
        let state = Builder::with_resolver(params(), Box::new(resolver))
            .local_private_key(key.secret.expose())
            .and_then(Builder::build_responder);
        Self(state.ok().map(Box::new))
    }

    fn state(&mut self) -> Result<&mut HandshakeState, HandshakeError> {
        self.0.as_deref_mut().ok_or(HandshakeError::Finished)
    }

    /// The next message to send. `overhead` is what it adds to the payload, bytes.
    pub(super) fn write(
        &mut self,
        payload: &[u8],
        overhead: usize,
    ) -> Result<Vec<u8>, HandshakeError> {
        // `snow` wants room for a tag even where the pattern has none yet.
        let mut message = vec![0; payload.len() + overhead + TAG];
        let len = self
            .state()?
            .write_message(payload, &mut message)
            .map_err(|error| refusal(&error, payload.len() + overhead))?;
        message.truncate(len);
        Ok(message)
    }

    /// The payload of a received message.
    pub(super) fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        if message.len() > MAX_HANDSHAKE_MESSAGE {
            return Err(HandshakeError::Length(message.len()));
        }
        let mut payload = vec![0; message.len()];
        let len = self
            .state()?
            .read_message(message, &mut payload)
            .map_err(|error| refusal(&error, message.len()))?;
        payload.truncate(len);
        Ok(payload)
    }

    /// The peer's static key, known once the message with it was read.
    pub(super) fn remote_static(&mut self) -> Result<[u8; 32], HandshakeError> {
        let key = self
            .state()?
            .get_remote_static()
            .ok_or(HandshakeError::Finished)?;
        key.try_into().map_err(|_| HandshakeError::Finished)
    }

    /// Nothing more can be read or written.
    pub(super) fn discard(&mut self) {
        self.0 = None;
    }

    /// The keys. `snow` would hand out wrong ones before the handshake is finished.
    pub(super) fn split(&mut self) -> Result<Split, HandshakeError> {
        let mut state = self.0.take().ok_or(HandshakeError::Finished)?;
        if !state.is_handshake_finished() {
            return Err(HandshakeError::Finished);
        }
        let (first, second) = state.dangerously_get_raw_split();
        Ok(Split {
            first: Secret::new(first),
            second: Secret::new(second),
        })
    }
}

/// What an error of `snow` means, for a message of `length` bytes.
fn refusal(error: &Error, length: usize) -> HandshakeError {
    match error {
        Error::Dh => HandshakeError::WeakKey,
        Error::Decrypt => HandshakeError::Forged,
        Error::Input => HandshakeError::Length(length),
        _ => HandshakeError::Finished,
    }
}

fn params() -> NoiseParams {
    NoiseParams::new(
        PROTOCOL_NAME.to_owned(),
        BaseChoice::Noise,
        HandshakeChoice {
            pattern: HandshakePattern::XX,
            modifiers: HandshakeModifierList { list: Vec::new() },
        },
        DHChoice::Curve25519,
        CipherChoice::AESGCM,
        HashChoice::SHA256,
    )
}

/// Gives `snow` our primitives, the static key, and the caller's random bytes.
struct Resolver {
    key: StaticKey,
    ephemeral: Secret<32>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Given(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let x25519 = X25519 {
            known: self.key.clone(),
            current: StaticKey::none(),
        };
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(x25519) as _)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        matches!(choice, HashChoice::SHA256).then(|| Box::new(Sha(Sha256::new())) as _)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        matches!(choice, CipherChoice::AESGCM).then(|| Box::new(AesGcm(None)) as _)
    }
}

/// The random bytes the caller handed in, once: they become the ephemeral key.
struct Given(Option<Secret<32>>);

impl Random for Given {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.take().ok_or(Error::Rng)?;
        if dest.len() != bytes.expose().len() {
            return Err(Error::Rng);
        }
        dest.copy_from_slice(bytes.expose());
        Ok(())
    }
}

impl StaticKey {
    fn none() -> Self {
        Self {
            secret: Secret::new([0; 32]),
            public: [0; 32],
        }
    }
}

struct X25519 {
    /// The own static key, whose public half needs no computation.
    known: StaticKey,
    current: StaticKey,
}

impl X25519 {
    fn set_secret(&mut self, secret: Secret<32>) {
        self.current = if secret == self.known.secret {
            self.known.clone()
        } else {
            StaticKey::new(secret)
        };
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        if let Ok(secret) = <[u8; 32]>::try_from(privkey) {
            self.set_secret(Secret::new(secret));
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *secret)?;
        self.set_secret(Secret::new(*secret));
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.current.public
    }

    fn privkey(&self) -> &[u8] {
        self.current.secret.expose()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        // The slice is a buffer for the largest curve; the key is its front.
        let (public, _) = pubkey.split_first_chunk().ok_or(Error::Dh)?;
        let out = out.first_chunk_mut::<32>().ok_or(Error::Dh)?;
        let shared = curve25519::x25519(&self.current.secret, public).map_err(|_| Error::Dh)?;
        *out = *shared.expose();
        Ok(())
    }
}

struct Sha(Sha256);

impl Hash for Sha {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        if let Some(out) = out.first_chunk_mut::<32>() {
            *out = self.0.finalize_reset().into();
        }
    }
}

struct AesGcm(Option<AeadKey>);

impl Cipher for AesGcm {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = AeadKey::new(key).ok();
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let len = plaintext.len() + TAG;
        let Some(buf) = out.get_mut(..len) else {
            return 0;
        };
        buf[..plaintext.len()].copy_from_slice(plaintext);
        let sealed = self.0.as_ref().map(|key| key.seal(nonce, authtext, buf));
        if !matches!(sealed, Some(Ok(()))) {
            // There is no way to report this here; never let the plaintext out instead.
            buf.fill(0);
        }
        len
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let key = self.0.as_ref().ok_or(Error::Decrypt)?;
        let len = ciphertext.len().checked_sub(TAG).ok_or(Error::Decrypt)?;
        // `snow` need not leave room for the tag, so this cannot happen inside `out`.
        let mut buf = ciphertext.to_vec();
        key.open(nonce, authtext, &mut buf)
            .map_err(|_| Error::Decrypt)?;
        out.get_mut(..len)
            .ok_or(Error::Decrypt)?
            .copy_from_slice(&buf[..len]);
        Ok(len)
    }
}
