//! Counters: one set per shard, written by that shard only and summed when read.
//!
//! Names and units follow Prometheus' conventions; the tests have `promtool` check them.

mod histogram;
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use culvert_proto::policy::ResourceType;

use crate::reason::{CloseReason, Refusal};

use histogram::Timings;
pub use histogram::{BUCKETS, Histogram};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $kind:literal, $metric:literal, $help:literal;)*) => {
        /// The counters of one shard. Only its thread writes them, so a write is a load and a
        /// store; anyone may read.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            refused: Row<{ Refusal::ALL.len() }>,
            closed: Row<{ CloseReason::ALL.len() }>,
            denied: Row<{ KINDS.len() }>,
            opening: Timings,
        }

        /// Sums of the counters of all shards.
        #[derive(Clone, Debug, Default)]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
            /// Refusals by reason, in the order of [`Refusal::ALL`].
            pub refused: Vec<u64>,
            /// Ends of links, channels and streams by reason, in the order of [`CloseReason::ALL`].
            pub closed: Vec<u64>,
            /// Denials by policies, in the order of [`KINDS`].
            pub denied: Vec<u64>,
            /// How long streams took to open.
            pub opening: Histogram,
        }

        impl Snapshot {
            /// Sums the counters of several shards.
            pub fn sum(shards: &[Arc<Counters>]) -> Self {
                let mut out = Self {
                    refused: vec![0; Refusal::ALL.len()],
                    closed: vec![0; CloseReason::ALL.len()],
                    denied: vec![0; KINDS.len()],
                    ..Self::default()
                };
                for shard in shards {
                    $(out.$name = out.$name.wrapping_add(shard.$name.get());)*
                    for (sum, one) in out.refused.iter_mut().zip(&shard.refused.0) {
                        *sum += one.get();
                    }
                    for (sum, one) in out.closed.iter_mut().zip(&shard.closed.0) {
                        *sum += one.get();
                    }
                    for (sum, one) in out.denied.iter_mut().zip(&shard.denied.0) {
                        *sum += one.get();
                    }
                    shard.opening.add_to(&mut out.opening);
                }
                out
            }

            /// The text format Prometheus scrapes, with what it wants to know about the process.
            pub fn prometheus(&self) -> String {
                use std::fmt::Write as _;
                let mut out = String::new();
                $(
                    let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {}\n{} {}",
                        $metric, $help, $metric, $kind, $metric, self.$name as i64);
                )*
                let tables = [
                    ("culvert_refused_total", "reason", "Messages, registrations and connections refused.",
                        Refusal::ALL.iter().map(|r| r.name()).zip(&self.refused).collect::<Vec<_>>()),
                    ("culvert_closed_total", "reason", "Links, channels and streams ended.",
                        CloseReason::ALL.iter().map(|r| r.name()).zip(&self.closed).collect()),
                    ("culvert_policy_denials_total", "resource_type", "Uses of resources denied.",
                        KINDS.into_iter().zip(&self.denied).collect()),
                ];
                for (metric, label, help, rows) in tables {
                    let _ = writeln!(out, "# HELP {metric} {help}\n# TYPE {metric} counter");
                    for (value, count) in rows {
                        let _ = writeln!(out, "{metric}{{{label}=\"{value}\"}} {count}");
                    }
                }
                self.opening.write(&mut out, "culvert_stream_open_seconds",
                    "Time from a client's connection, or a stream's first message, until it was open.");
                process::write(&mut out);
                out
            }
        }
    };
}

counters! {
    /// Links open now.
    links: "gauge", "culvert_links", "Transport links open now.";
    /// Links opened so far.
    links_opened: "counter", "culvert_links_opened_total", "Transport links opened.";
    /// Links moved to the shard of their forwarder.
    links_moved: "counter", "culvert_links_moved_total", "Links moved to another shard.";
    /// Secure channels up now.
    channels: "gauge", "culvert_channels", "Secure channels up now.";
    /// Secure channels that came up so far.
    channels_opened: "counter", "culvert_channels_opened_total", "Secure channels that came up.";
    /// Portal streams open now.
    streams: "gauge", "culvert_streams", "Portal streams open now.";
    /// Portal streams opened so far.
    streams_opened: "counter", "culvert_streams_opened_total", "Portal streams opened.";
    /// Forwarders registered now.
    forwarders: "gauge", "culvert_forwarders", "Forwarders registered now.";
    /// Messages received from links.
    messages_in: "counter", "culvert_messages_total", "Messages received from links.";
    /// Bytes received from links.
    bytes_in: "counter", "culvert_bytes_total", "Bytes received from links.";
    /// Bytes written to links.
    bytes_out: "counter", "culvert_sent_bytes_total", "Bytes written to links.";
    /// Vectored writes to links.
    writes: "counter", "culvert_writes_total", "Vectored writes to links.";
    /// Messages handed to another shard.
    handoffs: "counter", "culvert_handoffs_total", "Messages handed to another shard.";
    /// Waits for a destination that was full.
    waits: "counter", "culvert_waits_total", "Waits for a destination that was full.";
    /// Datagrams received.
    datagrams_in: "counter", "culvert_datagrams_total", "UDP datagrams received.";
    /// Datagrams sent.
    datagrams_out: "counter", "culvert_sent_datagrams_total", "UDP datagrams sent.";
    /// Messages over UDP of which parts never came.
    udp_incomplete: "counter", "culvert_udp_incomplete_total", "Messages over UDP given up for missing parts.";
    /// Direct paths open now.
    direct_paths: "gauge", "culvert_direct_paths", "Direct paths to other nodes open now.";
    /// Direct paths opened so far.
    direct_opened: "counter", "culvert_direct_paths_opened_total", "Direct paths to other nodes opened.";
    /// Segments sent again.
    segments_again: "counter", "culvert_segments_again_total", "Segments of direct paths sent again after a loss.";
    /// Answers of the rendezvous service.
    rendezvous_answers: "counter", "culvert_rendezvous_answers_total", "Answers of the rendezvous service.";
    /// Requests that an authority carried out.
    authority_answers: "counter", "culvert_authority_requests_total", "Requests that the authority carried out.";
    /// Bytes of buffers in use, or kept for use soon.
    memory: "gauge", "culvert_memory_bytes", "Bytes of message buffers held.";
    /// Payload bytes copied because a message had no room for its new head.
    copied: "counter", "culvert_copied_bytes_total", "Payload bytes copied to make room.";
}

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owning shard may call this.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` away; only the owning shard may call this.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// Makes it `n`; only the owning shard may call this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Types of resources that denials are counted by. The last stands for all others: names that somebody
/// else may choose make no new time series.
pub const KINDS: [&str; 5] = [
    "tcp-inlet",
    "tcp-outlet",
    "relay",
    "secure-channel-listener",
    "other",
];

/// Numbers by reason.
#[derive(Debug)]
struct Row<const N: usize>([Counter; N]);

impl<const N: usize> Default for Row<N> {
    fn default() -> Self {
        Self(core::array::from_fn(|_| Counter::default()))
    }
}

impl Counters {
    /// Counts a refusal.
    pub fn refuse(&self, reason: Refusal) {
        self.refused.0[reason as usize].add(1);
    }

    /// Counts a denial.
    pub(crate) fn deny(&self, kind: &ResourceType) {
        let place = KINDS.iter().position(|name| *name == kind.as_str());
        self.denied.0[place.unwrap_or(KINDS.len() - 1)].add(1);
    }

    /// Notes how long a stream took to open.
    pub(crate) fn opened_after(&self, time: Duration) {
        self.opening.note(time);
    }

    /// Counts an end.
    pub fn close(&self, reason: CloseReason) {
        self.closed.0[reason as usize].add(1);
    }
}
