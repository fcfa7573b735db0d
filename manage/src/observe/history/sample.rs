//! What one sample holds, and quantiles of how long streams took to open.

use culvert_node::metrics::Snapshot;
use serde_json::{Map, Value};

use super::REASONS;

/// Gauges by the names that they have in an answer.
pub(super) const GAUGES: [(&str, fn(&Snapshot) -> u64); 6] = [
    ("links", |now| now.links),
    ("channels", |now| now.channels),
    ("streams", |now| now.streams),
    ("forwarders", |now| now.forwarders),
    ("direct-paths", |now| now.direct_paths),
    ("memory-bytes", |now| now.memory),
];

/// Counters by the names that they have in an answer.
pub(super) const COUNTERS: [(&str, fn(&Snapshot) -> u64); 7] = [
    ("bytes-in", |now| now.bytes_in),
    ("bytes-out", |now| now.bytes_out),
    ("messages", |now| now.messages_in),
    ("links-opened", |now| now.links_opened),
    ("channels-opened", |now| now.channels_opened),
    ("streams-opened", |now| now.streams_opened),
    ("waits", |now| now.waits),
];

/// The counters of a node at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) gauges: [u64; GAUGES.len()],
    pub(super) counters: [u64; COUNTERS.len()],
    /// Refusals, then ends, in the order of [`REASONS`].
    pub(super) reasons: Vec<u64>,
    /// Streams that were opened, by bucket of the time it took.
    pub(super) opened: Vec<u64>,
}

impl From<&Snapshot> for Sample {
    fn from(now: &Snapshot) -> Self {
        let reasons = now.refused.iter().chain(&now.closed).copied().collect();
        Self {
            // A gauge is a sum over shards that are read one after the other: what moves between
            // them meanwhile can make it less than nothing.
            gauges: GAUGES.map(|(_, read)| match read(now) {
                n if n > i64::MAX as u64 => 0,
                n => n,
            }),
            counters: COUNTERS.map(|(_, read)| read(now)),
            reasons,
            opened: Vec::new(),
        }
    }
}

impl Sample {
    /// It as JSON: what is now, and what was counted since the start.
    pub(super) fn json(&self) -> Value {
        let mut all = Map::new();
        let gauges = GAUGES.iter().zip(self.gauges);
        all.extend(gauges.map(|((name, _), n)| ((*name).to_owned(), n.into())));
        let counters = COUNTERS.iter().zip(self.counters);
        all.extend(counters.map(|((name, _), n)| ((*name).to_owned(), n.into())));
        for ((table, reason), n) in REASONS.iter().zip(&self.reasons) {
            let table = all
                .entry(*table)
                .or_insert_with(|| Value::Object(Map::new()));
            table[*reason] = (*n).into();
        }
        Value::Object(all)
    }
}

/// How much a counter grew. One that is smaller than before began anew.
pub(super) fn growth(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

/// The value below which a share `q` of what fell into the buckets lies, as
/// Prometheus' `histogram_quantile` has it: spread evenly within a bucket, and the last bound for
/// what is above all of them. `bounds` are upper bounds; `counts` has one more, for the rest.
pub(super) fn quantile(q: f64, bounds: &[f64], counts: &[u64]) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = q * all as f64;
    let mut below = 0.0;
    let mut lower = 0.0;
    for (bound, count) in bounds.iter().zip(counts) {
        let count = *count as f64;
        if count > 0.0 && below + count >= rank {
            return Some(lower + (bound - lower) * ((rank - below) / count));
        }
        below += count;
        lower = *bound;
    }
    bounds.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_spread_within_their_bucket() {
        let bounds = [0.001, 0.01, 0.1];
        assert_eq!(quantile(0.5, &bounds, &[0, 0, 0, 0]), None);
        assert_eq!(quantile(0.5, &bounds, &[10, 0, 0, 0]), Some(0.0005));
        let p99 = quantile(0.99, &bounds, &[0, 100, 0, 0]).expect("some");
        assert!((p99 - 0.00991).abs() < 1e-9, "{p99}");
        // Half are in the first bucket: the median is its upper bound.
        assert_eq!(quantile(0.5, &bounds, &[5, 0, 5, 0]), Some(0.001));
        // Nothing is known above the last bound but that it is above.
        assert_eq!(quantile(0.99, &bounds, &[1, 0, 0, 99]), Some(0.1));
    }

    #[test]
    fn a_counter_that_began_anew_grew_by_what_it_has() {
        assert_eq!(growth(10, 15), 5);
        assert_eq!(growth(10, 10), 0);
        assert_eq!(growth(10, 3), 3);
    }

    #[test]
    fn a_gauge_below_nothing_is_nothing() {
        let now = Snapshot {
            links: u64::MAX,
            streams: 3,
            ..Snapshot::default()
        };
        let sample = Sample::from(&now).json();
        assert_eq!(sample["links"], 0);
        assert_eq!(sample["streams"], 3);
    }
}
