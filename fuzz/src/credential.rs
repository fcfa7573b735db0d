//! Credentials and attestations: decoding, verifying, tampering.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use culvert_crypto::Identifier;
use culvert_crypto::credential::{self, CredentialError, MAX_CREDENTIAL, Subject};
use culvert_crypto::identity::{Identity, update};
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{KeyType, SigningVault as _, SoftwareVault};
use culvert_proto::credential::{Attributes, CredentialAndPurposeKey};
use culvert_proto::identity::{decode_exact, encode};

use crate::input::Input;

const NOW: u64 = 1_700_000_000;
const SUBJECT: Identifier = Identifier([7; 32]);

/// What a verifier knows, and a credential that it accepts.
struct Genuine {
    known: BTreeMap<Identifier, Vec<u8>>,
    authority: Identifier,
    credential: Vec<u8>,
}

fn genuine() -> &'static Genuine {
    static GENUINE: OnceLock<Genuine> = OnceLock::new();
    GENUINE.get_or_init(|| {
        let mut vault = SoftwareVault::new();
        let random = Secret::new([1; 32]);
        let key = vault.generate(KeyType::Ed25519, &random).expect("a key");
        let identity =
            Identity::create(&vault, &key, NOW - 10, NOW + 1_000_000).expect("an identity");
        let mut known = BTreeMap::new();
        update(&identity, &mut known).expect("nothing is known yet");
        let subject = Subject {
            identifier: SUBJECT,
            latest_change: None,
        };
        let credential = credential::issue_once(
            (&vault, &identity),
            &Secret::new([2; 32]),
            &subject,
            Attributes::new(1, [("role", "member")]),
            (NOW, 3600),
        );
        Genuine {
            known,
            authority: identity.identifier(),
            credential: credential.expect("a credential"),
        }
    })
}

/// The credential that [`credential`] knows as genuine, to make seeds of.
pub fn genuine_credential() -> Vec<u8> {
    genuine().credential.clone()
}

/// Only what says the same as the genuine credential is accepted, at its time, about its subject and
/// from its issuer; everything else is refused.
///
/// ```text
/// 00, then a credential;  01, then changes to the genuine one: offset (2 bytes), pattern
/// ```
pub fn credential(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 2 {
        0 => verify(input.rest()),
        _ => changed(input),
    }
}

fn changed(mut input: Input<'_>) {
    let mut credential = genuine().credential.clone();
    while !input.is_empty() {
        let (offset, pattern) = (usize::from(input.u16()), input.byte());
        let len = credential.len();
        match credential.get_mut(offset) {
            Some(byte) => *byte ^= pattern,
            None => credential.truncate(offset % len.max(1)),
        }
    }
    verify(&credential);
}

fn verify(bytes: &[u8]) {
    let Genuine {
        known, authority, ..
    } = genuine();
    let verify = |subject, authorities: &[Identifier], now| {
        credential::verify(bytes, subject, authorities, known, now)
    };
    let claims = credential::read(bytes);
    if let Ok(decoded) = decode_exact::<CredentialAndPurposeKey>(bytes) {
        assert_eq!(decode_exact(&encode(&decoded)), Ok(decoded));
    }
    match verify(None, &[*authority], NOW) {
        Ok(verified) => {
            // An encoding of its own may differ; what is signed may not.
            let signed = |bytes: &[u8]| {
                let decoded: CredentialAndPurposeKey = decode_exact(bytes).expect("it verified");
                (
                    decoded.credential.data,
                    decoded.purpose_key_attestation.data,
                )
            };
            assert_eq!(signed(bytes), signed(&genuine().credential));
            let claims = claims.expect("it verified");
            assert_eq!(claims.subject, Some(verified.subject));
            assert_eq!((claims.issuer, verified.subject), (*authority, SUBJECT));
            assert_eq!(claims.attributes, verified.attributes);
            assert!(verify(Some(&SUBJECT), &[*authority], claims.expires_at).is_ok());
            let later = verify(None, &[*authority], claims.expires_at + 1);
            assert!(later.is_err());
            let other = verify(Some(authority), &[*authority], NOW);
            assert_eq!(other, Err(CredentialError::OtherSubject));
            let nobody = verify(None, &[SUBJECT], NOW);
            assert_eq!(nobody, Err(CredentialError::UnknownAuthority));
        }
        Err(error) => {
            let is_large = bytes.len() > MAX_CREDENTIAL;
            assert_eq!(is_large, error == CredentialError::TooLarge);
        }
    }
}
