//! Loads: each puts one on a contender for some time and gives figures.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use culvert_tests::PATIENCE;
use culvert_tests::net::try_connect;
use hdrhistogram::Histogram;

use crate::contender::Contender;
use crate::service::Want;
use crate::usage::{Usage, peak};

pub mod bulk;
pub mod connects;
pub mod exchange;

/// Named figures of one measurement.
pub type Figures = Vec<(String, f64)>;

/// Why there are no figures. Bytes that are wrong are no such reason: they end the run.
pub type Outcome<T> = Result<T, String>;

/// How long a load is put on.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// Before measuring.
    pub warm_up: Duration,
    /// Measuring.
    pub measured: Duration,
}

/// Says what was tried when it did not work.
fn tried<T>(what: &str, result: io::Result<T>) -> Outcome<T> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// Opens stream `id` to the service behind a contender, for sockets that are polled.
fn open(contender: &Contender, want: Want, id: u32) -> Outcome<TcpStream> {
    let open = || {
        let mut stream = try_connect(contender.address, PATIENCE)?;
        stream.write_all(&want.header(id))?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    tried("open a stream", open())
}

/// Notes when measuring began, and what had been used by then.
pub(crate) struct Meter<'a> {
    contender: &'a Contender,
    began: Instant,
    used: Usage,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(contender: &'a Contender) -> Self {
        contender.forget_peaks();
        Self {
            contender,
            used: contender.usage(),
            began: Instant::now(),
        }
    }

    /// Ends measuring. `count` is how much of something named `per` was done; the figures are what the
    /// processes used for each, in `scale` to the second, and their memory.
    pub(crate) fn stop(self, count: f64, per: &str, scale: f64) -> (f64, Figures) {
        let took = self.began.elapsed().as_secs_f64();
        let used = self.contender.usage().since(&self.used);
        let kind = self.contender.kind;
        let mut figures = Figures::new();
        if used.is_empty() || count <= 0.0 {
            return (took, figures);
        }
        let all: f64 = used.iter().map(|(_, used)| used.as_secs_f64()).sum();
        figures.push((format!("CPU {per}, all"), all * scale / count));
        for (role, used) in &used {
            let figure = used.as_secs_f64() * scale / count;
            if kind.middle() == Some(role) {
                figures.push((format!("CPU {per}, middle"), figure));
            } else {
                figures.push((format!("{DETAIL}CPU {per}, {role}"), figure));
            }
        }
        let memory = peak(&self.contender.processes) as f64 / f64::from(1 << 20);
        figures.push((format!("{DETAIL}peak memory MiB"), memory));
        (took, figures)
    }
}

/// In front of figures that only the JSON has.
pub const DETAIL: &str = "detail: ";

/// Latencies in nanoseconds, from 1 us to a minute with three digits.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1000, 60_000_000_000, 3).expect("valid bounds")
}

fn microseconds(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}
