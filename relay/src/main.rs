//! `culvert-relay`: the relay that edges meet at.
//!
//! ```text
//! edge -- TCP --> link -> router -> link -- TCP --> edge
//!                           |
//!                           +-> api (secure channels) -> forwarding_service (names)
//! ```

mod admission;
mod ask;
mod cli;
mod config;
mod forwarder;
mod life;
mod manage;
mod probe;
mod registry;
mod serve;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use culvert_node::failure::{Failure, refused_usage};
use culvert_node::logging;

use crate::cli::{Cli, Command, Output};
use crate::config::Given;
use crate::life::Logs;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let parsed = Cli::command()
        .try_get_matches()
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) if error.use_stderr() => return refused_usage(&error.to_string()),
        // Help and version are no errors.
        Err(error) => error.exit(),
    };
    let output = cli.run.output;
    let misplaced = match &cli.command {
        Some(_) => cli::misplaced(&matches),
        None => None,
    };
    let done = match (cli.command, misplaced) {
        (_, Some(failure)) => Err(failure),
        (Some(Command::Check(args)), _) => ask::check(&args, output),
        (Some(Command::Status(args)), _) => ask::status(&args, cli.run.home, output),
        (None, _) => run(&Given::new(cli.run, matches)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(output == Output::Json),
    }
}

fn run(given: &Given) -> Result<(), Failure> {
    let args = given.read()?;
    let logs = start_logging(&args.log)?;
    Ok(serve::run(given, args, logs)?)
}

/// Logs to stderr from now on; gives what changes what is logged.
fn start_logging(filter: &str) -> Result<Logs, Failure> {
    let filter = config::filter(filter, "CULVERT_LOG")?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(logging::in_colour())
        .with_filter_reloading();
    let handle = logs.reload_handle();
    logs.init();
    Ok(Box::new(move |filter| {
        if let Err(error) = handle.reload(filter) {
            tracing::error!(%error, "what is logged stays as it was");
        }
    }))
}
