//! Pairs of our own endpoints, with a virtual clock.

use culvert_crypto::channel::{
    Endpoint, EndpointError, Established, HandshakeError, Initiator, MAX_CREDENTIALS, Responder,
};
use culvert_crypto::identity::{HistoryError, Identity, IdentityError, update};
use culvert_crypto::purpose_key::{self, PurposeKeyError};
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningVault};
use culvert_proto::credential::PurposePublicKey;

use crate::common::{Known, NOW, Party, UNTIL, counting, unsealed};

/// Both ends of a handshake, what they trust and what time it is for them.
pub(crate) struct Pair {
    initiator: Party,
    responder: Party,
    trust: [Trust; 2],
    now: [u64; 2],
}

pub(crate) type Ends = (Established, Established);

impl Pair {
    pub(crate) fn new(initiator: KeyType, responder: KeyType) -> Self {
        Self {
            initiator: Party::new(initiator, 1),
            responder: Party::new(responder, 0x21),
            trust: [Trust::Anyone, Trust::Anyone],
            now: [NOW, NOW],
        }
    }

    pub(crate) fn run(&mut self) -> Result<Ends, HandshakeError> {
        self.run_with(|_, _| {})
    }

    /// Runs a handshake; `touch` may change each of the messages 1 to 3 on its way.
    fn run_with(&mut self, touch: impl Fn(u8, &mut Vec<u8>)) -> Result<Ends, HandshakeError> {
        let [trust_i, trust_r] = self.trust.clone();
        let (i, r) = (self.initiator.endpoint(), self.responder.endpoint());
        let (side_i, mut message) = Initiator::start(&i, trust_i, counting(0x32));
        touch(1, &mut message);
        let (side_r, mut message) = Responder::accept(&r, trust_r, counting(0x92), &message)?;
        touch(2, &mut message);
        let known = &mut self.initiator.known;
        let (at_i, mut message) = side_i.handle_message2(&message, known, self.now[0])?;
        touch(3, &mut message);
        let at_r = side_r.handle_message3(&message, &mut self.responder.known, self.now[1])?;
        Ok((at_i, at_r))
    }
}

fn is_send<T: Send + 'static>(_: &T) {}

#[test]
fn both_key_types_in_both_roles() {
    use KeyType::{Ed25519, P256};
    for (i, r) in [
        (Ed25519, Ed25519),
        (Ed25519, P256),
        (P256, Ed25519),
        (P256, P256),
    ] {
        let mut pair = Pair::new(i, r);
        pair.trust = [
            Trust::only(pair.responder.id()),
            Trust::only(pair.initiator.id()),
        ];
        let (mut at_i, mut at_r) = pair.run().unwrap();
        is_send(&at_i);
        assert_eq!(
            (at_i.peer, at_r.peer),
            (pair.responder.id(), pair.initiator.id())
        );
        assert_eq!(
            pair.initiator.known[&at_i.peer],
            pair.responder.identity.history()
        );
        assert_eq!(
            pair.responder.known[&at_r.peer],
            pair.initiator.identity.history()
        );
        assert_eq!(at_i.peer_expires_at, NOW + purpose_key::DEFAULT_LIFETIME);
        for n in 0..70 {
            for (from, to) in [
                (&mut at_i.seal, &mut at_r.open),
                (&mut at_r.seal, &mut at_i.open),
            ] {
                let mut buf = unsealed(b"text");
                from.seal(&mut buf).unwrap();
                let opened = to.open(&mut buf).unwrap();
                assert_eq!(opened.nonce, n);
                assert_eq!(&buf[opened.plaintext], b"text");
            }
        }
        // A second handshake with the same endpoints: everything is known by now.
        assert!(pair.run().is_ok());
    }
}

#[test]
fn an_equal_history_is_not_stored_again() {
    let mut pair = Pair::new(KeyType::Ed25519, KeyType::Ed25519);
    let id = pair.responder.id();
    // The same changes in an array of indefinite length.
    let odd = [&[0x9f], &pair.responder.identity.history()[1..], &[0xff]].concat();
    pair.initiator.known.insert(id, odd.clone());
    assert!(pair.run().is_ok());
    assert_eq!(pair.initiator.known[&id], odd);
    pair.initiator.known.insert(id, b"damaged".to_vec());
    let damaged = HandshakeError::History(HistoryError::Stored);
    assert_eq!(pair.run().err(), Some(damaged));
}

#[test]
fn trust_denied_on_either_side() {
    let mut pair = Pair::new(KeyType::Ed25519, KeyType::P256);
    let (i, r) = (pair.initiator.id(), pair.responder.id());
    pair.trust = [Trust::only(i), Trust::Anyone];
    assert_eq!(pair.run().err(), Some(HandshakeError::NotTrusted(r)));
    assert!(pair.initiator.known.is_empty() && pair.responder.known.is_empty());
    pair.trust = [Trust::Anyone, Trust::OneOf(vec![])];
    assert_eq!(pair.run().err(), Some(HandshakeError::NotTrusted(i)));
    // The initiator has accepted the responder by then.
    assert!(pair.initiator.known.len() == 1 && pair.responder.known.is_empty());
}

#[test]
fn any_damaged_byte_is_noticed() {
    for number in 1..=3 {
        let mut length = 0;
        for position in 0.. {
            let mut pair = Pair::new(KeyType::Ed25519, KeyType::Ed25519);
            let seen = core::cell::Cell::new(0);
            let result = pair.run_with(|n, message| {
                if n == number {
                    seen.set(message.len());
                    if let Some(byte) = message.get_mut(position) {
                        *byte ^= 0x80;
                    }
                }
            });
            if position == seen.get() {
                assert!(result.is_ok());
                length = position;
                break;
            }
            assert!(
                matches!(result.err(), Some(HandshakeError::Forged)),
                "{number} {position}"
            );
            assert!(pair.responder.known.is_empty());
        }
        assert_eq!(length, [32, 419, 387][usize::from(number) - 1]);
    }
}

#[test]
fn any_other_length_is_noticed() {
    for (number, shortest) in [(1, 32), (2, 96), (3, 64)] {
        for length in 0..shortest {
            let mut pair = Pair::new(KeyType::Ed25519, KeyType::Ed25519);
            let result = pair.run_with(|n, message| {
                if n == number {
                    message.truncate(length);
                }
            });
            let error = result.err().unwrap();
            let length = error == HandshakeError::Length(length) || error == HandshakeError::Forged;
            assert!(length, "{number} {error}");
        }
        for extra in [1, 16, 70_000] {
            let mut pair = Pair::new(KeyType::Ed25519, KeyType::Ed25519);
            let result = pair.run_with(|n, message| {
                if n == number {
                    message.extend(vec![0; extra]);
                }
            });
            assert!(result.is_err());
        }
    }
}

#[test]
fn messages_of_another_handshake() {
    let first = Pair::new(KeyType::Ed25519, KeyType::Ed25519);
    let (i, r) = (first.initiator.endpoint(), first.responder.endpoint());
    let mut known = Known::new();
    let start = |seed| Initiator::start(&i, Trust::Anyone, counting(seed));
    let accept = |seed, message: &[u8]| Responder::accept(&r, Trust::Anyone, [seed; 32], message);
    let (mut a, message_1) = start(1);
    let (mut b, _) = start(2);
    let (mut side_a, message_2) = accept(3, &message_1).unwrap();
    let (mut side_b, _) = accept(4, &message_1).unwrap();
    assert_eq!(
        b.read_message2(&message_2, &mut known, NOW).err(),
        Some(HandshakeError::Forged)
    );
    let (_, message_3) = a.read_message2(&message_2, &mut known, NOW).unwrap();
    assert_eq!(
        side_b.read_message3(&message_3, &mut known, NOW).err(),
        Some(HandshakeError::Forged)
    );
    assert!(side_a.read_message3(&message_3, &mut known, NOW).is_ok());
    // Replayed messages meet a finished machine.
    let again = a.read_message2(&message_2, &mut known, NOW).err();
    assert_eq!(again, Some(HandshakeError::Finished));
    let again = side_a.read_message3(&message_3, &mut known, NOW).err();
    assert_eq!(again, Some(HandshakeError::Finished));
}

#[test]
fn clocks_that_differ() {
    let error = |now: [u64; 2]| {
        let mut pair = Pair::new(KeyType::Ed25519, KeyType::P256);
        pair.now = now;
        pair.run().err()
    };
    let end = NOW + purpose_key::DEFAULT_LIFETIME;
    for now in [NOW - 60, NOW, end] {
        assert_eq!(error([now, now]), None);
    }
    for (now, problem) in [
        (NOW - 61, PurposeKeyError::FromTheFuture),
        (end + 1, PurposeKeyError::Expired),
    ] {
        assert_eq!(
            error([now, NOW]),
            Some(HandshakeError::Attestation(problem))
        );
        assert_eq!(
            error([NOW, now]),
            Some(HandshakeError::Attestation(problem))
        );
    }
}

/// Replaces the responder's identity by its rotation, the attestation stays if `stale`.
fn rotate_responder(pair: &mut Pair, stale: bool) {
    let party = &mut pair.responder;
    let key = party
        .vault
        .generate(KeyType::P256, &Secret::new([0x55; 32]))
        .unwrap();
    party.identity = party
        .identity
        .rotate(&party.vault, &key, NOW - 1, UNTIL)
        .unwrap();
    if !stale {
        let key = PurposePublicKey::SecureChannel(party.static_public);
        party.attestation = party.attest(&key, NOW);
    }
}

#[test]
fn rotation() {
    let mut pair = Pair::new(KeyType::Ed25519, KeyType::Ed25519);
    let old = pair.responder.identity.clone();
    assert!(pair.run().is_ok());
    rotate_responder(&mut pair, true);
    let superseded = HandshakeError::Attestation(PurposeKeyError::Superseded);
    assert_eq!(pair.run().err(), Some(superseded));
    // A failed handshake does not teach the new history.
    assert_eq!(pair.initiator.known[&old.identifier()], old.history());

    let mut pair = Pair::new(KeyType::Ed25519, KeyType::Ed25519);
    rotate_responder(&mut pair, false);
    assert!(pair.run().is_ok());
    // Now the old identity is refused although its attestation is in order.
    let known = core::mem::take(&mut pair.initiator.known);
    let mut pair = Pair::new(KeyType::Ed25519, KeyType::Ed25519);
    pair.initiator.known = known;
    assert_eq!(
        pair.run().err(),
        Some(HandshakeError::History(HistoryError::Older))
    );
    // And so is a fork.
    let key = pair
        .responder
        .vault
        .generate(KeyType::P256, &Secret::new([0x56; 32]))
        .unwrap();
    let fork = pair
        .responder
        .identity
        .rotate(&pair.responder.vault, &key, NOW - 1, UNTIL);
    let mut fork = Party::of(pair.responder.vault, fork.unwrap(), 0x21);
    core::mem::swap(&mut fork.known, &mut pair.responder.known);
    pair.responder = fork;
    assert_eq!(
        pair.run().err(),
        Some(HandshakeError::History(HistoryError::Conflict))
    );
}

#[test]
fn a_static_key_that_is_not_attested() {
    let party = Party::new(KeyType::Ed25519, 1);
    let make = |secret: Secret<32>, attestation: Vec<u8>, credentials: Vec<Vec<u8>>| {
        Endpoint::new(&party.identity, secret, attestation, credentials).err()
    };
    let (secret, attestation) = (party.static_secret.clone(), party.attestation.clone());
    let other = make(Secret::new([1; 32]), attestation.clone(), vec![]);
    assert_eq!(other, Some(EndpointError::OtherKey));
    assert!(matches!(
        make(secret.clone(), vec![0], vec![]),
        Some(EndpointError::Wire(_))
    ));
    let garbage = make(secret.clone(), attestation.clone(), vec![vec![0]]);
    assert!(matches!(garbage, Some(EndpointError::Wire(_))));
    let many = make(
        secret.clone(),
        attestation.clone(),
        vec![vec![0]; MAX_CREDENTIALS + 1],
    );
    assert_eq!(many, Some(EndpointError::TooManyCredentials));
    // A credential of about 8 KB, eight times: too much for a handshake message.
    let signature = [&[0x82, 0, 0x81, 0x58, 0x40][..], &[0; 64]].concat();
    let mut credential = vec![0x82, 0x82, 0x59, 0x20, 0x00];
    credential.extend([0; 0x2000]);
    credential.extend(&signature);
    credential.extend(&attestation);
    assert_eq!(
        make(
            secret.clone(),
            attestation.clone(),
            vec![credential.clone(); 7]
        ),
        None
    );
    let large = make(secret, attestation, vec![credential; 8]);
    assert!(matches!(large, Some(EndpointError::TooLarge(_))));
}

#[test]
fn too_many_credentials_are_refused() {
    use crate::common::noise::Side;
    let pair = Pair::new(KeyType::Ed25519, KeyType::Ed25519);
    let (peer, me) = (&pair.initiator, pair.responder.endpoint());
    let credential = [
        &[0x82, 0x82, 0x40, 0x82, 0, 0x81, 0x58, 0x40][..],
        &[0; 64],
        &peer.attestation,
    ]
    .concat();
    for (count, accepted) in [(MAX_CREDENTIALS, true), (MAX_CREDENTIALS + 1, false)] {
        let mut side = Side::new(peer.static_secret.clone(), Secret::new([5; 32]));
        let message_1 = side.write_1(&[]);
        let (machine, message_2) =
            Responder::accept(&me, Trust::Anyone, [6; 32], &message_1).unwrap();
        side.read_2(&message_2).unwrap();
        let message_3 = side.write_3(&peer.payload(&vec![credential.clone(); count]));
        let result = machine.handle_message3(&message_3, &mut Known::new(), NOW);
        assert_eq!(result.is_ok(), accepted);
        let error = result.err();
        assert!(matches!(
            error,
            None | Some(HandshakeError::TooManyCredentials)
        ));
    }
}

#[test]
fn histories_that_are_too_long() {
    let mut pair = Pair::new(KeyType::Ed25519, KeyType::Ed25519);
    let party = &pair.responder;
    let key = party.vault.handle_of(&party.identity.latest().key).unwrap();
    let mut identity = party.identity.clone();
    while let Ok(next) = identity.rotate(&party.vault, &key, NOW - 3600, UNTIL) {
        identity = next;
    }
    let long = identity.history().to_vec();
    let rotate = identity.rotate(&party.vault, &key, NOW - 3600, UNTIL);
    assert_eq!(rotate, Err(IdentityError::TooLarge));
    assert!(Identity::verify(&long, None).is_ok());
    let vault = core::mem::take(&mut pair.responder.vault);
    pair.responder = Party::of(vault, identity, 0x21);
    assert!(pair.run().is_ok());
    update(&pair.responder.identity, &mut pair.initiator.known).unwrap();
}
