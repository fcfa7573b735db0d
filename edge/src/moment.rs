//! How commands show times to people.

use std::cmp::Ordering;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time in UNIX seconds as people want to know it: when, in UTC as RFC 3339 has it, and how far from
/// now.
#[must_use]
pub fn shown(at_s: u64, now_s: u64) -> String {
    let distance = at_s.abs_diff(now_s);
    let (days, hours) = (distance / 86400, distance % 86400 / 3600);
    let (minutes, seconds) = (distance % 3600 / 60, distance % 60);
    let span = match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    };
    let relation = match at_s.cmp(&now_s) {
        Ordering::Less => format!("{span} ago"),
        Ordering::Equal => "now".to_owned(),
        Ordering::Greater => format!("in {span}"),
    };
    format!("{} ({relation})", of_ms(at_s.saturating_mul(1000)))
}

/// A time in UNIX milliseconds, in UTC as RFC 3339 has it; the number where that has no such time.
#[must_use]
pub fn of_ms(at_ms: u64) -> String {
    let nanoseconds = i128::from(at_ms) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok();
    let text = at.and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_else(|| at_ms.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(shown(1000, 1000), "1970-01-01T00:16:40Z (now)");
        assert_eq!(shown(1000, 1061), "1970-01-01T00:16:40Z (1 min 1 s ago)");
        assert_eq!(shown(90_000, 0), "1970-01-02T01:00:00Z (in 1 d 1 h)");
        assert_eq!(of_ms(1_760_000_000_120), "2025-10-09T08:53:20.12Z");
        assert_eq!(of_ms(u64::MAX), u64::MAX.to_string());
    }
}
