//! Secure channels: the handshake, and the transport that follows it.
//!
//! Specification: `protocol/13-secure-channel.md`.
//!
//! ```text
//! initiator                               responder
//! Initiator::start       -- message 1 ->  Responder::accept
//! handle_message2        <- message 2 --
//!                        -- message 3 ->  handle_message3
//! Established { seal, open }              Established { seal, open }
//! ```
//!
//! The handshake is Noise XX under Ockam's own protocol name, driven by `snow`; after it the raw
//! keys are taken out and [`Sealer`] and [`Opener`] protect messages in place.
//!
//! What is stricter or better than a real node, without being visible to an honest one:
//!
//! * an all-zero DH result ends the handshake;
//! * the peer's history is stored only after every check has passed, trust policy included;
//! * a bad message 2 does not end the handshake (see [`Initiator::read_message2`]);
//! * more than 32 lost messages do not end the channel (see [`MAX_AHEAD`]).
//!
//! # Example
//!
//! Fixed bytes stand for random ones, 1 800 000 000 for the time.
//!
//! ```
//! use std::collections::BTreeMap;
//! use culvert_crypto::channel::{Endpoint, Initiator, Responder};
//! use culvert_crypto::identity::Identity;
//! use culvert_crypto::secret::Secret;
//! use culvert_crypto::trust::Trust;
//! use culvert_crypto::vault::{KeyType, SigningVault, SoftwareVault};
//! use culvert_crypto::purpose_key;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = 1_800_000_000;
//! let endpoint = |random: u8| -> Result<Endpoint, Box<dyn std::error::Error>> {
//!     let mut vault = SoftwareVault::new();
//!     let key = vault.generate(KeyType::Ed25519, &Secret::new([random; 32]))?;
//!     let identity = Identity::create(&vault, &key, now, now + 1000)?;
//!     let static_secret = Secret::new([random + 1; 32]);
//!     let static_key = purpose_key::channel_key(&static_secret);
//!     let attestation = purpose_key::attest(&vault, &identity, &static_key, now)?;
//!     Ok(Endpoint::new(&identity, static_secret, attestation, Vec::new())?)
//! };
//! let (alice, bob) = (endpoint(10)?, endpoint(20)?);
//! let (mut alice_knows, mut bob_knows) = (BTreeMap::new(), BTreeMap::new());
//!
//! let trust = Trust::only(bob.identifier());
//! let (initiator, message_1) = Initiator::start(&alice, trust, [30; 32]);
//! let (responder, message_2) = Responder::accept(&bob, Trust::Anyone, [40; 32], &message_1)?;
//! let (mut at_alice, message_3) =
//!     initiator.handle_message2(&message_2, &mut alice_knows, now)?;
//! let mut at_bob = responder.handle_message3(&message_3, &mut bob_knows, now)?;
//! assert_eq!(at_bob.peer, alice.identifier());
//!
//! // 8 bytes, the plaintext, 16 bytes.
//! let mut buf = *b"        hello                ";
//! at_alice.seal.seal(&mut buf)?;
//! let opened = at_bob.open.open(&mut buf)?;
//! assert_eq!(&buf[opened.plaintext], b"hello");
//! # Ok(())
//! # }
//! ```

mod handshake;
mod noise;
mod transport;

pub use culvert_proto::secure_channel::inner;
pub use handshake::{
    Endpoint, EndpointError, Established, HandshakeError, Initiator, MAX_CREDENTIALS, Responder,
    accept_refresh,
};
pub use transport::{
    MAX_AHEAD, MAX_BEHIND, OVERHEAD, OpenError, Opened, Opener, REKEY_INTERVAL, SealError, Sealer,
};
