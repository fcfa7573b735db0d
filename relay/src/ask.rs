//! What the command line does beside running a relay: checking files, and asking a relay.

use std::io::{self, Write as _};
use std::path::PathBuf;

use culvert_manage::client::Client;
use culvert_manage::problem::{Kind, Problem};
use culvert_node::failure::Failure;
use culvert_node::store::Store;
use serde_json::{Value, json};

use crate::cli::{CheckArgs, Output, StatusArgs};
use crate::config;
use crate::manage::SOCKET;
use crate::serve::unix_s;

/// Checks a configuration file.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn check(args: &CheckArgs, output: Output) -> Result<(), Failure> {
    let warnings = config::check_file(&args.file)?;
    let file = args.file.display();
    match output {
        Output::Json => print(&json!({ "valid": true, "findings": warnings.findings }).to_string()),
        Output::Text if warnings.findings.is_empty() => print(&format!("{file} is valid")),
        Output::Text => print(&format!("{warnings}\n{file} is valid")),
    }
    Ok(())
}

/// Shows how a relay is doing.
///
/// # Errors
///
/// When none answers.
pub(crate) fn status(
    args: &StatusArgs,
    home: Option<PathBuf>,
    output: Output,
) -> Result<(), Failure> {
    let socket = match &args.socket {
        Some(socket) => socket.clone(),
        None => Store::open(home)?.home().join(SOCKET),
    };
    let seen = Client::unix(&socket)
        .and_then(|client| client.request("GET", "/v1/self", None))
        .map_err(|problem| match problem.kind {
            Kind::Unavailable => Problem {
                hint:
                    "start it, or name its state directory with --home or its socket with --socket"
                        .into(),
                ..problem
            },
            _ => problem,
        })?;
    match output {
        Output::Json => print(&seen.to_string()),
        Output::Text => print(&describe(&seen)),
    }
    Ok(())
}

fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn describe(seen: &Value) -> String {
    let text = |name: &str| seen[name].as_str().unwrap_or("-").to_owned();
    let number = |name: &str| seen[name].as_u64().unwrap_or_default();
    let since = unix_s().saturating_sub(number("started-at"));
    let mut lines = vec![
        format!("relay       {}", text("identifier")),
        format!("state       {}, started {} ago", text("state"), age(since)),
        format!("address     {}", text("address")),
        format!(
            "process     {} (version {})",
            number("pid"),
            text("version")
        ),
        format!("shards      {} ({})", number("shards"), text("driver")),
        format!("links       {}", number("links")),
        format!("channels    {}", number("channels")),
        format!("names       {}", number("forwarders-total")),
    ];
    for one in seen["forwarders"].as_array().into_iter().flatten() {
        let since = one["since-ms"].as_u64().unwrap_or_default() / 1000;
        lines.push(format!(
            "  {}  held by {} over {} connections for {}",
            one["name"].as_str().unwrap_or("-"),
            one["identity"].as_str().unwrap_or("somebody unproven"),
            one["links"],
            age(unix_s().saturating_sub(since)),
        ));
    }
    lines.join("\n")
}

/// A time in its largest unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
