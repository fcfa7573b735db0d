//! `culvert-edge secure-channel`: secure channels that a node keeps up.

use std::io::IsTerminal;

use clap::{Args, Subcommand};
use culvert_crypto::Identifier;
use culvert_node::random_bytes;
use serde_json::json;

use super::at::{AtArgs, Running, node_name};
use super::resource::{self, DeleteArgs, Kind, ShowArgs, WaitArgs};
use crate::cli::identifier;
use crate::failure::Failure;
use crate::model::ChannelSpec;
use crate::output::Output;
use crate::store::Store;

const KIND: Kind = Kind {
    path: "secure-channels",
    word: "secure-channel",
    id: "name",
    columns: &[
        ("NAME", "name"),
        ("TO", "to"),
        ("STATE", "state"),
        ("PEER", "peer"),
    ],
};

/// Keep secure channels to other nodes up.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Make a secure channel to another node, and keep it up.
    Create(CreateArgs),
    /// List the secure channels of a node.
    List(AtArgs),
    /// Show a secure channel.
    Show(ShowArgs),
    /// Close a secure channel for good.
    Delete(DeleteArgs),
}

/// Arguments of `secure-channel create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What to call it: routes begin with it [default: a random name]
    pub name: Option<String>,
    /// The node that makes it [default: the default node]
    #[arg(long, visible_alias = "at", value_name = "NODE", value_parser = node_name)]
    pub from: Option<String>,
    /// Multiaddr of the far side's channel listener, for example /dnsaddr/HOST/tcp/PORT/service/api.
    #[arg(long, value_name = "ROUTE")]
    pub to: String,
    /// Identifier that the far side may have; may be repeated [default: any]
    #[arg(long, short, value_name = "IDENTIFIER", value_parser = identifier)]
    pub authorized: Vec<Identifier>,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Runs a command about secure channels.
///
/// # Errors
///
/// What the node says.
pub fn run(store: &Store, command: &ChannelCommand, output: Output) -> Result<(), Failure> {
    match command {
        ChannelCommand::Create(args) => create(store, args, output),
        ChannelCommand::List(at) => KIND.list(store, at, output),
        ChannelCommand::Show(args) => KIND.show(store, args, output),
        ChannelCommand::Delete(args) => KIND.delete(store, args, output),
    }
}

fn create(store: &Store, args: &CreateArgs, output: Output) -> Result<(), Failure> {
    let random = || hex::encode(random_bytes::<4>());
    let spec = ChannelSpec {
        name: args.name.clone().unwrap_or_else(random),
        to: args.to.clone(),
        authorized: args.authorized.iter().map(Identifier::to_string).collect(),
    };
    let node = Running::open(store, args.from.as_deref())?;
    let view = KIND.create(&node, json!(spec), Some(&args.wait))?;
    let cell = |key| resource::cell(&view, key);
    let route = cell("route");
    // In a pipe it is what `message send --to -/service/echo` reads.
    let text = match std::io::stdout().is_terminal() {
        true => format!("{route}: {}, peer {}", cell("state"), cell("peer")),
        false => route,
    };
    output.print(text, &view);
    Ok(())
}
