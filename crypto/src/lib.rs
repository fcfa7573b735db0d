//! Sans-IO trust of Culvert: who the other end is, and a channel nobody else can read.
//!
//! Bytes in, bytes and decisions out. There is no socket, clock, file or thread in here; time
//! (UNIX seconds) and random bytes are arguments. The single exception: ECDSA signatures by the
//! `aws-lc` backend draw their nonce from AWS-LC's own generator.
//!
//! | module | what |
//! |---|---|
//! | [`primitives`] | AEAD, curves and hash; two interchangeable backends |
//! | [`secret`] | bytes that are wiped and never printed |
//! | [`vault`] | where secret keys live, and the software vault |
//! | [`identity`] | change histories: create, rotate, verify, compare, remember |
//! | [`purpose_key`] | statements of an identity about its keys |
//! | [`credential`] | statements of an authority about somebody else |
//! | [`ticket`] | who the project and the authority of an enrollment ticket are |
//! | [`trust`] | who may be at the other end |
//! | [`channel`] | the handshake and the transport that follows it |
//!
//! Everything is `Send`: a channel may be set up on one thread and used on another.

#[cfg(not(any(feature = "aws-lc", feature = "rustcrypto")))]
compile_error!("enable one of the features `aws-lc` and `rustcrypto`");

pub mod channel;
pub mod credential;
pub mod identity;
pub mod primitives;
pub mod purpose_key;
pub mod secret;
pub mod signed;
pub mod ticket;
pub mod trust;
pub mod vault;

pub use culvert_proto::identity::Identifier;
