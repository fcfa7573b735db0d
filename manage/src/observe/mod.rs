//! What operators see of a node: whether it lives, whether it is ready, what it counts, what it did
//! lately.

pub mod history;
mod probes;

pub use probes::{Checks, Observed};
