//! Benchmarks of Culvert.
//!
//! `cargo bench -p culvert-benches` measures the cores with criterion; the binary `chain` measures
//! the whole way, from a TCP client to a service, beside a direct connection and beside three
//! chained HAProxy, in one interleaved run:
//!
//! ```text
//! cargo run --release -p culvert-benches --bin chain -- --rounds 5
//! ```
//!
//! * [`contender`] sets up what is compared.
//! * [`load`] puts a load on one and returns figures.
//! * [`report`] collects figures over rounds and prints their medians.

pub mod contender;
pub mod load;
pub mod report;

/// Payload sizes of the benchmarks of single messages, in bytes.
pub const SIZES: [usize; 4] = [64, 1024, 16 * 1024, 128 * 1024];
