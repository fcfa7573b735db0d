//! `secure_channel_handshake.json`: two conversations between real nodes, reproduced from both
//! ends, byte for byte.

use crate::common::noise::{Side, Step};
use crate::common::{
    Known, NOW, array, bytes, identifier, import, list, number, secret, text, unsealed, vectors,
};
use culvert_crypto::channel::inner::{self, Inner};
use culvert_crypto::channel::{Endpoint, Established, Initiator, Responder, accept_refresh};
use culvert_crypto::credential;
use culvert_crypto::identity::{Identity, update};
use culvert_crypto::primitives::curve25519::x25519_public_key;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::SoftwareVault;
use serde_json::Value;

fn endpoint(side: &Value, credentials: Vec<Vec<u8>>) -> Endpoint {
    let identity = Identity::verify(&bytes(&side["change_history_cbor"]), None).unwrap();
    assert_eq!(identity.identifier(), identifier(&side["identifier"]));
    let attestation = bytes(&side["purpose_key_attestation_cbor"]);
    Endpoint::new(
        &identity,
        secret(&side["static_secret"]),
        attestation,
        credentials,
    )
    .unwrap()
}

fn credential_1(transcript: &Value) -> Vec<Vec<u8>> {
    let authority = &transcript["authority"];
    authority["credential_1_cbor"]
        .as_str()
        .map(|hex| hex::decode(hex).unwrap())
        .into_iter()
        .collect()
}

fn message(transcript: &Value, number: usize) -> Vec<u8> {
    let message = &transcript["handshake_messages"][number - 1];
    assert_eq!(text(&message["message"]), number.to_string());
    bytes(&message["wire_payload"])
}

/// Runs the handshake of a transcript with both sides ours and compares each message.
fn handshake(transcript: &Value) -> (Established, Established, Known) {
    let (i, r) = (&transcript["initiator"], &transcript["responder"]);
    let initiator = endpoint(i, credential_1(transcript));
    let responder = endpoint(r, Vec::new());
    let (mut i_known, mut r_known) = (Known::new(), Known::new());

    let trust = Trust::only(responder.identifier());
    let (side_i, message_1) = Initiator::start(&initiator, trust, array(&i["ephemeral_secret"]));
    assert_eq!(message_1, message(transcript, 1));
    let trust = Trust::only(initiator.identifier());
    let (side_r, message_2) =
        Responder::accept(&responder, trust, array(&r["ephemeral_secret"]), &message_1).unwrap();
    assert_eq!(message_2, message(transcript, 2));
    let (at_i, message_3) = side_i
        .handle_message2(&message_2, &mut i_known, NOW)
        .unwrap();
    assert_eq!(message_3, message(transcript, 3));
    let at_r = side_r
        .handle_message3(&message_3, &mut r_known, NOW)
        .unwrap();

    assert_eq!(at_i.peer, responder.identifier());
    assert_eq!(at_r.peer, initiator.identifier());
    assert_eq!(at_r.peer_credentials, credential_1(transcript));
    assert!(at_i.peer_credentials.is_empty());
    assert_eq!(i_known[&at_i.peer], bytes(&r["change_history_cbor"]));
    assert_eq!(r_known[&at_r.peer], bytes(&i["change_history_cbor"]));
    (at_i, at_r, r_known)
}

#[test]
fn messages_and_transport() {
    let mut count = 0;
    for transcript in list(&vectors("secure_channel_handshake")["transcripts"]) {
        let (mut at_i, mut at_r, _) = handshake(transcript);
        for record in list(&transcript["transport_messages"]) {
            let (from, to) = if record["direction"] == "initiator_to_responder" {
                (&mut at_i.seal, &mut at_r.open)
            } else {
                (&mut at_r.seal, &mut at_i.open)
            };
            let (plaintext, wire) = (
                bytes(&record["plaintext_cbor"]),
                bytes(&record["wire_payload"]),
            );
            assert_eq!(from.next_nonce(), number(&record["nonce"]));
            let mut buf = unsealed(&plaintext);
            from.seal(&mut buf).unwrap();
            assert_eq!(buf, wire);
            let opened = to.open(&mut buf).unwrap();
            assert_eq!(opened.nonce, number(&record["nonce"]));
            assert_eq!(buf[opened.plaintext], plaintext);
            assert!(to.open(&mut wire.clone()).is_err());
            check_inner(record, &plaintext);
            count += 1;
        }
    }
    assert_eq!(count, 149);
}

fn check_inner(record: &Value, plaintext: &[u8]) {
    match (
        text(&record["decoded"]["type"]),
        inner::parse(plaintext).unwrap(),
    ) {
        ("Payload", Inner::Payload { message }) => {
            assert_eq!(plaintext[..message.start], inner::PAYLOAD_PREFIX);
            assert_eq!(plaintext[message.end..], inner::PAYLOAD_SUFFIX);
            assert!(plaintext[message].ends_with(&bytes(&record["decoded"]["payload"])));
        }
        ("RefreshCredentials", Inner::Refresh { .. }) => {}
        ("Close", Inner::Close) => assert_eq!(plaintext, inner::CLOSE),
        (recorded, parsed) => panic!("{recorded}: {parsed:?}"),
    }
}

#[test]
fn credentials_of_the_initiator() {
    let vectors = vectors("secure_channel_handshake");
    let transcript = &vectors["transcripts"][0];
    let (_, at_r, mut known) = handshake(transcript);
    let authority = &transcript["authority"];
    let issuer = Identity::verify(&bytes(&authority["change_history_cbor"]), None).unwrap();
    update(&issuer, &mut known).unwrap();
    let attributes = |credential: &[u8], known: &Known| {
        let authorities = [issuer.identifier()];
        let result = credential::verify(credential, Some(&at_r.peer), &authorities, known, NOW);
        let map = result.unwrap().attributes.map.into_iter();
        let text = |bytes: Vec<u8>| Value::String(String::from_utf8(bytes).unwrap());
        Value::Object(
            map.map(|(name, value)| (String::from_utf8(name.into()).unwrap(), text(value.into())))
                .collect(),
        )
    };
    assert_eq!(
        attributes(&at_r.peer_credentials[0], &known),
        transcript["attributes_of_initiator_known_to_responder_after_handshake"]
    );
    // The recorded refresh carries the second credential.
    let records = list(&transcript["transport_messages"]);
    let refresh = records
        .iter()
        .find(|record| record["decoded"]["type"] == "RefreshCredentials");
    let plaintext = bytes(&refresh.unwrap()["plaintext_cbor"]);
    let Ok(Inner::Refresh { content }) = inner::parse(&plaintext) else {
        panic!()
    };
    let credentials = accept_refresh(&at_r.peer, &plaintext[content], &mut known).unwrap();
    assert_eq!(credentials, [bytes(&authority["credential_2_cbor"])]);
    assert_eq!(
        attributes(&credentials[0], &known),
        transcript["attributes_of_initiator_known_to_responder_after_refresh"]
    );
    assert_eq!(
        endpoint(&transcript["initiator"], credentials)
            .refresh()
            .unwrap(),
        plaintext
    );
}

#[test]
fn keys_and_attestations_of_the_transcripts() {
    for transcript in list(&vectors("secure_channel_handshake")["transcripts"]) {
        for side in [&transcript["initiator"], &transcript["responder"]] {
            for kind in ["static", "ephemeral"] {
                let public = x25519_public_key(&secret(&side[format!("{kind}_secret")]));
                assert_eq!(public, array(&side[format!("{kind}_public")]));
            }
            let mut vault = SoftwareVault::new();
            import(&mut vault, &side["identity_key"]);
        }
    }
}

/// The steps of a recorded trace that have a value of 32 bytes which is not a message part.
fn recorded_trace(transcript: &Value) -> Vec<Step> {
    let mut steps = Vec::new();
    for step in list(&transcript["handshake_trace"]) {
        if text(&step["step"]).starts_with("EncryptAndHash") {
            continue;
        }
        for name in ["dh_output", "h", "ck", "k"] {
            if !step[name].is_null() {
                steps.push((name, array(&step[name])));
            }
        }
    }
    steps
}

#[test]
fn intermediate_values() {
    for transcript in list(&vectors("secure_channel_handshake")["transcripts"]) {
        let side = |value: &Value| {
            Side::new(
                secret(&value["static_secret"]),
                secret(&value["ephemeral_secret"]),
            )
        };
        let (mut i, mut r) = (
            side(&transcript["initiator"]),
            side(&transcript["responder"]),
        );
        let message_1 = i.write_1(&[]);
        r.read_1(&message_1);
        let payload_2 = bytes(&transcript["message_2_payload_cbor"]);
        let message_2 = r.write_2(&payload_2);
        assert_eq!(i.read_2(&message_2), Some(payload_2));
        let payload_3 = bytes(&transcript["message_3_payload_cbor"]);
        let message_3 = i.write_3(&payload_3);
        assert_eq!(r.read_3(&message_3), Some(payload_3));
        for (number, made) in [message_1, message_2, message_3].iter().enumerate() {
            assert_eq!(*made, message(transcript, number + 1));
        }
        assert_eq!(i.symmetric.trace, recorded_trace(transcript));
        assert_eq!(r.symmetric.trace, i.symmetric.trace);
        assert_eq!(i.symmetric.h, array(&transcript["handshake_hash_h_final"]));
        let (k1, k2) = i.symmetric.split();
        assert_eq!(k1, secret(&transcript["k1"]));
        assert_eq!(k2, secret(&transcript["k2"]));
    }
}
