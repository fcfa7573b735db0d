//! The handshake: who is who, proven in three messages.
//!
//! Specification: `protocol/13-secure-channel.md` 3 to 6.

use std::sync::Arc;

use culvert_proto::credential::{PurposeKeyAttestation, PurposePublicKey};
use culvert_proto::identity::{WireError, decode_exact, decode_prefix, encode};
use culvert_proto::secure_channel::{
    IdentityPayload, MAX_IDENTITY_PAYLOAD, MESSAGE_2_OVERHEAD, MESSAGE_3_OVERHEAD,
    RefreshCredentials, inner,
};
use thiserror::Error;

use super::noise::{Noise, StaticKey};
use super::transport::{OpenError, Opener, SealError, Sealer};
use crate::Identifier;
use crate::identity::{
    Histories, HistoryError, Identity, IdentityError, compare_with_known, update,
};
use crate::purpose_key::{self, PurposeKeyError};
use crate::secret::Secret;
use crate::trust::Trust;

/// Most credentials a peer may present; real nodes present none or one.
pub const MAX_CREDENTIALS: usize = 16;

/// Why an [`Endpoint`] cannot be made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Attestation or a credential are not what they should be.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The attestation is for another key or purpose than the static key.
    #[error("the attestation is not about this static key")]
    OtherKey,
    /// History, attestation and credentials do not fit into a handshake message.
    #[error("identity and credentials take {0} bytes, more than a handshake message holds")]
    TooLarge(usize),
    /// More than [`MAX_CREDENTIALS`].
    #[error("too many credentials")]
    TooManyCredentials,
}

/// Why a handshake failed.
///
/// Nothing is sent to the peer: it finds out by a timeout.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HandshakeError {
    /// The message is shorter than its fixed parts or longer than 65535 bytes.
    #[error("a handshake message of {0} bytes")]
    Length(usize),
    /// A key of the peer leads to a shared secret everybody knows.
    #[error("the peer uses a weak key")]
    WeakKey,
    /// The message does not decrypt.
    #[error("the handshake message is forged or damaged")]
    Forged,
    /// The handshake is over, or the message does not belong to this state.
    #[error("the handshake is finished")]
    Finished,
    /// The identity payload is not one.
    #[error("identity of the peer: {0}")]
    Payload(#[from] WireError),
    /// More than [`MAX_CREDENTIALS`].
    #[error("the peer presents too many credentials")]
    TooManyCredentials,
    /// The peer's change history is refused.
    #[error("identity of the peer: {0}")]
    Identity(#[from] IdentityError),
    /// The peer's change history does not fit the known one.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The attestation of the peer's static key is refused.
    #[error("static key of the peer: {0}")]
    Attestation(#[from] PurposeKeyError),
    /// The attestation is about another key than the one in this handshake, or another purpose.
    #[error("the peer's static key is not the attested one")]
    OtherStaticKey,
    /// The trust policy does not allow this peer.
    #[error("{0} is not trusted")]
    NotTrusted(Identifier),
    /// The AEAD has no memory for a key.
    #[error("no memory for the channel keys")]
    Memory,
}

impl HandshakeError {
    /// Whether the machine still waits for the right message: this one was not from the peer,
    /// damaged, or out of turn. All other errors are final.
    #[must_use]
    pub fn is_recoverable(&self) -> bool {
        matches!(self, Self::Length(_) | Self::Forged | Self::WeakKey)
    }
}

impl From<SealError> for HandshakeError {
    fn from(_: SealError) -> Self {
        Self::Memory
    }
}

impl From<OpenError> for HandshakeError {
    fn from(_: OpenError) -> Self {
        Self::Memory
    }
}

/// Our side of handshakes: own identity, static key, its attestation, credentials.
///
/// Made once and used for many channels; cloning is cheap.
#[derive(Clone)]
pub struct Endpoint(Arc<Own>);

struct Own {
    identifier: Identifier,
    key: Arc<StaticKey>,
    /// Encoded identity payload.
    payload: Vec<u8>,
}

impl Endpoint {
    /// `static_secret` is the X25519 secret that `attestation` (an encoded
    /// [`PurposeKeyAttestation`], see [`purpose_key::attest`]) is about; `credentials` are encoded
    /// [`culvert_proto::credential::CredentialAndPurposeKey`].
    ///
    /// Signatures and times are not checked here: they are the peer's business.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn new(
        identity: &Identity,
        static_secret: Secret<32>,
        attestation: Vec<u8>,
        credentials: Vec<Vec<u8>>,
    ) -> Result<Self, EndpointError> {
        let key = StaticKey::new(static_secret);
        let attestation: PurposeKeyAttestation = decode_exact(&attestation)?;
        let attested = purpose_key::attested_key(&attestation).ok_or(EndpointError::OtherKey)?;
        if attested != PurposePublicKey::SecureChannel(*key.public()) {
            return Err(EndpointError::OtherKey);
        }
        if credentials.len() > MAX_CREDENTIALS {
            return Err(EndpointError::TooManyCredentials);
        }
        let credentials = credentials.iter().map(|bytes| decode_exact(bytes));
        let payload = encode(&IdentityPayload {
            change_history: decode_exact(identity.history())?,
            purpose_key_attestation: attestation,
            credentials: credentials.collect::<Result<_, _>>()?,
        });
        if payload.len() > MAX_IDENTITY_PAYLOAD {
            return Err(EndpointError::TooLarge(payload.len()));
        }
        Ok(Self(Arc::new(Own {
            identifier: identity.identifier(),
            key: Arc::new(key),
            payload,
        })))
    }

    /// The same, showing other credentials.
    ///
    /// # Errors
    /// [`EndpointError::Wire`], [`EndpointError::TooManyCredentials`], [`EndpointError::TooLarge`].
    pub fn with_credentials(&self, credentials: &[Vec<u8>]) -> Result<Self, EndpointError> {
        if credentials.len() > MAX_CREDENTIALS {
            return Err(EndpointError::TooManyCredentials);
        }
        let credentials = credentials.iter().map(|bytes| decode_exact(bytes));
        let payload = encode(&IdentityPayload {
            credentials: credentials.collect::<Result<_, _>>()?,
            ..decode_exact(&self.0.payload)?
        });
        if payload.len() > MAX_IDENTITY_PAYLOAD {
            return Err(EndpointError::TooLarge(payload.len()));
        }
        Ok(Self(Arc::new(Own {
            identifier: self.0.identifier,
            key: Arc::clone(&self.0.key),
            payload,
        })))
    }

    /// The credentials it shows, encoded.
    ///
    /// # Errors
    /// None in practice: the payload was encoded by [`Endpoint::new`].
    pub fn credentials(&self) -> Result<Vec<Vec<u8>>, WireError> {
        let payload: IdentityPayload = decode_exact(&self.0.payload)?;
        Ok(payload.credentials.iter().map(encode).collect())
    }

    /// The own identifier.
    #[must_use]
    pub fn identifier(&self) -> Identifier {
        self.0.identifier
    }

    /// Whether peers would see no difference: the same history, static key and credentials.
    #[must_use]
    pub fn shows_the_same(&self, other: &Self) -> bool {
        self.0.payload == other.0.payload
    }

    /// The plaintext of a refresh message with this endpoint's history and credentials, for
    /// channels made with an older endpoint of the same identity.
    ///
    /// # Errors
    /// None in practice: the payload was encoded by [`Endpoint::new`].
    pub fn refresh(&self) -> Result<Vec<u8>, WireError> {
        let payload: IdentityPayload = decode_exact(&self.0.payload)?;
        Ok(inner::refresh(&RefreshCredentials {
            change_history: payload.change_history,
            credentials: payload.credentials,
        }))
    }
}

/// A finished handshake: the peer is who it says and may be there.
pub struct Established {
    /// The authenticated peer.
    pub peer: Identifier,
    /// What it presented, each an encoded
    /// [`culvert_proto::credential::CredentialAndPurposeKey`], **not verified**: see
    /// [`crate::credential::verify`].
    pub peer_credentials: Vec<Vec<u8>>,
    /// When the attestation of its static key ends, UNIX seconds.
    pub peer_expires_at: u64,
    /// For messages to the peer.
    pub seal: Sealer,
    /// For messages from the peer.
    pub open: Opener,
}

/// The side that starts.
pub struct Initiator {
    me: Endpoint,
    trust: Trust,
    noise: Noise,
}

impl Initiator {
    /// Starts a handshake with whoever answers and is allowed by `trust`. `ephemeral` are 32
    /// bytes from a secure generator, never used before. Also gives message 1.
    #[must_use]
    pub fn start(me: &Endpoint, trust: Trust, ephemeral: [u8; 32]) -> (Self, Vec<u8>) {
        let mut noise = Noise::initiator(&me.0.key, Secret::new(ephemeral));
        // Message 1 is a public key; should the machine be unusable, message 2 reports it.
        let message_1 = noise.write(&[], 32).unwrap_or_default();
        (
            Self {
                me: me.clone(),
                trust,
                noise,
            },
            message_1,
        )
    }

    /// Takes message 2 and gives the channel and message 3. `now_s` is the time, UNIX seconds.
    ///
    /// # Errors
    /// See [`HandshakeError`]. The handshake is over; [`Initiator::read_message2`] goes on.
    pub fn handle_message2(
        mut self,
        message: &[u8],
        known: &mut dyn Histories,
        now_s: u64,
    ) -> Result<(Established, Vec<u8>), HandshakeError> {
        self.read_message2(message, known, now_s)
    }

    /// As [`Initiator::handle_message2`], but after an error that
    /// [is recoverable](HandshakeError::is_recoverable) the right message 2 still succeeds: bytes
    /// injected by somebody on the path do not end the handshake.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub fn read_message2(
        &mut self,
        message: &[u8],
        known: &mut dyn Histories,
        now_s: u64,
    ) -> Result<(Established, Vec<u8>), HandshakeError> {
        let payload = self.noise.read(message)?;
        // From here on only the real peer can have sent it: there is no second chance.
        let finished = self.finish(&payload, known, now_s);
        self.noise.discard();
        finished
    }

    fn finish(
        &mut self,
        payload: &[u8],
        known: &mut dyn Histories,
        now_s: u64,
    ) -> Result<(Established, Vec<u8>), HandshakeError> {
        let static_key = self.noise.remote_static()?;
        let peer = Peer::check(payload, &static_key, &self.trust, known, now_s)?;
        let message_3 = self.noise.write(&self.me.0.payload, MESSAGE_3_OVERHEAD)?;
        let keys = self.noise.split()?;
        // The directions are swapped against Noise.
        let (seal, open) = (Sealer::new(&keys.second)?, Opener::new(&keys.first)?);
        Ok((peer.establish(seal, open, known), message_3))
    }
}

/// The side that answers.
pub struct Responder {
    trust: Trust,
    noise: Noise,
}

impl Responder {
    /// Answers message 1; also gives message 2. `ephemeral` are 32 bytes from a secure generator,
    /// never used before.
    ///
    /// # Errors
    /// [`HandshakeError::Length`] and [`HandshakeError::WeakKey`].
    pub fn accept(
        me: &Endpoint,
        trust: Trust,
        ephemeral: [u8; 32],
        message_1: &[u8],
    ) -> Result<(Self, Vec<u8>), HandshakeError> {
        let mut noise = Noise::responder(&me.0.key, Secret::new(ephemeral));
        // A real node sends no payload in message 1 and ignores one.
        noise.read(message_1)?;
        let message_2 = noise.write(&me.0.payload, MESSAGE_2_OVERHEAD)?;
        Ok((Self { trust, noise }, message_2))
    }

    /// Takes message 3 and gives the channel. `now_s` is the time, UNIX seconds.
    ///
    /// # Errors
    /// See [`HandshakeError`]. The handshake is over; [`Responder::read_message3`] goes on.
    pub fn handle_message3(
        mut self,
        message: &[u8],
        known: &mut dyn Histories,
        now_s: u64,
    ) -> Result<Established, HandshakeError> {
        self.read_message3(message, known, now_s)
    }

    /// As [`Responder::handle_message3`], but after an error that
    /// [is recoverable](HandshakeError::is_recoverable) the right message 3 still succeeds, as in
    /// a real node: transport messages may overtake message 3. A message whose first part (the
    /// static key) is right and whose second part is not ends the handshake nevertheless: the
    /// right one then is [`HandshakeError::Forged`] too.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub fn read_message3(
        &mut self,
        message: &[u8],
        known: &mut dyn Histories,
        now_s: u64,
    ) -> Result<Established, HandshakeError> {
        let payload = self.noise.read(message)?;
        let static_key = self.noise.remote_static()?;
        let keys = self.noise.split()?;
        let peer = Peer::check(&payload, &static_key, &self.trust, known, now_s)?;
        // The directions are swapped against Noise.
        let (seal, open) = (Sealer::new(&keys.first)?, Opener::new(&keys.second)?);
        Ok(peer.establish(seal, open, known))
    }
}

/// A peer whose identity payload passed every check.
struct Peer {
    identity: Identity,
    store: bool,
    expires_at: u64,
    credentials: Vec<Vec<u8>>,
}

impl Peer {
    /// The checks of `protocol/13-secure-channel.md` 5, in that order, but storing nothing.
    fn check(
        payload: &[u8],
        static_key: &[u8; 32],
        trust: &Trust,
        known: &dyn Histories,
        now_s: u64,
    ) -> Result<Self, HandshakeError> {
        // Bytes after the payload are ignored, as a real node does.
        let (payload, _): (IdentityPayload, _) = decode_prefix(payload)?;
        if payload.credentials.len() > MAX_CREDENTIALS {
            return Err(HandshakeError::TooManyCredentials);
        }
        let identity = Identity::verify_history(&payload.change_history, None)?;
        let store = compare_with_known(&identity, known)?;
        let attestation =
            purpose_key::verify_for(&payload.purpose_key_attestation, &identity, now_s)?;
        if attestation.public_key != PurposePublicKey::SecureChannel(*static_key) {
            return Err(HandshakeError::OtherStaticKey);
        }
        if !trust.allows(&identity.identifier()) {
            return Err(HandshakeError::NotTrusted(identity.identifier()));
        }
        let credentials = payload.credentials.iter().map(encode).collect();
        Ok(Self {
            identity,
            store,
            expires_at: attestation.expires_at,
            credentials,
        })
    }

    fn establish(self, seal: Sealer, open: Opener, known: &mut dyn Histories) -> Established {
        if self.store {
            known.put(&self.identity.identifier(), self.identity.history());
        }
        Established {
            peer: self.identity.identifier(),
            peer_credentials: self.credentials,
            peer_expires_at: self.expires_at,
            seal,
            open,
        }
    }
}

/// Takes the content of a refresh message ([`super::inner::Inner::Refresh`]) from `peer`: stores
/// its history if it is newer and gives the credentials, encoded and not verified.
///
/// Specification: `protocol/13-secure-channel.md` 8.
///
/// # Errors
/// The content is unusable, or the history is not the peer's, older or conflicting. Such a
/// message is ignored and the channel goes on.
pub fn accept_refresh(
    peer: &Identifier,
    content: &[u8],
    known: &mut dyn Histories,
) -> Result<Vec<Vec<u8>>, HandshakeError> {
    let (content, _): (RefreshCredentials, _) = decode_prefix(content)?;
    if content.credentials.len() > MAX_CREDENTIALS {
        return Err(HandshakeError::TooManyCredentials);
    }
    let identity = Identity::verify_history(&content.change_history, Some(peer))?;
    update(&identity, known)?;
    Ok(content.credentials.iter().map(encode).collect())
}
