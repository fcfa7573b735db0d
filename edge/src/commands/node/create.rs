//! `culvert-edge node create`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use culvert_manage::problem::Problem;
use culvert_node::store::database::Database;
use serde_json::{Value, json};

use super::{CreateArgs, report};
use crate::commands::at::{Running, node_name};
use crate::config::Source;
use crate::daemon::run::Configured;
use crate::daemon::{NodeLock, background, run};
use crate::failure::Failure;
use crate::model::{Desired, HttpSpec, ListenerSpec, NodeSpec};
use crate::output::Output;
use crate::project;
use crate::store::{DEFAULT_NAME, Store};

/// How long an authority may take when there is a ticket.
const ENROLL: Duration = Duration::from_secs(30);

/// Makes a node and starts it.
///
/// # Errors
///
/// Conflict when there is one of this name that is another one; what keeps it from starting, in which
/// case a node that was new is forgotten again.
pub fn create(store: &Store, args: &CreateArgs, output: Output) -> Result<(), Failure> {
    let source = source(args)?;
    if let Some(text) = &args.enrollment_ticket {
        enroll(store, args, text)?;
    }
    let mut desired = match &source {
        Some(source) => configured(store, args, source)?,
        None => {
            let name = args.name.as_deref().unwrap_or(DEFAULT_NAME);
            let name = node_name(name).map_err(|what| Failure::usage(what, ""))?;
            Desired::only(NodeSpec::named(&name))
        }
    };
    set(&mut desired, args)?;
    let name = desired.node.name.clone();
    let is_new = is_new(store, &desired.node)?;
    if args.foreground {
        return in_foreground(store, desired, source, output);
    }
    if is_new {
        let lock = NodeLock::take(store, &name)?;
        let text = json!(desired.node).to_string();
        Database::open(store.home())?.save_node(&name, &text, false)?;
        drop(lock);
    }
    if let Err(failure) = start(store, &desired) {
        if is_new {
            // What cannot start is not left behind.
            let _ = background::stop(store, &name, Some(Duration::ZERO));
            background::delete(store, &name)?;
        }
        return Err(failure);
    }
    report(store, &name, "made and started", output)
}

/// The configuration that is named, if one is.
fn source(args: &CreateArgs) -> Result<Option<Source>, Failure> {
    let variables = &args.variables;
    let given = match (&args.configuration, &args.name) {
        (Some(given), _) => given,
        (None, Some(name)) if is_configuration(name) => name,
        _ => return Ok(None),
    };
    let is_text = given.contains(['\n', '{']) || given.contains(": ");
    let source = match is_text {
        true => Source::text(given.clone(), variables),
        false => Source::file(PathBuf::from(given), variables)?,
    };
    Ok(Some(match &args.name {
        Some(name) if args.configuration.is_some() => source.with_name(name),
        _ => source,
    }))
}

/// Whether an argument is not the name of a node.
fn is_configuration(text: &str) -> bool {
    let ends = [".yaml", ".yml", ".json"];
    text == "-"
        || text.contains(['/', '\n', '{', ':']) && !text.starts_with("/node/")
        || ends.iter().any(|end| text.ends_with(end))
}

/// What a configuration says. A ticket in it is redeemed first.
fn configured(store: &Store, args: &CreateArgs, source: &Source) -> Result<Desired, Failure> {
    let first = source.read(None)?;
    if let Some(ticket) = first.ticket.filter(|_| args.enrollment_ticket.is_none()) {
        enroll(store, args, &ticket)?;
    }
    let read = source.read(Some(store))?;
    for line in read.warnings.to_string().lines() {
        tracing::warn!("{line}");
    }
    Ok(read.desired)
}

fn enroll(store: &Store, args: &CreateArgs, text: &str) -> Result<(), Failure> {
    let ticket = project::read_ticket(text)?;
    let identity = args.identity.as_deref().unwrap_or(DEFAULT_NAME);
    let joined = project::enroll::join(store, &ticket, identity, None, ENROLL)?;
    tracing::info!(project = joined.project.name, "enrolled");
    Ok(())
}

/// Options go before what a configuration says.
fn set(desired: &mut Desired, args: &CreateArgs) -> Result<(), Failure> {
    let text = |path: &Path| path.display().to_string();
    let node = &mut desired.node;
    for authority in &args.authority {
        let history = crate::given::bytes(authority, "history of the authority")?;
        node.authorities.push(hex::encode(history));
    }
    if let Some(address) = args.http {
        node.http = Some(HttpSpec {
            address: address.to_string(),
            token_file: args.token_file.as_deref().map(text),
            tls_certificate: args.tls_certificate.as_deref().map(text),
            tls_key: args.tls_key.as_deref().map(text),
        });
    }
    node.identity = args.identity.clone().or(node.identity.take());
    node.project = args.project.clone().or(node.project.take());
    node.shards = args.shards.unwrap_or(node.shards);
    node.max_memory = args.max_memory.or(node.max_memory);
    node.drain = args.drain.map_or(node.drain, |drain| drain.as_secs());
    if let Some(address) = args.tcp_listener_address {
        let address = address.to_string();
        desired.tcp_listeners.push(ListenerSpec { address });
    }
    Ok(())
}

/// Whether there is no such node yet.
fn is_new(store: &Store, spec: &NodeSpec) -> Result<bool, Failure> {
    let name = &spec.name;
    let Some(stored) = Database::open(store.home())?.node(name)? else {
        return Ok(true);
    };
    if serde_json::from_str::<NodeSpec>(&stored.spec).is_ok_and(|stored| stored == *spec) {
        return Ok(false);
    }
    Err(Failure::conflict(
        format!("there is a node '{name}' already, which is another one"),
        format!("choose another name, or run `culvert-edge node delete {name}` first"),
    ))
}

fn in_foreground(
    store: &Store,
    desired: Desired,
    source: Option<Source>,
    output: Output,
) -> Result<(), Failure> {
    let spec = desired.node.clone();
    let configured = source.map(|source| {
        let again = store.clone();
        Configured {
            desired: desired.clone(),
            again: Box::new(move || Ok(source.read(Some(&again))?.desired)),
        }
    });
    let listeners = match &configured {
        Some(_) => Vec::new(),
        None => desired.tcp_listeners,
    };
    run::run(store, spec, configured, |manager| {
        for listener in listeners {
            if let Err(problem) = manager.create_listener(listener) {
                tracing::error!(hint = problem.hint, "{problem}");
            }
        }
        let view = manager.view();
        let text = format!("node '{}' as {}", view.spec.name, view.identifier);
        let mut event = json!({ "event": "ready" });
        if let (Value::Object(event), Value::Object(view)) = (&mut event, json!(view)) {
            event.extend(view);
        }
        output.print(text, &event);
    })
}

/// Starts it in the background, and has it make what it is to have.
fn start(store: &Store, desired: &Desired) -> Result<(), Failure> {
    background::start(store, &desired.node.name)?;
    let node = Running::known(store, desired.node.name.clone())?;
    let all = [
        ("policies", values(&desired.policies)?),
        ("relays", values(&desired.relays)?),
        ("tcp-outlets", values(&desired.tcp_outlets)?),
        ("tcp-inlets", values(&desired.tcp_inlets)?),
        ("secure-channels", values(&desired.secure_channels)?),
        ("tcp-listeners", values(&desired.tcp_listeners)?),
        ("tcp-connections", values(&desired.tcp_connections)?),
    ];
    for (path, specs) in all {
        for spec in specs {
            node.post(path, spec)?;
        }
    }
    Ok(())
}

fn values<T: serde::Serialize>(specs: &[T]) -> Result<Vec<Value>, Failure> {
    let values = specs.iter().map(serde_json::to_value);
    let values: Result<_, _> = values.collect();
    values.map_err(|error| Problem::failed(error, "").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_configurations() {
        for name in ["db", "node.1", "a_b-c", "/node/db"] {
            assert!(!is_configuration(name), "{name}");
        }
        for file in ["edge.yaml", "./edge", "a.json", "-", "name: db", "{}"] {
            assert!(is_configuration(file), "{file}");
        }
    }
}
