//! `identities.json`: recorded histories and what a real node makes of them.

use crate::common::{Known, array, bytes, identifier, import, list, number, text, vectors};
use culvert_crypto::Identifier;
use culvert_crypto::identity::{
    Comparison, Histories, HistoryError, Identity, IdentityError, MAX_CHANGES, update,
    update_ignoring_older,
};
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{KeyType, SigningVault, SoftwareVault, VaultError};
use culvert_proto::identity::{ChangeHistory, Signature, decode_exact, decode_prefix, encode};

fn expected(vector: &serde_json::Value) -> Option<Identifier> {
    vector["expected_identifier"]
        .as_str()
        .map(|text| text.parse().unwrap())
}

#[test]
fn valid() {
    for vector in list(&vectors("identities")["valid"]) {
        let history = bytes(&vector["change_history_cbor"]);
        let id = identifier(&vector["identifier_text"]);
        let identity = Identity::verify(&history, Some(&id)).unwrap();
        assert_eq!(identity.identifier().0, array(&vector["identifier_bytes"]));
        assert_eq!(identity.to_owned().history(), history);
        let changes = list(&vector["changes"]);
        assert_eq!(identity.change_hashes().len(), changes.len());
        for (hash, change) in identity.change_hashes().iter().zip(changes) {
            assert_eq!(
                hash.0,
                array(&change["change_hash_sha256_of_versioned_data"])
            );
        }
        let last = changes.last().unwrap();
        assert_eq!(
            identity.latest().valid_from,
            number(&last["attestations_valid_from"])
        );
        assert_eq!(
            identity.latest().valid_until,
            number(&last["attestations_valid_until"])
        );
        assert_eq!(identity.latest().key.bytes(), bytes(&last["key"]["public"]));
        let other = Identifier([0; 32]);
        let refused = Identity::verify(&history, Some(&other));
        assert_eq!(refused, Err(IdentityError::OtherIdentity));
    }
}

/// ECDSA signatures of the default backend differ each time; everything else does not.
fn without_ecdsa(history: &[u8]) -> ChangeHistory {
    let mut history: ChangeHistory = decode_exact(history).unwrap();
    for change in &mut history.0 {
        for signature in [
            Some(&mut change.signature),
            change.previous_signature.as_mut(),
        ]
        .into_iter()
        .flatten()
        {
            if cfg!(feature = "aws-lc") && matches!(signature, Signature::P256(_)) {
                *signature = Signature::P256([0; 64]);
            }
        }
    }
    history
}

#[test]
fn created_and_rotated_byte_for_byte() {
    for vector in list(&vectors("identities")["valid"]) {
        let changes = list(&vector["changes"]);
        let mut vault = SoftwareVault::new();
        let mut identity: Option<Identity> = None;
        for change in changes {
            let key = import(&mut vault, &change["key"]);
            let from = number(&change["attestations_valid_from"]);
            let until = number(&change["attestations_valid_until"]);
            let revoke = change["revoke_all_purpose_keys"] == true;
            let next = match &identity {
                None => Identity::create(&vault, &key, from, until),
                Some(old) => old.rotate_and(&vault, &key, from, until, revoke),
            };
            let next = next.unwrap();
            assert_eq!(next.replaced_keys().len() + 1, next.change_hashes().len());
            assert!(!next.replaced_keys().contains(&next.latest().key));
            identity = Some(next);
        }
        let recorded = without_ecdsa(&bytes(&vector["change_history_cbor"]));
        assert_eq!(
            without_ecdsa(identity.unwrap().history()),
            recorded,
            "{}",
            vector["name"]
        );
    }
}

#[test]
fn published_elsewhere() {
    for vector in list(&vectors("identities")["published_elsewhere"]) {
        let history = bytes(&vector["change_history_cbor"]);
        let id = identifier(&vector["identifier_text"]);
        assert!(Identity::verify(&history, Some(&id)).is_ok());
    }
}

#[test]
fn unusual() {
    // The three kinds of input that the module documentation says are refused.
    let refused = [
        ("trailing_bytes_after_history", "history"),
        ("trailing_byte_inside_change_data", "envelope"),
        ("trailing_byte_after_versioned_data", "envelope"),
        ("ed25519_small_order_key", "signature"),
    ];
    for vector in list(&vectors("identities")["accepted_although_unusual"]) {
        let history = bytes(&vector["change_history_cbor"]);
        let result = Identity::verify(&history, expected(vector).as_ref());
        let name = text(&vector["name"]);
        match refused.iter().find(|(refused, _)| *refused == name) {
            Some((_, "history")) => assert!(matches!(result, Err(IdentityError::Wire(_)))),
            Some((_, "envelope")) => assert!(matches!(result, Err(IdentityError::Envelope(_)))),
            Some(_) => assert_eq!(result, Err(IdentityError::Signature)),
            None => {
                let identity = result.unwrap();
                assert_eq!(
                    identity.identifier(),
                    identifier(&vector["identifier_text"])
                );
                assert_eq!(
                    identity.history(),
                    bytes(&vector["re_exported_cbor"]),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn rejected() {
    for vector in list(&vectors("identities")["rejected"]) {
        let history = bytes(&vector["change_history_cbor"]);
        let result = Identity::verify(&history, expected(vector).as_ref());
        assert!(result.is_err(), "{}", vector["name"]);
    }
}

#[test]
fn comparison() {
    for vector in list(&vectors("identities")["comparison"]) {
        let received = Identity::verify(&bytes(&vector["received"]), None).unwrap();
        let known = Identity::verify(&bytes(&vector["known"]), None).unwrap();
        let expected = match text(&vector["result"]) {
            "Equal" => Comparison::Equal,
            "Newer" => Comparison::Newer,
            "Older" => Comparison::Older,
            _ => Comparison::Conflict,
        };
        assert_eq!(received.compare(&known), expected, "{}", vector["name"]);
    }
}

#[test]
fn storage_update() {
    let vectors = vectors("identities");
    let find = |name: &str| {
        let vector = list(&vectors["comparison"])
            .iter()
            .find(|v| v["name"] == name)
            .unwrap();
        let verify = |value| Identity::verify(&bytes(value), None).unwrap();
        (verify(&vector["received"]), verify(&vector["known"]))
    };
    for vector in list(&vectors["storage_update"]) {
        let (received, known) = match text(&vector["name"]) {
            "equal" => find("same"),
            "newer" => find("long_vs_short"),
            "older" => find("short_vs_long"),
            _ => find("fork"),
        };
        let mut store = Known::new();
        update(&known, &mut store).unwrap();
        let result = if vector["ignore_older"] == true {
            update_ignoring_older(&received, &mut store)
        } else {
            update(&received, &mut store)
        };
        assert_eq!(result.is_ok(), vector["result"] == "ok", "{vector}");
        let stored = Histories::get(&store, &known.identifier()).unwrap();
        let expected = if vector["stored_afterwards"] == "known" {
            known
        } else {
            received
        };
        assert_eq!(stored, expected.history(), "{vector}");
    }
}

#[test]
fn damaged_store() {
    let vectors = vectors("identities");
    let identity =
        Identity::verify(&bytes(&vectors["valid"][0]["change_history_cbor"]), None).unwrap();
    let mut store = Known::new();
    store.insert(identity.identifier(), vec![0xff]);
    assert_eq!(update(&identity, &mut store), Err(HistoryError::Stored));
    assert_eq!(
        culvert_crypto::identity::stored(&identity.identifier(), &store),
        None
    );
}

#[test]
fn identifier_text() {
    for vector in list(&vectors("identities")["identifier_text_parsing"]) {
        let parsed: Option<Identifier> = text(&vector["text"]).parse().ok();
        assert_eq!(
            parsed.map(|id| id.to_string()).as_deref(),
            vector["result"].as_str()
        );
    }
}

#[test]
fn history_text() {
    let vectors = vectors("identities");
    let vector = &vectors["change_history_text"];
    let history = bytes(&vector["text"]);
    let identity = Identity::verify(&history, None).unwrap();
    assert_eq!(hex::encode(identity.history()), text(&vector["text"]));
    assert_eq!(
        hex::decode(text(&vector["text"]).to_uppercase()).unwrap(),
        history
    );
    assert!(hex::decode(format!(" {}", text(&vector["text"]))).is_err());
}

#[test]
fn too_many_changes() {
    let mut vault = SoftwareVault::new();
    let key = vault
        .generate(KeyType::Ed25519, &Secret::new([1; 32]))
        .unwrap();
    let mut identity = Identity::create(&vault, &key, 1, 2).unwrap();
    for _ in 1..MAX_CHANGES {
        identity = identity.rotate(&vault, &key, 1, 2).unwrap();
    }
    assert_eq!(identity.change_hashes().len(), MAX_CHANGES);
    let again = Identity::verify(identity.history(), None);
    assert_eq!(again.as_ref(), Ok(&identity));
    assert_eq!(
        identity.rotate(&vault, &key, 1, 2),
        Err(IdentityError::TooLarge)
    );
    assert_eq!(
        Identity::verify(&vec![0; 40_000], None),
        Err(IdentityError::TooLarge)
    );

    // A wide history is refused before any signature is checked.
    let (history, _): (ChangeHistory, _) = decode_prefix(identity.history()).unwrap();
    let wide = ChangeHistory(
        history
            .0
            .iter()
            .cycle()
            .take(MAX_CHANGES + 1)
            .cloned()
            .collect(),
    );
    assert_eq!(
        Identity::verify(&encode(&wide), None),
        Err(IdentityError::TooLarge)
    );
}

#[test]
fn keys_must_be_there() {
    let (mut vault, empty) = (SoftwareVault::new(), SoftwareVault::new());
    let key = vault
        .generate(KeyType::Ed25519, &Secret::new([1; 32]))
        .unwrap();
    let missing = Err(IdentityError::Vault(VaultError::NotFound));
    assert_eq!(Identity::create(&empty, &key, 1, 2), missing);
    let identity = Identity::create(&vault, &key, 5, 9).unwrap();
    assert_eq!(
        identity.rotate(&vault, &key, 4, 9),
        Err(IdentityError::TimeGoesBack)
    );
    let next = vault
        .generate(KeyType::P256, &Secret::new([2; 32]))
        .unwrap();
    assert_eq!(vault.delete(&key), Ok(true));
    assert_eq!(identity.rotate(&vault, &next, 5, 9), missing);
}
