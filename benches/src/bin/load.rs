//! The load harness: starts Culvert and its peers, drives the same work through each, and prints a report.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints a report"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io, thread};

use clap::Parser as _;
use culvert_benches::contender::{Kind, wiretap};
use culvert_benches::plot;
use culvert_benches::relays;
use culvert_benches::report::Report;
use culvert_benches::service::{self, Service};
use culvert_benches::settings::Settings;
use culvert_benches::targets;
use culvert_benches::work::{self, Run, progress};
use culvert_tests::net::many_files;
use serde_json::{Value, json};

/// Around the report in a file that has more.
const MARKS: [&str; 2] = ["<!-- load -->\n", "<!-- /load -->"];

fn main() -> ExitCode {
    // What it needs beside itself are processes of this same program.
    many_files();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["service"] => service::serve(),
        ["relay-epoll", target] => to(target).and_then(relays::epoll::serve),
        ["relay-tokio", target] => to(target).and_then(relays::tokio::serve),
        ["relay-monoio", target] => to(target).and_then(relays::monoio::serve),
        ["relay-tokio-uring", target] => to(target).and_then(relays::tokio_uring::serve),
        _ => Settings::parse()
            .complete()
            .and_then(|settings| measure(&settings)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn to(target: &str) -> io::Result<SocketAddr> {
    target.parse().map_err(io::Error::other)
}

fn measure(settings: &Settings) -> io::Result<()> {
    let report = begin(settings)?;
    check_files(settings)?;
    let mut run = Run {
        settings,
        report,
        save: write,
        found: false,
    };
    for kind in Kind::ALL {
        if let Some(why) = kind
            .missing(settings)
            .filter(|_| settings.wants(kind.name()))
        {
            run.report.leave_out(format!("{}: {why}", kind.name()));
        }
    }
    let service = Service::start();
    for kind in settings.kinds() {
        progress(&format!("listening in on {}", kind.name()));
        wiretap::verify(kind, settings, service.address());
    }
    drop(service);
    for (name, work) in work::ALL {
        if settings.does(name) {
            work(&mut run);
        }
    }
    if !run.found && !settings.row.is_empty() {
        let what = format!("--row {}: no row has that", settings.row.join(";"));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    write(settings, &run.report)?;
    println!("{}", markdown(settings, &run.report));
    Ok(())
}

/// An empty report, or what a run that was broken off has left.
fn begin(settings: &Settings) -> io::Result<Report> {
    let Some(path) = settings.json.as_ref().filter(|_| settings.resume) else {
        return Ok(Report::default());
    };
    let wrong = |what: String| io::Error::other(format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let all: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    for (name, value) in [
        ("machine", json!(machine())),
        ("rounds", json!(settings.rounds)),
        ("seconds", json!(settings.seconds)),
    ] {
        if all[name] != value {
            return Err(wrong(format!(
                "was measured with another value of {name}: {}, now {value}",
                all[name]
            )));
        }
    }
    let report = Report::of_json(&all["results"], &all["left_out"]);
    report.ok_or_else(|| wrong("no results of this program".to_owned()))
}

/// Fails if a file that was asked for cannot be written, or would be lost: before hours of measuring.
fn check_files(settings: &Settings) -> io::Result<()> {
    for path in settings.markdown.iter().chain(&settings.json) {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let is_there = path.exists();
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(named)?;
        if !is_there {
            fs::remove_file(path).map_err(named)?;
        } else if settings.markdown.as_ref() == Some(path) {
            let text = fs::read_to_string(path).map_err(named)?;
            if !text.is_empty() && split(&text).is_none() {
                let [begin, end] = MARKS.map(str::trim);
                return Err(io::Error::other(format!(
                    "{}: has no marks `{begin}` and `{end}` to write between; name a new file",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

/// What is before and behind the report in a file.
fn split(text: &str) -> Option<(&str, &str)> {
    let (head, rest) = text.split_once(MARKS[0])?;
    let (_, tail) = rest.split_once(MARKS[1])?;
    Some((head, tail))
}

/// Writes the files that were asked for.
fn write(settings: &Settings, report: &Report) -> io::Result<()> {
    if let Some(path) = &settings.markdown {
        let pictures = draw(path, report)?;
        let text = markdown(settings, report);
        write_report(path, &[text, pictures].concat())?;
    }
    if let Some(path) = &settings.json {
        let all = json!({
            "machine": machine(),
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "left_out": report.left_out(),
            "results": report.json(),
            "targets": targets::json(report),
        });
        fs::write(path, format!("{all:#}\n"))?;
    }
    Ok(())
}

/// Where pictures are, beside the report.
const PICTURES: &str = "images";

/// Draws pictures of the figures into files beside the report, and gives the text that shows them.
fn draw(report_file: &Path, report: &Report) -> io::Result<String> {
    let directory = report_file.with_file_name(PICTURES);
    let mut text = String::new();
    for chart in plot::all() {
        let drawn = chart.draw(report, &work::contenders());
        let Some(svg) = drawn.map_err(|error| io::Error::other(error.to_string()))? else {
            continue;
        };
        fs::create_dir_all(&directory)?;
        let name = format!("{}.svg", chart.file);
        fs::write(directory.join(&name), svg)?;
        text.push_str(&format!("\n![{}]({PICTURES}/{name})\n", chart.title));
    }
    if !text.is_empty() {
        text.insert_str(
            0,
            "\n## Pictures\n\nBars are medians, lines go from the lowest to the highest sample.\n",
        );
    }
    Ok(text)
}

/// What the figures were measured on.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: String, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    format!(
        "{} cores ({}), memory {}, Linux {}",
        thread::available_parallelism().map_or(0, usize::from),
        field(read("/proc/cpuinfo"), "model name"),
        field(read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

fn markdown(settings: &Settings, report: &Report) -> String {
    let mut text = format!(
        "{}; {} rounds of {} s.\n\n## Targets\n\n{}\n## Figures\n\n{}",
        machine(),
        settings.rounds,
        settings.seconds,
        targets::markdown(report),
        report.markdown(&work::contenders()),
    );
    if !report.left_out().is_empty() {
        text.push_str("\n### Left out\n\n");
        for what in report.left_out() {
            text.push_str(&format!("* {what}\n"));
        }
    }
    text
}

/// Writes the report to a file, or into one, between the marks it has.
fn write_report(path: &Path, text: &str) -> io::Result<()> {
    let old = fs::read_to_string(path).unwrap_or_default();
    match split(&old) {
        Some((head, tail)) => fs::write(path, [head, MARKS[0], text, MARKS[1], tail].concat()),
        None => fs::write(path, [MARKS[0], text, MARKS[1], "\n"].concat()),
    }
}
