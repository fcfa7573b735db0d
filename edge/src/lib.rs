//! `culvert-edge`: inlets and outlets beside clients and services.
//!
//! ```text
//! client -> inlet ==== secure channel through a relay ==== outlet -> service
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`route`] | from `--via` or a multiaddr to a path |
//! | [`portal`] | running an outlet or an inlet |
//! | [`demo`] | the whole way on one machine, explained and measured |

pub mod cli;
pub mod commands;
pub mod demo;
pub mod endpoint;
pub mod failure;
pub mod output;
pub mod portal;
pub mod process;
pub mod route;

pub use culvert_node::store;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    process::start_logging();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli.output.fail(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Demo(args) => return demo::run(args, cli.output),
        Command::DemoChild(args) => return Err(demo::child::become_program(args)),
        _ => {}
    }
    let store = Store::open(cli.home.clone())?;
    match &cli.command {
        Command::Identity(command) => commands::identity(&store, command, cli.output),
        Command::Outlet(args) => portal::outlet(&store, args, cli.output),
        Command::Inlet(args) => portal::inlet(&store, args, cli.output),
        Command::Demo(_) | Command::DemoChild(_) => Ok(()),
    }
}

/// Help and version are no errors; the rest is printed in the form that was asked for, as far as
/// that can be told from arguments that do not parse.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    let wants_json = || {
        let arguments: Vec<_> = std::env::args_os().collect();
        arguments.iter().any(|argument| argument == "--output=json")
            || arguments
                .windows(2)
                .any(|pair| pair[0] == "--output" && pair[1] == "json")
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ if wants_json() => {
            let text = error.to_string();
            let text = text.trim().trim_start_matches("error: ");
            let (message, hint) = text.split_once("\n\n").unwrap_or((text, ""));
            Output::Json.fail(&Failure::usage(message, hint));
            ExitCode::from(2)
        }
        _ => {
            let _ = error.print();
            ExitCode::from(2)
        }
    }
}
