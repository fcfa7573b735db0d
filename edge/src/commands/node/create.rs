//! `culvert-edge node create`.

use std::path::Path;
use std::time::Duration;

use culvert_node::store::database::Database;
use serde_json::{Value, json};

use super::{CreateArgs, RUNS, STARTED, is_running, report};
use crate::commands::at::{Running, node_name};
use crate::config::{Source, start as configured};
use crate::daemon::{NodeLock, background, run};
use crate::failure::Failure;
use crate::model::{HttpSpec, ListenerSpec, NodeSpec};
use crate::output::Output;
use crate::project;
use crate::store::{DEFAULT_NAME, Store};

/// How long an authority may take when there is a ticket.
const ENROLL: Duration = Duration::from_secs(30);
/// What became of a node that was not there.
const MADE: [&str; 2] = ["made and started node", ""];

/// Makes a node and starts it.
///
/// # Errors
///
/// Conflict when there is one of this name that is another one; what keeps it from starting, in which
/// case a node that was new is forgotten again.
pub fn create(store: &Store, args: &CreateArgs, output: Output) -> Result<(), Failure> {
    let (name, configuration) = (args.name.as_deref(), args.configuration.as_deref());
    let source = configured::among(name, configuration, &args.variables.variable)?;
    if let Some(text) = &args.enrollment_ticket {
        enroll(store, args, text)?;
    }
    if let Some(source) = source {
        return of_configuration(store, args, source, output);
    }
    let name = node_name(name.unwrap_or(DEFAULT_NAME)).map_err(|what| Failure::usage(what, ""))?;
    let spec = spec(args, &name)?;
    let is_new = is_new(store, &spec)?;
    if args.foreground {
        return in_foreground(store, args, spec, output);
    }
    if is_new {
        let lock = NodeLock::take(store, &name)?;
        Database::open(store.home())?.save_node(&name, &json!(spec).to_string(), false)?;
        drop(lock);
    }
    let done = match is_new {
        true => MADE,
        false if is_running(store, &name)? => RUNS,
        false => STARTED,
    };
    if let Err(failure) = start(store, args, &name) {
        if is_new {
            // What cannot start is not left behind.
            let _ = background::stop(store, &name, Some(Duration::ZERO));
            background::delete(store, &name)?;
        }
        return Err(failure);
    }
    report(store, &name, done, output)
}

/// Makes a node that a configuration describes.
fn of_configuration(
    store: &Store,
    args: &CreateArgs,
    source: Source,
    output: Output,
) -> Result<(), Failure> {
    if args.foreground {
        return Err(Failure::usage(
            "a configuration is not run in the foreground by this command",
            "`culvert-edge run -f FILE` does that",
        ));
    }
    let plain = NodeSpec::named(DEFAULT_NAME);
    if spec(args, DEFAULT_NAME)? != plain || args.tcp_listener_address.is_some() {
        return Err(Failure::usage(
            "a configuration says all about its node: other options cannot be given with it",
            "write them into the configuration; `culvert-edge check` tells whether it is valid",
        ));
    }
    let name = configured::create(store, source)?;
    report(store, &name, MADE, output)
}

fn enroll(store: &Store, args: &CreateArgs, text: &str) -> Result<(), Failure> {
    let ticket = project::read_ticket(text)?;
    let identity = args.identity.as_deref().unwrap_or(DEFAULT_NAME);
    let joined = project::enroll::join(store, &ticket, identity, None, ENROLL)?;
    tracing::info!(project = joined.project.name, "enrolled");
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
    args: &CreateArgs,
    spec: NodeSpec,
    output: Output,
) -> Result<(), Failure> {
    run::run(store, spec, None, |manager| {
        if let Some(address) = args.tcp_listener_address {
            let address = address.to_string();
            if let Err(problem) = manager.create_listener(ListenerSpec { address }) {
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
