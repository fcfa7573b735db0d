//! Shared by the tests: vectors, identities from fixed seeds, and a second implementation of the
//! handshake.

use std::collections::BTreeMap;

use culvert_crypto::Identifier;
use culvert_crypto::channel::Endpoint;
use culvert_crypto::identity::Identity;
use culvert_crypto::purpose_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{KeyType, SigningHandle, SoftwareVault};
use culvert_proto::credential::PurposePublicKey;
use serde_json::Value;

pub(crate) mod noise;

/// A moment at which every recorded vector has its recorded outcome.
pub(crate) const NOW: u64 = 1_800_000_000;
/// End of the identities made here.
pub(crate) const UNTIL: u64 = 4_102_444_800;

/// What a node remembers.
pub(crate) type Known = BTreeMap<Identifier, Vec<u8>>;

/// A vector file.
pub(crate) fn vectors(name: &str) -> Value {
    let path = format!(
        "{}/../tests/vectors/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The elements of an array.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// A text.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A number.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// Bytes in hexadecimal.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

/// `N` bytes in hexadecimal.
pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// A secret in hexadecimal.
pub(crate) fn secret(value: &Value) -> Secret<32> {
    Secret::new(array(value))
}

/// An identifier as text.
pub(crate) fn identifier(value: &Value) -> Identifier {
    text(value).parse().unwrap()
}

/// Puts the key of a vector into a vault.
pub(crate) fn import(vault: &mut SoftwareVault, key: &Value) -> SigningHandle {
    let key_type = KeyType::from_name(text(&key["type"])).unwrap();
    vault
        .import_signing(key_type, secret(&key["secret"]))
        .unwrap()
}

/// `N` counting bytes.
pub(crate) fn counting<const N: usize>(first: u8) -> [u8; N] {
    core::array::from_fn(|i| first.wrapping_add(i as u8))
}

/// An identity with everything needed to take part in handshakes.
pub(crate) struct Party {
    pub(crate) vault: SoftwareVault,
    pub(crate) identity: Identity,
    pub(crate) static_secret: Secret<32>,
    pub(crate) static_public: [u8; 32],
    pub(crate) attestation: Vec<u8>,
    pub(crate) known: Known,
}

impl Party {
    /// Everything from one seed, valid from an hour before [`NOW`].
    pub(crate) fn new(key_type: KeyType, seed: u8) -> Self {
        let mut vault = SoftwareVault::new();
        let key = vault
            .import_signing(key_type, Secret::new(counting(seed)))
            .unwrap();
        let identity = Identity::create(&vault, &key, NOW - 3600, UNTIL).unwrap();
        Self::of(vault, identity, seed)
    }

    /// An identity that exists.
    pub(crate) fn of(vault: SoftwareVault, identity: Identity, seed: u8) -> Self {
        let static_secret = Secret::new(counting(seed.wrapping_add(100)));
        let static_public =
            culvert_crypto::primitives::curve25519::x25519_public_key(&static_secret);
        let mut party = Self {
            vault,
            identity,
            static_secret,
            static_public,
            attestation: Vec::new(),
            known: Known::new(),
        };
        party.attestation = party.attest(&PurposePublicKey::SecureChannel(static_public), NOW);
        party
    }

    /// Attests a key.
    pub(crate) fn attest(&self, key: &PurposePublicKey, now: u64) -> Vec<u8> {
        purpose_key::attest(&self.vault, &self.identity, key, now).unwrap()
    }

    /// The identifier.
    pub(crate) fn id(&self) -> Identifier {
        self.identity.identifier()
    }

    /// Without credentials.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint_with(Vec::new())
    }

    /// With credentials.
    pub(crate) fn endpoint_with(&self, credentials: Vec<Vec<u8>>) -> Endpoint {
        let (secret, attestation) = (self.static_secret.clone(), self.attestation.clone());
        Endpoint::new(&self.identity, secret, attestation, credentials).unwrap()
    }

    /// The identity payload of a handshake, made of the given parts.
    pub(crate) fn payload(&self, credentials: &[Vec<u8>]) -> Vec<u8> {
        payload(self.identity.history(), &self.attestation, credentials)
    }
}

/// An identity payload made of encoded parts; fewer than 24 credentials.
pub(crate) fn payload(history: &[u8], attestation: &[u8], credentials: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = vec![0x83];
    payload.extend(history);
    payload.extend(attestation);
    payload.push(0x80 + credentials.len() as u8);
    credentials
        .iter()
        .for_each(|credential| payload.extend(credential));
    payload
}

/// A buffer to be sealed: 8 bytes, the plaintext, 16 bytes.
pub(crate) fn unsealed(plaintext: &[u8]) -> Vec<u8> {
    [&[0; 8], plaintext, &[0; 16]].concat()
}
