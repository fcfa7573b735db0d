//! The handshake written directly from `protocol/13-secure-channel.md` 2 to 4, as the other side
//! for experiments and to compare every intermediate value. Shares only the primitives with the
//! implementation under test.

use culvert_crypto::primitives::curve25519::{x25519, x25519_public_key};
use culvert_crypto::primitives::{Aead, AeadKey, sha256};
use culvert_crypto::secret::Secret;

/// HMAC-SHA-256 with a key of at most 64 bytes.
pub(crate) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let pad = |value: u8| -> Vec<u8> {
        (0..64)
            .map(|i| key.get(i).copied().unwrap_or(0) ^ value)
            .collect()
    };
    let inner = sha256(&[&pad(0x36), data].concat());
    sha256(&[pad(0x5c).as_slice(), &inner].concat())
}

/// The first outputs of Noise's HKDF.
pub(crate) fn hkdf(chaining_key: &[u8], input: &[u8], outputs: u8) -> Vec<[u8; 32]> {
    let key = hmac(chaining_key, input);
    let mut out: Vec<[u8; 32]> = Vec::new();
    for i in 1..=outputs {
        let previous = out.last().map_or(&[][..], |last| last.as_slice());
        out.push(hmac(&key, &[previous, &[i]].concat()));
    }
    out
}

/// A value that appears in a recorded trace, with its name there.
pub(crate) type Step = (&'static str, [u8; 32]);

pub(crate) struct Symmetric {
    pub(crate) h: [u8; 32],
    ck: [u8; 32],
    k: [u8; 32],
    n: u64,
    pub(crate) trace: Vec<Step>,
}

impl Symmetric {
    fn new() -> Self {
        let name = *b"OCKAM_XX_25519_AES256_GCM_SHA256";
        let mut symmetric = Self {
            h: name,
            ck: name,
            k: [0; 32],
            n: 0,
            trace: vec![("h", name), ("ck", name)],
        };
        symmetric.mix_hash(&[]);
        symmetric
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.h = sha256(&[&self.h, data].concat());
        self.trace.push(("h", self.h));
    }

    fn mix_key(&mut self, secret: &Secret<32>, public: &[u8; 32]) {
        // An all-zero result is refused by the primitive; a real node goes on with it.
        let dh = x25519(secret, public).unwrap_or_else(|_| Secret::new([0; 32]));
        self.trace.push(("dh_output", *dh.expose()));
        let out = hkdf(&self.ck, dh.expose(), 2);
        (self.ck, self.k, self.n) = (out[0], out[1], 0);
        self.trace.extend([("ck", self.ck), ("k", self.k)]);
    }

    fn encrypt(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = [plain, &[0; 16]].concat();
        AeadKey::new(&self.k)
            .unwrap()
            .seal(self.n, &self.h, &mut out)
            .unwrap();
        self.n += 1;
        self.mix_hash(&out);
        out
    }

    fn decrypt(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut out = sealed.to_vec();
        AeadKey::new(&self.k)
            .unwrap()
            .open(self.n, &self.h, &mut out)
            .ok()?;
        out.truncate(sealed.len() - 16);
        self.n += 1;
        self.mix_hash(sealed);
        Some(out)
    }

    /// k1 and k2.
    pub(crate) fn split(&self) -> (Secret<32>, Secret<32>) {
        let out = hkdf(&self.ck, &[], 2);
        (Secret::new(out[0]), Secret::new(out[1]))
    }
}

/// One side; the caller says what each message carries.
pub(crate) struct Side {
    pub(crate) symmetric: Symmetric,
    s: Secret<32>,
    e: Secret<32>,
    remote_e: [u8; 32],
    pub(crate) remote_s: [u8; 32],
}

impl Side {
    pub(crate) fn new(s: Secret<32>, e: Secret<32>) -> Self {
        Self {
            symmetric: Symmetric::new(),
            s,
            e,
            remote_e: [0; 32],
            remote_s: [0; 32],
        }
    }

    pub(crate) fn write_1(&mut self, payload: &[u8]) -> Vec<u8> {
        self.write_1_with(x25519_public_key(&self.e), payload)
    }

    pub(crate) fn write_1_with(&mut self, e: [u8; 32], payload: &[u8]) -> Vec<u8> {
        self.symmetric.mix_hash(&e);
        self.symmetric.mix_hash(payload);
        [&e, payload].concat()
    }

    pub(crate) fn read_1(&mut self, message: &[u8]) {
        let (e, payload) = message.split_at(32);
        self.remote_e = e.try_into().unwrap();
        self.symmetric.mix_hash(e);
        self.symmetric.mix_hash(payload);
    }

    pub(crate) fn write_2(&mut self, payload: &[u8]) -> Vec<u8> {
        let e = x25519_public_key(&self.e);
        self.symmetric.mix_hash(&e);
        self.symmetric.mix_key(&self.e, &self.remote_e);
        let s = self.symmetric.encrypt(&x25519_public_key(&self.s));
        self.symmetric.mix_key(&self.s, &self.remote_e);
        let payload = self.symmetric.encrypt(payload);
        [&e[..], &s, &payload].concat()
    }

    pub(crate) fn read_2(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.remote_e = message[..32].try_into().unwrap();
        self.symmetric.mix_hash(&message[..32]);
        self.symmetric.mix_key(&self.e, &self.remote_e);
        self.remote_s = self
            .symmetric
            .decrypt(&message[32..80])?
            .try_into()
            .unwrap();
        self.symmetric.mix_key(&self.e, &self.remote_s);
        self.symmetric.decrypt(&message[80..])
    }

    pub(crate) fn write_3(&mut self, payload: &[u8]) -> Vec<u8> {
        let s = self.symmetric.encrypt(&x25519_public_key(&self.s));
        self.symmetric.mix_key(&self.s, &self.remote_e);
        let payload = self.symmetric.encrypt(payload);
        [s, payload].concat()
    }

    pub(crate) fn read_3(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.remote_s = self.symmetric.decrypt(&message[..48])?.try_into().unwrap();
        self.symmetric.mix_key(&self.e, &self.remote_s);
        self.symmetric.decrypt(&message[48..])
    }
}
