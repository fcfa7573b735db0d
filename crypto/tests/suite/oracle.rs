//! The two backends against each other.

use culvert_crypto::channel::{Opener, Sealer};
use culvert_crypto::primitives::{Aead, Ecdsa, aws_lc, rustcrypto};
use culvert_crypto::secret::Secret;
use proptest::prelude::*;

use crate::common::{counting, unsealed};

const LENGTHS: [usize; 11] = [0, 1, 15, 16, 17, 255, 1000, 4095, 49152, 65519, 131_072];

fn seal<A: Aead>(key: &A, nonce: u64, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut buf = [plain, &[0; 16]].concat();
    key.seal(nonce, aad, &mut buf).unwrap();
    buf
}

fn open<A: Aead>(key: &A, nonce: u64, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut buf = sealed.to_vec();
    key.open(nonce, aad, &mut buf).ok()?;
    buf.truncate(sealed.len() - 16);
    Some(buf)
}

#[test]
fn same_bytes_through_rekeys() {
    let mut lc = aws_lc::AeadKey::new(&counting(7)).unwrap();
    let mut rc = rustcrypto::AeadKey::new(&counting(7)).unwrap();
    for epoch in 0..8 {
        for length in LENGTHS {
            let plain: Vec<u8> = (0..length).map(|i| (i * 31 + epoch) as u8).collect();
            for (nonce, aad) in [(0, &b""[..]), (1, b"aad"), (u64::MAX - 1, &[7; 32])] {
                let sealed = seal(&lc, nonce, aad, &plain);
                assert!(sealed == seal(&rc, nonce, aad, &plain), "{length}");
                assert!(open(&lc, nonce, aad, &sealed).as_ref() == Some(&plain));
                assert!(open(&rc, nonce, aad, &sealed).as_ref() == Some(&plain));
            }
        }
        (lc, rc) = (lc.rekey().unwrap(), rc.rekey().unwrap());
    }
}

#[test]
fn flipped_bits_are_refused_by_both() {
    let lc = aws_lc::AeadKey::new(&counting(9)).unwrap();
    let rc = rustcrypto::AeadKey::new(&counting(9)).unwrap();
    for length in LENGTHS {
        let sealed = seal(&lc, 5, b"", &vec![3; length]);
        // Every byte of short messages; ends, tag and some in the middle of long ones.
        let step = (sealed.len() / 40).max(1);
        let tag = length..sealed.len();
        for place in (0..sealed.len()).step_by(step).chain(tag) {
            let mut bad = sealed.clone();
            bad[place] ^= 1 << (place % 8);
            assert!(open(&lc, 5, b"", &bad).is_none() && open(&rc, 5, b"", &bad).is_none());
        }
        for short in [0, 15.min(sealed.len()), sealed.len() - 1] {
            assert!(open(&lc, 5, b"", &sealed[..short]).is_none());
            assert!(open(&rc, 5, b"", &sealed[..short]).is_none());
        }
    }
}

#[test]
fn channels_between_backends() {
    let key = Secret::new(counting(3));
    let mut seal_lc: Sealer<aws_lc::AeadKey> = Sealer::new(&key).unwrap();
    let mut seal_rc: Sealer<rustcrypto::AeadKey> = Sealer::new(&key).unwrap();
    let mut open_lc: Opener<aws_lc::AeadKey> = Opener::new(&key).unwrap();
    let mut open_rc: Opener<rustcrypto::AeadKey> = Opener::new(&key).unwrap();
    for n in 0..300 {
        let plain = vec![n as u8; LENGTHS[n % 8]];
        let (mut a, mut b) = (unsealed(&plain), unsealed(&plain));
        seal_lc.seal(&mut a).unwrap();
        seal_rc.seal(&mut b).unwrap();
        assert!(a == b);
        // Both lose the same messages and so walk over epochs.
        if n % 100 < 40 {
            let opened = open_rc.open(&mut a).unwrap();
            assert_eq!(opened, open_lc.open(&mut b).unwrap());
            assert!(a[opened.plaintext.clone()] == plain && b[opened.plaintext] == plain);
        }
    }
}

proptest! {
    #[test]
    fn ecdsa(seed in any::<[u8; 32]>(), data in proptest::collection::vec(any::<u8>(), 0..100)) {
        let secret = Secret::new(seed);
        let public = rustcrypto::P256::public_key(&secret);
        prop_assert_eq!(public, aws_lc::P256::public_key(&secret));
        let Ok(public) = public else { return Ok(()) };
        for signature in [
            rustcrypto::P256::sign(&secret, &data).unwrap(),
            aws_lc::P256::sign(&secret, &data).unwrap(),
        ] {
            prop_assert!(rustcrypto::P256::verify(&public, &data, &signature));
            prop_assert!(aws_lc::P256::verify(&public, &data, &signature));
            for place in [0, 31, 32, 63] {
                let mut bad = signature;
                bad[place] ^= 1;
                prop_assert!(!rustcrypto::P256::verify(&public, &data, &bad));
                prop_assert!(!aws_lc::P256::verify(&public, &data, &bad));
            }
        }
    }

    #[test]
    fn ecdsa_noise(key in any::<[u8; 32]>(), other in any::<[u8; 32]>(), signature in any::<[u8; 32]>()) {
        let public: [u8; 65] = [&[4], &key[..], &other].concat().try_into().unwrap();
        let signature: [u8; 64] = [signature, other].concat().try_into().unwrap();
        prop_assert!(!rustcrypto::P256::verify(&public, b"", &signature));
        prop_assert!(!aws_lc::P256::verify(&public, b"", &signature));
    }
}
