//! `culvert-edge node create`.

use std::path::Path;

use culvert_node::store::database::Database;
use serde_json::json;

use super::CreateArgs;
use super::report;
use crate::commands::at::{Running, node_name};
use crate::daemon::{NodeLock, background};
use crate::failure::Failure;
use crate::model::{HttpSpec, ListenerSpec, NodeSpec};
use crate::output::Output;
use crate::store::{DEFAULT_NAME, Store};

/// Makes a node and starts it.
///
/// # Errors
///
/// Conflict when there is one of this name that is another one; what keeps it from starting, in which
/// case a node that was new is forgotten again.
pub fn create(store: &Store, args: &CreateArgs, output: Output) -> Result<(), Failure> {
    let name = args.name.as_deref().unwrap_or(DEFAULT_NAME);
    let name = node_name(name).map_err(|what| Failure::usage(what, ""))?;
    let spec = spec(args, &name)?;
    let mut database = Database::open(store.home())?;
    let stored = database.node(&name)?;
    let text = json!(spec).to_string();
    let is_new = match stored {
        None => true,
        Some(stored) if serde_json::from_str(&stored.spec).ok().as_ref() == Some(&spec) => false,
        Some(_) => {
            return Err(Failure::conflict(
                format!("there is a node '{name}' already, which is another one"),
                format!("choose another name, or run `culvert-edge node delete {name}` first"),
            ));
        }
    };
    if is_new {
        let lock = NodeLock::take(store, &name)?;
        database.save_node(&name, &text, false)?;
        drop(lock);
    }
    let started = start(store, args, &name);
    if let Err(failure) = started {
        if is_new {
            // What cannot start is not left behind.
            let _ = background::stop(store, &name, None);
            background::delete(store, &name)?;
        }
        return Err(failure);
    }
    report(store, &name, "made and started", output)
}

fn start(store: &Store, args: &CreateArgs, name: &str) -> Result<(), Failure> {
    background::start(store, name)?;
    if let Some(address) = args.tcp_listener_address {
        let address = address.to_string();
        let node = Running::known(store, name.to_owned())?;
        node.post("tcp-listeners", json!(ListenerSpec { address }))?;
    }
    Ok(())
}

fn spec(args: &CreateArgs, name: &str) -> Result<NodeSpec, Failure> {
    let text = |path: &Path| path.display().to_string();
    let mut authorities = Vec::new();
    for authority in &args.authority {
        let history = crate::given::bytes(authority, "history of the authority")?;
        authorities.push(hex::encode(history));
    }
    let usual = NodeSpec::named(name);
    Ok(NodeSpec {
        identity: args.identity.clone(),
        project: args.project.clone(),
        authorities,
        http: args.http.map(|address| HttpSpec {
            address: address.to_string(),
            token_file: args.token_file.as_deref().map(text),
            tls_certificate: args.tls_certificate.as_deref().map(text),
            tls_key: args.tls_key.as_deref().map(text),
        }),
        shards: args.shards.unwrap_or(usual.shards),
        max_memory: args.max_memory,
        trace: args.trace,
        drain: args.drain.map_or(usual.drain, |drain| drain.as_secs()),
        ..usual
    })
}
