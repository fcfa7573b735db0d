//! Puncture: a direct UDP path between two nodes that are both behind NATs.
//!
//! Specification: `protocol/01-transport.md` 5.2 and 5.3. The two already talk through a relay. The
//! *initiator* proposes, the *responder* agrees, each over a UDP socket of its own:
//!
//! ```text
//! initiator            rendezvous            responder
//!    | -- GetMyAddress -->|                      |          UDP
//!    | <-- "ip:port" -----|                      |
//!    | -- Initiate: address, worker -----------> |          through the relay, to worker "udp"
//!    |                    |<-- GetMyAddress ---- |          UDP
//!    |                    |--- "ip:port" ------> |
//!    | <~~~~~~~~~~~~~~~~~ Ping to nobody ~~~~~~~ |          UDP: opens the responder's NAT
//!    | <----------- Acknowledge: address, worker |          through the relay
//!    | ~~ Ping ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~> |          UDP: opens the initiator's NAT
//!    | <~~~~~~~~~~~~~~~~~~~~~~~~~ Pong, Ping ~~~ |          open for the initiator
//!    | ~~ Pong ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~> |          open for the responder
//! ```
//!
//! [`Puncture`] is either side of this. It owns no socket and no clock: it says what to send now,
//! is told what came, and knows when it wants to be asked again. Messages to and from it are whole
//! transport messages; [`udp`](crate::udp) makes datagrams of them. When it [fails](Failure) the
//! caller stays with the relay, which worked all the time.
//!
//! A path counts as open when a Ping was answered and one of the peer came. What the reference does
//! not do:
//!
//! * Both ends ask for lost answers sooner, and answer the first Ping with one of their own, so
//!   that between Culvert nodes a path opens in two round trips instead of a second.
//! * The reference opens with the answer alone. Where the peer's Pings do not come, the peer never
//!   gets an answer, keeps all it has to send, and the path is good for nothing: better to stay
//!   with the relay.
//! * A NAT that maps every destination to another port makes the address that the rendezvous saw
//!   useless. So a message of the peer from somewhere else makes that place worth a Ping too, and
//!   the path if it answers.
//! * Attempts end: a path that is not open after a while is given up.
//!
//! | NATs of the two sides | path |
//! |---|---|
//! | none, full, restricted or port-restricted cone, at both | opens |
//! | symmetric, and none, full or restricted cone | opens; beside the reference only if it is its NAT |
//! | symmetric, and symmetric or port-restricted cone | fails: neither can know the other's port |
//!
//! What the specification leaves open, and what is done here: how often a lost rendezvous request
//! is repeated (the reference does not; [`Config::probe_ms`]), how long a responder tries (the
//! reference for ever; [`Config::open_ms`]), and whether names may stand for addresses (the
//! reference would look them up; here they are refused).
//!
//! Nothing here is secret or proven. Who sees the messages learns the random worker addresses and
//! can forge any of them, as with the reference. What travels along the path must be, and between
//! portals is, a secure channel. A peer also chooses where our Pings go: a few dozen small messages
//! to one address per attempt, so the caller limits the attempts of a peer.

mod config;
mod error;
mod events;
mod integers;
mod machine;
mod message;
mod negotiation;
mod paths;

pub use config::{Config, Setup};
pub use error::{Failure, PunctureError};
pub use events::{Output, Phase, Received, Role, Transmit};
pub use integers::{Integers, integers_len, put_integers};
pub use machine::Puncture;
pub use message::{PING, PONG, Payload, PunctureMessage, payload_len, put_payload};
pub use negotiation::Endpoint;

/// Local address of the worker that takes proposals, on nodes of the reference.
pub const NEGOTIATION: &str = "udp";
