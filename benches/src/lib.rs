//! Benchmarks of Culvert.
//!
//! `cargo bench -p culvert-benches` measures the cores with criterion; the binary `load` measures
//! the whole way, from a TCP client to a service, and the relay alone, beside peers in one interleaved run:
//!
//! ```text
//! cargo run --release -p culvert-benches --bin load
//! ```
//!
//! * [`contender`] sets up what is compared, in front of a [`service`]; [`relays`] what a relay alone is compared
//!   with.
//! * [`load`] puts a load on one and returns figures; [`known`] bytes show that they are right, and [`usage`]
//!   what processes needed for it.
//! * [`work`] does so with all contenders in rounds, and [`report`] collects the figures.
//! * [`targets`] compares them with what is wanted, and [`plot`] draws them.

pub mod contender;
pub mod known;
pub mod load;
pub mod plot;
pub mod poll;
pub mod relays;
pub mod report;
pub mod service;
pub mod settings;
pub mod targets;
pub mod usage;
pub mod work;

/// Payload sizes of the benchmarks of single messages, in bytes.
pub const SIZES: [usize; 4] = [64, 1024, 16 * 1024, 128 * 1024];
