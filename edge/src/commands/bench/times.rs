//! Many times in little room.

use std::time::Duration;

/// Steps that each power of two is split into: times are known to 3 %.
const STEPS: u64 = 32;
/// Powers of two: of nanoseconds, up to 18 minutes.
const POWERS: u64 = 41;

/// A histogram of times.
#[derive(Clone, Debug)]
pub(super) struct Times {
    counts: Vec<u64>,
    most: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            counts: vec![0; (STEPS * POWERS) as usize],
            most: Duration::ZERO,
        }
    }
}

impl Times {
    pub(super) fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let last = self.counts.len() - 1;
        let place = usize::try_from(place(nanoseconds))
            .unwrap_or(last)
            .min(last);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.most = self.most.max(time);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.most = self.most.max(other.most);
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn most(&self) -> Duration {
        self.most
    }

    /// The time that this many of a thousand did not take longer than.
    pub(super) fn within(&self, thousandths: u64) -> Duration {
        let wanted = (self.count() * thousandths).div_ceil(1000);
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return Duration::from_nanos(largest(place as u64)).min(self.most);
            }
        }
        self.most
    }
}

/// Where a time is counted: exactly below [`STEPS`], then with fewer and fewer digits.
fn place(nanoseconds: u64) -> u64 {
    if nanoseconds < STEPS {
        return nanoseconds;
    }
    let power = nanoseconds.ilog2() - STEPS.ilog2();
    STEPS * u64::from(power) + (nanoseconds >> power)
}

/// The longest time that is counted there.
fn largest(place: u64) -> u64 {
    if place < 2 * STEPS {
        return place;
    }
    let power = place / STEPS - 1;
    ((place - STEPS * power + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_order_and_close() {
        let mut before = 0;
        for nanoseconds in (0..5000).chain([1 << 20, (1 << 30) + 7, 1 << 40]) {
            let place = place(nanoseconds);
            assert!(place >= before && place < STEPS * POWERS, "{nanoseconds}");
            let largest = largest(place);
            assert!(largest >= nanoseconds, "{nanoseconds}");
            assert!(
                largest - nanoseconds <= nanoseconds / STEPS,
                "{nanoseconds}: {largest}"
            );
            before = place;
        }
    }

    #[test]
    fn parts_of_all() {
        let mut times = Times::default();
        assert_eq!((times.within(500), times.count()), (Duration::ZERO, 0));
        for microseconds in 1..=1000 {
            times.add(Duration::from_micros(microseconds));
        }
        let mut twice = times.clone();
        twice.merge(&times);
        assert_eq!(
            (twice.count(), twice.most()),
            (2000, Duration::from_millis(1))
        );
        for (thousandths, exact) in [(500, 500), (990, 990), (1000, 1000)] {
            let found = twice.within(thousandths).as_micros();
            assert!(
                (exact..=exact + exact / 16).contains(&found),
                "{thousandths}: {found}"
            );
        }
    }
}
