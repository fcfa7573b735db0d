//! Being a service of a machine: one process at a time, and a service manager that knows how it is.

mod lock;
mod notify;

pub use lock::PidLock;
pub use notify::{keep_watchdog, ready, reloading, stopping};
