//! `primitives.json`: every recorded operation of a real vault.

use crate::common::noise::hkdf;
use crate::common::{array, bytes, import, list, number, secret, text, vectors};
use culvert_crypto::primitives::curve25519::{ed25519_verify, x25519, x25519_public_key};
use culvert_crypto::primitives::{Aead, AeadKey, Ecdsa, P256};
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{
    ChannelVault, KeyType, SigningVault, SoftwareVault, VaultError, channel_handle, verify,
};
use culvert_proto::identity::{PublicKey, Signature, decode_exact, encode};
use serde_json::Value;

/// AWS-LC draws nonces; only the pure Rust backend repeats the recorded ECDSA signatures.
const DETERMINISTIC_ECDSA: bool = !cfg!(feature = "aws-lc");

#[test]
fn signing() {
    for vector in list(&vectors("primitives")["signing"]) {
        let mut vault = SoftwareVault::new();
        let handle = import(&mut vault, vector);
        assert_eq!(handle.bytes, bytes(&vector["handle"]));
        let key = vault.public_key(&handle).unwrap();
        assert_eq!(key.bytes(), bytes(&vector["public"]));
        assert_eq!(encode(&key), bytes(&vector["public_key_cbor"]));
        assert_eq!(vault.handle_of(&key), Ok(handle.clone()));
        for signature in list(&vector["signatures"]) {
            let data = bytes(&signature["data"]);
            let recorded: Signature = decode_exact(&bytes(&signature["signature_cbor"])).unwrap();
            assert!(verify(&key, &data, &recorded));
            assert!(!verify(&key, b"something else", &recorded));
            let made = vault.sign(&handle, &data).unwrap();
            assert!(verify(&key, &data, &made));
            if DETERMINISTIC_ECDSA || handle.key_type == KeyType::Ed25519 {
                assert_eq!(made, recorded);
            }
        }
        assert_eq!(vault.delete(&handle), Ok(true));
        assert_eq!(vault.delete(&handle), Ok(false));
        assert_eq!(vault.sign(&handle, b""), Err(VaultError::NotFound));
    }
}

#[test]
fn ecdsa_takes_both_halves_of_s() {
    let vectors = vectors("primitives");
    let key: [u8; 65] = array(&vectors["signing"][1]["public"]);
    let high = &vectors["ecdsa_high_s_is_not_normalised"];
    assert!(P256::verify(
        &key,
        &bytes(&high["data"]),
        &array(&high["signature"])
    ));
    let secret = secret(&vectors["signing"][1]["secret"]);
    assert!(P256::verify(
        &key,
        b"x",
        &P256::sign(&secret, b"x").unwrap()
    ));
}

#[test]
fn ecdsa_refusals() {
    let vectors = vectors("primitives");
    let vector = &vectors["signing"][1];
    let key: [u8; 65] = array(&vector["public"]);
    let signature: [u8; 64] = array(&vector["signatures"][0]["signature"]);
    assert!(P256::verify(&key, b"", &signature));
    // Hybrid and compressed forms, a point that is not on the curve, r or s of zero or too large.
    for first in [0, 2, 3, 5, 6, 7] {
        let mut other = key;
        other[0] = first;
        assert!(!P256::verify(&other, b"", &signature));
    }
    let mut off_curve = key;
    off_curve[64] ^= 1;
    assert!(!P256::verify(&off_curve, b"", &signature));
    for half in [0..32, 32..64] {
        for value in [0, 0xff] {
            let mut wrong = signature;
            wrong[half.clone()].fill(value);
            assert!(!P256::verify(&key, b"", &wrong));
        }
    }
    // Scalars: zero and the group order.
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    for scalar in [
        [0; 32],
        hex::decode(order).unwrap().try_into().unwrap(),
        [0xff; 32],
    ] {
        assert!(P256::public_key(&Secret::new(scalar)).is_err());
        let mut vault = SoftwareVault::new();
        let imported = vault.import_signing(KeyType::P256, Secret::new(scalar));
        assert_eq!(imported, Err(VaultError::InvalidSecret));
        // Generating goes on to the next candidate.
        let handle = vault.generate(KeyType::P256, &Secret::new(scalar)).unwrap();
        assert!(vault.sign(&handle, b"").is_ok());
    }
}

#[test]
fn ed25519_refusals() {
    let vectors = vectors("primitives");
    let vector = &vectors["signing"][0];
    let (key, signature) = (
        array(&vector["public"]),
        array::<64>(&vector["signatures"][0]["signature"]),
    );
    assert!(ed25519_verify(&key, b"", &signature));
    assert!(!verify(
        &PublicKey::Ed25519(key),
        b"",
        &Signature::P256(signature)
    ));
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut trivial = [0; 64];
    trivial[0] = 1;
    assert!(!ed25519_verify(&neutral, b"", &trivial));
    let mut late = signature;
    late[63] |= 0xe0;
    assert!(!ed25519_verify(&key, b"", &late));
}

#[test]
fn key_agreement() {
    for vector in list(&vectors("primitives")["x25519"]) {
        let secret = secret(&vector["secret"]);
        let public = x25519_public_key(&secret);
        assert_eq!(public, array(&vector["public"]));
        assert_eq!(channel_handle(&public), array(&vector["handle"]));
        let shared = x25519(&secret, &array(&vector["peer_public"])).unwrap();
        assert_eq!(shared.expose(), &array(&vector["shared"]));

        let mut vault = SoftwareVault::new();
        let handle = vault.import_channel(secret.clone());
        assert_eq!(handle, channel_handle(&public));
        assert_eq!(vault.channel_secret(&handle), Some(&secret));
        assert_eq!(vault.channel_secrets().count(), 1);
        assert!(vault.delete_channel(&handle) && !vault.delete_channel(&handle));
    }
}

#[test]
fn weak_keys_are_refused() {
    // All points of order 1, 2, 4 and 8, and encodings of them that are not reduced.
    let weak = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in weak {
        let point = hex::decode(point).unwrap().try_into().unwrap();
        assert!(x25519(&Secret::new(crate::common::counting(1)), &point).is_err());
    }
}

#[test]
fn key_derivation() {
    for vector in list(&vectors("primitives")["hkdf"]) {
        let input = if vector["ikm"].is_null() {
            Vec::new()
        } else {
            bytes(&vector["ikm"])
        };
        let outputs = list(&vector["outputs"]);
        let derived = hkdf(&bytes(&vector["salt"]), &input, outputs.len() as u8);
        assert_eq!(derived, outputs.iter().map(array).collect::<Vec<_>>());
    }
}

#[test]
fn aead() {
    for vector in list(&vectors("primitives")["aead"]) {
        let key = AeadKey::new(&array(&vector["key"])).unwrap();
        let (counter, aad) = (number(&vector["counter"]), bytes(&vector["aad"]));
        let plaintext = bytes(&vector["plaintext"]);
        let mut buf = [plaintext.as_slice(), &[0; 16]].concat();
        key.seal(counter, &aad, &mut buf).unwrap();
        assert_eq!(buf, bytes(&vector["ciphertext_and_tag"]));
        key.open(counter, &aad, &mut buf).unwrap();
        assert_eq!(buf[..plaintext.len()], plaintext);
        // Anything else does not verify.
        let sealed = bytes(&vector["ciphertext_and_tag"]);
        assert!(key.open(counter ^ 1, &aad, &mut sealed.clone()).is_err());
        assert!(key.open(counter, b"other", &mut sealed.clone()).is_err());
        assert!(key.open(counter, &aad, &mut sealed[..15].to_vec()).is_err());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 0x80;
            assert!(key.open(counter, &aad, &mut bad).is_err());
        }
    }
    assert!(
        AeadKey::new(&[0; 32])
            .unwrap()
            .seal(0, &[], &mut [0; 15])
            .is_err()
    );
}

#[test]
fn rekey() {
    let vectors = vectors("primitives");
    let chain: Vec<[u8; 32]> = list(&vectors["rekey_chain"]).iter().map(array).collect();
    let mut key = AeadKey::new(&chain[0]).unwrap();
    for next in &chain[1..] {
        key = key.rekey().unwrap();
        assert!(same_key(&key, &AeadKey::new(next).unwrap()));
    }
}

fn same_key(a: &AeadKey, b: &AeadKey) -> bool {
    let mut buf = [0; 32];
    a.seal(7, b"aad", &mut buf).unwrap();
    b.open(7, b"aad", &mut buf).is_ok()
}

#[test]
fn key_type_names() {
    let vectors = vectors("primitives");
    let names: Vec<&str> = list(&vectors["signing"])
        .iter()
        .map(|vector: &Value| text(&vector["type"]))
        .collect();
    assert_eq!(names, [KeyType::Ed25519.name(), KeyType::P256.name()]);
    assert_eq!(KeyType::from_name("RSA"), None);
}
