//! Portals: TCP connections carried over routed messages (`protocol/03-portals.md`).
//!
//! An [`Inlet`] listens on a TCP port; for each client it opens a [`Stream`] to the outlet at
//! the end of a path. It has a path on each shard: its [`Lanes`]. An [`Outlet`] connects each stream that reaches it to its target.

mod inlet;
mod lanes;
mod outlet;
mod stream;
mod streams;

pub(crate) use inlet::Suspicion;
pub use inlet::{Inlet, Path, PathWatch};
pub use lanes::{LaneEnd, Lanes};
pub(crate) use outlet::connect_to;
pub use outlet::{OUTLET, Outlet, Target};
pub use stream::{Role, Stream};
