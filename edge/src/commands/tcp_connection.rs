//! `culvert-edge tcp-connection`: connections to other nodes that a node keeps up.

use clap::{Args, Subcommand};
use serde_json::json;

use super::at::{AtArgs, Running, node_name};
use super::resource::{self, DeleteArgs, Kind, ShowArgs, WaitArgs};
use crate::endpoint::HostPort;
use crate::failure::Failure;
use crate::model::ConnectionSpec;
use crate::output::Output;
use crate::store::Store;

const KIND: Kind = Kind {
    path: "tcp-connections",
    word: "tcp-connection",
    id: "name",
    columns: &[("NAME", "name"), ("TO", "to"), ("STATE", "state")],
};

/// Keep TCP connections to other nodes up.
#[derive(Debug, Subcommand)]
pub enum ConnectionCommand {
    /// Connect to another node, and keep the connection up.
    Create(CreateArgs),
    /// List the connections of a node.
    List(AtArgs),
    /// Show a connection.
    Show(ShowArgs),
    /// Close a connection for good.
    Delete(DeleteArgs),
}

/// Arguments of `tcp-connection create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What to call it: its address in routes [default: host and port, with a hyphen between]
    pub name: Option<String>,
    /// The node that connects [default: the default node]
    #[arg(long, visible_alias = "at", value_name = "NODE", value_parser = node_name)]
    pub from: Option<String>,
    /// The other node.
    #[arg(long, short, value_name = "HOST:PORT", value_parser = HostPort::parse_remote)]
    pub to: HostPort,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Runs a command about connections.
///
/// # Errors
///
/// What the node says.
pub fn run(store: &Store, command: &ConnectionCommand, output: Output) -> Result<(), Failure> {
    match command {
        ConnectionCommand::Create(args) => create(store, args, output),
        ConnectionCommand::List(at) => KIND.list(store, at, output),
        ConnectionCommand::Show(args) => KIND.show(store, args, output),
        ConnectionCommand::Delete(args) => KIND.delete(store, args, output),
    }
}

/// A name for a connection that is given none.
fn name_of(to: &HostPort) -> String {
    format!("{}-{}", to.host.replace(':', "."), to.port)
}

fn create(store: &Store, args: &CreateArgs, output: Output) -> Result<(), Failure> {
    let spec = ConnectionSpec {
        name: args.name.clone().unwrap_or_else(|| name_of(&args.to)),
        to: args.to.to_string(),
    };
    let node = Running::open(store, args.from.as_deref())?;
    let view = KIND.create(&node, json!(spec), Some(&args.wait))?;
    let cell = |key| resource::cell(&view, key);
    let text = format!(
        "tcp-connection '{}' to {}: {}",
        cell("name"),
        cell("to"),
        cell("state")
    );
    output.print(text, &view);
    Ok(())
}
