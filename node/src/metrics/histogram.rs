//! A histogram with fixed buckets: one writer, read by anyone.

use std::fmt::Write as _;
use std::time::Duration;

use super::Counter;

/// Upper bounds of the buckets, in microseconds, as text in seconds beside it. One more takes the rest.
const BOUNDS: [(u64, &str); BUCKETS - 1] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// How many buckets there are.
pub const BUCKETS: usize = 16;

/// Times seen by one shard.
#[derive(Debug, Default)]
pub(super) struct Timings {
    buckets: [Counter; BUCKETS],
    microseconds: Counter,
}

impl Timings {
    /// Adds one; only the owning shard may call this.
    pub(super) fn note(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < microseconds);
        self.buckets[bucket].add(1);
        self.microseconds.add(microseconds);
    }

    pub(super) fn add_to(&self, sum: &mut Histogram) {
        for (sum, one) in sum.counts.iter_mut().zip(&self.buckets) {
            *sum += one.get();
        }
        let microseconds = self.microseconds.get();
        sum.microseconds = sum.microseconds.wrapping_add(microseconds);
    }
}

/// How many times were seen in each bucket, by all shards since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Times in each bucket, not those of the buckets before.
    pub counts: [u64; BUCKETS],
    /// Sum of all times, in microseconds.
    pub microseconds: u64,
}

impl Histogram {
    /// What was added since an earlier one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(before);
        }
        Self {
            counts,
            microseconds: self.microseconds.wrapping_sub(earlier.microseconds),
        }
    }

    /// How many times there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time that a share `q` (0 to 1) of all did not exceed, in seconds, as Prometheus'
    /// `histogram_quantile` estimates it: evenly spread inside a bucket, and at most the last bound.
    /// None without times.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let wanted = q.clamp(0.0, 1.0) * self.count() as f64;
        let (mut below, mut from) = (0.0, 0.0);
        if self.count() == 0 {
            return None;
        }
        for (bucket, (bound, _)) in BOUNDS.iter().enumerate() {
            let (here, to) = (self.counts[bucket] as f64, *bound as f64 / 1e6);
            if here > 0.0 && below + here >= wanted {
                return Some(from + (to - from) * ((wanted - below) / here).max(0.0));
            }
            (below, from) = (below + here, to);
        }
        Some(from)
    }

    pub(super) fn write(&self, out: &mut String, metric: &str, help: &str) {
        let _ = writeln!(out, "# HELP {metric} {help}\n# TYPE {metric} histogram");
        let mut total = 0;
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (bound, count) in bounds.zip(self.counts) {
            total += count;
            let _ = writeln!(out, "{metric}_bucket{{le=\"{bound}\"}} {total}");
        }
        let seconds = self.microseconds as f64 / 1e6;
        let _ = writeln!(out, "{metric}_sum {seconds}\n{metric}_count {total}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(times_ms: &[u64]) -> Histogram {
        let timings = Timings::default();
        for ms in times_ms {
            timings.note(Duration::from_millis(*ms));
        }
        let mut sum = Histogram::default();
        timings.add_to(&mut sum);
        sum
    }

    #[test]
    fn a_time_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let mut text = String::new();
        seen(&[1, 2, 60_000]).write(&mut text, "t_seconds", "Times.");
        let has = |line: &str| text.lines().any(|other| other == line);
        assert!(has("t_seconds_bucket{le=\"0.0005\"} 0"), "{text}");
        assert!(has("t_seconds_bucket{le=\"0.001\"} 1"), "{text}");
        assert!(has("t_seconds_bucket{le=\"0.0025\"} 2"), "{text}");
        assert!(has("t_seconds_bucket{le=\"10\"} 2"), "{text}");
        assert!(has("t_seconds_bucket{le=\"+Inf\"} 3"), "{text}");
        assert!(
            has("t_seconds_sum 60.003") && has("t_seconds_count 3"),
            "{text}"
        );
    }

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        let before = seen(&[9_000; 50]);
        let mut after = before;
        let more = seen(&[1; 99]);
        for (sum, one) in after.counts.iter_mut().zip(more.counts) {
            *sum += one;
        }
        let added = after.since(&before);
        assert_eq!(added.count(), 99);
        let median = added.quantile(0.5).unwrap();
        assert!(median > 0.0005 && median <= 0.001, "{median}");
        // Beyond the last bound nothing is known.
        assert_eq!(seen(&[60_000]).quantile(0.99), Some(10.0));
    }
}
