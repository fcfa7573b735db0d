//! What operators see of a node: whether it lives, whether it is ready, what it counts.

pub mod history;
mod probes;

pub use probes::{Checks, Observed};
