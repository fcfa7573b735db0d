use std::collections::BTreeMap;

use culvert_crypto::identity::{Comparison, Identity, IdentityError, update};
use culvert_proto::identity::{ChangeHistory, Identifier, decode_exact, encode};

/// A history that verifies is canonical from then on, and is the identity it says it is.
pub fn change_history(data: &[u8]) {
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
