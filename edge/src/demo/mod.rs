//! The whole way on one machine, explained and measured.
//!
//! Relay, outlet edge and inlet edge are processes of their own with fresh identities. First both
//! edges are connected to the relay through taps, to see what the relay sees; then they are started
//! again without, because taps would be measured too.

pub mod capture;
pub mod child;
pub mod home;
pub mod http;
pub mod measure;
pub mod report;
pub mod stop;
pub mod tap;

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use culvert_crypto::vault::KeyType;
use serde_json::Value;

use crate::cli::DemoArgs;
use crate::commands::now_s;
use crate::endpoint::HostPort;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::{DEFAULT_NAME, Store};

use child::Child;
use home::TemporaryHome;
use report::Measured;
use stop::Stop;
use tap::Tap;

/// Name that the outlet registers.
const NAME: &str = "demo";
/// File name of the relay's program.
const RELAY: &str = "culvert-relay";

/// Who takes part, as reported.
pub struct Parts {
    relay: SocketAddr,
    relay_identifier: String,
    driver: String,
    outlet_identifier: String,
    inlet_identifier: String,
    service: String,
    outlet_home: PathBuf,
    inlet_home: PathBuf,
}

/// Runs the demo until it is asked to end, or until it has measured with `--once`.
///
/// # Errors
///
/// When a part of it does not start or ends by itself.
pub fn run(args: &DemoArgs, output: Output) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    match stages(args, &stop, output) {
        Err(_) if stop.requested() => Ok(()),
        done => done,
    }
}

fn stages(args: &DemoArgs, stop: &Stop, output: Output) -> Result<(), Failure> {
    let program = relay_program(args.relay_binary.as_deref())?;
    let service = match &args.to {
        None => http::start_service()?,
        Some(to) => check_service(to)?,
    };
    let home = TemporaryHome::new()?;
    let directory = home.path();
    let mut relay = start_relay(&program, directory)?;
    let listening = relay.event("listening", stop)?;
    let parts = Parts {
        relay: address(&listening, "address")?,
        relay_identifier: text(&listening, "identifier")?,
        driver: text(&listening, "driver")?,
        outlet_identifier: make_identity(&directory.join("outlet"))?,
        inlet_identifier: make_identity(&directory.join("inlet"))?,
        service: args
            .to
            .as_ref()
            .map_or_else(|| service.to_string(), ToString::to_string),
        outlet_home: directory.join("outlet"),
        inlet_home: directory.join("inlet"),
    };
    report::parts(&parts, output);

    let is_http = {
        let taps = [Tap::start(parts.relay)?, Tap::start(parts.relay)?];
        let [inlet_tap, outlet_tap] = &taps;
        let _outlet = start_outlet(&parts, outlet_tap.address(), directory, stop)?;
        let (_inlet, at) = start_inlet(&parts, inlet_tap.address(), directory, stop)?;
        let capture = capture::capture(at, [inlet_tap, outlet_tap], stop)?;
        report::captured(&capture, output);
        capture.is_http
    };

    let mut outlet = start_outlet(&parts, parts.relay, directory, stop)?;
    let (mut inlet, at) = start_inlet(&parts, parts.relay, directory, stop)?;
    if is_http {
        let figures = |address| {
            let bulk = args
                .to
                .is_none()
                .then(|| measure::throughput(address, stop));
            let bulk = bulk.and_then(|result| noted(result, "throughput"));
            (noted(measure::latency(address, stop), "latency"), bulk)
        };
        let measured = Measured {
            through: figures(at),
            direct: figures(service),
        };
        stop.check()?;
        report::measured(&measured, output);
    }
    report::ready(at, is_http, args.once, output);
    while !args.once && !stop.requested() {
        for child in [&mut relay, &mut outlet, &mut inlet] {
            child.check()?;
        }
        stop.sleep();
    }
    Ok(())
}

/// A figure that cannot be had is no reason to give up.
fn noted<T>(result: std::io::Result<T>, what: &str) -> Option<T> {
    result
        .inspect_err(|error| tracing::warn!(%error, "the {what} cannot be measured"))
        .ok()
}

/// Where the relay's program is.
fn relay_program(asked_for: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = asked_for {
        return Ok(path.to_owned());
    }
    let beside = std::env::current_exe()
        .ok()
        .map(|own| own.with_file_name(RELAY));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&paths)
        .map(|directory| directory.join(RELAY))
        .collect();
    beside
        .into_iter()
        .chain(in_path)
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Failure::new(
                format!("{RELAY} is neither beside this program nor in PATH"),
                format!("build it (`cargo build -p {RELAY}`), or name it with --relay-binary"),
            )
        })
}

/// Whether something listens at the service that was named.
fn check_service(to: &HostPort) -> Result<SocketAddr, Failure> {
    let failed = |error| {
        Failure::new(
            format!("cannot connect to the service {to}: {error}"),
            "start the service first, or leave out --to for the built-in one",
        )
    };
    let mut last = std::io::Error::other("the host has no address");
    for address in (to.host.as_str(), to.port)
        .to_socket_addrs()
        .map_err(failed)?
    {
        match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn make_identity(home: &Path) -> Result<String, Failure> {
    let store = Store::open(Some(home.to_owned()))?;
    let stored = store.create(DEFAULT_NAME, KeyType::default(), now_s())?;
    Ok(stored.identifier().to_string())
}

fn start_relay(program: &Path, directory: &Path) -> Result<Child, Failure> {
    let home = directory.join("relay").display().to_string();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--output",
        "json",
        "--home",
        &home,
    ];
    Child::start("relay", program, &arguments, directory)
}

fn start_edge(
    name: &'static str,
    arguments: &[&str],
    home: &Path,
    directory: &Path,
) -> Result<Child, Failure> {
    let own = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find this program: {error}"), ""))?;
    let home = home.display().to_string();
    let arguments = [arguments, &["--output", "json", "--home", &home]].concat();
    Child::start(name, &own, &arguments, directory)
}

/// Starts an outlet edge and waits until the relay has its name.
fn start_outlet(
    parts: &Parts,
    relay: SocketAddr,
    directory: &Path,
    stop: &Stop,
) -> Result<Child, Failure> {
    let relay = relay.to_string();
    let mut arguments = vec!["outlet", "--relay", &relay, "--name", NAME];
    arguments.extend(["--to", &parts.service, "--allow", &parts.inlet_identifier]);
    arguments.extend(["--relay-identity", &parts.relay_identifier]);
    let mut child = start_edge("outlet edge", &arguments, &parts.outlet_home, directory)?;
    child.event("registered", stop)?;
    Ok(child)
}

/// Starts an inlet edge and waits until its channel is up; says where it listens.
fn start_inlet(
    parts: &Parts,
    relay: SocketAddr,
    directory: &Path,
    stop: &Stop,
) -> Result<(Child, SocketAddr), Failure> {
    let relay = relay.to_string();
    let mut arguments = vec!["inlet", "--relay", &relay, "--via", NAME];
    arguments.extend(["--from", "127.0.0.1:0", "--allow", &parts.outlet_identifier]);
    let mut child = start_edge("inlet edge", &arguments, &parts.inlet_home, directory)?;
    let listening = child.event("listening", stop)?;
    child.event("up", stop)?;
    Ok((child, address(&listening, "address")?))
}

fn text(event: &Value, member: &str) -> Result<String, Failure> {
    event[member].as_str().map(str::to_owned).ok_or_else(|| {
        let hint = "use a culvert-relay of the same version";
        Failure::new(format!("no '{member}' in {event}"), hint)
    })
}

fn address(event: &Value, member: &str) -> Result<SocketAddr, Failure> {
    text(event, member)?
        .parse()
        .map_err(|_| Failure::new(format!("no address '{member}' in {event}"), ""))
}
