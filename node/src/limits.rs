//! Limits of a node: what keeps its memory bounded and slow peers harmless.

/// Limits, each with a default that suits a relay on a small machine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Links open at once, on all shards.
    pub links: u64,
    /// Bytes of messages that are received, queued or waited for, on all shards together. Each shard
    /// has an equal part; above it, what holds most is closed.
    pub memory: usize,
    /// A frame that has begun, and the version byte of a new link, must be complete within this
    /// many milliseconds.
    pub frame_timeout_ms: u64,
    /// A destination whose queue stays full for this many milliseconds, while it takes less than
    /// a queue's worth, is closed: it holds up those who send to it.
    pub stall_timeout_ms: u64,
    /// Handshakes under way at once on one shard; above this the oldest is given up.
    pub handshakes: usize,
    /// The same for one link that this node accepted.
    pub handshakes_per_link: usize,
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
            links: 100_000,
            memory: 1 << 30,
            frame_timeout_ms: 30_000,
            stall_timeout_ms: 10_000,
            handshakes: 1024,
            handshakes_per_link: 64,
            handshake_timeout_ms: 10_000,
            streams_per_shard: 100_000,
            dead_after_ms: 5_000,
        }
    }
}
