//! `culvert-edge status` and `events`: how everything is doing, and what happens.

use clap::Args;
use culvert_node::store::database::Database;
use serde_json::{Value, json};

use super::at::AtArgs;
use super::node::look;
use super::resource::cell;
use crate::failure::Failure;
use crate::moment;
use crate::output::Output;
use crate::store::Store;

/// Kinds of resources, as a node names them.
const KINDS: [(&str, &str); 6] = [
    ("tcp-inlets", "tcp-inlet"),
    ("tcp-outlets", "tcp-outlet"),
    ("relays", "relay"),
    ("secure-channels", "secure-channel"),
    ("tcp-listeners", "tcp-listener"),
    ("tcp-connections", "tcp-connection"),
];

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Print what is known now, and end.
    #[arg(long)]
    pub no_follow: bool,
    /// Of which node.
    #[command(flatten)]
    pub at: AtArgs,
}

/// Prints the nodes, identities and projects of this machine, and what the nodes have.
///
/// # Errors
///
/// What the store says.
pub fn status(store: &Store, output: Output) -> Result<(), Failure> {
    let mut database = Database::open(store.home())?;
    let mut nodes = Vec::new();
    for node in database.nodes()? {
        nodes.push(look(store, &node)?);
    }
    let projects = database.projects()?;
    let identities = store.names()?;
    let mut rows = Vec::new();
    for node in &nodes {
        let name = cell(node, "name");
        rows.push(vec![
            "node".to_owned(),
            name.clone(),
            cell(node, "state"),
            cell(node, "identifier"),
        ]);
        for (kind, word) in KINDS {
            for one in node[kind].as_array().into_iter().flatten() {
                let state = cell(one, "state");
                let detail = match one["reason"].as_str() {
                    Some(reason) => reason.to_owned(),
                    None => cell(one, "bind-address|destination|to|address"),
                };
                rows.push(vec![
                    word.to_owned(),
                    cell(one, "name|address"),
                    state,
                    detail,
                ]);
            }
        }
    }
    for project in &projects {
        let authority = project.authority.to_string();
        rows.push(vec![
            "project".to_owned(),
            project.name.clone(),
            "-".to_owned(),
            authority,
        ]);
    }
    for name in &identities {
        let identifier = store
            .entry(name)
            .map(|entry| entry.identifier().to_string());
        let state = if identifier.is_ok() { "ok" } else { "damaged" };
        let shown = identifier.unwrap_or_else(|error| error.to_string());
        rows.push(vec![
            "identity".to_owned(),
            name.clone(),
            state.to_owned(),
            shown,
        ]);
    }
    let projects: Vec<_> = projects.into_iter().map(|project| project.name).collect();
    let all = json!({ "nodes": nodes, "projects": projects, "identities": identities });
    output.table(&["WHAT", "NAME", "STATE", "DETAIL"], rows, &all);
    Ok(())
}

/// Prints what happens to a node, until it ends.
///
/// # Errors
///
/// What the node says; when it ends.
pub fn events(store: &Store, args: &EventsArgs, output: Output) -> Result<(), Failure> {
    let node = args.at.open(store)?;
    let path = match args.no_follow {
        true => "events?follow=false",
        false => "events",
    };
    for event in node.lines(path)? {
        let event = event?;
        output.print(line(&event), &event);
    }
    Ok(())
}

/// An event for people: when, what, and why.
fn line(event: &Value) -> String {
    let at = event["at-ms"].as_u64().map(moment::of_ms);
    let members = ["resource", "name|node", "event", "detail"].map(|key| cell(event, key));
    let members = members.into_iter().filter(|text| text != "-");
    let shown: Vec<_> = at.into_iter().chain(members).collect();
    shown.join("  ")
}
