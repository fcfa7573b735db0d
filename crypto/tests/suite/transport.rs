//! Sealer and opener against a model, and everything that reads bytes of a peer against noise.

use std::collections::BTreeSet;

use culvert_crypto::channel::{
    Initiator, MAX_AHEAD, MAX_BEHIND, Opener, Responder, Sealer, accept_refresh, inner,
};
use culvert_crypto::identity::Identity;
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::KeyType;
use culvert_crypto::{credential, purpose_key};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::common::{Known, NOW, Party, bytes, list, unsealed, vectors};

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
