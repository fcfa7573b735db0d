//! `culvert-relay`: the relay that edges meet at.
//!
//! ```text
//! edge -- TCP --> link -> router -> link -- TCP --> edge
//!                           |
//!                           +-> api (secure channels) -> forwarding_service (names)
//! ```

mod cli;
mod forwarder;
mod probe;
mod registry;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Output};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("CULVERT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let color = std::env::var_os("NO_COLOR").is_none()
        && std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .init();
    match serve::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, cli.output);
            ExitCode::FAILURE
        }
    }
}

/// Help and version are no errors; the rest is printed in the form that was asked for, as far as
/// that can be told from arguments that do not parse.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let wants_json = arguments.iter().any(|argument| argument == "--output=json")
        || arguments
            .windows(2)
            .any(|pair| pair[0] == "--output" && pair[1] == "json");
    if !error.use_stderr() || !wants_json {
        let _ = error.print();
        return ExitCode::from(error.exit_code() as u8);
    }
    let text = error.render().to_string();
    let message = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    let json = serde_json::json!({
        "error": { "message": message, "hint": "see culvert-relay --help" }
    });
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{json}\n"));
    ExitCode::from(2)
}

/// Writes an error where the user looks for it.
fn report(error: &serve::Error, output: Output) {
    use std::io::Write as _;
    let mut stderr = std::io::stderr();
    let _ = match output {
        Output::Text => writeln!(stderr, "error: {error}\n  {}", error.hint()),
        Output::Json => {
            let (message, hint) = (error.to_string(), error.hint());
            let json = serde_json::json!({ "error": { "message": message, "hint": hint } });
            // For those who read events only.
            let event = serde_json::json!({ "event": "failed", "error": message, "hint": hint });
            let _ = writeln!(std::io::stdout(), "{event}");
            writeln!(stderr, "{json}")
        }
    };
}
