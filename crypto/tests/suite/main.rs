//! Tests of the crate through its public interface: recorded vectors, experiments that were made
//! with real nodes, pairs of our own endpoints, and the two backends against each other.

mod common;
mod handshake_vectors;
mod identities;
#[cfg(all(feature = "aws-lc", feature = "rustcrypto"))]
mod oracle;
mod pairs;
mod primitives;
mod probes;
mod purpose_keys;
mod tampered;
mod transport;
mod vaults;
