//! Replacing the primary key of an identity (`protocol/11-identities.md` 7).
//!
//! ```text
//! 1. vault:    old and new keys
//! 2. identity: new history, new attestation        from here on it is the new identity
//! 3. vault:    new keys
//! ```
//!
//! Each step is one file, replaced whole. Up to 2 the old identity has all it needs, after it the new
//! one has. The reference deletes the old key before it stores the new history.

use culvert_crypto::identity::DEFAULT_LIFETIME;
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::KeyType;

use super::file::Existing;
use super::stored::{Keys, show};
use super::{Store, StoreError, Stored};

/// How to replace a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    /// Type of the new key; that of the old one, without.
    pub key_type: Option<KeyType>,
    /// Whether to mark earlier purpose keys as revoked. They are not valid any more in any case.
    pub revoke_purpose_keys: bool,
}

impl Store {
    /// Gives an identity a new primary key and a new key of secure channels; peers that know it go on
    /// to know it. Valid from `now_s` (UNIX seconds) for ten years.
    ///
    /// # Errors
    ///
    /// As [`Store::load`]; [`StoreError::Keys`] when the clock is behind the last change, or there
    /// are too many. Either the old or the new identity is stored then.
    pub fn rotate(&self, name: &str, rotation: Rotation, now_s: u64) -> Result<Stored, StoreError> {
        let _turn = self.lock()?;
        let mut stored = self.load(name)?;
        let key_type = rotation.key_type.unwrap_or(stored.handle.key_type);
        let random = Secret::new(crate::random_bytes());
        let made = stored.keys.signing_mut().generate(key_type, &random);
        let new = made.map_err(|error| stored.keys.failed(name, error))?;
        let valid_until = now_s.saturating_add(DEFAULT_LIFETIME);
        let rotated = stored
            .identity
            .rotate_and(
                stored.keys.signing(),
                &new,
                now_s,
                valid_until,
                rotation.revoke_purpose_keys,
            )
            .map_err(|error| stored.keys.failed(name, error));
        let old_channel = rotated.and_then(|identity| {
            stored.identity = identity;
            stored.handle = new.clone();
            let old = stored.renew_channel_key(now_s)?;
            if let Keys::In(vault) = &stored.keys {
                vault.save(Existing::Replace)?;
            }
            Ok(old)
        });
        let old_channel = match old_channel {
            Ok(old) => old,
            Err(error) => {
                // Nothing refers to the new key yet. In a service it would stay, and cost.
                if stored.keys.signing_mut().delete(&new).is_err() {
                    tracing::warn!(key = %show(&new), "the new key could not be deleted");
                }
                return Err(error);
            }
        };
        // If this fails nobody knows which identity is stored: both keys stay.
        self.save_entry(&stored, Existing::Replace)?;
        let replaced: Vec<_> = stored
            .identity
            .replaced_keys()
            .iter()
            .filter_map(|key| stored.keys.signing().handle_of(key).ok())
            .collect();
        self.forget(&mut stored, &replaced, &[old_channel]);
        tracing::info!(identity = name, "replaced its key");
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use culvert_crypto::identity::{Comparison, Identity};

    use super::super::file::faults::{self, Fault};
    use super::*;

    const NOW: u64 = 1_780_000_000;

    /// The identity in the store is whole: its keys are there and attest, it is `old` or goes on from it.
    fn is_whole(store: &Store, old: &Identity) -> Comparison {
        let stored = store.load("x").expect("an identity");
        stored.endpoint().expect("an endpoint");
        let signed = stored.signing().sign(stored.handle(), b"data");
        let key = stored.identity.latest().key;
        assert!(culvert_crypto::vault::verify(
            &key,
            b"data",
            &signed.expect("signed")
        ));
        stored.identity.compare(old)
    }

    /// Whatever write fails, and whether or not it shows in the file, an identity is left and can be
    /// rotated again; in the end only its own keys are in the vault.
    #[test]
    fn a_failure_leaves_the_old_or_the_new_identity() {
        let (mut olds, mut news) = (0, 0);
        for (for_good, late) in [(false, false), (false, true), (true, false), (true, true)] {
            for after in 0.. {
                let home = tempfile::tempdir().expect("a directory");
                let store = Store::open(Some(home.path().to_owned())).expect("a store");
                let old = store.create("x", KeyType::Ed25519, NOW).expect("made");
                faults::set(Some(Fault {
                    after,
                    for_good,
                    late,
                }));
                let outcome = store.rotate("x", Rotation::default(), NOW + 1);
                let pending = faults::is_pending();
                faults::set(None);
                let left = is_whole(&store, &old.identity);
                if outcome.is_ok() {
                    assert_eq!(left, Comparison::Newer);
                }
                match left {
                    Comparison::Equal => olds += 1,
                    Comparison::Newer => news += 1,
                    other => panic!("{other:?} after {after}"),
                }
                store
                    .rotate("x", Rotation::default(), NOW + 2)
                    .expect("rotated");
                assert_eq!(is_whole(&store, &old.identity), Comparison::Newer);
                let vault = store.open_vault("default", None).expect("the vault");
                let unused = vault.handles().len() - 1;
                // A new key that nothing refers to may be left, never an old one.
                assert!(unused <= 1, "{unused} after {after}");
                assert!(vault.signing().public_key(old.handle()).is_err());
                if pending {
                    break;
                }
                assert!(after < 10);
            }
        }
        assert!(olds > 3 && news > 3, "{olds} {news}");
    }
}
