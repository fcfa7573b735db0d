//! `culvert-edge`: inlets and outlets beside clients and services.
//!
//! ```text
//! client -> inlet ==== secure channel through a relay ==== outlet -> service
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`api`] | the management API of a node |
//! | [`identity`], [`vault`] | commands about identities and vaults |
//! | [`route`] | from `--via` or a multiaddr to a path |
//! | [`policy`], [`credential`] | commands: who may use what, and who says who is what |
//! | [`trust`], [`renewal`] | who is believed, what is shown, who may use a portal |
//! | [`portal`], [`events`] | running an outlet or an inlet |
//! | [`authority`] | who the members of a project are, and what they may do |
//! | [`project`] | being a member of projects |
//! | [`daemon`] | a node that keeps what it was told to have, over restarts |
//! | [`config`] | the configuration file of a node |
//! | [`model`] | what a node is told to have, and what it says about it |
//! | [`node`] | running services for other nodes |
//! | [`commands`] | commands about running nodes and this machine, one noun a file |
//! | [`demo`] | the whole way on one machine, explained and measured |

pub mod api;
pub mod authority;
pub mod cli;
pub mod commands;
pub mod config;
pub mod credential;
pub mod daemon;
pub mod demo;
pub mod duration;
pub mod endpoint;
pub mod events;
pub mod given;
pub mod identity;
pub mod model;
pub mod moment;
pub mod node;
pub mod output;
pub mod policy;
pub mod portal;
pub mod process;
pub mod project;
pub mod renewal;
pub mod route;
pub mod trust;
pub mod vault;

pub use culvert_node::{failure, store};

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::{Failure, refused_usage};
use crate::output::Output;
use crate::store::Store;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return refused_usage(&error.to_string()),
        // Help and version are no errors.
        Err(error) => error.exit(),
    };
    match process::start_logging(cli.quiet).and_then(|()| run(&cli)) {
        Ok(code) => code,
        Err(failure) => failure.end(cli.output == Output::Json),
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::Demo(args) => return demo::run(args, cli.output).map(|()| ExitCode::SUCCESS),
        Command::DemoChild(args) => return Err(demo::child::become_program(args)),
        _ => {}
    }
    let store = Store::open(cli.home.clone())?.with_unlock(cli.unlock.unlock());
    let store = vault::with_services(store);
    let done = match &cli.command {
        Command::Check(args) => return config::command::run(&store, args, cli.output),
        Command::Run(args) => config::start::run(&store, args, cli.output),
        Command::Diff(args) => config::start::diff(&store, args, cli.output),
        Command::Policy(command) => return policy::run(&store, command, cli.output),
        Command::Credential(command) => credential::run(&store, command, cli.output),
        Command::Identity(command) => identity::run(&store, command, cli.output),
        Command::Vault(command) => vault::run(&store, command, cli.output),
        Command::Outlet(args) => portal::outlet(&store, args, cli.output),
        Command::Inlet(args) => portal::inlet(&store, args, cli.output),
        Command::Project(command) => project::run(&store, command, cli.output),
        Command::Authority(command) => authority::run(&store, command, cli.output),
        Command::NodeChild { name } => daemon::background::child(&store, name),
        command => return commands::run(&store, command, cli.output),
    };
    done.map(|()| ExitCode::SUCCESS)
}
