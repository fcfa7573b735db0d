//! Requests and responses of one size over many streams: the next request when the response is there (closed
//! loop), or at fixed times whatever happens (open loop).

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{ExactTimers, Figures, Meter, Outcome, Time, Way, latencies, microseconds, tried};
use crate::known;
use crate::poll::{Interest, Poller, Ready, now};
use crate::report::median;
use crate::service::Want;

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// When the response to the last one is there.
    Closed,
    /// So many a second over all streams, evenly. Latency counts from when a request was due, so that one
    /// that waits for others counts as late.
    Open(f64),
}

/// Streams with requests under way.
struct Exchange {
    poller: Poller,
    streams: Vec<Stream>,
    ready: Vec<Ready>,
    scratch: Vec<u8>,
    done: Histogram<u64>,
    closed: bool,
    run: u16,
}

struct Stream {
    socket: TcpStream,
    id: u64,
    /// Length of each request and response.
    size: usize,
    written: u64,
    read: u64,
    asked: u64,
    /// When each request that has no response yet was to be sent.
    due: VecDeque<Instant>,
    waits_to_write: bool,
}

impl Exchange {
    fn open(way: Way<'_>, count: u32, size: usize, closed: bool) -> Outcome<Self> {
        let run = way.service.new_run();
        let poller = tried("epoll", Poller::new())?;
        let mut streams = Vec::new();
        for id in 0..count {
            let socket = way.open(Want::Echo, run, id)?;
            tried("epoll", poller.add(&socket, id.into(), Interest::Read))?;
            streams.push(Stream {
                socket,
                id: id.into(),
                size,
                written: 0,
                read: 0,
                asked: 0,
                due: VecDeque::new(),
                waits_to_write: false,
            });
        }
        Ok(Self {
            poller,
            streams,
            ready: Vec::new(),
            scratch: vec![0; 1 << 16],
            done: latencies(),
            closed,
            run,
        })
    }

    fn run(&mut self, pace: Pace, time: Duration) -> Outcome<()> {
        let began = Instant::now();
        let end = began + time;
        let mut number = 0;
        loop {
            let at = Instant::now();
            let mut left = end.saturating_duration_since(at);
            if let Pace::Open(rate) = pace {
                let due = |number: u64| began + Duration::from_secs_f64(number as f64 / rate);
                // Those that became due while this thread waited too long are late, not gone.
                while due(number) <= at && due(number) < end {
                    let place = number as usize % self.streams.len();
                    self.streams[place].ask(&self.poller, due(number))?;
                    number += 1;
                }
                left = left.min(due(number).saturating_duration_since(at));
            }
            if at >= end {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    fn turn(&mut self, limit: Duration) -> Outcome<()> {
        tried("epoll", self.poller.wait(Some(limit), &mut self.ready))?;
        for event in &self.ready {
            let stream = &mut self.streams[event.token as usize];
            if event.writable && stream.waits_to_write {
                stream.write(&self.poller)?;
            }
            if event.readable {
                let answered = stream.read(&mut self.scratch, &mut self.done)?;
                if self.closed && answered {
                    stream.ask(&self.poller, Instant::now())?;
                }
            }
        }
        Ok(())
    }

    /// Closes the streams, and waits until that has arrived.
    fn close(self, way: Way<'_>) -> Outcome<()> {
        drop(self.streams);
        way.settle(self.run)
    }

    /// Waits until nothing is under way.
    fn finish(&mut self, limit: Duration) -> Outcome<()> {
        let end = Instant::now() + limit;
        self.closed = false;
        while self.streams.iter().any(|stream| !stream.due.is_empty()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("responses are missing after {limit:?}"));
            }
            self.turn(left)?;
        }
        Ok(())
    }
}

impl Stream {
    /// The bytes of request `number`.
    fn request(&self, number: u64) -> &'static [u8] {
        known::bytes(self.id * 7919 + number * 127, self.size)
    }

    fn ask(&mut self, poller: &Poller, due: Instant) -> Outcome<()> {
        self.asked += 1;
        self.due.push_back(due);
        if self.waits_to_write {
            return Ok(());
        }
        self.write(poller)
    }

    fn write(&mut self, poller: &Poller) -> Outcome<()> {
        let size = self.size as u64;
        while self.written < self.asked * size {
            let request = self.request(self.written / size);
            let rest = &request[(self.written % size) as usize..];
            match tried("send", now(self.socket.write(rest)))? {
                Some(n) => self.written += n as u64,
                None => break,
            }
        }
        let waits = self.written < self.asked * size;
        if waits != self.waits_to_write {
            let interest = if waits {
                Interest::Both
            } else {
                Interest::Read
            };
            tried("epoll", poller.change(&self.socket, self.id, interest))?;
            self.waits_to_write = waits;
        }
        Ok(())
    }

    /// Takes what has come; gives whether a response is complete.
    fn read(&mut self, scratch: &mut [u8], done: &mut Histogram<u64>) -> Outcome<bool> {
        let mut came = match tried("receive", now(self.socket.read(scratch)))? {
            None => return Ok(false),
            Some(0) => return Err("a stream was closed".to_owned()),
            Some(n) => &scratch[..n],
        };
        let mut answered = false;
        while !came.is_empty() {
            let size = self.size as u64;
            let (number, offset) = (self.read / size, (self.read % size) as usize);
            let expected = &self.request(number)[offset..];
            let n = expected.len().min(came.len());
            assert!(came[..n] == expected[..n], "another response came");
            came = &came[n..];
            self.read += n as u64;
            if self.read.is_multiple_of(size) {
                let due = self.due.pop_front().expect("a request before its response");
                done.saturating_record(due.elapsed().as_nanos() as u64);
                answered = true;
            }
        }
        Ok(answered)
    }
}

/// Requests and responses of `size` bytes over `count` streams, closed loop.
///
/// # Errors
/// When a stream cannot be opened or ends, or responses are missing.
///
/// # Panics
/// When another response comes than was asked for.
pub fn closed(way: Way<'_>, count: u32, size: usize, time: Time) -> Outcome<Figures> {
    let mut exchange = Exchange::open(way, count, size, true)?;
    for stream in &mut exchange.streams {
        stream.ask(&exchange.poller, Instant::now())?;
    }
    exchange.run(Pace::Closed, time.warm_up)?;
    exchange.done.clear();
    let meter = Meter::start(way.contender);
    exchange.run(Pace::Closed, time.measured)?;
    while exchange.done.is_empty() && meter.waits() {
        exchange.run(Pace::Closed, time.measured)?;
    }
    let count = exchange.done.len() as f64;
    let (took, used) = meter.stop(count, "us each", 1e6);
    if count == 0.0 {
        return Err("no response came".to_owned());
    }
    // What has waited longest would be missing otherwise, and nobody's latency would be above the time measured.
    exchange.finish(culvert_tests::PATIENCE)?;
    let mut figures = vec![
        (PER_SECOND.to_owned(), count / took),
        ("p50 us".to_owned(), microseconds(&exchange.done, 0.5)),
        (P99.to_owned(), microseconds(&exchange.done, 0.99)),
    ];
    figures.extend(used);
    exchange.close(way)?;
    Ok(figures)
}

/// Name of the figure of requests answered in a second.
pub const PER_SECOND: &str = "per second";
/// Name of the figure of the latency that one of a hundred exceeds.
pub const P99: &str = "p99 us";

/// Parts of a measurement in an open loop. A machine that stands still for some milliseconds once in a while, as
/// virtual ones do, would decide by that alone what one of a hundred requests takes in the whole of it.
const PARTS: u32 = 5;

/// Requests and responses of `size` bytes over `count` streams, `rate` of them a second, open loop. `p50` and `p99`
/// are the medians of those of all parts of the measurement, `p99.9` is that of the whole.
///
/// # Errors
/// When a stream cannot be opened or ends, responses are missing, or the rate is no number above 0.
///
/// # Panics
/// When another response comes than was asked for.
pub fn open_loop(way: Way<'_>, count: u32, size: usize, rate: f64, time: Time) -> Outcome<Figures> {
    let _exact = ExactTimers::start()?;
    if !rate.is_finite() || rate <= 0.0 {
        return Err(format!("{rate} requests a second"));
    }
    let mut exchange = Exchange::open(way, count, size, false)?;
    exchange.run(Pace::Open(rate), time.warm_up)?;
    exchange.finish(culvert_tests::PATIENCE)?;
    let (mut whole, mut halves, mut slow) = (latencies(), Vec::new(), Vec::new());
    let meter = Meter::start(way.contender);
    for _ in 0..PARTS {
        exchange.done.clear();
        exchange.run(Pace::Open(rate), time.measured / PARTS)?;
        exchange.finish(culvert_tests::PATIENCE)?;
        halves.push(microseconds(&exchange.done, 0.5));
        slow.push(microseconds(&exchange.done, 0.99));
        whole += &exchange.done;
    }
    let (took, used) = meter.stop(whole.len() as f64, "us each", 1e6);
    let mut figures = vec![
        ("requests a second".to_owned(), whole.len() as f64 / took),
        ("p50 us".to_owned(), median(&halves)),
        (P99.to_owned(), median(&slow)),
        ("p99.9 us".to_owned(), microseconds(&whole, 0.999)),
    ];
    figures.extend(used);
    exchange.close(way)?;
    Ok(figures)
}
