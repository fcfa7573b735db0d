//! A node that keeps what it was told to have, over restarts.
//!
//! ```text
//! API, command line -> Manager -> checked -> port bound -> stored -> started -> view
//!                        ^                     culvert.db
//!                        '--- restored from it at the next start
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`manager`] | what a running node has: asked for, changed, told about |
//! | [`lock`] | one process per node |

mod inner;
pub mod lock;
pub mod manager;
mod resource;

pub use lock::NodeLock;
pub use manager::Manager;
