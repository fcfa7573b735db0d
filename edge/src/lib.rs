//! `culvert-edge`: inlets and outlets beside clients and services.
//!
//! ```text
//! client -> inlet ==== secure channel through a relay ==== outlet -> service
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`identity`], [`vault`] | commands about identities and vaults |
//! | [`route`] | from `--via` or a multiaddr to a path |
//! | [`portal`] | running an outlet or an inlet |
//! | [`demo`] | the whole way on one machine, explained and measured |

pub mod cli;
pub mod commands;
pub mod demo;
pub mod endpoint;
pub mod identity;
pub mod output;
pub mod portal;
pub mod process;
pub mod route;
pub mod vault;

pub use culvert_node::{failure, store};

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::{Failure, refused_usage};
use crate::output::Output;
use crate::store::Store;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return refused_usage(&error.to_string()),
        // Help and version are no errors.
        Err(error) => error.exit(),
    };
    match process::start_logging().and_then(|()| run(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(cli.output == Output::Json),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Demo(args) => return demo::run(args, cli.output),
        Command::DemoChild(args) => return Err(demo::child::become_program(args)),
        _ => {}
    }
    let store = Store::open(cli.home.clone())?.with_unlock(cli.unlock.unlock());
    let store = vault::with_services(store);
    match &cli.command {
        Command::Identity(command) => identity::run(&store, command, cli.output),
        Command::Vault(command) => vault::run(&store, command, cli.output),
        Command::Outlet(args) => portal::outlet(&store, args, cli.output),
        Command::Inlet(args) => portal::inlet(&store, args, cli.output),
        Command::Demo(_) | Command::DemoChild(_) => Ok(()),
    }
}
