//! Bulk transfer, checked byte by byte.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Figures, Meter, Outcome, Time, Way, tried};
use crate::known::{CHUNK, Cursor};
use crate::poll::{Interest, Poller, Ready, now};
use crate::service::{Service, Want};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the service to the client.
    Down,
    /// From the client to the service.
    Up,
    /// Both at once.
    Both,
}

impl Direction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Down, Self::Up, Self::Both];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
            Self::Both => "both ways",
        }
    }
}

/// Streams that move bytes as fast as they go.
pub struct Transfer {
    poller: Poller,
    streams: Vec<Stream>,
    ready: Vec<Ready>,
    scratch: Vec<u8>,
    run: u16,
    /// Bytes that came, all of them right.
    pub received: u64,
}

struct Stream {
    socket: TcpStream,
    want: Want,
    incoming: Cursor,
    outgoing: Cursor,
}

impl Transfer {
    /// Opens `count` streams through a contender.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub fn open(way: Way<'_>, direction: Direction, count: u32) -> Outcome<Self> {
        let run = way.service.new_run();
        let (want, interest) = match direction {
            Direction::Down => (Want::Source, Interest::Read),
            Direction::Up => (Want::Sink, Interest::Write),
            Direction::Both => (Want::Both, Interest::Both),
        };
        let poller = tried("epoll", Poller::new())?;
        let mut streams = Vec::new();
        for id in 0..count {
            let socket = way.open(want, run, id)?;
            tried("epoll", poller.add(&socket, id.into(), interest))?;
            streams.push(Stream {
                socket,
                want,
                incoming: Cursor::down(id),
                outgoing: Cursor::up(id),
            });
        }
        Ok(Self {
            poller,
            streams,
            ready: Vec::new(),
            scratch: vec![0; CHUNK],
            run,
            received: 0,
        })
    }

    /// Bytes that have arrived at either end.
    pub fn moved(&self, service: &Service) -> u64 {
        self.received + service.counted(self.run).taken
    }

    /// Closes the streams, and waits until that has arrived.
    ///
    /// # Errors
    /// When it does not arrive.
    pub fn close(self, way: Way<'_>) -> Outcome<()> {
        drop(self.streams);
        way.settle(self.run)
    }

    /// Moves bytes for some time.
    ///
    /// # Errors
    /// When a stream ends.
    ///
    /// # Panics
    /// When other bytes come than were sent.
    pub fn run(&mut self, time: Duration) -> Outcome<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let waited = self.poller.wait(Some(left), &mut self.ready);
            tried("epoll", waited)?;
            for event in &self.ready {
                let stream = &mut self.streams[event.token as usize];
                if event.readable {
                    self.received += stream.receive(&mut self.scratch)?;
                }
                if event.writable && stream.want != Want::Source {
                    stream.send()?;
                }
            }
        }
        Ok(())
    }
}

impl Stream {
    fn receive(&mut self, scratch: &mut [u8]) -> Outcome<u64> {
        match tried("receive", now(self.socket.read(scratch)))? {
            None => Ok(0),
            Some(0) => Err("a stream was closed".to_owned()),
            Some(n) => {
                let right = self.incoming.accepts(&scratch[..n]);
                assert!(right, "other bytes came than were sent");
                Ok(n as u64)
            }
        }
    }

    fn send(&mut self) -> Outcome<()> {
        let written = now(self.socket.write(self.outgoing.next()));
        self.outgoing.advance(tried("send", written)?.unwrap_or(0));
        Ok(())
    }
}

/// Moves bytes through `count` streams at once.
///
/// # Errors
/// When a stream cannot be opened, ends, or carries nothing.
///
/// # Panics
/// When other bytes arrive than were sent.
pub fn bulk(way: Way<'_>, direction: Direction, count: u32, time: Time) -> Outcome<Figures> {
    let mut transfer = Transfer::open(way, direction, count)?;
    transfer.run(time.warm_up)?;
    let before = transfer.moved(way.service);
    let meter = Meter::start(way.contender);
    transfer.run(time.measured)?;
    while transfer.moved(way.service) == before && meter.waits() {
        transfer.run(time.measured)?;
    }
    let gigabytes = (transfer.moved(way.service) - before) as f64 / 1e9;
    let (took, used) = meter.stop(gigabytes, "ms per GB", 1e3);
    transfer.close(way)?;
    if gigabytes == 0.0 {
        return Err("nothing was moved".to_owned());
    }
    let mut figures = vec![("GB/s".to_owned(), gigabytes / took)];
    figures.extend(used);
    Ok(figures)
}
