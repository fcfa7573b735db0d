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
//! their buffer.
//!
//! * Start a [`node::Node`] and add [`worker::Worker`]s in its setup.
//! * Who it is: [`identity::OwnIdentity`], in memory or out of a [`store::Store`]. Who may be at the
//!   other end of a [`channel`], and who may use what: `Trust` and [`policy`].
//! * Sessions ([`session`]) keep links, channels, registrations and paths up; [`portal`]s carry TCP.
//! * [`inspect`] and [`metrics`] tell what it is doing.
//!
//! Whole programs are in `node/examples`; `docs/library.md` leads through them.
#![warn(missing_docs)]

mod accept;
mod buffer;
mod clock;
mod histories;
mod notify;
mod queue;
mod random;
mod socket;
mod sys;
mod table;
mod trace;

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

pub use culvert_crypto as crypto;
pub use culvert_crypto::Identifier;
pub use culvert_proto as proto;
pub use histories::SeenHistories;
pub use notify::Gate;
pub use random::bytes as random_bytes;
