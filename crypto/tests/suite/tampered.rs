//! Two questions, each a table of tampered inputs that are all refused, each for its own reason.
//!
//! * Can a statement be used in a role, at a time or by somebody it was not made for?
//! * Can an identity be presented under another's key?
//!
//! `purpose_keys.json` and `credentials.json` answer parts of the first one with recorded inputs:
//! other subjects, issuers and purposes, times outside of the parent's. Here is the rest.

use culvert_crypto::channel::{Established, HandshakeError, Responder};
use culvert_crypto::credential::{self, CredentialError, Issuer, MAX_CREDENTIAL, Subject};
use culvert_crypto::identity::{IdentityError, update};
use culvert_crypto::primitives::sha256;
use culvert_crypto::purpose_key::{self, PurposeKeyError};
use culvert_crypto::secret::Secret;
use culvert_crypto::signed::EnvelopeError;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningHandle, SigningVault};
use culvert_proto::credential::{
    Attributes, Credential, CredentialAndPurposeKey, PurposeKeyAttestation,
    PurposeKeyAttestationData, PurposePublicKey,
};
use culvert_proto::identity::{
    Change, ChangeData, ChangeHistory, DataType, PublicKey, Signature, VersionedData, WireError,
    decode_exact, encode,
};

use crate::common::noise::Side;
use crate::common::{Known, NOW, Party, UNTIL, counting, payload};

const HOUR: u64 = 3600;

/// An authority with a credential key, and whom it speaks about.
struct World {
    authority: Party,
    key: SigningHandle,
    attestation: Vec<u8>,
    subject: Party,
    known: Known,
}

impl World {
    fn new() -> Self {
        let mut authority = Party::new(KeyType::Ed25519, 0xb0);
        let (key, attestation) = credential_key(&mut authority, 0xb7, NOW);
        let mut known = Known::new();
        update(&authority.identity, &mut known).unwrap();
        Self {
            subject: Party::new(KeyType::P256, 0x11),
            authority,
            key,
            attestation,
            known,
        }
    }

    fn public(&self) -> PublicKey {
        self.authority.vault.public_key(&self.key).unwrap()
    }

    fn issue(&self, now: u64) -> CredentialAndPurposeKey {
        let issuer = Issuer::new(&self.authority.vault, &self.attestation).unwrap();
        let attributes = Attributes::new(1, [("role", "member")]);
        let issued = issuer.issue(&self.subject.identity, attributes, now, HOUR);
        decode_exact(&issued.unwrap()).unwrap()
    }

    fn verify(&self, bytes: &[u8], now: u64) -> Result<(), CredentialError> {
        let subject = self.subject.id();
        let authorities = [self.authority.id()];
        credential::verify(bytes, Some(&subject), &authorities, &self.known, now).map(drop)
    }
}

/// A new credential key of a party, and its attestation.
fn credential_key(party: &mut Party, seed: u8, now: u64) -> (SigningHandle, Vec<u8>) {
    let random = Secret::new([seed; 32]);
    let key = party.vault.generate(KeyType::Ed25519, &random).unwrap();
    let public = party.vault.public_key(&key).unwrap();
    let attestation = party.attest(&PurposePublicKey::CredentialSigning(public), now);
    (key, attestation)
}

/// The handle of a party's primary key.
fn primary(party: &Party) -> SigningHandle {
    party.vault.handle_of(&party.identity.latest().key).unwrap()
}

/// An attestation that says anything, signed by the primary key of `signer`.
fn attested(signer: &Party, data: &PurposeKeyAttestationData) -> PurposeKeyAttestation {
    let envelope = VersionedData::new(DataType::PurposeKeyAttestation, encode(data));
    let data = encode(&envelope);
    let signature = signer.vault.sign(&primary(signer), &sha256(&data)).unwrap();
    PurposeKeyAttestation { data, signature }
}

/// What an honest attestation of this key says.
fn statement(subject: &Party, public_key: PurposePublicKey) -> PurposeKeyAttestationData {
    PurposeKeyAttestationData {
        subject: subject.id(),
        subject_latest_change_hash: subject.identity.latest().hash,
        public_key,
        created_at: NOW,
        expires_at: NOW + HOUR,
    }
}

#[test]
fn statements_keep_their_role() {
    let mut world = World::new();
    let genuine = world.issue(NOW);
    assert_eq!(world.verify(&encode(&genuine), NOW), Ok(()));
    let other_key = credential_key(&mut world.authority, 0xb8, NOW).1;
    let other_key: PurposeKeyAttestation = decode_exact(&other_key).unwrap();
    let mallory = Party::new(KeyType::Ed25519, 0x66);
    update(&mallory.identity, &mut world.known).unwrap();
    let authority = &world.authority;
    let key = PurposePublicKey::CredentialSigning(world.public());
    let attestation = &genuine.purpose_key_attestation;
    // The primary key attested for credentials: then one key signs everything.
    let PublicKey::Ed25519(_) = authority.identity.latest().key else {
        panic!("the authority has an Ed25519 key")
    };
    let own_key = PurposePublicKey::CredentialSigning(authority.identity.latest().key);
    let everything = attested(authority, &statement(authority, own_key));
    let change: ChangeHistory = decode_exact(authority.identity.history()).unwrap();
    let change = change.0.first().unwrap().clone();

    let as_credential = |data: &[u8], signature: &Signature| Credential {
        data: data.to_vec(),
        signature: *signature,
    };
    let type_error = |data_type| EnvelopeError::DataType(data_type);
    let cases = [
        (
            "attestation of another key of the same authority",
            genuine.credential.clone(),
            other_key,
            CredentialError::Signature,
        ),
        (
            "the authority's key attested by somebody else as theirs",
            genuine.credential.clone(),
            attested(&mallory, &statement(&mallory, key)),
            CredentialError::UnknownAuthority,
        ),
        (
            "an attestation about the authority, signed by somebody else",
            genuine.credential.clone(),
            attested(&mallory, &statement(authority, key)),
            PurposeKeyError::Signature.into(),
        ),
        (
            "a credential in place of the attestation",
            genuine.credential.clone(),
            PurposeKeyAttestation {
                data: genuine.credential.data.clone(),
                signature: genuine.credential.signature,
            },
            PurposeKeyError::from(type_error(3)).into(),
        ),
        (
            "an attestation in place of the credential",
            as_credential(&attestation.data, &attestation.signature),
            attestation.clone(),
            CredentialError::Signature,
        ),
        (
            "the same where one key signs both",
            as_credential(&everything.data, &everything.signature),
            everything.clone(),
            type_error(2).into(),
        ),
        (
            "a change of the authority's identity in place of the credential",
            as_credential(&change.data, &change.signature),
            everything,
            type_error(1).into(),
        ),
        (
            "a change of the authority's identity in place of the attestation",
            genuine.credential.clone(),
            PurposeKeyAttestation {
                data: change.data,
                signature: change.signature,
            },
            PurposeKeyError::from(type_error(1)).into(),
        ),
    ];
    for (what, credential, purpose_key_attestation, reason) in cases {
        let tampered = encode(&CredentialAndPurposeKey {
            credential,
            purpose_key_attestation,
        });
        assert_eq!(world.verify(&tampered, NOW), Err(reason), "{what}");
    }
}

#[test]
fn statements_keep_their_time() {
    let mut world = World::new();
    let genuine = encode(&world.issue(NOW));
    // A clock that is 60 s off is tolerated, 61 s are not; the last second counts.
    for (now, result) in [
        (NOW - 61, Err(PurposeKeyError::FromTheFuture.into())),
        (NOW - 60, Ok(())),
        (NOW + HOUR, Ok(())),
        (NOW + HOUR + 1, Err(CredentialError::Expired)),
    ] {
        assert_eq!(world.verify(&genuine, now), result, "{now}");
    }
    // The same for the credential alone, by a key that is older.
    world.attestation = credential_key(&mut world.authority, 0xb7, NOW - 100).1;
    let genuine = encode(&world.issue(NOW));
    assert_eq!(world.verify(&genuine, NOW - 60), Ok(()));
    let early = world.verify(&genuine, NOW - 61);
    assert_eq!(early, Err(CredentialError::FromTheFuture));
    // A key that ends before a credential of its own is asked for again.
    let public = PurposePublicKey::CredentialSigning(world.public());
    let mut short = statement(&world.authority, public);
    short.expires_at = NOW + 10;
    world.attestation = encode(&attested(&world.authority, &short));
    let clamped = encode(&world.issue(NOW));
    assert_eq!(world.verify(&clamped, NOW + 10), Ok(()));
    let late = world.verify(&clamped, NOW + 11);
    assert_eq!(late, Err(PurposeKeyError::Expired.into()));
    let mixed = CredentialAndPurposeKey {
        purpose_key_attestation: decode_exact(&world.attestation).unwrap(),
        ..decode_exact(&genuine).unwrap()
    };
    let outlives = world.verify(&encode(&mixed), NOW);
    assert_eq!(outlives, Err(CredentialError::OutsidePurposeKey));
}

#[test]
fn every_byte_counts() {
    let world = World::new();
    let genuine = encode(&world.issue(NOW));
    for length in 0..genuine.len() {
        let cut = world.verify(&genuine[..length], NOW);
        assert!(
            matches!(cut, Err(CredentialError::Wire(WireError::Malformed(_)))),
            "{length}: {cut:?}"
        );
    }
    for index in 0..genuine.len() {
        for pattern in [1, 0x20, 0x80, 0xff] {
            let mut changed = genuine.clone();
            changed[index] ^= pattern;
            let refused = world.verify(&changed, NOW);
            assert!(refused.is_err(), "byte {index} with {pattern:#x}");
        }
    }
    let longer = [&genuine[..], &[0]].concat();
    let trailing = CredentialError::Wire(WireError::Trailing(1));
    assert_eq!(world.verify(&longer, NOW), Err(trailing));
    let oversized = [&genuine[..], &vec![0; MAX_CREDENTIAL]].concat();
    let too_large = Err(CredentialError::TooLarge);
    assert_eq!(world.verify(&oversized, NOW), too_large);
    assert_eq!(credential::read(&oversized).map(drop), too_large);
    // Nor is such a one made.
    let issuer = Issuer::new(&world.authority.vault, &world.attestation).unwrap();
    let attributes = Attributes::new(1, [("a", "x".repeat(MAX_CREDENTIAL))]);
    let subject = Subject::from(&world.subject.identity);
    let made = issuer.issue_for(&subject, attributes, NOW, HOUR);
    assert_eq!(made, Err(CredentialError::TooLarge));
}

/// A handshake in which the initiator says `payload` in message 3.
fn say(static_secret: &Secret<32>, payload: &[u8]) -> Result<Established, HandshakeError> {
    let me = Party::new(KeyType::Ed25519, 0x21);
    let mut side = Side::new(static_secret.clone(), Secret::new(counting(0x32)));
    let message_1 = side.write_1(&[]);
    let (mut machine, message_2) =
        Responder::accept(&me.endpoint(), Trust::Anyone, counting(0x92), &message_1).unwrap();
    side.read_2(&message_2).unwrap();
    let mut known = Known::new();
    let result = machine.read_message3(&side.write_3(payload), &mut known, NOW);
    // Nothing is remembered of somebody who could not prove it.
    assert_eq!(known.is_empty(), result.is_err());
    result
}

/// The victim's history, continued by somebody without the victim's key.
fn forged_rotation(victim: &Party, mallory: &Party) -> Vec<u8> {
    let mut history: ChangeHistory = decode_exact(victim.identity.history()).unwrap();
    let content = ChangeData {
        previous_change: Some(victim.identity.latest().hash),
        primary_public_key: mallory.identity.latest().key,
        revoke_all_purpose_keys: false,
        attestations_valid_from: NOW - HOUR,
        attestations_valid_until: UNTIL,
    };
    let data = encode(&VersionedData::new(DataType::Change, encode(&content)));
    let hash = sha256(&data);
    let signature = mallory.vault.sign(&primary(mallory), &hash).unwrap();
    history.0.push(Change {
        data,
        signature,
        previous_signature: Some(signature),
    });
    encode(&history)
}

#[test]
fn identities_stay_with_their_keys() {
    let victim = Party::new(KeyType::Ed25519, 1);
    let mallory = Party::new(KeyType::Ed25519, 0x66);
    let own_key = PurposePublicKey::SecureChannel(mallory.static_public);
    let victims_key = PurposePublicKey::SecureChannel(victim.static_public);
    let (his, hers) = (victim.identity.history(), mallory.identity.history());
    let forged = encode(&attested(&mallory, &statement(&victim, own_key)));
    let claimed = encode(&attested(&mallory, &statement(&mallory, victims_key)));
    let rotated = forged_rotation(&victim, &mallory);
    let other_subject = HandshakeError::Attestation(PurposeKeyError::OtherSubject);
    let cases = [
        (
            "everything of the victim, out of an earlier handshake",
            payload(his, &victim.attestation, &[]),
            HandshakeError::OtherStaticKey,
        ),
        (
            "the victim's history, an attestation of one's own",
            payload(his, &mallory.attestation, &[]),
            other_subject,
        ),
        (
            "one's own history, the victim's attestation",
            payload(hers, &victim.attestation, &[]),
            other_subject,
        ),
        (
            "the victim's history, an attestation in its name",
            payload(his, &forged, &[]),
            HandshakeError::Attestation(PurposeKeyError::Signature),
        ),
        (
            "one's own history, the victim's channel key claimed",
            payload(hers, &claimed, &[]),
            HandshakeError::OtherStaticKey,
        ),
        (
            "the victim's history with a rotation that it did not sign",
            payload(&rotated, &mallory.attestation, &[]),
            HandshakeError::Identity(IdentityError::PreviousSignature),
        ),
    ];
    assert!(say(&mallory.static_secret, &mallory.payload(&[])).is_ok());
    for (what, payload, reason) in cases {
        let result = say(&mallory.static_secret, &payload);
        assert_eq!(result.err(), Some(reason), "{what}");
    }
    // Claiming the victim's key changes nothing for the victim: it stays who it is.
    let channel = say(&victim.static_secret, &victim.payload(&[])).unwrap();
    assert_eq!(channel.peer, victim.id());
}

#[test]
fn messages_stay_in_their_handshake() {
    let me = Party::new(KeyType::Ed25519, 0x21);
    let victim = Party::new(KeyType::Ed25519, 1);
    let mut side = Side::new(victim.static_secret.clone(), Secret::new(counting(0x32)));
    let message_1 = side.write_1(&[]);
    let accept = |ephemeral| {
        Responder::accept(&me.endpoint(), Trust::Anyone, ephemeral, &message_1).unwrap()
    };
    let (mut first, message_2) = accept(counting(0x92));
    let (mut second, _) = accept(counting(0x93));
    side.read_2(&message_2).unwrap();
    let message_3 = side.write_3(&victim.payload(&[]));
    let mut known = Known::new();
    // Recorded and said again to another session of the same node.
    let replayed = second.read_message3(&message_3, &mut known, NOW);
    assert_eq!(replayed.err(), Some(HandshakeError::Forged));
    assert!(known.is_empty());
    assert!(first.read_message3(&message_3, &mut known, NOW).is_ok());
}

#[test]
fn credentials_stay_with_their_subject() {
    let world = World::new();
    let credential = encode(&world.issue(NOW));
    let mallory = Party::new(KeyType::Ed25519, 0x66);
    // The channel is established, as the peer is who it says; the credential is somebody else's.
    let channel = say(&mallory.static_secret, &mallory.payload(&[credential]));
    let channel = channel.unwrap();
    let (peer, authorities) = (channel.peer, [world.authority.id()]);
    for credential in &channel.peer_credentials {
        let (known, now) = (&world.known, NOW);
        let shown = credential::verify(credential, Some(&peer), &authorities, known, now);
        assert_eq!(shown, Err(CredentialError::OtherSubject));
    }
    assert_eq!(channel.peer_credentials.len(), 1);
    let unknown = purpose_key::verify(&world.attestation, None, &Known::new(), NOW);
    assert_eq!(unknown, Err(PurposeKeyError::UnknownSubject));
}
