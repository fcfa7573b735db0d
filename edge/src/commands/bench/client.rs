//! Measuring.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::times::Times;
use super::{Mode, PATIENCE, RunArgs};
use crate::failure::Failure;
use crate::output::Output;

/// Size of blocks unless another one is asked for, in bytes.
const ECHO_SIZE: u32 = 64;
const SINK_SIZE: u32 = 64 << 10;

/// What one connection did.
struct Done {
    bytes: u64,
    time: Duration,
    times: Times,
}

/// Measures and prints what came out.
pub(super) fn measure(args: &RunArgs, output: Output) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let hint =
            "is `culvert-edge bench serve` running there, and does its outlet let this side in?";
        let failure = Failure::new(format!("cannot measure through {}: {error}", args.to), hint);
        failure.because_of(6, "unavailable")
    };
    let mut found = (args.to.host.as_str(), args.to.port)
        .to_socket_addrs()
        .map_err(failed)?;
    let to = found
        .next()
        .ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
    let size = args.size.unwrap_or(match args.mode {
        Mode::Echo => ECHO_SIZE,
        Mode::Sink => SINK_SIZE,
    });
    let together = Arc::new(Barrier::new(args.connections.into()));
    let (mode, duration) = (args.mode, args.duration);
    let threads: Vec<_> = (0..args.connections)
        .map(|_| {
            let together = Arc::clone(&together);
            thread::spawn(move || one(to, mode, size, duration, &together))
        })
        .collect();
    let mut all = Vec::new();
    for thread in threads {
        let done = thread
            .join()
            .map_err(|_| failed(io::ErrorKind::Other.into()))?;
        all.push(done.map_err(failed)?);
    }
    report(args, size, &all, output);
    Ok(())
}

/// What one connection does.
fn one(
    to: SocketAddr,
    mode: Mode,
    size: u32,
    duration: Duration,
    together: &Barrier,
) -> io::Result<Done> {
    let connected = connect(to, mode);
    // All begin when all are there; also one that failed, for which the others would wait.
    together.wait();
    let mut stream = connected?;
    let mut block = size.to_be_bytes().to_vec();
    block.resize(4 + size as usize, 0x5a);
    let mut answer = vec![0; size as usize];
    let (mut times, mut bytes) = (Times::default(), 0);
    let start = Instant::now();
    while start.elapsed() < duration {
        let begun = Instant::now();
        stream.write_all(&block)?;
        if mode == Mode::Echo {
            stream.read_exact(&mut answer)?;
            times.add(begun.elapsed());
        }
        bytes += u64::from(size);
    }
    if mode == Mode::Sink {
        stream.write_all(&0_u32.to_be_bytes())?;
        let mut taken = [0; 8];
        stream.read_exact(&mut taken)?;
        if u64::from_be_bytes(taken) != bytes {
            let what = "the far side took another number of bytes than was sent";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
    }
    let time = start.elapsed();
    Ok(Done { bytes, time, times })
}

fn connect(to: SocketAddr, mode: Mode) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&[mode.byte()])?;
    Ok(stream)
}

fn report(args: &RunArgs, size: u32, all: &[Done], output: Output) {
    let (mut times, mut bytes, mut longest) = (Times::default(), 0, Duration::ZERO);
    for done in all {
        times.merge(&done.times);
        bytes += done.bytes;
        longest = longest.max(done.time);
    }
    let seconds = longest.as_secs_f64();
    let rate = bytes as f64 / 1e6 / seconds;
    let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
    let mut text = format!("{rate:.1} MB/s: {bytes} bytes in {seconds:.2} s");
    let mut latency = Value::Null;
    if args.mode == Mode::Echo {
        let [p50, p99, max] = [times.within(500), times.within(990), times.most()].map(micros);
        text = format!(
            "{} round trips of {size} bytes in {seconds:.2} s, {rate:.1} MB/s\n\
             half took at most {p50:.0} us, 99 of 100 {p99:.0} us, the longest {max:.0} us",
            times.count()
        );
        latency = json!({ "p50-us": p50, "p99-us": p99, "max-us": max });
    }
    let value = json!({
        "mode": if args.mode == Mode::Echo { "echo" } else { "sink" },
        "connections": args.connections,
        "size": size,
        "seconds": seconds,
        "bytes": bytes,
        "megabytes-per-second": rate,
        "round-trips": times.count(),
        "latency": latency,
    });
    output.print(text, &value);
}
