//! Being a service of a machine.

mod lock;

pub use lock::PidLock;
