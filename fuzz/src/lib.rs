//! Bodies of the fuzz targets: one function per reader of bytes that a peer chooses.
//!
//! Each takes any bytes and panics if a property is violated; what the property is stands at the
//! function. The binaries in `fuzz_targets/` hand them to libFuzzer; `tests/corpus.rs` runs every
//! file of `corpus/` through them, so that the seeds and past findings are checked by a plain
//!
//! ```text
//! cargo test --manifest-path fuzz/Cargo.toml
//! ```
//!
//! Fuzzing needs `cargo-fuzz`, and on a stable compiler the permission to use unstable flags:
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run message_rewrite -- -max_total_time=60
//! ```
//!
//! Seeds are made from the test vectors by `cargo run --manifest-path fuzz/Cargo.toml --example
//! seed`. A finding becomes a file `corpus/<target>/seed-<what it is>`.

mod cbor;
mod change_history;
mod credential;
mod datagram;
mod frame;
mod handshake;
mod input;
mod message_rewrite;
mod policy;
mod portal;
mod puncture;
mod request;
mod steady;
mod ticket;
mod transport;

pub use cbor::cbor;
pub use change_history::change_history;
pub use credential::{credential, genuine_credential};
pub use datagram::datagram;
pub use frame::frame;
pub use handshake::{genuine_handshake, handshake};
pub use message_rewrite::message_rewrite;
pub use policy::policy;
pub use portal::portal;
pub use puncture::puncture;
pub use request::request;
pub use steady::steady;
pub use ticket::ticket;
pub use transport::transport;

/// A target: its name, which is also that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 14] = [
    ("frame", frame),
    ("message_rewrite", message_rewrite),
    ("cbor", cbor),
    ("portal", portal),
    ("handshake", handshake),
    ("transport", transport),
    ("change_history", change_history),
    ("datagram", datagram),
    ("puncture", puncture),
    ("steady", steady),
    ("policy", policy),
    ("credential", credential),
    ("request", request),
    ("ticket", ticket),
];
