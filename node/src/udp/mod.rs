//! The UDP transport inside the node (`protocol/01-transport.md` 4 and 5).
//!
//! A socket belongs to one shard. Messages may be lost, repeated or change their order on the way, and
//! nothing here repairs that: what needs all of them, as secure channels do, finds out and ends.

mod direct;
mod link;
mod offer;
mod rendezvous;
mod socket;

pub(crate) use direct::Direct;
pub use link::UdpLink;
pub(crate) use offer::propose;
pub use offer::{DirectOffer, RendezvousAt};
pub use rendezvous::serve_rendezvous;
