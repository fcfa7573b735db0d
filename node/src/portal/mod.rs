//! Portals: TCP connections carried over routed messages (`protocol/03-portals.md`).
//!
//! An [`Inlet`] listens on a TCP port; for each client it opens a [`Stream`] to the outlet at
//! the end of its path. An [`Outlet`] connects each stream that reaches it to its target.

mod inlet;
mod outlet;
mod stream;

pub use inlet::{Inlet, Path, PathWatch};
pub(crate) use outlet::connect_to;
pub use outlet::{OUTLET, Outlet, Target};
pub use stream::Stream;
