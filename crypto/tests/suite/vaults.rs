//! What vaults outside of this process write: keys and signatures of cloud services, sealed files.

use crate::common::{array, bytes, list, vectors};
use culvert_crypto::vault::der::{p256_public_key, p256_signature};
use proptest::prelude::*;
use serde_json::Value;

/// Each recorded signature in both forms.
fn signatures() -> Vec<([u8; 64], Vec<u8>)> {
    let vectors = vectors("primitives");
    let made = list(&vectors["signing"])
        .iter()
        .flat_map(|key| list(&key["signatures"]).iter());
    made.chain([&vectors["ecdsa_high_s_is_not_normalised"]])
        .filter(|one| one["der"].is_string())
        .map(|one: &Value| (array(&one["signature"]), bytes(&one["der"])))
        .collect()
}

#[test]
fn recorded_signatures_are_read() {
    let all = signatures();
    assert!(all.len() > 2);
    for (raw, der) in all {
        assert_eq!(p256_signature(&der), Some(raw));
        let longer = [&der[..], &[0]].concat();
        assert_eq!(p256_signature(&longer), None);
        for end in 0..der.len() {
            assert_eq!(p256_signature(&der[..end]), None);
        }
    }
}

/// DER that is not strict, and numbers that do not fit.
#[test]
fn odd_signatures_are_refused() {
    let read = |text: &str| p256_signature(&hex::decode(text).unwrap());
    let mut small = [0; 64];
    (small[31], small[63]) = (1, 0x80);
    assert_eq!(read("300702010102020080"), Some(small));
    for odd in [
        "3006020101020180",       // negative
        "30080202000102020080",   // a needless zero
        "300602010002020080",     // length of another sequence
        "3007020100020200",       // cut off
        "30050201010200",         // an empty number
        "3081070201010202008000", // long form of a length
        "3107020101020200800000", // not a sequence
        "3009020101020200800101", // a third item
    ] {
        assert_eq!(read(odd), None, "{odd}");
    }
    let long = format!("302702220001{}020101", "ff".repeat(32));
    assert_eq!(read(&long), None);
}

#[test]
fn recorded_keys_are_read() {
    let vectors = vectors("primitives");
    let point: [u8; 65] = array(&vectors["signing"][1]["public"]);
    let prefix = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
    let der = [&hex::decode(prefix).unwrap()[..], &point].concat();
    assert_eq!(der.len(), 91);
    assert_eq!(p256_public_key(&der), Some(point));
    let longer = [&der[..], &[0]].concat();
    for other in [&der[..90], &longer, &der[1..], &point[..], &[]] {
        assert_eq!(p256_public_key(other), None);
    }
    // Another curve; a compressed point.
    for at in [22, 26] {
        let mut changed = der.clone();
        changed[at] ^= 6;
        assert_eq!(p256_public_key(&changed), None);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer(der in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = (p256_signature(&der), p256_public_key(&der));
    }

    #[test]
    fn changed_signatures_are_an_answer(at in 0usize..72, bit in 0u8..8) {
        for (_, mut der) in signatures() {
            let at = at % der.len();
            der[at] ^= 1 << bit;
            let _ = p256_signature(&der);
        }
    }
}
