//! `culvert-edge node`: the nodes of this machine. Each is a process of its own, which is started in
//! the background and keeps what it is told to have.

mod args;
mod create;
mod logs;

use std::time::Duration;

use culvert_node::store::database::Database;
use culvert_node::store::nodes::StoredNode;
use serde_json::{Value, json};

use super::at::{Running, default_name};
use super::resource::{ConfirmArgs, card, cell};
use crate::daemon::{background, lock};
use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;

pub use args::{CreateArgs, DeleteArgs, LogsArgs, NodeCommand, NodeNoun, StopArgs, WhichArgs};
pub use create::create;
pub use logs::logs;

/// How long a node may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(3);

/// Runs a command about nodes.
///
/// # Errors
///
/// What the command says.
pub fn run(store: &Store, noun: &NodeNoun, output: Output) -> Result<(), Failure> {
    match &noun.command {
        Some(command) => of_daemons(store, command, output),
        None => crate::node::run(store, &noun.services, output),
    }
}

fn of_daemons(store: &Store, command: &NodeCommand, output: Output) -> Result<(), Failure> {
    match command {
        NodeCommand::Create(args) => create(store, args, output),
        NodeCommand::List => list(store, output),
        NodeCommand::Show(which) => show(store, which, output),
        NodeCommand::Start(which) => start(store, which, output),
        NodeCommand::Stop(args) => stop(store, args, output),
        NodeCommand::Logs(args) => logs(store, args, output),
        NodeCommand::Default(which) => default(store, which, output),
        NodeCommand::Delete(args) => delete(store, args, output),
    }
}

/// The stored node of this name, or the default one.
fn stored(store: &Store, name: Option<&str>) -> Result<StoredNode, Failure> {
    let mut database = Database::open(store.home())?;
    let name = match name {
        Some(name) => name.to_owned(),
        None => default_name(&mut database)?,
    };
    database.node(&name)?.ok_or_else(|| {
        Failure::not_found(
            format!("there is no node '{name}'"),
            format!(
                "see `culvert-edge node list`, or make it with `culvert-edge node create {name}`"
            ),
        )
    })
}

/// What is known about a node: what it says itself, or what is stored.
pub(super) fn look(store: &Store, node: &StoredNode) -> Result<Value, Failure> {
    let running = Running::known(store, node.name.clone())?.within(ANSWER);
    let said = running.get("");
    let (state, mut value) = match said {
        Ok(view) => ("running", view),
        Err(failure) => {
            let state = match failure.kind {
                "unavailable" => "stopped",
                _ => "not answering",
            };
            let spec = serde_json::from_str(&node.spec);
            (state, spec.unwrap_or_else(|_| json!({ "name": node.name })))
        }
    };
    value["state"] = state.into();
    value["default"] = node.is_default.into();
    Ok(value)
}

fn list(store: &Store, output: Output) -> Result<(), Failure> {
    let nodes = Database::open(store.home())?.nodes()?;
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for node in &nodes {
        let view = look(store, node)?;
        let short = json!({
            "name": node.name,
            "state": view["state"],
            "default": node.is_default,
            "pid": view["pid"],
            "identifier": view["identifier"],
        });
        let default = if node.is_default { "default" } else { "" };
        rows.push(vec![
            node.name.clone(),
            cell(&short, "state"),
            cell(&short, "pid"),
            default.to_owned(),
        ]);
        all.push(short);
    }
    output.table(&["NAME", "STATE", "PID", ""], rows, &Value::Array(all));
    Ok(())
}

fn show(store: &Store, which: &WhichArgs, output: Output) -> Result<(), Failure> {
    let node = stored(store, which.name.as_deref())?;
    let view = look(store, &node)?;
    if output == Output::Json {
        output.emit(&view);
        return Ok(());
    }
    // Resources have lists of their own below.
    let (mut plain, mut lists) = (view.clone(), Vec::new());
    for (name, value) in view.as_object().into_iter().flatten() {
        if let Value::Array(all) = value
            && !all.is_empty()
            && all.iter().all(Value::is_object)
        {
            lists.push((name, all));
        }
        if value.is_array() || value.is_object() {
            plain.as_object_mut().and_then(|plain| plain.remove(name));
        }
    }
    card(&plain, output);
    for (name, all) in lists {
        output.say(format!("{name}:"));
        for one in all {
            output.say(format!("  {}", line(one)));
        }
    }
    Ok(())
}

/// A resource on one line: its name, where it leads, how it is doing.
fn line(resource: &Value) -> String {
    let what = cell(resource, "name|address");
    let state = cell(resource, "state");
    let reason = match resource.get("reason").and_then(Value::as_str) {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    let to = match cell(resource, "bind-address|to|destination") {
        none if none == "-" => String::new(),
        to => format!("  {to}"),
    };
    format!("{what}{to}  {state}{reason}")
}

/// Starts a node in the background.
///
/// # Errors
///
/// That there is none; what keeps it from being done.
pub fn start(store: &Store, which: &WhichArgs, output: Output) -> Result<(), Failure> {
    let node = stored(store, which.name.as_deref())?;
    let was_running = is_running(store, &node.name)?;
    background::start(store, &node.name)?;
    let done = if was_running { RUNS } else { STARTED };
    report(store, &node.name, done, output)
}

/// Whether a process is this node.
fn is_running(store: &Store, name: &str) -> Result<bool, Failure> {
    Ok(lock::holder(store, name)?.is_some())
}

/// What became of a node that was stopped.
const STARTED: [&str; 2] = ["started node", ""];
/// Of one that ran already.
const RUNS: [&str; 2] = ["node", " runs already"];

/// Prints what became of a node: the words before and behind its name.
fn report(
    store: &Store,
    name: &str,
    [before, behind]: [&str; 2],
    output: Output,
) -> Result<(), Failure> {
    let view = look(store, &stored(store, Some(name))?)?;
    let text = format!("{before} '{name}'{behind}");
    let text = match view.get("identifier").and_then(Value::as_str) {
        Some(identifier) => format!("{text} as {identifier}"),
        None => text,
    };
    output.print(text, &view);
    Ok(())
}

/// Ends the process of a node.
///
/// # Errors
///
/// That there is none; what keeps it from being done.
pub fn stop(store: &Store, args: &StopArgs, output: Output) -> Result<(), Failure> {
    let node = stored(store, args.name.as_deref())?;
    let name = &node.name;
    let drain = if args.force {
        Some(Duration::ZERO)
    } else {
        args.drain
    };
    let was_running = background::stop(store, name, drain)?;
    let text = match was_running {
        true => format!("stopped node '{name}'"),
        false => format!("node '{name}' was not running"),
    };
    let value = json!({ "name": name, "state": "stopped", "was-running": was_running });
    output.print(text, &value);
    Ok(())
}

fn default(store: &Store, which: &WhichArgs, output: Output) -> Result<(), Failure> {
    let node = stored(store, which.name.as_deref())?;
    if which.name.is_some() {
        Database::open(store.home())?.set_default_node(&node.name)?;
    }
    output.print(&node.name, &json!({ "default": node.name }));
    Ok(())
}

fn delete(store: &Store, args: &DeleteArgs, output: Output) -> Result<(), Failure> {
    let names: Vec<String> = match args.all {
        true => {
            let all = Database::open(store.home())?.nodes()?;
            all.into_iter().map(|node| node.name).collect()
        }
        false => vec![stored(store, args.name.as_deref())?.name],
    };
    let ConfirmArgs { yes } = args.confirm;
    let confirm = ConfirmArgs {
        yes: yes || args.force || names.is_empty(),
    };
    confirm.ask(&format!("delete {} and all they have", names.join(", ")))?;
    for name in &names {
        background::stop(store, name, args.force.then_some(Duration::ZERO))?;
        background::delete(store, name)?;
        output.say(format!("deleted node '{name}'"));
    }
    output.emit(&json!({ "deleted": names }));
    Ok(())
}
