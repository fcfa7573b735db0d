//! Limits of a node: what keeps its memory bounded and slow peers harmless.

/// Limits, each with a default that suits a relay on a small machine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Links open at once on one shard.
    pub links_per_shard: u64,
    /// A frame that has begun, and the version byte of a new link, must be complete within this
    /// many milliseconds.
    pub frame_timeout_ms: u64,
    /// A destination that takes nothing for this many milliseconds while its queue is full is
    /// closed.
    pub stall_timeout_ms: u64,
    /// Handshakes under way at once on one shard.
    pub handshakes: usize,
    /// A handshake must be complete within this many milliseconds.
    pub handshake_timeout_ms: u64,
    /// Portal streams open at once on one shard.
    pub streams_per_shard: u64,
    /// A peer that is silent for this many milliseconds while streams are open is given up.
    pub dead_after_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            links_per_shard: 100_000,
            frame_timeout_ms: 30_000,
            stall_timeout_ms: 30_000,
            handshakes: 1024,
            handshake_timeout_ms: 10_000,
            streams_per_shard: 100_000,
            dead_after_ms: 5_000,
        }
    }
}
