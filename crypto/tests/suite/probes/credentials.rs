//! Credentials in handshakes and refresh messages.

use std::collections::BTreeMap;

use culvert_crypto::channel::accept_refresh;
use culvert_crypto::channel::inner::{self, Inner};
use culvert_crypto::credential::{self, Issuer};
use culvert_crypto::identity::{Identity, update};
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{KeyType, SigningVault};
use culvert_proto::credential::{Attributes, PurposePublicKey};
use serde_json::{Value, json};

use super::{Talk, initiator, observed, responder, rotated};
use crate::common::{Known, NOW, Party, UNTIL, list};

/// An authority that can issue credentials, and what it may be asked for.
struct Authority {
    party: Party,
    attestation: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut party = Party::new(KeyType::Ed25519, 0xb0);
        let key = party
            .vault
            .generate(KeyType::Ed25519, &Secret::new([0xb7; 32]))
            .unwrap();
        let public = party.vault.public_key(&key).unwrap();
        let attestation = party.attest(&PurposePublicKey::CredentialSigning(public), NOW);
        Self { party, attestation }
    }

    fn issue(&self, subject: &Party, name: &str, value: &str) -> Vec<u8> {
        let issuer = Issuer::new(&self.party.vault, &self.attestation).unwrap();
        issuer
            .issue(
                &subject.identity,
                Attributes::new(1, [(name, value)]),
                NOW,
                3600,
            )
            .unwrap()
    }
}

/// What a shell does with presented credentials: the last valid one counts.
fn attributes(
    subject: &Party,
    credentials: &[Vec<u8>],
    authority: Option<&Authority>,
    known: &Known,
) -> Value {
    let authorities: Vec<_> = authority
        .iter()
        .map(|authority| authority.party.id())
        .collect();
    let mut verified = credentials.iter().filter_map(|credential| {
        credential::verify(credential, Some(&subject.id()), &authorities, known, NOW).ok()
    });
    let Some(last) = verified.next_back() else {
        return Value::Null;
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let pairs = last
        .attributes
        .map
        .iter()
        .map(|(name, value)| (text(name), text(value)));
    json!(pairs.collect::<BTreeMap<_, _>>())
}

#[test]
fn credentials() {
    let (peer, authority) = (initiator(), Authority::new());
    let one = authority.issue(&peer, "a", "1");
    let two = authority.issue(&peer, "b", "2");
    let bad = authority.issue(&responder(), "c", "3");
    let cases: [(&str, Vec<Vec<u8>>, bool, bool); 7] = [
        ("no_credentials", vec![], true, true),
        ("one_credential", vec![one.clone()], true, true),
        ("two_credentials", vec![one.clone(), two], true, true),
        ("bad_after_good", vec![one.clone(), bad.clone()], true, true),
        ("bad_only", vec![bad], true, true),
        ("authority_not_configured", vec![one.clone()], false, true),
        ("authority_history_unknown", vec![one], true, false),
    ];
    for (name, credentials, configured, known_authority) in cases {
        let mut talk = Talk::new(&responder(), &peer);
        if known_authority {
            update(&authority.party.identity, &mut talk.known).unwrap();
        }
        let message_3 = talk.side.write_3(&peer.payload(&credentials));
        let mut established = talk.finish(&message_3).unwrap();
        assert!(talk.usable(&mut established));
        assert_eq!(established.peer_credentials, credentials);
        let authority = configured.then_some(&authority);
        let seen = attributes(&peer, &established.peer_credentials, authority, &talk.known);
        assert_eq!(seen, observed(name)["attributes"], "{name}");
    }
}

#[test]
fn refresh_credentials() {
    let (old, new) = rotated();
    let (authority, stranger) = (Authority::new(), Party::new(KeyType::Ed25519, 0x41));
    let mut forked = initiator();
    let key = forked
        .vault
        .generate(KeyType::Ed25519, &Secret::new([0x78; 32]))
        .unwrap();
    let fork = forked
        .identity
        .rotate(&forked.vault, &key, NOW - 9, UNTIL)
        .unwrap();
    let v = |value: &str| vec![authority.issue(&old, "v", value)];
    let steps: [(&Identity, Vec<Vec<u8>>); 6] = [
        (&old.identity, v("1")),
        (&stranger.identity, v("2")),
        (&new.identity, v("3")),
        (&fork, v("4")),
        (&old.identity, v("5")),
        (&new.identity, Vec::new()),
    ];
    let mut known = Known::new();
    update(&old.identity, &mut known).unwrap();
    update(&authority.party.identity, &mut known).unwrap();
    let recorded = observed("refresh_credentials");
    let mut stored = Value::Null;
    for ((identity, credentials), step) in steps.iter().zip(list(&recorded["steps"])) {
        // 82 82 01 81 82 <history> <credentials> 40
        let mut plaintext = vec![0x82, 0x82, 0x01, 0x81, 0x82];
        plaintext.extend(identity.history());
        plaintext.push(0x80 + credentials.len() as u8);
        plaintext.extend(credentials.concat());
        plaintext.push(0x40);
        let Ok(Inner::Refresh { content }) = inner::parse(&plaintext) else {
            panic!()
        };
        if let Ok(credentials) = accept_refresh(&old.id(), &plaintext[content], &mut known) {
            let seen = attributes(&old, &credentials, Some(&authority), &known);
            if !seen.is_null() {
                stored = seen;
            }
        }
        assert_eq!(stored, step["attributes_after"], "{}", step["step"]);
    }
    assert_eq!(known[&old.id()], new.identity.history());
}
