//! Change histories: decoding, verifying, comparing.

use std::collections::BTreeMap;

use culvert_crypto::identity::{Comparison, Identity, IdentityError, update};
use culvert_crypto::primitives::{curve25519, sha256};
use culvert_crypto::secret::Secret;
use culvert_proto::identity::{
    Change, ChangeData, ChangeHash, ChangeHistory, DataType, Identifier, PublicKey, Signature,
    VersionedData, decode_exact, encode,
};

use crate::input::Input;

/// Most changes of a history made here: each costs two signatures.
const MAX_CHANGES: usize = 6;

/// A history that verifies is canonical from then on, and is the identity it says it is; one that
/// is signed correctly verifies if, and only if, its changes follow each other.
///
/// ```text
/// 00, then a history;  01, then changes to be made and signed: faults, start of validity
/// ```
pub fn change_history(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 2 {
        0 => verify(input.rest()),
        _ => made(input),
    }
}

fn verify(data: &[u8]) {
    let wire = decode_exact::<ChangeHistory>(data);
    if let Ok(history) = &wire {
        assert_eq!(decode_exact(&encode(history)), Ok(history.clone()));
    }
    let Ok(identity) = Identity::verify(data, None) else {
        return;
    };
    let id = identity.identifier();
    assert_eq!(identity.history(), encode(&wire.expect("it verified")));
    assert_eq!(
        identity.change_hashes().first().map(|hash| hash.0),
        Some(id.0)
    );
    assert_eq!(
        identity.change_hashes().last(),
        Some(&identity.latest().hash)
    );

    let again = Identity::verify(identity.history(), Some(&id)).expect("its canonical form");
    assert_eq!(again.compare(&identity), Comparison::Equal);
    let other = Identifier(id.0.map(|byte| !byte));
    let refused = Identity::verify(data, Some(&other)).err();
    assert_eq!(refused, Some(IdentityError::OtherIdentity));

    let mut known = BTreeMap::new();
    update(&identity, &mut known).expect("nothing is known yet");
    update(&identity, &mut known).expect("the same again");
    assert_eq!(known.get(&id).map(Vec::as_slice), Some(identity.history()));
    assert_eq!(known.len(), 1);
}

/// What may be wrong with a change, one bit each.
const WRONG_LINK: u8 = 1;
const WRONG_SIGNATURE: u8 = 1 << 1;
const WRONG_PREVIOUS_SIGNATURE: u8 = 1 << 2;
const NO_PREVIOUS_SIGNATURE: u8 = 1 << 3;
const WRONG_TYPE: u8 = 1 << 4;
const WRONG_VERSION: u8 = 1 << 5;

fn made(mut input: Input<'_>) {
    let mut history = ChangeHistory::default();
    let mut valid = true;
    let mut previous: Option<(ChangeHash, u64)> = None;
    while !input.is_empty() && history.0.len() < MAX_CHANGES {
        // Most faults would otherwise hide behind the first one.
        let faults = if input.byte() & 1 == 0 {
            0
        } else {
            input.byte()
        };
        let from = u64::from(input.byte());
        let (change, hash) = make(
            history.0.len(),
            faults,
            previous.map(|(hash, _)| hash),
            from,
        );
        // The signature by the key before has no meaning in the first change.
        let first_only = WRONG_PREVIOUS_SIGNATURE | NO_PREVIOUS_SIGNATURE;
        let counted = if previous.is_none() {
            faults & !first_only
        } else {
            faults
        };
        let known = WRONG_VERSION * 2 - 1;
        valid &= counted & known == 0 && previous.is_none_or(|(_, before)| before <= from);
        previous = Some((hash, from));
        history.0.push(change);
    }
    valid &= !history.0.is_empty();
    let result = Identity::verify_history(&history, None);
    assert_eq!(result.is_ok(), valid, "{:?} for {history:?}", result.err());
    verify(&encode(&history));
}

/// The `number`th change, with these faults, and its hash.
fn make(number: usize, faults: u8, link: Option<ChangeHash>, from: u64) -> (Change, ChangeHash) {
    let has = |fault: u8| faults & fault != 0;
    let key = |n: usize| Secret::new([n as u8 + 1; 32]);
    let wrong_link = || link.is_none().then_some(ChangeHash([9; 32]));
    let content = ChangeData {
        previous_change: if has(WRONG_LINK) { wrong_link() } else { link },
        primary_public_key: PublicKey::Ed25519(curve25519::ed25519_public_key(&key(number))),
        revoke_all_purpose_keys: false,
        attestations_valid_from: from,
        attestations_valid_until: from + 10,
    };
    let wrong_type = DataType::PurposeKeyAttestation;
    let data_type = if has(WRONG_TYPE) {
        wrong_type
    } else {
        DataType::Change
    };
    let mut envelope = VersionedData::new(data_type, encode(&content));
    envelope.version += u8::from(has(WRONG_VERSION));
    let data = encode(&envelope);
    let hash = sha256(&data);
    let sign = |n: usize, wrong: bool| {
        let mut signature = curve25519::ed25519_sign(&key(n), &hash);
        signature[0] ^= u8::from(wrong);
        Signature::Ed25519(signature)
    };
    let by_previous = || sign(number.wrapping_sub(1), has(WRONG_PREVIOUS_SIGNATURE));
    let change = Change {
        data,
        signature: sign(number, has(WRONG_SIGNATURE)),
        previous_signature: (number > 0 && !has(NO_PREVIOUS_SIGNATURE)).then(by_previous),
    };
    (change, ChangeHash(hash))
}
