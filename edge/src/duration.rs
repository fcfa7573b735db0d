//! `10m` on the command line.

use std::time::Duration;

/// Reads a number with a unit: `ms`, `s`, `m`, `h` or `d`; seconds without one.
///
/// # Errors
///
/// What is expected, for people.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        _ => return Err("expected a number and s, m, h or d, for example 10m".into()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a number and s, m, h or d, for example 10m")?;
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .ok_or_else(|| "that is too long".into())
}

/// The same, but at least a second.
///
/// # Errors
///
/// What is expected, for people.
pub fn parse_whole(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        short if short < Duration::from_secs(1) => Err("at least a second is needed".into()),
        enough => Ok(enough),
    }
}

/// A number of seconds for people, roughly.
#[must_use]
pub fn roughly(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad() {
        for (text, seconds) in [
            ("90", 90),
            ("10s", 10),
            ("5m", 300),
            ("1h", 3600),
            ("2d", 172_800),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        for text in [
            "",
            "s",
            "-1s",
            "1.5h",
            "10 m",
            "1w",
            "99999999999999999999",
            "18446744073709551d",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse_whole("999ms").is_err() && parse_whole("0").is_err());
        assert_eq!(
            (roughly(600), roughly(30 * 86_400)),
            ("10 min".into(), "30 days".into())
        );
    }
}
