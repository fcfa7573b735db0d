//! The management listeners of a node: HTTP on a Unix socket, and on TCP with a token and TLS.
//!
//! ```text
//! socket -> who asks? -> whole body, at most 256 KiB -> routes, within 30 s -> answer
//!             |               |                            |
//!             +---------------+----------------------------+--> a Problem as JSON
//! ```
//!
//! Everything runs on one thread with a runtime of its own, away from the shards. A request over the
//! Unix socket must come from the same user or root; one over TCP must show the token.

mod answer;
mod bind;
mod gate;
mod place;
mod server;
mod tls;
mod token;

pub(crate) use answer::kind_of;
pub use place::{Address, Limits, Place, TlsFiles};
pub use server::Server;
pub(crate) use tls::client as trusting;
pub use token::Token;
