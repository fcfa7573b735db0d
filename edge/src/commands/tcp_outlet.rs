//! `culvert-edge tcp-outlet`: services that others reach through a node.

use clap::{Args, Subcommand};
use serde_json::json;

use super::at::AtArgs;
use super::resource::{self, DeleteArgs, Kind, ShowArgs};
use crate::endpoint::HostPort;
use crate::failure::Failure;
use crate::model::OutletSpec;
use crate::output::Output;
use crate::store::Store;

const KIND: Kind = Kind {
    path: "tcp-outlets",
    word: "tcp-outlet",
    id: "name",
    columns: &[
        ("NAME", "name"),
        ("TO", "to"),
        ("STATE", "state"),
        ("STREAMS", "streams"),
        ("POLICY", "policy"),
    ],
};

/// Let others reach TCP services through a node.
#[derive(Debug, Subcommand)]
pub enum OutletCommand {
    /// Let those that a policy allows reach a TCP service.
    Create(CreateArgs),
    /// List the outlets of a node.
    List(AtArgs),
    /// Show an outlet.
    Show(ShowArgs),
    /// Delete an outlet; its streams end.
    Delete(DeleteArgs),
}

/// Arguments of `tcp-outlet create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What to call it: its address in routes, and the resource of its policies [default: outlet]
    #[arg(conflicts_with = "from")]
    pub name: Option<String>,
    /// The service; its name is resolved for each connection. A port alone means one of this machine.
    #[arg(long, value_name = "HOST:PORT", value_parser = remote)]
    pub to: HostPort,
    /// The same as NAME, as Ockam has it: /service/NAME is understood.
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,
    /// Policy about who may use it; becomes the policy of this resource
    /// [default: whoever has a credential, where the node has a project; otherwise nobody]
    #[arg(long, value_name = "EXPRESSION", visible_alias = "expression")]
    #[arg(allow_hyphen_values = true)]
    pub allow: Option<String>,
    /// Do not wait for an answer before data is sent; both ends must say so.
    #[arg(long, env = "OCKAM_TCP_PORTAL_SKIP_HANDSHAKE")]
    pub skip_handshake: bool,
    /// On which node.
    #[command(flatten)]
    pub at: AtArgs,
}

/// `HOST:PORT` to connect to; a port alone is one of this machine.
fn remote(text: &str) -> Result<HostPort, String> {
    let text = text.strip_prefix("tcp://").unwrap_or(text);
    match text.parse::<u16>() {
        Ok(port) => HostPort::parse_remote(&format!("127.0.0.1:{port}")),
        Err(_) => HostPort::parse_remote(text),
    }
}

/// Runs a command about outlets.
///
/// # Errors
///
/// What the node says.
pub fn run(store: &Store, command: &OutletCommand, output: Output) -> Result<(), Failure> {
    match command {
        OutletCommand::Create(args) => create(store, args, output),
        OutletCommand::List(at) => KIND.list(store, at, output),
        OutletCommand::Show(args) => KIND.show(store, args, output),
        OutletCommand::Delete(args) => KIND.delete(store, args, output),
    }
}

fn create(store: &Store, args: &CreateArgs, output: Output) -> Result<(), Failure> {
    let name = args.name.clone().or_else(|| {
        let from = args.from.as_deref()?;
        Some(from.strip_prefix("/service/").unwrap_or(from).to_owned())
    });
    let spec = OutletSpec {
        name: name.unwrap_or_else(OutletSpec::default_name),
        to: args.to.to_string(),
        allow: args.allow.clone(),
        skip_handshake: args.skip_handshake,
    };
    let view = KIND.create(&args.at.open(store)?, json!(spec), None)?;
    let cell = |key| resource::cell(&view, key);
    let text = format!(
        "tcp-outlet '{}' to {}: {}",
        cell("name"),
        cell("to"),
        cell("state")
    );
    output.print(text, &view);
    Ok(())
}
