//! `purpose_keys.json` and `credentials.json`: recorded statements and their outcomes.

use crate::common::{
    Known, NOW, Party, array, bytes, identifier, list, number, secret, text, vectors,
};
use culvert_crypto::Identifier;
use culvert_crypto::credential::{self, CredentialError, Issuer};
use culvert_crypto::identity::{Identity, update};
use culvert_crypto::purpose_key::{self, ALLOWED_DRIFT, DEFAULT_LIFETIME, PurposeKeyError};
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{KeyType, SigningVault, SoftwareVault};
use culvert_proto::credential::{
    Attributes, CredentialAndPurposeKey, CredentialData, PurposeKeyAttestation,
    PurposeKeyAttestationData, PurposePublicKey,
};
use culvert_proto::identity::{VersionedData, decode_exact, encode};
use serde_json::Value;

/// A store with these histories.
fn known<'a>(histories: impl IntoIterator<Item = &'a Value>) -> Known {
    let mut known = Known::new();
    for history in histories {
        update(
            &Identity::verify(&bytes(history), None).unwrap(),
            &mut known,
        )
        .unwrap();
    }
    known
}

#[test]
fn valid_attestations() {
    for vector in list(&vectors("purpose_keys")["valid"]) {
        let known = known([&vector["subject_change_history_cbor"]]);
        let subject = identifier(&vector["subject"]);
        let attestation = bytes(&vector["attestation_cbor"]);
        let data = purpose_key::verify(&attestation, Some(&subject), &known, NOW).unwrap();
        assert_eq!(data.subject, subject);
        assert_eq!(encode(&data), bytes(&vector["attestation_data_cbor"]));
        let decoded: PurposeKeyAttestation = decode_exact(&attestation).unwrap();
        assert_eq!(decoded.data, bytes(&vector["versioned_data_cbor"]));
        assert_eq!(encode(&decoded), attestation);
    }
}

#[test]
fn attested_byte_for_byte() {
    let mut vault = SoftwareVault::new();
    let identities = vectors("identities");
    let key = &identities["valid"][0]["changes"][0]["key"];
    crate::common::import(&mut vault, key);
    let mut made = 0;
    for vector in list(&vectors("purpose_keys")["valid"]) {
        let recorded: PurposeKeyAttestation =
            decode_exact(&bytes(&vector["attestation_cbor"])).unwrap();
        let envelope: VersionedData = decode_exact(&recorded.data).unwrap();
        let data: PurposeKeyAttestationData = decode_exact(&envelope.data).unwrap();
        let history = bytes(&vector["subject_change_history_cbor"]);
        let subject = Identity::verify(&history, None).unwrap();
        if KeyType::of(&subject.latest().key) != KeyType::Ed25519 {
            continue;
        }
        let (key, from, until) = (&data.public_key, data.created_at, data.expires_at);
        let attestation = purpose_key::attest_until(&vault, &subject, key, from, until).unwrap();
        assert_eq!(
            attestation,
            bytes(&vector["attestation_cbor"]),
            "{}",
            vector["name"]
        );
        made += 1;
    }
    assert_eq!(made, 4);
}

#[test]
fn rejected_attestations() {
    for vector in list(&vectors("purpose_keys")["rejected"]) {
        let known = known(list(&vector["known_change_histories"]));
        let subject: Option<Identifier> = vector["expected_subject"]
            .as_str()
            .map(|text| text.parse().unwrap());
        let attestation = bytes(&vector["attestation_cbor"]);
        let error = purpose_key::verify(&attestation, subject.as_ref(), &known, NOW).unwrap_err();
        let fits = match text(&vector["name"]) {
            "other_expected_subject" => error == PurposeKeyError::OtherSubject,
            "unknown_subject" => error == PurposeKeyError::UnknownSubject,
            "wrong_change_hash" => error == PurposeKeyError::Superseded,
            "expires_after_identity_key" | "created_before_identity_key" => {
                error == PurposeKeyError::OutsideIdentity
            }
            "created_in_future" => error == PurposeKeyError::FromTheFuture,
            "expired" => error == PurposeKeyError::Expired,
            "version_2" | "data_type_1" | "data_type_3" => {
                matches!(error, PurposeKeyError::Envelope(_))
            }
            // A flipped bit may hit any field.
            "flipped_bit" => true,
            _ => error == PurposeKeyError::Signature,
        };
        assert!(fits, "{}: {error}", vector["name"]);
    }
}

#[test]
fn rotation_and_expiry() {
    for vector in list(&vectors("purpose_keys")["rotation_and_expiry"]) {
        let known = known([&vector["subject_change_history_cbor"]]);
        let result = purpose_key::verify(&bytes(&vector["attestation_cbor"]), None, &known, NOW);
        assert_eq!(
            result.is_ok(),
            vector["result"] == "accepted",
            "{}: {result:?}",
            vector["name"]
        );
    }
}

#[test]
fn clock() {
    let party = Party::new(KeyType::Ed25519, 1);
    let mut known = Known::new();
    update(&party.identity, &mut known).unwrap();
    let key = PurposePublicKey::SecureChannel(party.static_public);
    let accepted = |created: u64, expires: u64, now: u64| {
        let (vault, identity) = (&party.vault, &party.identity);
        let attestation = purpose_key::attest_until(vault, identity, &key, created, expires);
        purpose_key::verify(&attestation.unwrap(), Some(&party.id()), &known, now).is_ok()
    };
    for vector in list(&vectors("purpose_keys")["clock"]) {
        let result = if let Some(ahead) = vector["created_at_minus_now"].as_u64() {
            accepted(NOW + ahead, NOW + 1000, NOW)
        } else {
            let left = vector["expires_at_minus_now"].as_i64().unwrap();
            accepted(NOW - 100, NOW.checked_add_signed(left).unwrap(), NOW)
        };
        assert_eq!(result, vector["accepted"] == true, "{vector}");
    }
    // The exact limits.
    assert!(accepted(NOW + ALLOWED_DRIFT, NOW + 1000, NOW));
    assert!(!accepted(NOW + ALLOWED_DRIFT + 1, NOW + 1000, NOW));
    assert!(accepted(NOW - 100, NOW, NOW));
    assert!(!accepted(NOW - 100, NOW - 1, NOW));
}

#[test]
fn lifetime_ends_with_the_identity() {
    // Unlike a real node, whose own attestation does not verify in the first cases.
    for vector in list(&vectors("purpose_keys")["default_lifetime_versus_identity_validity"]) {
        let days = number(&vector["identity_valid_for_days"]);
        let mut vault = SoftwareVault::new();
        let key = vault
            .generate(KeyType::P256, &Secret::new([9; 32]))
            .unwrap();
        let identity = Identity::create(&vault, &key, NOW, NOW + days * 86400).unwrap();
        let key = PurposePublicKey::SecureChannel([1; 32]);
        let attestation = purpose_key::attest(&vault, &identity, &key, NOW).unwrap();
        let decoded: PurposeKeyAttestation = decode_exact(&attestation).unwrap();
        let data = purpose_key::verify_for(&decoded, &identity, NOW).unwrap();
        assert_eq!(data.expires_at, NOW + DEFAULT_LIFETIME.min(days * 86400));
        assert_eq!(
            DEFAULT_LIFETIME,
            number(&vector["default_purpose_key_lifetime_seconds"])
        );
        for outside in [NOW - 1, NOW + days * 86400 + 1] {
            let result = purpose_key::attest(&vault, &identity, &key, outside);
            assert_eq!(result, Err(PurposeKeyError::OutsideIdentity));
        }
    }
}

/// The store of a verifier of credentials, and the accepted issuer.
fn verifier(vectors: &Value) -> (Known, Identifier) {
    let histories = ["issuer", "subject"].map(|name| &vectors[name]["change_history_cbor"]);
    (
        known(histories),
        identifier(&vectors["issuer"]["identifier"]),
    )
}

#[test]
fn valid_credentials() {
    let vectors = vectors("credentials");
    let (known, issuer) = verifier(&vectors);
    let subject = identifier(&vectors["subject"]["identifier"]);
    for vector in list(&vectors["valid"]) {
        let credential = bytes(&vector["credential_and_purpose_key_cbor"]);
        let result = credential::verify(&credential, Some(&subject), &[issuer], &known, NOW);
        let verified = result.unwrap();
        assert_eq!((verified.subject, verified.issuer), (subject, issuer));

        let decoded: CredentialAndPurposeKey = decode_exact(&credential).unwrap();
        assert_eq!(encode(&decoded), credential);
        assert_eq!(
            encode(&decoded.credential),
            bytes(&vector["credential_cbor"])
        );
        let envelope: VersionedData = decode_exact(&decoded.credential.data).unwrap();
        assert_eq!(encode(&envelope), bytes(&vector["versioned_data_cbor"]));
        let data: CredentialData = decode_exact(&envelope.data).unwrap();
        assert_eq!(encode(&data), bytes(&vector["credential_data_cbor"]));
        assert_eq!(data.subject_attributes, verified.attributes);
    }
}

#[test]
fn issued_byte_for_byte() {
    let vectors = vectors("credentials");
    let mut vault = SoftwareVault::new();
    let secret = secret(&vectors["issuer"]["credential_key_ed25519"]);
    vault.import_signing(KeyType::Ed25519, secret).unwrap();
    let history = bytes(&vectors["subject"]["change_history_cbor"]);
    let subject = Identity::verify(&history, None).unwrap();
    let mut issued = 0;
    for vector in list(&vectors["valid"]) {
        let recorded: CredentialAndPurposeKey =
            decode_exact(&bytes(&vector["credential_and_purpose_key_cbor"])).unwrap();
        let data: CredentialData = decode_exact(&bytes(&vector["credential_data_cbor"])).unwrap();
        let issuer = Issuer::new(&vault, &encode(&recorded.purpose_key_attestation)).unwrap();
        let ttl = data.expires_at - data.created_at;
        let result = issuer.issue(
            &subject,
            data.subject_attributes.clone(),
            data.created_at,
            ttl,
        );
        // Only the credentials that say what an issuer says, by the Ed25519 key.
        if data.subject_latest_change_hash != Some(subject.latest().hash) {
            continue;
        }
        let Ok(credential) = result else {
            assert_eq!(text(&vector["name"]), "p256");
            continue;
        };
        assert_eq!(credential, encode(&recorded), "{}", vector["name"]);
        issued += 1;
    }
    assert!(issued >= 3, "{issued}");
}

#[test]
fn rejected_credentials() {
    let vectors = vectors("credentials");
    let (known, _) = verifier(&vectors);
    for vector in list(&vectors["rejected"]) {
        let credential = bytes(&vector["credential_and_purpose_key_cbor"]);
        let authorities: Vec<_> = list(&vector["authorities"])
            .iter()
            .map(identifier)
            .collect();
        let subject: Option<Identifier> = vector["expected_subject"]
            .as_str()
            .map(|text| text.parse().unwrap());
        let result = credential::verify(&credential, subject.as_ref(), &authorities, &known, NOW);
        let error = result.unwrap_err();
        let fits = match text(&vector["name"]) {
            "unknown_authority" | "no_authorities" => error == CredentialError::UnknownAuthority,
            "other_subject" => error == CredentialError::OtherSubject,
            "no_subject" => error == CredentialError::NoSubject,
            "secure_channel_purpose_key" => error == CredentialError::WrongPurpose,
            "created_before_purpose_key" | "expires_after_purpose_key" => {
                error == CredentialError::OutsidePurposeKey
            }
            "created_in_future" => error == CredentialError::FromTheFuture,
            "expired" => error == CredentialError::Expired,
            "version_2" | "data_type_2" => matches!(error, CredentialError::Envelope(_)),
            "expired_purpose_key" | "purpose_key_not_signed_by_issuer" => {
                matches!(error, CredentialError::PurposeKey(_))
            }
            _ => error == CredentialError::Signature,
        };
        assert!(fits, "{}: {error}", vector["name"]);
    }
}

#[test]
fn rotation_of_the_issuer() {
    let vectors = vectors("credentials");
    for vector in list(&vectors["issuer_rotation"]) {
        let issuer = identifier(&vectors["issuer"]["identifier"]);
        let known = known([&vector["issuer_change_history_cbor"]]);
        let credential = bytes(&vector["credential_and_purpose_key_cbor"]);
        let result = credential::verify(&credential, None, &[issuer], &known, NOW);
        assert_eq!(
            result.is_ok(),
            vector["result"] == "accepted",
            "{}",
            vector["name"]
        );
    }
}

#[test]
fn credentials_end_with_the_key_that_signs_them() {
    let mut authority = Party::new(KeyType::Ed25519, 5);
    let subject = Party::new(KeyType::P256, 6);
    let key = authority
        .vault
        .generate(KeyType::P256, &Secret::new([3; 32]))
        .unwrap();
    let public = authority.vault.public_key(&key).unwrap();
    let attestation = authority.attest(&PurposePublicKey::CredentialSigning(public), NOW);
    let issuer = Issuer::new(&authority.vault, &attestation).unwrap();
    let attributes = Attributes::new(1, [("role", "member")]);
    let issue = |now, ttl| issuer.issue(&subject.identity, attributes.clone(), now, ttl);

    let mut known = Known::new();
    update(&authority.identity, &mut known).unwrap();
    let credential = issue(NOW, u64::MAX).unwrap();
    let (id, authorities) = (subject.id(), [authority.id()]);
    let verify = |now| credential::verify(&credential, Some(&id), &authorities, &known, now);
    let verified = verify(NOW).unwrap();
    assert_eq!(verified.expires_at, NOW + DEFAULT_LIFETIME);
    assert_eq!(verified.attributes.get(b"role"), Some(b"member".as_slice()));
    assert!(verify(NOW + DEFAULT_LIFETIME).is_ok());
    assert!(verify(NOW + DEFAULT_LIFETIME + 1).is_err());
    assert_eq!(issue(NOW - 1, 10), Err(CredentialError::OutsidePurposeKey));
    let channel_key = Issuer::new(&authority.vault, &authority.attestation);
    assert_eq!(channel_key.err(), Some(CredentialError::WrongPurpose));
    let long = credential::verify(&[0; 40_000], None, &[], &known, NOW);
    assert_eq!(long, Err(CredentialError::TooLarge));
    let key: [u8; 32] = array(&vectors("purpose_keys")["valid"][0]["purpose_key"]["public"]);
    assert_ne!(key, [0; 32]);
}
