//! Punctures against a recording of real nodes, and pairs of them through simulated NATs.

#[path = "../common/mod.rs"]
mod common;
mod ends;
mod nat;
mod pairs;
mod reference;
mod replay;
mod support;
mod tampered;
mod vectors;
mod world;
