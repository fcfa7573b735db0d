//! The thread-per-core node that Culvert's relay and edge are made of.
//!
//! ```text
//!             shard 0 (thread)                 shard 1 (thread)
//!   TCP  ->  link -> router -> link  ->  TCP      ...
//!                      |   \
//!                 workers   channels -> streams -> TCP
//! ```
//!
//! Each shard owns its links, channels and streams; messages cross shards only by handing over
//! their buffer. Start a [`node::Node`], add [`worker::Worker`]s in its setup, and build portals
//! from [`portal`] and [`session`].
#![warn(missing_docs)]

mod accept;
mod buffer;
mod histories;
mod lazy;
mod notify;
mod queue;
mod random;
mod sys;
mod table;

pub mod authority;
pub mod channel;
pub mod control;
pub mod failure;
pub mod hop;
pub mod identity;
pub mod inspect;
pub mod key;
pub mod limits;
pub mod link;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod packet;
pub mod policy;
pub mod portal;
pub mod pulse;
pub mod reason;
pub mod session;
pub mod shard;
pub mod stop;
pub mod store;
pub mod udp;
pub mod worker;

pub use histories::SeenHistories;
pub use notify::Gate;
pub use random::bytes as random_bytes;
