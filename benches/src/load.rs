//! Loads: queries, bulk transfer, single messages.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use culvert_proto::bare;
use culvert_proto::forwarder::STATIC_FORWARDING_SERVICE;
use culvert_tests::chain::Relay;
use culvert_tests::net::connect;
use culvert_tests::wire::{Received, Wire, framed, message};
use culvert_tests::{PATIENCE, postgres, proc};

use crate::contender::Contender;

/// Outcome of a run of `pgbench -S`.
#[derive(Clone, Copy, Debug)]
pub struct Queries {
    /// Transactions per second, connecting not counted.
    pub per_second: f64,
    /// Mean time of one, in milliseconds.
    pub latency_ms: f64,
}

/// Runs `pgbench -S` for some seconds.
///
/// # Panics
/// When it fails.
pub fn queries(address: SocketAddr, clients: u32, seconds: u32) -> Queries {
    let output = postgres::pgbench(address)
        .args([
            "-S",
            "-n",
            "-c",
            &clients.to_string(),
            "-T",
            &seconds.to_string(),
        ])
        .args(["-j", &clients.min(2).to_string()])
        .output(PATIENCE + Duration::from_secs(u64::from(seconds)));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pgbench: {text}{errors}");
    let figure = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no `{name}` in: {text}"))
    };
    Queries {
        per_second: figure("tps = "),
        latency_ms: figure("latency average = "),
    }
}

/// Outcome of a bulk transfer.
#[derive(Clone, Debug)]
pub struct Bulk {
    /// 10^9 bytes per second.
    pub gigabytes_per_second: f64,
    /// Processor time of each process in between per 10^9 bytes, in milliseconds.
    pub cpu_ms_per_gigabyte: Vec<f64>,
}

/// Reads from `streams` connections at once for some seconds, after a warm-up.
///
/// # Panics
/// When a connection ends or stalls.
pub fn bulk(contender: &Contender, streams: usize, seconds: f64) -> Bulk {
    let total = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..streams).map(|_| connect(contender.address)).collect();
    let readers: Vec<_> = clients
        .iter()
        .map(|client| {
            let mut client = client.try_clone().expect("clone a socket");
            let total = Arc::clone(&total);
            thread::spawn(move || {
                let mut chunk = vec![0; 1 << 18];
                while let Ok(n @ 1..) = client.read(&mut chunk) {
                    total.fetch_add(n as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let (began, cpu, start) = (
        Instant::now(),
        contender.cpu(),
        total.load(Ordering::Relaxed),
    );
    thread::sleep(Duration::from_secs_f64(seconds));
    let (took, after, end) = (
        began.elapsed(),
        contender.cpu(),
        total.load(Ordering::Relaxed),
    );
    for client in &clients {
        let _ = client.shutdown(Shutdown::Both);
    }
    for reader in readers {
        reader.join().expect("a reader");
    }
    let gigabytes = (end - start) as f64 / 1e9;
    assert!(
        gigabytes > 0.0,
        "{}: nothing was transferred",
        contender.name
    );
    Bulk {
        gigabytes_per_second: gigabytes / took.as_secs_f64(),
        cpu_ms_per_gigabyte: after
            .iter()
            .zip(&cpu)
            .map(|(after, before)| (*after - *before).as_secs_f64() * 1e3 / gigabytes)
            .collect(),
    }
}

/// Outcome of pushing single messages through a relay.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    /// Messages per second that arrived.
    pub per_second: f64,
    /// Processor time of the relay per message, in nanoseconds.
    pub cpu_ns: f64,
}

/// Sends messages with a small payload through a forwarder as fast as they go, `senders` links
/// at once to one owner, for some seconds.
///
/// # Panics
/// When the relay stops forwarding.
pub fn messages(relay: &Relay, senders: usize, payload: usize, seconds: f64) -> Messages {
    let mut owner = Wire::open(relay.address);
    owner.send_message(
        &[STATIC_FORWARDING_SERVICE],
        &["me"],
        &bare::string("bench"),
    );
    let Received::Frame(_) = owner.frame(PATIENCE) else {
        panic!("no confirmation")
    };

    let one = framed(&message(
        &["forward_to_bench", "sink"],
        &["me"],
        &vec![7; payload],
    ));
    let stop = Arc::new(AtomicBool::new(false));
    let sending: Vec<_> = (0..senders)
        .map(|_| {
            let mut stream = connect(relay.address);
            stream.write_all(&[1]).expect("send the version");
            let (block, stop) = (one.repeat(256), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) && stream.write_all(&block).is_ok() {}
            })
        })
        .collect();

    let mut count = Counting { owner, arrived: 0 };
    count.run(Duration::from_millis(300));
    let (began, cpu, start) = (
        Instant::now(),
        proc::cpu_time(relay.process.id()),
        count.arrived,
    );
    count.run(Duration::from_secs_f64(seconds));
    let took = began.elapsed().as_secs_f64();
    let cpu = proc::cpu_time(relay.process.id()).saturating_sub(cpu);
    let arrived = (count.arrived - start) as f64;
    stop.store(true, Ordering::Relaxed);
    // What is under way still has to leave, or the senders wait for ever.
    while sending.iter().any(|sender| !sender.is_finished()) {
        count.run(Duration::from_millis(10));
    }
    for sender in sending {
        sender.join().expect("a sender");
    }
    Messages {
        per_second: arrived / took,
        cpu_ns: cpu.as_secs_f64() * 1e9 / arrived,
    }
}

/// An owner that counts what it gets.
struct Counting {
    owner: Wire,
    arrived: u64,
}

impl Counting {
    fn run(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.arrived += self.owner.skip_frames(Duration::from_millis(50));
        }
    }
}
