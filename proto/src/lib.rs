//! Sans-IO wire formats of Culvert: bytes in, bytes and decisions out.
//!
//! Nothing in this crate opens a socket, reads a clock, starts a thread or draws a random number.
//! Nothing a peer sends can make it panic: every refusal is a value of an error enum, and every
//! size is bounded by a constant of [`limits`].
//!
//! | module | what |
//! |---|---|
//! | [`frame`] | TCP framing: version byte, length prefix |
//! | [`address`], [`route`] | addresses and routes, owned and borrowed |
//! | [`message`], [`rewrite`] | the transport message as offsets, and the change a hop makes to it |
//! | [`flow_control`] | what a remote sender may reach, as pure data |
//! | [`forwarder`] | registration of a name with a relay |
//! | [`portal`] | TCP streams through messages |
//! | [`policy`] | who may use what, as an expression over attributes |
//! | [`request`] | the request and response envelope of API services |
//! | [`authority`], [`ticket`] | what an authority is asked, and how to become its member |
//! | [`udp`] | messages cut into datagrams and put together again |
//! | [`rendezvous`] | the service that tells nodes their public address |
//! | [`puncture`] | a direct UDP path between two nodes behind NATs |
//! | [`multiaddr`] | `/ip4/127.0.0.1/tcp/4000`, as text and as bytes |
//! | [`identity`], [`credential`], [`secure_channel`] | wire structs of the trust layer |
//! | [`cbor`], [`bare`] | the two encodings underneath |

pub mod address;
pub mod authority;
pub mod bare;
pub mod cbor;
pub mod credential;
pub mod flow_control;
pub mod forwarder;
pub mod frame;
pub mod identity;
pub mod limits;
pub mod message;
pub mod multiaddr;
pub mod policy;
pub mod portal;
pub mod puncture;
pub mod rendezvous;
pub mod request;
pub mod rewrite;
pub mod route;
pub mod secure_channel;
pub mod steady;
pub mod ticket;
pub mod udp;
