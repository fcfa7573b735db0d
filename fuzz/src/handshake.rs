//! Both ends of a handshake fed with anything.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use culvert_crypto::channel::{
    Endpoint, Established, HandshakeError, Initiator, Responder, accept_refresh,
};
use culvert_crypto::identity::Identity;
use culvert_crypto::primitives::curve25519;
use culvert_crypto::purpose_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningVault as _, SoftwareVault};
use culvert_proto::credential::PurposePublicKey;
use culvert_proto::identity::{Identifier, decode_prefix};
use culvert_proto::secure_channel::{IdentityPayload, MAX_HANDSHAKE_MESSAGE};

use crate::input::Input;

const NOW: u64 = 1_700_000_000;

/// What two real ends say to each other.
struct Genuine {
    initiator: Endpoint,
    responder: Endpoint,
    messages: [Vec<u8>; 3],
}

/// A handshake takes the genuine messages and no others; what a peer sends instead ends in an
/// error, and after a recoverable one the genuine message still succeeds.
///
/// ```text
/// mode, then: message 1, message 2, message 3, identity payload or refresh as they are;
/// or the number of a message and changes to it: offset (2 bytes), pattern
/// ```
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 6 {
        0 => message_1(input.rest()),
        1 => message_2(input.rest()),
        2 => message_3(input.rest()),
        3 => identity_payload(input.rest()),
        4 => refresh(input.rest()),
        _ => changed(input),
    }
}

/// The three messages that [`handshake`] knows as genuine, to make seeds of.
pub fn genuine_handshake() -> [Vec<u8>; 3] {
    genuine().messages.clone()
}

fn genuine() -> &'static Genuine {
    static GENUINE: OnceLock<Genuine> = OnceLock::new();
    GENUINE.get_or_init(|| {
        let (initiator, responder) = (endpoint(1), endpoint(2));
        let (mut start, first) = start(&initiator);
        let (mut answer, second) = accept(&responder, &first).expect("message 1");
        let read = start.read_message2(&second, &mut BTreeMap::new(), NOW);
        let (_, third) = read.expect("message 2");
        answer
            .read_message3(&third, &mut BTreeMap::new(), NOW)
            .expect("message 3");
        Genuine {
            initiator,
            responder,
            messages: [first, second, third],
        }
    })
}

/// An end made of nothing but its number.
fn endpoint(seed: u8) -> Endpoint {
    let mut vault = SoftwareVault::new();
    let random = Secret::new([seed; 32]);
    let key = vault.generate(KeyType::Ed25519, &random).expect("a key");
    let identity = Identity::create(&vault, &key, NOW - 10, NOW + 1_000_000).expect("an identity");
    let static_secret = Secret::new([seed + 100; 32]);
    let public = curve25519::x25519_public_key(&static_secret);
    let public = PurposePublicKey::SecureChannel(public);
    let attestation = purpose_key::attest(&vault, &identity, &public, NOW).expect("an attestation");
    Endpoint::new(&identity, static_secret, attestation, Vec::new()).expect("an endpoint")
}

fn start(me: &Endpoint) -> (Initiator, Vec<u8>) {
    Initiator::start(me, Trust::Anyone, [51; 32])
}

fn accept(me: &Endpoint, message: &[u8]) -> Result<(Responder, Vec<u8>), HandshakeError> {
    Responder::accept(me, Trust::Anyone, [52; 32], message)
}

fn message_1(message: &[u8]) {
    match accept(&genuine().responder, message) {
        Ok((_, answer)) => {
            assert!(message.len() >= 32 && answer.len() <= MAX_HANDSHAKE_MESSAGE);
        }
        Err(error) => assert!(error.is_recoverable()),
    }
}

fn message_2(message: &[u8]) {
    let genuine = genuine();
    let (mut initiator, _) = start(&genuine.initiator);
    let mut known = BTreeMap::new();
    let result = initiator.read_message2(message, &mut known, NOW);
    let again = match check(
        message,
        &genuine.messages[1],
        result.map(|(channel, _)| channel),
    ) {
        Some(error) => error,
        None => return,
    };
    assert!(known.is_empty(), "nothing may be learnt from a forgery");
    let second = initiator.read_message2(&genuine.messages[1], &mut known, NOW);
    assert_eq!(second.is_ok(), again.is_recoverable(), "{again}");
}

fn message_3(message: &[u8]) {
    let genuine = genuine();
    let (mut responder, _) = accept(&genuine.responder, &genuine.messages[0]).expect("message 1");
    let mut known = BTreeMap::new();
    let result = responder.read_message3(message, &mut known, NOW);
    let Some(error) = check(message, &genuine.messages[2], result) else {
        return;
    };
    assert!(known.is_empty(), "nothing may be learnt from a forgery");
    let second = responder.read_message3(&genuine.messages[2], &mut known, NOW);
    // The static key comes first; once it was read, this handshake has it.
    let key_was_read = message.get(..48) == genuine.messages[2].get(..48);
    if !key_was_read {
        assert_eq!(second.is_ok(), error.is_recoverable(), "{error}");
    }
}

/// Success is for the genuine message only; otherwise gives the error.
fn check(
    message: &[u8],
    genuine: &[u8],
    result: Result<Established, HandshakeError>,
) -> Option<HandshakeError> {
    assert_eq!(result.is_ok(), message == genuine);
    result.err()
}

/// What is behind the encryption, which nobody can change on the way: the peer itself may lie.
fn identity_payload(payload: &[u8]) {
    let Ok((payload, used)) = decode_prefix::<IdentityPayload>(payload) else {
        return;
    };
    assert!(used > 0);
    let Ok(identity) = Identity::verify_history(&payload.change_history, None) else {
        return;
    };
    let attested = purpose_key::verify_for(&payload.purpose_key_attestation, &identity, NOW);
    if let Ok(data) = attested {
        assert_eq!(data.subject, identity.identifier());
        assert!(data.created_at <= data.expires_at);
    }
}

fn refresh(content: &[u8]) {
    let mut known = BTreeMap::new();
    let nobody = Identifier([0; 32]);
    assert!(accept_refresh(&nobody, content, &mut known).is_err());
    assert!(known.is_empty());
    let peer = genuine().initiator.identifier();
    if accept_refresh(&peer, content, &mut known).is_ok() {
        assert!(known.keys().eq([&peer]));
    }
}

/// A genuine message with some of its bytes changed.
fn changed(mut input: Input<'_>) {
    let number = usize::from(input.byte() % 3);
    let mut message = genuine().messages[number].clone();
    while !input.is_empty() {
        let offset = usize::from(input.u16());
        let pattern = input.byte();
        match message.get_mut(offset) {
            Some(byte) => *byte ^= pattern,
            None => message.truncate(usize::from(pattern)),
        }
    }
    match number {
        0 => message_1(&message),
        1 => message_2(&message),
        _ => message_3(&message),
    }
}
