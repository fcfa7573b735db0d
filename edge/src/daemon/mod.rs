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
//! | [`run`] | a process that is a node |
//! | [`background`] | starting, ending and forgetting such processes |
//! | [`lock`] | one process per node |

mod apply;
pub mod background;
mod change;
mod inlet;
mod inner;
mod links;
pub mod lock;
pub mod manager;
mod message;
mod outlet;
mod place;
mod policies;
mod relay;
mod resource;
mod restore;
pub mod run;
mod status;

pub(crate) use change::TAKEN;
pub use inner::Source;
pub use lock::NodeLock;
pub use manager::Manager;

use culvert_manage::problem::Problem;

use crate::store::StoreError;

/// What the store could not do.
fn stored(error: StoreError) -> Problem {
    Problem::failed(&error, error.hint())
}
