//! The service at the far end of every contender: echoes, sends or takes known bytes. A process of its
//! own, so that its processor time and open files are not the generator's.
//!
//! A client says what it wants in the first 8 bytes: the kind, a zero, which measurement it belongs to and the
//! number of the stream (both little-endian), which says where in the known bytes its stream begins.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use culvert_tests::PATIENCE;
use culvert_tests::net::connect;
use culvert_tests::process::{Process, Spec};
use rustix::net::SocketFlags;
use serde_json::json;

use crate::known::{CHUNK, Cursor};
use crate::poll::{Interest, Poller, Ready, now};

/// Length of what a client says first.
pub const HEADER: usize = 8;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// Most bytes moved for one stream before it is the next one's turn.
const TURN: usize = 1 << 20;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Its own bytes back.
    Echo = 1,
    /// Known bytes without end.
    Source = 2,
    /// To send known bytes without end.
    Sink = 3,
    /// Both at once.
    Both = 4,
    /// How many bytes were taken in one measurement, how many of its streams are open, and whether any bytes at
    /// all were wrong.
    Count = 5,
}

impl Want {
    fn parse(byte: u8) -> Option<Self> {
        [
            Self::Echo,
            Self::Source,
            Self::Sink,
            Self::Both,
            Self::Count,
        ]
        .into_iter()
        .find(|want| *want as u8 == byte)
    }

    /// What to say first to get it, for stream `id` of measurement `run`.
    pub fn header(self, run: u16, id: u32) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[0] = self as u8;
        header[2..4].copy_from_slice(&run.to_le_bytes());
        header[4..].copy_from_slice(&id.to_le_bytes());
        header
    }
}

/// A running service.
pub struct Service {
    process: Process,
    address: SocketAddr,
    runs: Cell<u16>,
}

/// What a service counted in one measurement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Bytes taken from clients.
    pub taken: u64,
    /// Streams that are open.
    pub open: u64,
}

impl Service {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let process = Spec::new(this_program()).arg("service").start("service");
        let address = process.event("listening").text("address").parse();
        Self {
            address: address.expect("an address"),
            process,
            runs: Cell::new(0),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The number of a new measurement: what is left under way of an earlier one does not count for it.
    pub fn new_run(&self) -> u16 {
        self.runs.set(self.runs.get().wrapping_add(1));
        self.runs.get()
    }

    /// What it counted in a measurement.
    ///
    /// # Panics
    /// When it took wrong bytes from anybody.
    pub fn counted(&self, run: u16) -> Counted {
        let mut stream = connect(self.address);
        let mut answer = [0; 17];
        stream
            .write_all(&Want::Count.header(run, 0))
            .and_then(|()| stream.read_exact(&mut answer))
            .expect("ask the service");
        let number = |at: usize| {
            let bytes = answer[at..at + 8].try_into();
            u64::from_le_bytes(bytes.expect("8 bytes"))
        };
        assert_eq!(answer[16], 0, "other bytes arrived than were sent");
        Counted {
            taken: number(0),
            open: number(8),
        }
    }

    /// Waits until all streams of a measurement have been closed, but not for ever.
    pub fn settle(&self, run: u16) {
        let end = Instant::now() + PATIENCE / 3;
        while self.counted(run).open > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The program that runs now: it is the service, too, and the byte relays.
pub fn this_program() -> std::path::PathBuf {
    std::env::current_exe().expect("path of this program")
}

/// Prints where something listens, as an event.
#[expect(clippy::print_stdout, reason = "events are what it prints")]
pub fn announce(address: SocketAddr) {
    println!(
        "{}",
        json!({ "event": "listening", "address": address.to_string() })
    );
}

/// Serves until the process is killed.
///
/// # Errors
/// When it cannot listen.
pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    // The standard library has 128 wait to be accepted: one more would try again after a second.
    rustix::net::listen(&listener, BACKLOG)?;
    // Those that are accepted have it too.
    rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
    announce(listener.local_addr()?);
    let mut poller = Poller::new()?;
    poller.add(&listener, 0, Interest::Read)?;
    let mut streams = Streams::default();
    let mut ready = Vec::new();
    loop {
        poller.wait(None, &mut ready)?;
        for event in &ready {
            if event.token == 0 {
                let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                while let Ok(stream) = rustix::net::accept_with(&listener, flags) {
                    streams.add(&poller, stream.into())?;
                }
            } else {
                streams.turn(&poller, *event);
            }
        }
    }
}

/// All open streams, each at the place that is its token less 1.
#[derive(Default)]
struct Streams {
    streams: Vec<Option<Stream>>,
    free: Vec<usize>,
    all: Totals,
    scratch: Vec<u8>,
}

/// What is counted over all streams.
#[derive(Default)]
struct Totals {
    runs: HashMap<u16, Counted>,
    wrong: bool,
}

impl Totals {
    fn run(&mut self, run: u16) -> &mut Counted {
        self.runs.entry(run).or_default()
    }
}

struct Stream {
    socket: TcpStream,
    header: Vec<u8>,
    /// Nothing until the header is complete.
    want: Option<Want>,
    run: u16,
    incoming: Cursor,
    outgoing: Cursor,
    /// What is still to be written back.
    backlog: Vec<u8>,
    interest: Interest,
}

impl Streams {
    fn add(&mut self, poller: &Poller, socket: TcpStream) -> io::Result<()> {
        self.scratch.resize(CHUNK, 0);
        let place = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        poller.add(&socket, place as u64 + 1, Interest::Read)?;
        self.streams[place] = Some(Stream {
            socket,
            header: Vec::new(),
            want: None,
            run: 0,
            incoming: Cursor::up(0),
            outgoing: Cursor::down(0),
            backlog: Vec::new(),
            interest: Interest::Read,
        });
        Ok(())
    }

    fn turn(&mut self, poller: &Poller, event: Ready) {
        let place = event.token as usize - 1;
        let Some(stream) = self.streams[place].as_mut() else {
            return;
        };
        let done = stream.turn(event, &mut self.scratch, &mut self.all);
        let goes_on = done.is_ok_and(|goes_on| goes_on)
            && stream.wait(poller, event.token).is_ok_and(|()| true);
        if !goes_on {
            if stream.want.is_some_and(|want| want != Want::Count) {
                self.all.run(stream.run).open -= 1;
            }
            self.streams[place] = None;
            self.free.push(place);
        }
    }
}

impl Stream {
    /// Does what can be done now. Gives whether the stream goes on.
    fn turn(&mut self, event: Ready, scratch: &mut [u8], all: &mut Totals) -> io::Result<bool> {
        if self.want.is_none() && !self.begin(all)? {
            return Ok(false);
        }
        match self.want {
            None => Ok(true),
            Some(Want::Echo) => self.echo(scratch),
            Some(Want::Count) => Ok(false),
            Some(want) => {
                if want != Want::Sink && (event.writable || event.readable) {
                    self.send()?;
                }
                if want == Want::Source || !event.readable {
                    return Ok(true);
                }
                self.take(scratch, all)
            }
        }
    }

    fn begin(&mut self, all: &mut Totals) -> io::Result<bool> {
        let mut rest = [0; HEADER];
        let rest = &mut rest[self.header.len()..];
        match now(self.socket.read(rest))? {
            None => return Ok(true),
            Some(0) => return Ok(false),
            Some(n) => self.header.extend_from_slice(&rest[..n]),
        }
        let Ok([kind, _, run_low, run_high, id @ ..]) =
            <[u8; HEADER]>::try_from(self.header.as_slice())
        else {
            return Ok(true);
        };
        let id = u32::from_le_bytes(id);
        (self.incoming, self.outgoing) = (Cursor::up(id), Cursor::down(id));
        self.run = u16::from_le_bytes([run_low, run_high]);
        self.want = Want::parse(kind);
        match self.want {
            None => {}
            Some(Want::Count) => {
                let Counted { taken, open } = *all.run(self.run);
                let mut answer = [taken.to_le_bytes(), open.to_le_bytes()].concat();
                answer.push(all.wrong.into());
                self.socket.write_all(&answer)?;
            }
            Some(_) => all.run(self.run).open += 1,
        }
        Ok(self.want.is_some())
    }

    fn echo(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        if self.backlog.is_empty() {
            let n = match now(self.socket.read(scratch))? {
                None => return Ok(true),
                Some(0) => return Ok(false),
                Some(n) => n,
            };
            let written = now(self.socket.write(&scratch[..n]))?.unwrap_or(0);
            self.backlog.extend_from_slice(&scratch[written..n]);
        } else {
            let written = now(self.socket.write(&self.backlog))?.unwrap_or(0);
            self.backlog.drain(..written);
        }
        Ok(true)
    }

    fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < TURN {
            let Some(n) = now(self.socket.write(self.outgoing.next()))? else {
                break;
            };
            self.outgoing.advance(n);
            sent += n;
        }
        Ok(())
    }

    fn take(&mut self, scratch: &mut [u8], all: &mut Totals) -> io::Result<bool> {
        match now(self.socket.read(scratch))? {
            None => Ok(true),
            Some(0) => Ok(false),
            Some(n) => {
                all.run(self.run).taken += n as u64;
                all.wrong |= !self.incoming.accepts(&scratch[..n]);
                Ok(true)
            }
        }
    }

    /// Waits for what has to come next.
    fn wait(&mut self, poller: &Poller, token: u64) -> io::Result<()> {
        let interest = match self.want {
            Some(Want::Echo) if !self.backlog.is_empty() => Interest::Write,
            Some(Want::Source) => Interest::Write,
            Some(Want::Both) => Interest::Both,
            _ => Interest::Read,
        };
        if interest != self.interest {
            poller.change(&self.socket, token, interest)?;
            self.interest = interest;
        }
        Ok(())
    }
}
