//! Measures the whole way, beside a direct connection and three chained HAProxy, in interleaved
//! rounds on this machine's loopback, and prints medians.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints a report"
)]

use std::path::PathBuf;
use std::{fs, thread};

use clap::Parser;
use culvert_benches::contender::{self, Contender, NAMES};
use culvert_benches::load;
use culvert_benches::report::Report;
use culvert_tests::chain::Relay;
use culvert_tests::net::many_files;
use culvert_tests::postgres::{self, Postgres};
use serde_json::json;

/// Measure queries, bulk transfer and single messages through Culvert and its peers.
#[derive(Parser)]
struct Arguments {
    /// Rounds; each measures everything once, in another order of contenders.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each single measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// One short round: shows that everything works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Contenders to measure, in place of all: direct, haproxy, culvert.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// File for all samples as JSON, in place of printing them after the table.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Numbers of clients of `pgbench -S`.
const CLIENTS: [u32; 3] = [1, 8, 64];
/// Numbers of concurrent bulk streams.
const STREAMS: [usize; 2] = [1, 16];
/// Payload of single messages, in bytes.
const PAYLOAD: usize = 64;

fn main() {
    let mut arguments = Arguments::parse();
    if arguments.quick {
        (arguments.rounds, arguments.seconds) = (1, 1);
    }
    many_files();
    let names: Vec<&str> = NAMES
        .into_iter()
        .filter(|name| {
            arguments.only.is_empty()
                || arguments
                    .only
                    .iter()
                    .any(|only| name.to_lowercase().contains(&only.to_lowercase()))
        })
        .collect();
    let mut report = Report::default();
    for (name, work) in [
        ("pgbench", queries as fn(&Arguments, &[&str], &mut Report)),
        ("bulk", bulk),
        ("messages", messages),
    ] {
        eprintln!("chain: {name}");
        work(&arguments, &names, &mut report);
    }
    println!("{}", report.markdown());
    let all = json!({
        "cores": thread::available_parallelism().map_or(0, usize::from),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "results": report.json(),
    });
    match arguments.json {
        Some(path) => fs::write(&path, format!("{all:#}\n"))
            .unwrap_or_else(|error| eprintln!("chain: {}: {error}", path.display())),
        None => println!("{all}"),
    }
}

/// Calls `measure` for each contender in each round, beginning with another one each time.
fn rounds(arguments: &Arguments, contenders: &[Contender], mut measure: impl FnMut(&Contender)) {
    for round in 0..arguments.rounds {
        for n in 0..contenders.len() {
            measure(&contenders[(round + n) % contenders.len()]);
        }
    }
}

fn queries(arguments: &Arguments, names: &[&str], report: &mut Report) {
    let server = Postgres::start();
    let init = postgres::pgbench(server.address()).args(["-i", "-q", "-s", "10"]);
    init.run();
    let contenders: Vec<_> = names
        .iter()
        .map(|name| Contender::start(name, server.address()))
        .collect();
    for clients in CLIENTS {
        rounds(arguments, &contenders, |contender| {
            let result = load::queries(contender.address, clients, arguments.seconds);
            let measure = |what| format!("pgbench -S, {clients} clients, {what}");
            report.add(&measure("tps"), contender.name, result.per_second);
            report.add(
                &measure("mean latency ms"),
                contender.name,
                result.latency_ms,
            );
        });
    }
}

fn bulk(arguments: &Arguments, names: &[&str], report: &mut Report) {
    let source = contender::endless_source();
    let contenders: Vec<_> = names
        .iter()
        .map(|name| Contender::start(name, source.address()))
        .collect();
    contenders.iter().for_each(contender::check);
    for streams in STREAMS {
        rounds(arguments, &contenders, |contender| {
            let seconds = f64::from(arguments.seconds);
            let result = load::bulk(contender, streams, seconds);
            let measure = |what| format!("bulk, {streams} streams, {what}");
            report.add(
                &measure("GB/s"),
                contender.name,
                result.gigabytes_per_second,
            );
            let all: f64 = result.cpu_ms_per_gigabyte.iter().sum();
            if !contender.processes.is_empty() {
                report.add(&measure("CPU ms per GB, all three"), contender.name, all);
                // The hop in the middle is the one a relay is compared with.
                let middle = result.cpu_ms_per_gigabyte[middle(contender)];
                report.add(
                    &measure("CPU ms per GB, middle hop"),
                    contender.name,
                    middle,
                );
            }
        });
    }
}

/// Position of the process in the middle of the way.
fn middle(contender: &Contender) -> usize {
    let position = contender
        .processes
        .iter()
        .position(|(role, _)| *role == "relay");
    position.unwrap_or(1)
}

fn messages(arguments: &Arguments, names: &[&str], report: &mut Report) {
    if !names.contains(&contender::CULVERT) {
        return;
    }
    let relay = Relay::start(&["--allow-plain-registration"]);
    for senders in [1, 8] {
        for _ in 0..arguments.rounds {
            let seconds = f64::from(arguments.seconds);
            let result = load::messages(&relay, senders, PAYLOAD, seconds);
            let measure = |what| format!("{PAYLOAD}-byte messages, {senders} senders, {what}");
            report.add(
                &measure("per second"),
                contender::CULVERT,
                result.per_second,
            );
            report.add(
                &measure("relay CPU ns each"),
                contender::CULVERT,
                result.cpu_ns,
            );
        }
    }
}
