//! What several commands need.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Failure;
use crate::store::{DEFAULT_NAME, Store, Stored};

/// Seconds since 1970-01-01 UTC.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The identity to run with. The default one is made when there is none.
///
/// # Errors
///
/// What the store says; that there is none, for any other name.
pub fn identity_for_use(store: &Store, name: &str) -> Result<Stored, Failure> {
    let stored = match name {
        DEFAULT_NAME => store.load_or_create(name, now_s()),
        _ => store.load_for_use(name, now_s()),
    };
    Ok(stored?)
}
