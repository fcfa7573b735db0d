//! Commands about running nodes and this machine, one noun a file, and what several commands need.
//!
//! | module | what |
//! |---|---|
//! | [`at`] | which node, and asking it |
//! | [`resource`] | what is created, listed, shown and deleted in the same way |
//! | [`node`], [`status`] | nodes: making, starting, stopping, looking |
//! | [`tcp_inlet`], [`tcp_outlet`], [`relay`] | portals |
//! | [`secure_channel`], [`tcp_listener`], [`tcp_connection`] | ways to other nodes |
//! | [`message`], [`service`] | talking to services |
//! | [`project_member`] | members of a project |
//! | [`state`], [`doctor`], [`bench`] | the state directory, what is wrong, how fast it is |
//! | [`completion`], [`environment`] | the command line itself |

pub mod at;
pub mod bench;
pub mod completion;
pub mod doctor;
pub mod environment;
pub mod message;
pub mod node;
pub mod project_member;
pub mod relay;
pub mod resource;
pub mod secure_channel;
pub mod service;
pub mod state;
pub mod status;
pub mod tcp_connection;
pub mod tcp_inlet;
pub mod tcp_listener;
pub mod tcp_outlet;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::cli::Command;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::{DEFAULT_NAME, Store, Stored};

/// Runs a command that is not of a module of its own.
///
/// # Errors
///
/// What the command says.
pub fn run(store: &Store, command: &Command, output: Output) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Enroll(args) => crate::project::enroll_here(store, args, output),
        Command::Node(noun) => node::run(store, noun, output),
        Command::Start(which) => node::start(store, which, output),
        Command::Stop(args) => node::stop(store, args, output),
        Command::Logs(args) => node::logs(store, args, output),
        Command::Status => status::status(store, output),
        Command::Events(args) => status::events(store, args, output),
        Command::Reload(at) => reload(store, at, output),
        Command::TcpOutlet(command) => tcp_outlet::run(store, command, output),
        Command::TcpInlet(command) => tcp_inlet::run(store, command, output),
        Command::Relay(command) => relay::run(store, command, output),
        Command::SecureChannel(command) => secure_channel::run(store, command, output),
        Command::SecureChannelListener(command) => service::listeners(store, command, output),
        Command::TcpListener(command) => tcp_listener::run(store, command, output),
        Command::TcpConnection(command) => tcp_connection::run(store, command, output),
        Command::Message(command) => message::run(store, command, output),
        Command::Service(command) => service::services(store, command, output),
        Command::Worker(command) => service::workers(store, command, output),
        Command::ProjectMember(command) => project_member::run(store, command, output),
        Command::Backup(args) => state::backup(store, args, output),
        Command::Restore(args) => state::restore(store, args, output),
        Command::Reset(confirm) => state::reset(store, *confirm, output),
        Command::Doctor(args) => return doctor::run(store, args, output),
        Command::Bench(command) => bench::run(command, output),
        Command::Completion(args) => completion::completion(args, output),
        Command::Manpages(args) => completion::manpages(args, output),
        Command::Environment => {
            environment::run(output);
            Ok(())
        }
        // The others have modules beside this one.
        _ => Ok(()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Has a node read its configuration again.
fn reload(store: &Store, at: &at::AtArgs, output: Output) -> Result<(), Failure> {
    let node = at.open(store)?;
    let differences = node.post("reload", json!({}))?;
    crate::config::start::print(&differences, output);
    Ok(())
}

/// Seconds since 1970-01-01 UTC.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The identity to run with. The default one is made when there is none.
///
/// # Errors
///
/// What the store says; that there is none, for any other name.
pub fn identity_for_use(store: &Store, name: &str) -> Result<Stored, Failure> {
    let stored = match name {
        DEFAULT_NAME => store.load_or_create(name, now_s()),
        _ => store.load_for_use(name, now_s()),
    };
    Ok(stored?)
}
