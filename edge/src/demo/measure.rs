//! How fast the whole way is.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::http::Client;
use super::stop::Stop;

/// Requests whose time counts, after [`WARM_UP`] others.
const REQUESTS: usize = 500;
const WARM_UP: usize = 50;
/// Bytes of the bulk transfer.
const BULK: u64 = 256 << 20;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Times of small requests, one after the other on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// How many.
    pub requests: usize,
    /// Half of them took less.
    pub median: Duration,
    /// Of a hundred, 99 took less.
    pub p99: Duration,
}

/// A large answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throughput {
    /// Its length.
    pub bytes: u64,
    /// From the request to its last byte.
    pub time: Duration,
}

impl Throughput {
    /// Megabytes (10^6 bytes) per second.
    #[must_use]
    pub fn mb_per_s(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.time.as_secs_f64()
    }
}

/// Times requests for `/`.
///
/// # Errors
///
/// When an answer fails, or is not such that its end can be told.
pub fn latency(address: SocketAddr, stop: &Stop) -> io::Result<Latency> {
    let mut client = Client::connect(address, PATIENCE)?;
    let mut times = Vec::with_capacity(REQUESTS);
    for number in 0..WARM_UP + REQUESTS {
        let start = Instant::now();
        client.get("/", || !stop.requested())?;
        if stop.requested() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if number >= WARM_UP {
            times.push(start.elapsed());
        }
    }
    Ok(summary(times))
}

fn summary(mut times: Vec<Duration>) -> Latency {
    times.sort_unstable();
    let at = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(index).copied().unwrap_or_default()
    };
    Latency {
        requests: times.len(),
        median: at(50),
        p99: at(99),
    }
}

/// Times a large answer of the built-in service.
///
/// # Errors
///
/// When it fails.
pub fn throughput(address: SocketAddr, stop: &Stop) -> io::Result<Throughput> {
    let mut client = Client::connect(address, PATIENCE)?;
    // Opens the stream before the clock starts.
    client.get("/", || true)?;
    let start = Instant::now();
    let bytes = client.get(&format!("/bytes/{BULK}"), || !stop.requested())?;
    Ok(Throughput {
        bytes,
        time: start.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let expected = Latency {
            requests: 200,
            median: Duration::from_millis(100),
            p99: Duration::from_millis(198),
        };
        assert_eq!(summary(times), expected);
        assert_eq!(summary(Vec::new()).median, Duration::ZERO);
    }
}
