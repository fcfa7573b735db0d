//! `culvert-edge relay`: names that a node holds at relays.

use clap::{Args, Subcommand};
use culvert_crypto::Identifier;
use serde_json::json;

use super::at::{AtArgs, Running, node_name};
use super::resource::{self, ConfirmArgs, DeleteArgs, Kind, ShowArgs, WaitArgs};
use crate::cli::{identifier, relay_name};
use crate::failure::Failure;
use crate::model::RelaySpec;
use crate::output::Output;
use crate::store::{DEFAULT_NAME, Store};

const KIND: Kind = Kind {
    path: "relays",
    word: "relay",
    id: "name",
    columns: &[
        ("NAME", "name"),
        ("RELAY", "destination"),
        ("ADDRESS", "forwarding-address"),
        ("STATE", "state"),
    ],
};

/// Register names with relays, so that others reach a node by them.
#[derive(Debug, Subcommand)]
pub enum RelayCommand {
    /// Register a name with a relay, and keep it registered.
    Create(CreateArgs),
    /// List the names that a node holds at relays.
    List {
        /// Of which node.
        #[command(flatten)]
        to: ToArgs,
    },
    /// Show one of them.
    Show {
        /// The name [default: the only one there is]
        name: Option<String>,
        /// Of which node.
        #[command(flatten)]
        to: ToArgs,
    },
    /// Give a name back.
    Delete {
        /// The name [default: the only one there is]
        #[arg(conflicts_with = "all")]
        name: Option<String>,
        /// Give back all of them.
        #[arg(long)]
        all: bool,
        /// Whether to ask first.
        #[command(flatten)]
        confirm: ConfirmArgs,
        /// Of which node.
        #[command(flatten)]
        to: ToArgs,
    },
}

/// Which node is meant.
#[derive(Clone, Debug, Args)]
pub struct ToArgs {
    /// Name of the node on this machine [default: the default node]
    #[arg(long, visible_alias = "at", value_name = "NODE", value_parser = node_name)]
    pub to: Option<String>,
}

impl From<ToArgs> for AtArgs {
    fn from(args: ToArgs) -> Self {
        Self { at: args.to }
    }
}

/// Arguments of `relay create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The name that others reach the node by.
    #[arg(default_value = DEFAULT_NAME, value_parser = relay_name)]
    pub name: String,
    /// Node that is reached by the name [default: the default node]
    #[arg(long, value_name = "NODE", value_parser = node_name)]
    pub to: Option<String>,
    /// The relay: HOST:PORT, a multiaddr, or /project/NAME [default: that of the node's project]
    #[arg(long, value_name = "ROUTE")]
    pub at: Option<String>,
    /// Identifier that the relay must have [default: the project's, else any]
    #[arg(long, value_name = "IDENTIFIER", value_parser = identifier)]
    pub authorized: Option<Identifier>,
    /// Name to register, where it is another than NAME is on this node.
    #[arg(long, value_name = "NAME", value_parser = relay_name)]
    pub relay_address: Option<String>,
    /// Register without a secure channel to the relay: it cannot tell who holds the name.
    #[arg(long, conflicts_with = "authorized")]
    pub plain: bool,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Runs a command about names at relays.
///
/// # Errors
///
/// What the node says.
pub fn run(store: &Store, command: &RelayCommand, output: Output) -> Result<(), Failure> {
    match command {
        RelayCommand::Create(args) => create(store, args, output),
        RelayCommand::List { to } => KIND.list(store, &to.clone().into(), output),
        RelayCommand::Show { name, to } => {
            let (name, at) = (name.clone(), to.clone().into());
            KIND.show(store, &ShowArgs { name, at }, output)
        }
        RelayCommand::Delete {
            name,
            all,
            confirm,
            to,
        } => {
            let delete = DeleteArgs {
                name: name.clone(),
                all: *all,
                confirm: *confirm,
                at: to.clone().into(),
            };
            KIND.delete(store, &delete, output)
        }
    }
}

fn create(store: &Store, args: &CreateArgs, output: Output) -> Result<(), Failure> {
    let spec = RelaySpec {
        name: args.name.clone(),
        at: args.at.clone(),
        authorized: args.authorized.map(|id| id.to_string()),
        relay_address: args.relay_address.clone(),
        plain: args.plain,
    };
    let node = Running::open(store, args.to.as_deref())?;
    let view = KIND.create(&node, json!(spec), Some(&args.wait))?;
    let cell = |key| resource::cell(&view, key);
    let text = format!(
        "relay '{}' at {}: {}",
        cell("name"),
        cell("destination"),
        cell("state")
    );
    output.print(text, &view);
    Ok(())
}
