//! Loads: each puts one on a contender for some time and gives figures.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use culvert_tests::PATIENCE;
use culvert_tests::net::try_connect;
use hdrhistogram::Histogram;

use crate::contender::Contender;
use crate::service::{Service, Want};
use crate::usage::{self, Role, Usage};

pub mod bulk;
pub mod connects;
pub mod exchange;
pub mod messages;

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

/// Has the waits of this thread end when they should, instead of up to 50 us later, until it is dropped: threads and
/// programs that are started inherit this.
struct ExactTimers(u64);

impl ExactTimers {
    fn start() -> Outcome<Self> {
        let before = rustix::thread::current_timer_slack().map_err(io::Error::from);
        let before = tried("look at a timer", before)?;
        set_timer_slack(1)?;
        Ok(Self(before))
    }
}

impl Drop for ExactTimers {
    fn drop(&mut self) {
        let _ = set_timer_slack(self.0);
    }
}

fn set_timer_slack(nanoseconds: u64) -> Outcome<()> {
    let set = rustix::thread::set_current_timer_slack(NonZeroU64::new(nanoseconds));
    tried("set a timer up", set.map_err(io::Error::from))
}

/// Says what was tried when it did not work.
fn tried<T>(what: &str, result: io::Result<T>) -> Outcome<T> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// A contender, and the service behind it.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// The contender.
    pub contender: &'a Contender,
    /// What it leads to.
    pub service: &'a Service,
}

impl Way<'_> {
    /// Opens stream `id` of measurement `run`, for polling.
    fn open(self, want: Want, run: u16, id: u32) -> Outcome<TcpStream> {
        let open = || {
            let mut stream = try_connect(self.contender.address, PATIENCE)?;
            stream.write_all(&want.header(run, id))?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        tried("open a stream", open())
    }

    /// Waits until the streams of a measurement have been closed at the service and bytes come through
    /// again: what is still under way in between must not disturb the next measurement. Some peers never
    /// close a few of a thousand streams: whatever is measured after that needs fresh ones.
    pub(crate) fn settle(self, run: u16) -> Outcome<()> {
        self.service.settle(run);
        let again = self.contender.echoes(b"is it over");
        again.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => format!("nothing came through for {PATIENCE:?}"),
            _ => format!("nothing comes through any more: {error}"),
        })
    }
}

/// Notes when measuring began, and what had been used by then.
pub(crate) struct Meter<'a> {
    processes: &'a [Role],
    middle: Option<&'static str>,
    began: Instant,
    used: Usage,
}

impl<'a> Meter<'a> {
    /// Begins measuring a contender.
    pub(crate) fn start(contender: &'a Contender) -> Self {
        Self::of(&contender.processes, contender.kind.middle())
    }

    /// Begins measuring processes, of which `middle` has a figure of its own.
    pub(crate) fn of(processes: &'a [Role], middle: Option<&'static str>) -> Self {
        usage::forget_peaks(processes);
        Self {
            processes,
            middle,
            used: Usage::now(processes),
            began: Instant::now(),
        }
    }

    /// Whether measuring may go on because nothing has been done yet: a busy machine can stand still for as long
    /// as a short measurement.
    pub(crate) fn waits(&self) -> bool {
        self.began.elapsed() < PATIENCE
    }

    /// Ends measuring, and gives how many seconds that took. `count` is how much of something named `per`
    /// was done; the figures are what the processes used for each, `scale` to the second, and their memory.
    pub(crate) fn stop(self, count: f64, per: &str, scale: f64) -> (f64, Figures) {
        let took = self.began.elapsed().as_secs_f64();
        let used = Usage::now(self.processes).since(&self.used);
        let mut figures = Figures::new();
        if used.is_empty() || count <= 0.0 {
            return (took, figures);
        }
        let all: f64 = used.iter().map(|(_, used)| used.as_secs_f64()).sum();
        figures.push((cpu(per), all * scale / count));
        for (role, used) in used.iter().filter(|_| used.len() > 1) {
            let figure = used.as_secs_f64() * scale / count;
            if self.middle == Some(role) {
                figures.push((format!("{}, middle", cpu(per)), figure));
            } else {
                figures.push((format!("{DETAIL}{}, {role}", cpu(per)), figure));
            }
        }
        let memory = usage::peak(self.processes) as f64 / MIB;
        figures.push((format!("{DETAIL}peak memory MiB"), memory));
        (took, figures)
    }
}

/// Name of the figure of processor time of all processes, for each of something.
pub fn cpu(per: &str) -> String {
    format!("CPU {per}")
}

/// Bytes in a MiB.
pub(crate) const MIB: f64 = (1 << 20) as f64;

/// In front of figures that only the JSON has.
pub const DETAIL: &str = "detail: ";

/// Latencies in nanoseconds, from 1 us to a minute with three digits.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1000, 60_000_000_000, 3).expect("valid bounds")
}

fn microseconds(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}
