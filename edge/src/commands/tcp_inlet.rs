//! `culvert-edge tcp-inlet`: local ports that lead to outlets.

use clap::{Args, Subcommand};
use culvert_crypto::Identifier;
use serde_json::json;

use super::at::AtArgs;
use super::resource::{self, DeleteArgs, Kind, ShowArgs, WaitArgs};
use crate::cli::{identifier, relay_name};
use crate::endpoint::HostPort;
use crate::failure::Failure;
use crate::model::InletSpec;
use crate::output::Output;
use crate::store::Store;

const KIND: Kind = Kind {
    path: "tcp-inlets",
    word: "tcp-inlet",
    id: "name",
    columns: &[
        ("NAME", "name"),
        ("FROM", "bind-address|from"),
        ("ROUTE", "route"),
        ("STATE", "state"),
        ("STREAMS", "streams"),
    ],
};

/// Name of an inlet that is given none and whose route does not say one.
const INLET: &str = "inlet";

/// Open local TCP ports that lead to outlets.
#[derive(Debug, Subcommand)]
pub enum InletCommand {
    /// Open a local TCP port that leads to an outlet.
    Create(Box<CreateArgs>),
    /// List the inlets of a node.
    List(AtArgs),
    /// Show an inlet.
    Show(ShowArgs),
    /// Delete an inlet; its port is free at once and its streams end.
    Delete(DeleteArgs),
}

/// Arguments of `tcp-inlet create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What to call it; also the resource of its policies [default: that of --via, else inlet]
    #[arg(conflicts_with = "alias")]
    pub name: Option<String>,
    /// The same as NAME.
    #[arg(long, value_name = "NAME", hide = true)]
    pub alias: Option<String>,
    /// Where to listen: HOST:PORT, or a port on 127.0.0.1. Port 0 picks a free one, which is then kept.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", value_parser = local)]
    pub from: HostPort,
    /// Name that the outlet's side registered with the relay.
    #[arg(long, value_name = "RELAY_NAME", value_parser = relay_name)]
    #[arg(required_unless_present = "to")]
    pub via: Option<String>,
    /// The relay of --via: HOST:PORT or a multiaddr [default: that of the node's project]
    #[arg(long, value_name = "ROUTE", requires = "via")]
    pub relay: Option<String>,
    /// Multiaddr of the outlet; with --via its name there [default: outlet]
    #[arg(long, value_name = "ROUTE")]
    pub to: Option<String>,
    /// Identifier that the other end must have [default: what the policy says]
    #[arg(long, value_name = "IDENTIFIER", value_parser = identifier)]
    pub authorized: Option<Identifier>,
    /// Policy about the other end; becomes the policy of this resource
    /// [default: whoever has a credential, where the node has a project]
    #[arg(long, value_name = "EXPRESSION", visible_alias = "expression")]
    #[arg(allow_hyphen_values = true)]
    pub allow: Option<String>,
    /// Leave the relay where the networks allow it.
    #[arg(long, visible_alias = "udp")]
    pub direct: bool,
    /// Prove to the relay who this node is (relays started with --require-authentication).
    #[arg(long)]
    pub authenticate: bool,
    /// Do not wait for an answer before data is sent; both ends must say so.
    #[arg(long, env = "OCKAM_TCP_PORTAL_SKIP_HANDSHAKE")]
    pub skip_handshake: bool,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// On which node.
    #[command(flatten)]
    pub at: AtArgs,
}

/// Where to listen, also as `tcp://HOST:PORT`.
fn local(text: &str) -> Result<HostPort, String> {
    HostPort::parse_local(text.strip_prefix("tcp://").unwrap_or(text))
}

/// Runs a command about inlets.
///
/// # Errors
///
/// What the node says.
pub fn run(store: &Store, command: &InletCommand, output: Output) -> Result<(), Failure> {
    match command {
        InletCommand::Create(args) => create(store, args, output),
        InletCommand::List(at) => KIND.list(store, at, output),
        InletCommand::Show(args) => KIND.show(store, args, output),
        InletCommand::Delete(args) => KIND.delete(store, args, output),
    }
}

fn create(store: &Store, args: &CreateArgs, output: Output) -> Result<(), Failure> {
    let named = [&args.name, &args.alias, &args.via];
    let name = named.into_iter().flatten().next();
    let spec = InletSpec {
        name: name.map_or(INLET, String::as_str).to_owned(),
        from: args.from.to_string(),
        via: args.via.clone(),
        at: args.relay.clone(),
        to: args.to.clone(),
        authorized: args.authorized.map(|id| id.to_string()),
        allow: args.allow.clone(),
        direct: args.direct,
        authenticate: args.authenticate,
        skip_handshake: args.skip_handshake,
    };
    let view = KIND.create(&args.at.open(store)?, json!(spec), Some(&args.wait))?;
    let cell = |key| resource::cell(&view, key);
    let text = format!(
        "tcp-inlet '{}' listens on {}: {}",
        cell("name"),
        cell("bind-address|from"),
        cell("state")
    );
    output.print(text, &view);
    Ok(())
}
