//! Sealer and opener against a model, and everything that reads bytes of a peer against noise.

use std::collections::BTreeSet;

use culvert_crypto::channel::{
    Initiator, MAX_AHEAD, MAX_BEHIND, OpenError, Opener, Responder, SealError, Sealer,
    accept_refresh, inner,
};
use culvert_crypto::identity::Identity;
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::KeyType;
use culvert_crypto::{credential, purpose_key};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::common::{Known, NOW, Party, bytes, list, unsealed, vectors};
use crate::pairs::Pair;

/// The rule of `protocol/13-secure-channel.md` 7.3 with our larger window, as a set.
#[derive(Default)]
struct Model {
    accepted: BTreeSet<u64>,
}

impl Model {
    fn accept(&mut self, nonce: u64) -> bool {
        let highest = self.accepted.last().copied().unwrap_or(0);
        let near = if nonce > highest {
            nonce - highest <= MAX_AHEAD
        } else {
            highest - nonce <= MAX_BEHIND
        };
        near && self.accepted.insert(nonce)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any order of delivery, with losses, repetitions and damage.
    #[test]
    fn delivery(
        key in any::<[u8; 32]>(),
        steps in vec((0_i64..3000, 0_u8..12, any::<prop::sample::Index>()), 1..400),
        jumps in any::<bool>(),
    ) {
        let key = Secret::new(key);
        let mut seal: Sealer = Sealer::new(&key).unwrap();
        let mut open: Opener = Opener::new(&key).unwrap();
        let messages: Vec<Vec<u8>> = (0..4096_u64).map(|n| {
            let mut buf = unsealed(&n.to_le_bytes()[..(n % 9) as usize]);
            seal.seal(&mut buf).unwrap();
            buf
        }).collect();
        let mut model = Model::default();
        let mut position = 0_i64;
        for (place, action, index) in steps {
            // Mostly around the newest message, sometimes anywhere.
            position = if jumps && action == 0 { place } else { (position + place % 80 - 30).max(0) };
            let nonce = (position as usize).min(4095);
            let mut buf = messages[nonce].clone();
            if action == 1 {
                let bit = index.index(buf.len() * 8);
                buf[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(open.open(&mut buf).is_err());
                continue;
            }
            let opened = open.open(&mut buf);
            prop_assert_eq!(opened.is_ok(), model.accept(nonce as u64));
            if let Ok(opened) = opened {
                prop_assert_eq!(opened.nonce, nonce as u64);
                let text = (nonce as u64).to_le_bytes();
                prop_assert_eq!(&buf[opened.plaintext], &text[..nonce % 9]);
            }
        }
        prop_assert_eq!(open.highest_nonce(), model.accepted.last().copied().unwrap_or(0));
    }

    #[test]
    fn noise_into_the_opener(messages in vec(vec(any::<u8>(), 0..100), 0..50)) {
        let key = Secret::new([1; 32]);
        let mut open: Opener = Opener::new(&key).unwrap();
        for mut message in messages {
            prop_assert!(open.open(&mut message).is_err());
        }
        let mut good = unsealed(b"good");
        Sealer::<culvert_crypto::primitives::AeadKey>::new(&key).unwrap().seal(&mut good).unwrap();
        prop_assert!(open.open(&mut good).is_ok());
    }

    #[test]
    fn noise_into_the_readers(noise in vec(any::<u8>(), 0..300)) {
        let known = &mut Known::new();
        let party = Party::new(KeyType::Ed25519, 1);
        prop_assert!(Identity::verify(&noise, None).is_err());
        prop_assert!(purpose_key::verify(&noise, None, known, NOW).is_err());
        prop_assert!(credential::verify(&noise, None, &[party.id()], known, NOW).is_err());
        prop_assert!(accept_refresh(&party.id(), &noise, known).is_err());
        let _ = inner::parse(&noise);
        let endpoint = party.endpoint();
        let (initiator, message_1) = Initiator::start(&endpoint, Trust::Anyone, [1; 32]);
        prop_assert!(initiator.handle_message2(&noise, known, NOW).is_err());
        let _ = Responder::accept(&endpoint, Trust::Anyone, [2; 32], &noise);
        let accepted = Responder::accept(&endpoint, Trust::Anyone, [2; 32], &message_1);
        let (responder, _) = accepted.unwrap();
        prop_assert!(responder.handle_message3(&noise, known, NOW).is_err());
    }

    /// Damaged histories, attestations, credentials and inner messages.
    #[test]
    fn damage(which in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let recorded = vectors("credentials");
        let valid = list(&recorded["valid"]);
        let vector = &valid[which.index(valid.len())];
        let mut history = bytes(&recorded["issuer"]["change_history_cbor"]);
        let issuer = Identity::verify(&history, None).unwrap();
        let mut known = Known::new();
        known.insert(issuer.identifier(), history.clone());
        let mut credential = bytes(&vector["credential_and_purpose_key_cbor"]);
        let at = place.index(credential.len());
        credential[at] = byte;
        let damaged = credential != bytes(&vector["credential_and_purpose_key_cbor"]);
        let result = credential::verify(&credential, None, &[issuer.identifier()], &known, NOW);
        prop_assert_eq!(result.is_err(), damaged);
        let at = place.index(history.len());
        history[at] = byte;
        let damaged = history != known[&issuer.identifier()];
        prop_assert_eq!(Identity::verify(&history, None).is_err(), damaged);
    }
}

#[test]
fn replay_loss_and_reordering() {
    let (mut i, mut r) = Pair::new(KeyType::Ed25519, KeyType::Ed25519).run().unwrap();
    let messages: Vec<Vec<u8>> = (0..4000_u64)
        .map(|n| {
            let mut buf = unsealed(&n.to_be_bytes());
            i.seal.seal(&mut buf).unwrap();
            buf
        })
        .collect();
    let mut open = |n: usize| {
        let mut buf = messages[n].clone();
        let opened = r.open.open(&mut buf)?;
        assert_eq!(buf[opened.plaintext], (n as u64).to_be_bytes());
        Ok(opened.nonce)
    };
    assert_eq!(open(0), Ok(0));
    assert_eq!(open(0), Err(OpenError::Replayed));
    assert_eq!(open(32), Ok(32));
    assert_eq!(open(31), Ok(31), "late, with the key before");
    assert_eq!(open(31), Err(OpenError::Replayed));
    // 1000 messages are lost, 31 epochs are walked.
    assert_eq!(open(1032), Ok(1032));
    assert_eq!(
        open(1000),
        Ok(1000),
        "late by 32, across a rekey that was walked over"
    );
    assert_eq!(open(999), Err(OpenError::TooOld));
    assert_eq!(open(1032 + 1024), Ok(2056));
    assert_eq!(open(2056 + 1025), Err(OpenError::TooFarAhead));
    assert_eq!(open(2057), Ok(2057));
    // In order, through more than 100 rekeys in all.
    for n in 2058..3800 {
        assert_eq!(open(n), Ok(n as u64));
    }
    assert_eq!(r.open.highest_nonce(), 3799);
    assert_eq!(i.seal.next_nonce(), 4000);
}

#[test]
fn forged_messages_change_nothing() {
    let (mut i, mut r) = Pair::new(KeyType::Ed25519, KeyType::P256).run().unwrap();
    let mut buf = unsealed(b"zero");
    i.seal.seal(&mut buf).unwrap();
    assert!(r.open.open(&mut buf).is_ok());
    // Any nonce, near and far, current, next and later epochs, with nothing behind it.
    for nonce in [
        1,
        31,
        32,
        33,
        63,
        64,
        1000,
        1024,
        1025,
        u64::MAX - 1,
        u64::MAX,
    ] {
        for length in [0, 1, 100] {
            let mut forged = unsealed(&vec![7; length]);
            forged[..8].copy_from_slice(&u64::to_be_bytes(nonce));
            let far = nonce > 1024;
            let error = if far {
                OpenError::TooFarAhead
            } else {
                OpenError::Forged
            };
            assert_eq!(r.open.open(&mut forged), Err(error), "{nonce}");
        }
    }
    for length in 0..24 {
        assert_eq!(r.open.open(&mut vec![0; length]), Err(OpenError::TooShort));
        assert_eq!(i.seal.seal(&mut vec![0; length]), Err(SealError::TooShort));
    }
    for n in 1..100 {
        let mut buf = unsealed(b"next");
        i.seal.seal(&mut buf).unwrap();
        assert_eq!(r.open.open(&mut buf).map(|opened| opened.nonce), Ok(n));
    }
}
