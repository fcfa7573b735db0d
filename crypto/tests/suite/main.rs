//! Tests of the crate through its public interface: recorded vectors, experiments that were made
//! with real nodes, pairs of our own endpoints, and the two backends against each other.

mod common;
mod handshake_vectors;
mod identities;
mod primitives;
mod purpose_keys;
