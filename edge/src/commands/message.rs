//! `culvert-edge message`: sending one message and printing the answer.

use std::io::Read;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::at::{Running, node_name};
use super::resource::cell;
use crate::duration;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;

/// Longest route read from standard input, in bytes.
const LONGEST: u64 = 4096;

/// Send messages to services.
#[derive(Debug, Subcommand)]
pub enum MessageCommand {
    /// Send a message to a service and print its answer.
    Send(SendArgs),
}

/// Arguments of `message send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// What to send.
    #[arg(allow_hyphen_values = true)]
    pub message: String,
    /// The node that sends it [default: the node that --to begins with, else the default node]
    #[arg(long, short, visible_alias = "at", value_name = "NODE", value_parser = node_name)]
    pub from: Option<String>,
    /// Route of the service, for example /secure-channel/NAME/service/uppercase or
    /// /node/NAME/service/echo. A `-` stands for what is read from standard input.
    #[arg(long, short, value_name = "ROUTE", allow_hyphen_values = true)]
    pub to: String,
    /// The message is hexadecimal digits; so is the answer.
    #[arg(long)]
    pub hex: bool,
    /// How long the answer may take.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub timeout: Duration,
}

/// Runs a command about messages.
///
/// # Errors
///
/// What the node says.
pub fn run(store: &Store, command: &MessageCommand, output: Output) -> Result<(), Failure> {
    let MessageCommand::Send(args) = command;
    let route = with_input(&args.to)?;
    let (from, to) = match (&args.from, of_own_node(&route)) {
        (None, Some((node, rest))) => (Some(node), rest),
        (from, _) => (from.as_deref(), route.as_str()),
    };
    let node = Running::open(store, from)?;
    let kind = if args.hex { "hex" } else { "message" };
    let limit = u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX);
    let body = json!({ "to": to, kind: args.message, "timeout-ms": limit });
    let answer = node.post("messages", body)?;
    let text = match args.hex {
        true => cell(&answer, "hex"),
        false => cell(&answer, "message|hex"),
    };
    output.print(text, &answer);
    Ok(())
}

/// A node of this machine at the start of a route, and the rest.
fn of_own_node(route: &str) -> Option<(&str, &str)> {
    let rest = route.strip_prefix("/node/")?;
    let at = rest.find('/')?;
    Some(rest.split_at(at))
}

/// A route with what another command printed in place of `-`.
fn with_input(route: &str) -> Result<String, Failure> {
    if route != "-" && !route.starts_with("-/") {
        return Ok(route.to_owned());
    }
    let mut input = String::new();
    let read = std::io::stdin().take(LONGEST).read_to_string(&mut input);
    read.map_err(|error| {
        Failure::usage(
            format!("cannot read the start of the route from standard input: {error}"),
            "pipe what `culvert-edge secure-channel create` prints into this command",
        )
    })?;
    Ok(format!("{}{}", input.trim(), &route[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_this_machine() {
        let route = "/node/n1/service/echo";
        assert_eq!(of_own_node(route), Some(("n1", "/service/echo")));
        for other in ["/node/n1", "/service/echo", "echo"] {
            assert_eq!(of_own_node(other), None, "{other}");
        }
    }
}
