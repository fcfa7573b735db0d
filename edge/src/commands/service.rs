//! `culvert-edge service`, `worker`, `secure-channel-listener`: what a node answers at.

use clap::Subcommand;
use serde_json::Value;

use super::at::AtArgs;
use super::resource::{card, cell};
use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;

/// Type of the services that accept secure channels.
const LISTENER: &str = "secure-channel-listener";

/// See the services of a node.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// List the services of a node: well-known addresses, and what answers there.
    List(AtArgs),
}

/// See the workers of a node.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// List every address of a node that messages can be sent to.
    List(AtArgs),
}

/// See where a node accepts secure channels. Every node does, at `api`; policies of the type
/// secure-channel-listener say from whom.
#[derive(Debug, Subcommand)]
pub enum ChannelListenerCommand {
    /// List the addresses at which a node accepts secure channels.
    List(AtArgs),
    /// Show one of them.
    Show {
        /// Its address.
        #[arg(default_value = "api")]
        address: String,
        /// Of which node.
        #[command(flatten)]
        at: AtArgs,
    },
}

/// Lists services.
///
/// # Errors
///
/// What the node says.
pub fn services(store: &Store, command: &ServiceCommand, output: Output) -> Result<(), Failure> {
    let ServiceCommand::List(at) = command;
    list(&at.open(store)?.get("services")?, output);
    Ok(())
}

/// Lists workers.
///
/// # Errors
///
/// What the node says.
pub fn workers(store: &Store, command: &WorkerCommand, output: Output) -> Result<(), Failure> {
    let WorkerCommand::List(at) = command;
    let all = at.open(store)?.get("workers")?;
    let rows = all.as_array().into_iter().flatten();
    let rows = rows.map(|worker| match worker {
        Value::String(address) => vec![address.clone()],
        worker => vec![cell(worker, "address")],
    });
    output.table(&["ADDRESS"], rows.collect(), &all);
    Ok(())
}

/// Lists or shows listeners of secure channels.
///
/// # Errors
///
/// What the node says; that there is none at this address.
pub fn listeners(
    store: &Store,
    command: &ChannelListenerCommand,
    output: Output,
) -> Result<(), Failure> {
    let of = |at: &AtArgs| -> Result<Vec<Value>, Failure> {
        let all = at.open(store)?.get("services")?;
        let all = all.as_array().into_iter().flatten();
        Ok(all
            .filter(|one| cell(one, "type") == LISTENER)
            .cloned()
            .collect())
    };
    match command {
        ChannelListenerCommand::List(at) => list(&Value::Array(of(at)?), output),
        ChannelListenerCommand::Show { address, at } => {
            let mut all = of(at)?.into_iter();
            let found = all.find(|one| cell(one, "address") == *address);
            let found = found.ok_or_else(|| {
                Failure::not_found(
                    format!("no secure channels are accepted at '{address}'"),
                    "see `culvert-edge secure-channel-listener list`",
                )
            })?;
            card(&found, output);
        }
    }
    Ok(())
}

fn list(all: &Value, output: Output) {
    let rows = all.as_array().into_iter().flatten();
    let rows = rows.map(|one| vec![cell(one, "address"), cell(one, "type")]);
    output.table(&["ADDRESS", "TYPE"], rows.collect(), all);
}
