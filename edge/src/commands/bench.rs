//! `culvert-edge bench`: how much a portal carries, and how fast.
//!
//! ```text
//! bench run -> inlet ==== relay ==== outlet -> bench serve
//!
//! mode u8 ('e' echo, 's' sink), then blocks: length u32, as many bytes
//! echo: each block is answered with its bytes
//! sink: a block of no bytes is answered with how many there were, u64
//! ```

mod client;
mod times;

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use culvert_node::control::listen_address;
use serde_json::json;

use crate::duration;
use crate::endpoint::HostPort;
use crate::failure::Failure;
use crate::output::Output;
use crate::process;

/// Most connections at a time.
const MOST: usize = 256;
/// Largest block, in bytes.
const LARGEST: u32 = 1 << 20;
/// Longest measurement.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long the far side may take nothing or say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

const HELP: &str = "\
Example: on the side of the service
  culvert-edge bench serve --listen 127.0.0.1:7000
  culvert-edge tcp-outlet create bench --to 127.0.0.1:7000 --allow …
and on the side of the client
  culvert-edge tcp-inlet create bench --via … --to bench --from 7001
  culvert-edge bench run --to 127.0.0.1:7001 --mode echo
Straight to `bench serve`, without a portal between, it shows what the network and the machines can do.";

/// Measure what a portal carries.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Run the service that is measured against: put it behind an outlet.
    #[command(after_help = HELP)]
    Serve {
        /// Address to listen on; port 0 picks a free one.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
        #[arg(value_parser = listen_address)]
        listen: SocketAddr,
    },
    /// Measure: through an inlet that leads to the service.
    #[command(after_help = HELP)]
    Run(RunArgs),
}

/// Arguments of `bench run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The inlet, or the service itself.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse_remote)]
    pub to: HostPort,
    /// What to do.
    #[arg(long, value_enum, default_value_t = Mode::Echo)]
    pub mode: Mode,
    /// How many connections, each of which does it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=MOST as i64))]
    pub connections: u16,
    /// Bytes of a block [default: 64 to echo, 65536 to the sink]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=i64::from(LARGEST)))]
    pub size: Option<u32>,
    /// How long.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration_of_run)]
    pub duration: Duration,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Send a block, wait until it is back, and so on: the time that takes.
    Echo,
    /// Send blocks and wait for nothing: how much the far side took.
    Sink,
}

impl Mode {
    fn byte(self) -> u8 {
        match self {
            Self::Echo => b'e',
            Self::Sink => b's',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Echo, Self::Sink]
            .into_iter()
            .find(|mode| mode.byte() == byte)
    }
}

fn duration_of_run(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("it has to take some time".into()),
        long if long > LONGEST => Err("at most an hour".into()),
        good => Ok(good),
    }
}

/// Runs a command about measurements.
///
/// # Errors
///
/// When the service cannot listen, or a connection fails.
pub fn run(command: &BenchCommand, output: Output) -> Result<(), Failure> {
    match command {
        BenchCommand::Serve { listen } => serve(*listen, output),
        BenchCommand::Run(args) => client::measure(args, output),
    }
}

fn serve(listen: SocketAddr, output: Output) -> Result<(), Failure> {
    let mut signals = process::end_signals()?;
    let (host, port) = (listen.ip().to_string(), listen.port());
    let listener = process::listen(&HostPort { host, port })?;
    let address = listener.local_addr().unwrap_or(listen).to_string();
    let text = format!("listening on {address}");
    output.print(text, &json!({ "event": "listening", "address": address }));
    let accept = move || accept(&listener);
    thread::Builder::new()
        .name("accept".into())
        .spawn(accept)
        .map_err(|error| {
            Failure::new(format!("cannot start a thread: {error}"), "see `ulimit -u`")
        })?;
    signals.forever().next();
    Ok(())
}

fn accept(listener: &TcpListener) {
    let open = Arc::new(AtomicUsize::new(0));
    for client in listener.incoming() {
        let Ok(client) = client else {
            // Out of descriptors: some will be closed.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.fetch_add(1, Ordering::Relaxed) >= MOST {
            open.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!("more than {MOST} connections: one is refused");
            continue;
        }
        let held = Arc::clone(&open);
        let work = move || {
            if let Err(error) = answer(&client) {
                tracing::debug!(%error, "a connection ended");
            }
            held.fetch_sub(1, Ordering::Relaxed);
        };
        if thread::Builder::new().spawn(work).is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Serves one connection to its end.
fn answer(client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(256 << 10, client);
    let mut output = client;
    let mut byte = [0];
    input.read_exact(&mut byte)?;
    let mode = Mode::from_byte(byte[0]).ok_or(io::ErrorKind::InvalidData)?;
    let mut block = vec![0; LARGEST as usize];
    let mut taken = 0_u64;
    loop {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        let block = block
            .get_mut(..length as usize)
            .ok_or(io::ErrorKind::InvalidData)?;
        input.read_exact(block)?;
        taken += u64::from(length);
        match (mode, length) {
            (Mode::Echo, _) => output.write_all(block)?,
            (Mode::Sink, 0) => output.write_all(&taken.to_be_bytes())?,
            (Mode::Sink, _) => {}
        }
    }
}
