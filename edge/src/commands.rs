//! Commands about running nodes, one noun a file, and what several commands need.
//!
//! | module | what |
//! |---|---|
//! | [`at`] | which node, and asking it |
//! | [`resource`] | what is created, listed, shown and deleted in the same way |
//! | [`tcp_inlet`], [`tcp_outlet`], [`relay`] | portals |
//! | [`secure_channel`], [`tcp_listener`], [`tcp_connection`] | ways to other nodes |
//! | [`message`], [`service`] | talking to services |

pub mod at;
pub mod message;
pub mod relay;
pub mod resource;
pub mod secure_channel;
pub mod service;
pub mod tcp_connection;
pub mod tcp_inlet;
pub mod tcp_listener;
pub mod tcp_outlet;

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
