//! Transport messages and what is in them.

use culvert_crypto::channel::OpenError;
use culvert_crypto::channel::inner::{self, Inner};
use culvert_crypto::primitives::{Aead, AeadKey};
use serde_json::{Value, json};

use super::{IMPROVED, Talk, channel, initiator, observed, responder};
use crate::common::{array, bytes, list, number, text, unsealed, vectors};

#[test]
fn replay_window() {
    let vectors = vectors("secure_channel_probes");
    let group = |probe: &&Value| probe["group"] == "replay_window";
    for probe in list(&vectors["probes"]).iter().filter(group) {
        if probe["observed"]["sent"].is_null() {
            continue;
        }
        let name = text(&probe["name"]);
        let (mut seal, _, mut established) = channel();
        let messages: Vec<Vec<u8>> = (0..100)
            .map(|_| {
                let mut buf = unsealed(b"x");
                seal.seal(&mut buf).unwrap();
                buf
            })
            .collect();
        let sent: Vec<usize> = list(&probe["observed"]["sent"])
            .iter()
            .map(|n| number(n) as usize)
            .collect();
        let mut delivered = sent.clone();
        delivered.retain(|nonce| established.open.open(&mut messages[*nonce].clone()).is_ok());
        if IMPROVED.contains(&name) {
            // What is far ahead arrives, and what is then too far behind does not.
            let expected = if name == "first_nonce_is_33" {
                vec![33]
            } else {
                sent
            };
            assert_eq!(delivered, expected, "{name}");
        } else {
            assert_eq!(json!(delivered), probe["observed"]["delivered"], "{name}");
        }
    }
}

#[test]
fn bad_transport_messages() {
    // A sender that forgets to rekey is not understood and does not disturb.
    let (mut seal, mut messages) = (channel().0, Vec::new());
    for _ in 0..33 {
        messages.push(unsealed(b"x"));
        seal.seal(messages.last_mut().unwrap()).unwrap();
    }
    let peer = initiator();
    let mut talk = Talk::new(&responder(), &peer);
    let message_3 = talk.side.write_3(&peer.payload(&[]));
    let mut open = talk.finish(&message_3).unwrap().open;
    let (_, k2) = talk.side.symmetric.split();
    let mut not_rekeyed = [&32_u64.to_be_bytes()[..], b"x", &[0; 16]].concat();
    AeadKey::new(k2.expose())
        .unwrap()
        .seal(32, &[], &mut not_rekeyed[8..])
        .unwrap();
    assert!(open.open(&mut messages[0].clone()).is_ok());
    assert_eq!(open.open(&mut not_rekeyed), Err(OpenError::Forged));
    assert!(open.open(&mut messages[32].clone()).is_ok());
    assert_eq!(
        observed("not_rekeyed_sender")["delivered"],
        json!(["0", "32"])
    );

    // Damaged and short messages have no effect.
    let (mut seal, _, mut established) = channel();
    let mut delivered = Vec::new();
    for nonce in 0..2 {
        let mut good = unsealed(b"x");
        seal.seal(&mut good).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert!(established.open.open(&mut bad).is_err());
            assert!(established.open.open(&mut good[..i].to_vec()).is_err());
        }
        assert!(established.open.open(&mut good).is_ok());
        delivered.push(nonce.to_string());
    }
    assert_eq!(
        json!(delivered),
        observed("corrupted_then_good")["delivered"]
    );
}

#[test]
fn plaintext_variants() {
    assert_eq!(list(&observed("plaintext_variants")["delivered"]).len(), 5);
    let routed = hex::decode("8381820041618041 78".replace(' ', "")).unwrap();
    let payload = [&inner::PAYLOAD_PREFIX[..], &routed, &inner::PAYLOAD_SUFFIX].concat();
    let ok = |plaintext: &[u8]| matches!(inner::parse(plaintext), Ok(Inner::Payload { .. }));
    assert!(ok(&payload));
    let padded = [&payload[..payload.len() - 1], &[0x4a], b"0123456789"].concat();
    assert!(ok(&padded), "padding is ignored");
    assert!(inner::parse(b"garbage").is_err());
    assert!(
        inner::parse(&hex::decode("8282038040").unwrap()).is_err(),
        "unknown variant"
    );
    assert!(
        inner::parse(&hex::decode("81820280").unwrap()).is_err(),
        "no padding field"
    );
    assert!(ok(&[&payload[..], b"trailing"].concat()));
    let mut extra = [&payload[..], &[0xf6]].concat();
    extra[0] = 0x83;
    assert!(ok(&extra), "extra field");
    // A nonce is used up by an authentic message, whatever is in it.
    let (mut seal, _, mut established) = channel();
    let mut garbage = unsealed(b"garbage");
    seal.seal(&mut garbage).unwrap();
    assert!(established.open.open(&mut garbage.clone()).is_ok());
    assert_eq!(
        established.open.open(&mut garbage),
        Err(OpenError::Replayed)
    );
}

#[test]
fn large_payload_and_close() {
    let length = number(&observed("large_payload")["delivered_lengths"][0]) as usize;
    let (mut seal, _, mut established) = channel();
    let mut large = unsealed(&vec![7; length]);
    seal.seal(&mut large).unwrap();
    assert_eq!(
        established.open.open(&mut large).unwrap().plaintext.len(),
        length
    );

    assert_eq!(observed("close")["delivered"], json!(["before"]));
    let mut close = unsealed(&inner::CLOSE);
    seal.seal(&mut close).unwrap();
    let opened = established.open.open(&mut close).unwrap();
    assert_eq!(inner::parse(&close[opened.plaintext]), Ok(Inner::Close));
}

#[test]
fn key_exchange_only() {
    // The local interface "api" is elsewhere; its ciphertexts are the transport format without
    // rekeying.
    let recorded = observed("api");
    let key = AeadKey::new(&array(&recorded["key"])).unwrap();
    let mut message = unsealed(b"p0");
    key.seal(0, &[], &mut message[8..]).unwrap();
    assert_eq!(message, bytes(&recorded["ciphertext_p0"]));
}
