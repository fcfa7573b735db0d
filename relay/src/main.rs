//! `culvert-relay`: the relay that edges meet at.
//!
//! ```text
//! edge -- TCP --> link -> router -> link -- TCP --> edge
//!                           |
//!                           +-> api (secure channels) -> forwarding_service (names)
//! ```

mod admission;
mod cli;
mod forwarder;
mod probe;
mod registry;
mod serve;

use std::process::ExitCode;

use clap::Parser;
use culvert_node::failure::{Failure, refused_usage};
use culvert_node::logging;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Output};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return refused_usage(&error.to_string()),
        // Help and version are no errors.
        Err(error) => error.exit(),
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(cli.output == Output::Json),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(logging::filter::<EnvFilter>()?)
        .with_writer(std::io::stderr)
        .with_ansi(logging::in_colour())
        .init();
    serve::run(cli).map_err(|error| Failure::new(&error, error.hint()))
}
