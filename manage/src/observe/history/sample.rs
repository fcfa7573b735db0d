//! What one sample holds.

use culvert_node::metrics::{Histogram, Snapshot};
use serde_json::{Map, Value};

use super::REASONS;

/// Reads one figure.
type Read = fn(&Snapshot) -> u64;

/// Gauges by the names that they have in an answer.
pub(super) const GAUGES: [(&str, Read); 6] = [
    ("links", |now| now.links),
    ("channels", |now| now.channels),
    ("streams", |now| now.streams),
    ("forwarders", |now| now.forwarders),
    ("direct-paths", |now| now.direct_paths),
    ("memory-bytes", |now| now.memory),
];

/// Counters by the names that they have in an answer.
pub(super) const COUNTERS: [(&str, Read); 7] = [
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
    /// How long streams took to open.
    pub(super) opening: Histogram,
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
            opening: now.opening,
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

#[cfg(test)]
mod tests {
    use super::*;

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
