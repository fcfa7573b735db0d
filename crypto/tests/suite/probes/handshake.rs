//! Messages 1 to 3.

use culvert_crypto::channel::{HandshakeError, Initiator, Opener, Responder};
use culvert_crypto::identity::update;
use culvert_crypto::primitives::AeadKey;
use culvert_crypto::purpose_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningVault};
use culvert_proto::credential::PurposePublicKey;
use serde_json::json;

use super::{IMPROVED, Talk, channel, initiator, observed, responder, rotated};
use crate::common::noise::Side;
use crate::common::{Known, NOW, Party, counting, number, payload, text, unsealed};

#[test]
fn interop() {
    for name in ["independent_initiator"] {
        assert!(observed(name)["delivered"].is_array());
        let (mut seal, _, mut established) = channel();
        for text in ["a", "b"] {
            let mut buf = unsealed(text.as_bytes());
            seal.seal(&mut buf).unwrap();
            let opened = established.open.open(&mut buf).unwrap();
            assert_eq!(&buf[opened.plaintext], text.as_bytes());
        }
    }
}

#[test]
fn message_1() {
    let (me, peer) = (responder(), initiator());
    let mut talk = Talk::with(&me, &peer, Trust::Anyone, b"anything");
    let message_3 = talk.side.write_3(&peer.payload(&[]));
    let mut established = talk.finish(&message_3).unwrap();
    assert_eq!(
        observed("message_1_with_payload")["message_2_received"],
        true
    );
    assert!(talk.usable(&mut established));

    for (name, length) in [
        ("message_1_0_bytes", 0),
        ("message_1_31_bytes", 31),
        ("message_1_65535_bytes", 65535),
        ("message_1_65536_bytes", 65536),
    ] {
        let message = vec![9; length];
        let answer = Responder::accept(&me.endpoint(), Trust::Anyone, [7; 32], &message);
        assert_eq!(answer.is_ok(), observed(name)["answered"] == true, "{name}");
        assert!(matches!(
            answer.err(),
            None | Some(HandshakeError::Length(_))
        ));
    }

    assert_eq!(observed("message_1_all_zero_ephemeral")["answered"], true);
    let answer = Responder::accept(&me.endpoint(), Trust::Anyone, [7; 32], &[0; 32]);
    assert_eq!(answer.err(), Some(HandshakeError::WeakKey));
}

#[test]
fn message_3_after_a_bad_one() {
    type Damage = fn(&mut Vec<u8>);
    let cases: [(&str, Damage); 4] = [
        ("message_3_bad_static_then_good", |message| message[3] ^= 1),
        ("message_3_bad_payload_then_good", |message| {
            message[60] ^= 1;
        }),
        ("message_3_truncated_to_40_then_good", |message| {
            message.truncate(40);
        }),
        ("message_3_empty_then_good", Vec::clear),
    ];
    for (name, damage) in cases {
        let (me, peer) = (responder(), initiator());
        let mut talk = Talk::new(&me, &peer);
        let good = talk.side.write_3(&peer.payload(&[]));
        let mut bad = good.clone();
        damage(&mut bad);
        assert!(talk.finish(&bad).err().unwrap().is_recoverable());
        let usable = talk
            .finish(&good)
            .is_ok_and(|mut channel| talk.usable(&mut channel));
        assert_eq!(usable, observed(name)["channel_usable"] == true, "{name}");
    }
}

#[test]
fn messages_out_of_turn() {
    let (me, peer) = (responder(), initiator());
    let mut talk = Talk::new(&me, &peer);
    let message_3 = talk.side.write_3(&peer.payload(&[]));
    let (mut seal, _) = talk.ends();
    let mut messages = [b"lost".as_slice(), b"late"].map(unsealed);
    messages
        .iter_mut()
        .for_each(|message| seal.seal(message).unwrap());

    // A transport message overtakes message 3.
    assert!(talk.finish(&messages[0]).err().unwrap().is_recoverable());
    let mut established = talk.finish(&message_3).unwrap();
    let opened = established.open.open(&mut messages[1]).unwrap();
    let delivered = [String::from_utf8(messages[1][opened.plaintext].to_vec()).unwrap()];
    assert_eq!(
        json!(delivered),
        observed("transport_message_before_message_3")["delivered"]
    );

    // A second message 3 is a bad transport message.
    assert!(established.open.open(&mut message_3.clone()).is_err());
    assert_eq!(observed("message_3_twice")["channel_usable"], true);
    assert_eq!(
        talk.finish(&message_3).err(),
        Some(HandshakeError::Finished)
    );
}

#[test]
fn payload_3() {
    let (me, peer, other) = (responder(), initiator(), Party::new(KeyType::P256, 0x61));
    let history = peer.identity.history();
    let good = peer.payload(&[]);
    let mut credential_key = peer.vault.handle_of(&peer.identity.latest().key).unwrap();
    credential_key.key_type = KeyType::Ed25519;
    let public = peer.vault.public_key(&credential_key).unwrap();
    let wrong_purpose = peer.attest(&PurposePublicKey::CredentialSigning(public), NOW);
    let wrong_key = peer.attest(&PurposePublicKey::SecureChannel([9; 32]), NOW);
    let channel_key = PurposePublicKey::SecureChannel(peer.static_public);
    let expired = purpose_key::attest_until(
        &peer.vault,
        &peer.identity,
        &channel_key,
        NOW - 100,
        NOW - 1,
    );
    let mut extra_field = [&good[..], &[0xf6]].concat();
    extra_field[0] = 0x84;
    let mut no_credentials = good.clone();
    no_credentials[0] = 0x82;
    no_credentials.pop();
    let cases = [
        ("payload_3_trailing_bytes", [&good[..], b"more"].concat()),
        ("payload_3_extra_field", extra_field),
        ("payload_3_without_credentials_field", no_credentials),
        (
            "payload_3_credential_purpose_key",
            payload(history, &wrong_purpose, &[]),
        ),
        (
            "payload_3_other_static_key",
            payload(history, &wrong_key, &[]),
        ),
        (
            "payload_3_other_identity",
            payload(other.identity.history(), &peer.attestation, &[]),
        ),
        (
            "payload_3_expired_purpose_key",
            payload(history, &expired.unwrap(), &[]),
        ),
        ("payload_3_garbage", b"garbage".to_vec()),
    ];
    for (name, payload) in cases {
        let mut talk = Talk::new(&me, &peer);
        let message_3 = talk.side.write_3(&payload);
        let result = talk.finish(&message_3);
        // Nothing is remembered of a peer that failed.
        assert_eq!(talk.known.is_empty(), result.is_err());
        let error = result.as_ref().err().copied();
        let usable = result.is_ok_and(|mut channel| talk.usable(&mut channel));
        assert_eq!(
            usable,
            observed(name)["channel_usable"] == true,
            "{name}: {error:?}"
        );
        assert!(!error.is_some_and(|error| error.is_recoverable()));
    }
}

#[test]
fn known_histories() {
    let (old, new) = rotated();
    for (name, stored, presented) in [
        ("older_history_than_known", &new, &old),
        ("newer_history_than_known", &old, &new),
    ] {
        let mut talk = Talk::new(&responder(), presented);
        update(&stored.identity, &mut talk.known).unwrap();
        let message_3 = talk.side.write_3(&presented.payload(&[]));
        let usable = talk
            .finish(&message_3)
            .is_ok_and(|mut channel| talk.usable(&mut channel));
        assert_eq!(usable, observed(name)["channel_usable"] == true, "{name}");
        assert_eq!(talk.known[&new.id()], new.identity.history());
    }
    let changes = number(&observed("newer_history_than_known")["stored_history_changes"]);
    assert_eq!(new.identity.change_hashes().len() as u64, changes);
}

#[test]
fn trust_denied_by_the_responder() {
    let recorded = observed("responder_trust_policy_denies");
    assert_eq!(recorded["channel_usable"], false);
    assert_eq!(recorded["identity_was_stored_anyway"], true);
    let (me, peer) = (responder(), initiator());
    let mut talk = Talk::with(&me, &peer, Trust::only(me.id()), &[]);
    let message_3 = talk.side.write_3(&peer.payload(&[]));
    let denied = Some(HandshakeError::NotTrusted(peer.id()));
    assert_eq!(talk.finish(&message_3).err(), denied);
    assert!(talk.known.is_empty());
}

/// A real initiator's place is taken by ours, the responder is the second implementation.
struct Answer {
    machine: Initiator,
    known: Known,
    message_2: Vec<u8>,
    side: Side,
}

fn answer(trust: Trust, payload: &[u8]) -> Answer {
    let (machine, message_1) = Initiator::start(&initiator().endpoint(), trust, counting(0x32));
    assert_eq!(message_1.len(), 32);
    let me = responder();
    let mut side = Side::new(me.static_secret, Secret::new(counting(0x92)));
    side.read_1(&message_1);
    let message_2 = side.write_2(payload);
    Answer {
        machine,
        known: Known::new(),
        message_2,
        side,
    }
}

/// Whether the initiator establishes the channel with the good message 2 after a bad one.
fn established_after(bad: impl FnOnce(&mut Vec<u8>)) -> bool {
    let mut answer = answer(Trust::Anyone, &responder().payload(&[]));
    let mut damaged = answer.message_2.clone();
    bad(&mut damaged);
    let error = answer
        .machine
        .read_message2(&damaged, &mut answer.known, NOW)
        .err()
        .unwrap();
    assert!(error.is_recoverable());
    let result = answer
        .machine
        .read_message2(&answer.message_2, &mut answer.known, NOW);
    let Ok((mut channel, message_3)) = result else {
        return false;
    };
    assert_eq!(
        answer.side.read_3(&message_3),
        Some(initiator().payload(&[]))
    );
    let (_, k2) = answer.side.symmetric.split();
    let mut hello = unsealed(b"hello");
    channel.seal.seal(&mut hello).unwrap();
    Opener::<AeadKey>::new(&k2)
        .unwrap()
        .open(&mut hello)
        .is_ok()
}

#[test]
fn message_2() {
    let ok = |name: &str| {
        let outcome = observed(name)["create_secure_channel"].clone();
        text(&outcome).starts_with("established") || IMPROVED.contains(&name)
    };
    for name in [
        "independent_responder",
        "independent_responder_other_address",
    ] {
        assert_eq!(established_after(Vec::clear), ok(name));
    }
    for (name, length) in [
        ("message_2_short_then_good", 20),
        ("message_2_79_bytes_then_good", 79),
    ] {
        assert_eq!(
            established_after(|message| message.truncate(length)),
            ok(name),
            "{name}"
        );
    }
    let name = "message_2_corrupted_then_good";
    assert_eq!(established_after(|message| message[40] ^= 1), ok(name));
}

#[test]
fn responders_that_are_refused() {
    let me = responder();
    let wrong_key = me.attest(&PurposePublicKey::SecureChannel([9; 32]), NOW);
    let other_key = payload(me.identity.history(), &wrong_key, &[]);
    let stranger = Trust::only(initiator().id());
    let good = me.payload(&[]);
    for (name, trust, payload, error) in [
        (
            "message_2_other_static_key",
            Trust::Anyone,
            &other_key,
            HandshakeError::OtherStaticKey,
        ),
        (
            "initiator_trust_policy_denies",
            stranger,
            &good,
            HandshakeError::NotTrusted(me.id()),
        ),
    ] {
        assert_eq!(observed(name)["responder_saw"]["message_3"], false);
        let mut answer = answer(trust, payload);
        let result = answer
            .machine
            .read_message2(&answer.message_2, &mut answer.known, NOW);
        assert_eq!(result.err(), Some(error));
        assert!(answer.known.is_empty());
        // There is no second chance after an authentic message.
        let again = answer
            .machine
            .read_message2(&answer.message_2, &mut answer.known, NOW);
        assert_eq!(again.err(), Some(HandshakeError::Finished));
    }
}
