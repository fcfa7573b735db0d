//! `culvert-edge tcp-listener`: addresses at which other nodes can connect to a node.

use clap::{Args, Subcommand};
use culvert_node::control::listen_address;
use serde_json::json;
use std::net::SocketAddr;

use super::at::AtArgs;
use super::resource::{self, DeleteArgs, Kind, ShowArgs};
use crate::failure::Failure;
use crate::model::ListenerSpec;
use crate::output::Output;
use crate::store::Store;

const KIND: Kind = Kind {
    path: "tcp-listeners",
    word: "tcp-listener",
    id: "address",
    columns: &[("ADDRESS", "address"), ("STATE", "state")],
};

/// Open addresses at which other nodes can connect to a node.
#[derive(Debug, Subcommand)]
pub enum ListenerCommand {
    /// Accept other nodes at an address.
    Create(CreateArgs),
    /// List the addresses at which a node accepts others.
    List(AtArgs),
    /// Show one of them.
    Show(ShowArgs),
    /// Accept nobody at an address any more; connections that are there stay.
    Delete(DeleteArgs),
}

/// Arguments of `tcp-listener create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Address to listen on; port 0 picks a free one, which is then kept.
    #[arg(value_parser = listen_address)]
    pub address: SocketAddr,
    /// On which node.
    #[command(flatten)]
    pub at: AtArgs,
}

/// Runs a command about listeners.
///
/// # Errors
///
/// What the node says.
pub fn run(store: &Store, command: &ListenerCommand, output: Output) -> Result<(), Failure> {
    match command {
        ListenerCommand::Create(args) => {
            let address = args.address.to_string();
            let node = args.at.open(store)?;
            let view = KIND.create(&node, json!(ListenerSpec { address }), None)?;
            let text = format!("listening on {}", resource::cell(&view, "address"));
            output.print(text, &view);
            Ok(())
        }
        ListenerCommand::List(at) => KIND.list(store, at, output),
        ListenerCommand::Show(args) => KIND.show(store, args, output),
        ListenerCommand::Delete(args) => KIND.delete(store, args, output),
    }
}
