//! What the operator chooses about streams.

use super::{Extension, Features, MAX_WINDOW};
use crate::limits::PORTAL_PAYLOAD;

/// What the operator may choose about streams; the same for all of one inlet or outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Payload bytes a Culvert peer may have on the way or in our hands, per stream. Values above
    /// [`MAX_WINDOW`] count as that; zero turns the extension off.
    pub window: u32,
    /// How long an inlet waits for the Pong, in milliseconds; zero waits for ever, as Ockam does.
    pub pong_timeout_ms: u64,
    /// Whether to offer and accept the extension at all.
    pub extensions: bool,
    /// Most data bytes put into one Payload, 1 to [`PORTAL_PAYLOAD`]. Receiving has no such limit.
    pub max_payload: usize,
    /// Inlet: send data without waiting for a Pong (`protocol/03-portals.md` 6). The outlet must
    /// be configured likewise, see [`SkipHandshake`](super::SkipHandshake). There is no Pong to
    /// agree in, so the extension is not used.
    pub skip_handshake: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window: 1 << 20,
            pong_timeout_ms: 30_000,
            extensions: true,
            max_payload: PORTAL_PAYLOAD,
            skip_handshake: false,
        }
    }
}

impl Config {
    /// What our Ping offers, and our Pong agrees to at most.
    pub(super) fn offer(&self) -> Option<Extension> {
        (self.extensions && self.window > 0).then_some(Extension {
            features: Features::ALL,
            window: self.window.min(MAX_WINDOW),
        })
    }
}
