//! Reading a process's `/metrics`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::{connect, eventually};

/// The counters with a label `reason`: of things refused, and of links, channels and streams ended.
const COUNTERS: [&str; 2] = ["culvert_refused_total", "culvert_closed_total"];

/// All samples of one scrape, by name with labels, as in `culvert_refused_total{reason="x"}`.
#[derive(Clone, Debug, Default)]
pub struct Samples(BTreeMap<String, f64>);

/// Scrapes `http://address/metrics`.
///
/// # Panics
/// When there is no answer or it is not a 200.
pub fn scrape(address: SocketAddr) -> Samples {
    Samples::parse(&text(address))
}

/// The text at `http://address/metrics`.
///
/// # Panics
/// When there is no answer or it is not a 200.
pub fn text(address: SocketAddr) -> String {
    let text = get(address, "/metrics");
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
    assert!(head.starts_with("HTTP/1.1 200"), "metrics: {head}");
    body.to_owned()
}

/// One plain HTTP request; returns head and body as text.
///
/// # Panics
/// When there is no answer.
pub fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = connect(address);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("send a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read an answer");
    text
}

/// Waits until the counter of `reason` has grown by at least `by` since `before`.
///
/// # Panics
/// When it has not after `limit`.
pub fn await_count(
    address: SocketAddr,
    before: &Samples,
    reason: &str,
    by: f64,
    limit: Duration,
) -> Samples {
    let (now, _) = eventually(&format!("counter of `{reason}`"), limit, || {
        let now = scrape(address);
        if now.count(reason) >= before.count(reason) + by {
            Ok(now)
        } else {
            Err(now.reasons())
        }
    });
    now
}

impl Samples {
    fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        Self(samples.collect())
    }

    /// A sample by its full name; 0 when it does not exist.
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Whether a metric of this name exists, with or without labels.
    pub fn has(&self, name: &str) -> bool {
        self.0.keys().any(|key| key.split('{').next() == Some(name))
    }

    /// The sum over all labels of one metric.
    pub fn sum(&self, name: &str) -> f64 {
        let same = self
            .0
            .iter()
            .filter(|(key, _)| key.split('{').next() == Some(name));
        same.map(|(_, value)| value).sum()
    }

    /// How often something was refused, or a link, channel or stream ended, for a reason.
    pub fn count(&self, reason: &str) -> f64 {
        COUNTERS
            .iter()
            .map(|counter| self.get(&format!("{counter}{{reason=\"{reason}\"}}")))
            .sum()
    }

    /// All reasons with a count above zero, with their counter.
    pub fn reasons(&self) -> Vec<(String, f64)> {
        let counted = self.0.iter().filter(|(key, value)| {
            **value > 0.0 && COUNTERS.iter().any(|counter| key.starts_with(counter))
        });
        counted.map(|(key, value)| (key.clone(), *value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn samples_are_read() {
        let text = "# TYPE culvert_links gauge\nculvert_links 3\n\
                    culvert_refused_total{reason=\"unknown_address\"} 2\n\
                    culvert_closed_total{reason=\"frame_too_long\"} 1\n\
                    culvert_closed_total{reason=\"io\"} 0\n";
        let samples = Samples::parse(text);
        assert_eq!(samples.get("culvert_links"), 3.0);
        assert_eq!(samples.count("unknown_address"), 2.0);
        assert_eq!(samples.count("frame_too_long"), 1.0);
        assert_eq!(samples.count("unheard_of"), 0.0);
        assert_eq!(samples.sum("culvert_refused_total"), 2.0);
        assert!(samples.has("culvert_closed_total") && !samples.has("culvert"));
        assert_eq!(samples.reasons().len(), 2);
    }
}
