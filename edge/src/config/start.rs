//! Nodes that run from a configuration.
//!
//! | command | what |
//! |---|---|
//! | `run -f FILE` | a node in the foreground, which reads the file again on SIGHUP and `reload` |
//! | `node create FILE` | the same in the background; where its configuration is, is stored |
//! | `diff FILE` | what `reload` would do |

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use culvert_manage::problem::Problem;
use culvert_node::store::database::Database;
use culvert_node::store::nodes::ResourceKey;
use serde_json::{Value, json};

use super::Configuration;
use super::source::{Source, VariableArgs};
use crate::commands::at::Running;
use crate::daemon::run::Configured;
use crate::daemon::{self, background};
use crate::failure::Failure;
use crate::model::{Action, Desired, Differences};
use crate::output::Output;
use crate::project;
use crate::store::{DEFAULT_NAME, Store};

/// Where tickets are looked for when a file has none.
const TICKET: &str = "ENROLLMENT_TICKET";
/// How long an authority may take.
const ENROLL: Duration = Duration::from_secs(30);
/// Kind and name of the row that says where the configuration of a node is.
const SOURCE: (&str, &str) = ("configuration", "source");

/// What the help of `run` ends with.
pub const AFTER_HELP: &str = "\
Examples:
  culvert-edge run -f edge.yaml
  TICKET=$(cat ticket) culvert-edge run -f edge.yaml --variable DB=postgres:5432

The file is read again on SIGHUP and by `culvert-edge reload`; only what differs is changed, and a file
that is wrong changes nothing. SIGTERM lets streams end for as long as 'drain' says.

Exit status: 0 ended on request, 1 runtime error, 2 the file is not valid, 5 it runs already.";

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration, or - for standard input.
    #[arg(long, short)]
    pub file: PathBuf,
    /// Variables of the file.
    #[command(flatten)]
    pub variables: VariableArgs,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The configuration, or - for standard input.
    pub file: PathBuf,
    /// Variables of the file.
    #[command(flatten)]
    pub variables: VariableArgs,
    /// Name of the node on this machine [default: the name in the file]
    #[arg(long, value_name = "NODE")]
    pub at: Option<String>,
}

/// Runs a node from a file until a signal.
///
/// # Errors
///
/// A file that is not valid; when the node cannot start.
pub fn run(store: &Store, args: &RunArgs, output: Output) -> Result<(), Failure> {
    let source = Source::file(args.file.clone(), &args.variables)?;
    let desired = first(store, &source)?;
    let again = again(store.clone(), source, &desired);
    let node = desired.node.clone();
    daemon::run::run(
        store,
        node,
        Some(Configured { desired, again }),
        |manager| {
            let view = manager.view();
            let (name, identifier) = (&view.spec.name, &view.identifier);
            output.print(
                format!("node '{name}' is ready, as {identifier}"),
                &json!({ "event": "ready", "node": name, "identifier": identifier }),
            );
        },
    )
}

/// The configuration among arguments of `node create`, if there is one: `configuration` is YAML or a
/// file with it, and `name` a file when it looks like one.
///
/// # Errors
///
/// Standard input that cannot be read.
pub fn among(
    name: Option<&str>,
    configuration: Option<&str>,
    variable: &[(String, String)],
) -> Result<Option<Source>, Problem> {
    let variables = VariableArgs {
        variable: variable.to_vec(),
    };
    let is_file = |text: &str| {
        let path = Path::new(text);
        let endings = ["yaml", "yml", "json"];
        let ending = path.extension().and_then(|ending| ending.to_str());
        text == "-" || ending.is_some_and(|ending| endings.contains(&ending)) || path.is_file()
    };
    let found = match (configuration, name) {
        (Some(text), _) if !is_file(text) => Some(Source::text(text.to_owned(), &variables)),
        (Some(file), _) => Some(Source::file(file.into(), &variables)?),
        (None, Some(file)) if is_file(file) => Some(Source::file(file.into(), &variables)?),
        _ => None,
    };
    // Beside a configuration a name is a name.
    let name = name.filter(|_| configuration.is_some());
    Ok(found.map(|source| source.with_name(name.unwrap_or(DEFAULT_NAME))))
}

/// Makes a node that a configuration describes, and starts it in the background. Its name.
///
/// # Errors
///
/// A configuration that is not valid, or cannot be carried out: the node is forgotten again then.
/// Conflict when there is one of this name already.
pub fn create(store: &Store, source: Source) -> Result<String, Failure> {
    let source = source.absolute()?;
    let desired = first(store, &source)?;
    let name = desired.node.name.clone();
    let mut database = Database::open(store.home())?;
    if database.node(&name)?.is_some() {
        return Err(Problem::conflict(
            format!("there is a node '{name}' already"),
            format!(
                "`culvert-edge reload --at {name}` has it read its own file again; choose another name \
                 for another node"
            ),
        )
        .into());
    }
    let text = |value: Value| value.to_string();
    database.save_node(&name, &text(json!(desired.node)), false)?;
    database.save_resource(key(&name), &text(json!(source)), None, false)?;
    drop(database);
    let started = background::start(store, &name).and_then(|()| {
        let node = Running::known(store, name.clone())?;
        node.post("reload", json!({})).map(drop)
    });
    match started {
        Ok(()) => Ok(name),
        Err(failure) => {
            // What cannot be as it was described is not left behind.
            let _ = background::stop(store, &name, None);
            background::delete(store, &name)?;
            Err(failure)
        }
    }
}

fn key(node: &str) -> ResourceKey<'_> {
    ResourceKey {
        node,
        kind: SOURCE.0,
        name: SOURCE.1,
    }
}

/// What reads the configuration of a node again that was made from one.
///
/// # Errors
///
/// When the database cannot be read.
pub fn stored(store: &Store, node: &str) -> Result<Option<daemon::Source>, Failure> {
    let rows = Database::open(store.home())?.resources(node, SOURCE.0)?;
    let found = rows.iter().find(|(name, _)| name == SOURCE.1);
    let Some((_, text)) = found else {
        return Ok(None);
    };
    let source: Source = serde_json::from_str(text).map_err(|error| {
        let message = format!("where the configuration of '{node}' is, cannot be read: {error}");
        Failure::new(message, "delete the node, and make it again")
    })?;
    let only = Desired::only(crate::model::NodeSpec::named(node));
    Ok(Some(again(store.clone(), source, &only)))
}

/// Prints what applying a file to a running node would do.
///
/// # Errors
///
/// A file that is not valid; what the node says.
pub fn diff(store: &Store, args: &DiffArgs, output: Output) -> Result<(), Failure> {
    let source = Source::file(args.file.clone(), &args.variables)?;
    let configuration = source.read(Some(store))?;
    warn(&configuration);
    let name = args.at.clone();
    let name = name.unwrap_or_else(|| configuration.desired.node.name.clone());
    let mut config = source.object()?;
    if let Value::Object(config) = &mut config {
        config.insert("name".to_owned(), name.as_str().into());
        config.remove("ticket");
    }
    let node = Running::open(store, Some(&name))?;
    let answer = node.post("config", json!({ "config": config, "dry-run": true }))?;
    print(&answer, output);
    Ok(())
}

/// Prints differences that a node answered with.
pub fn print(answer: &Value, output: Output) {
    let found: Differences = serde_json::from_value(answer.clone()).unwrap_or_default();
    let mut lines = Vec::new();
    for difference in &found.differences {
        let (sign, note) = match (difference.action, difference.ends_streams) {
            (Action::Create, _) => ("+", ""),
            (Action::Change, true) => ("~", " (streams through it end)"),
            (Action::Change, false) => ("~", ""),
            (Action::Delete, true) => ("-", " (streams through it end)"),
            (Action::Delete, false) => ("-", ""),
            (Action::Restart, _) => ("!", " (takes a restart of the node)"),
        };
        lines.push(format!(
            "{sign} {} {}{note}",
            difference.resource, difference.name
        ));
    }
    let same = found.unchanged;
    lines.push(match (found.differences.len(), found.dry_run) {
        (0, _) => format!("nothing differs, {same} unchanged"),
        (count, true) => format!("{count} would be changed, {same} unchanged"),
        (count, false) => format!("{count} changed, {same} unchanged"),
    });
    output.print(lines.join("\n"), answer);
}

/// Reads a configuration for the first time, and becomes a member of its project where this machine is
/// not one yet.
fn first(store: &Store, source: &Source) -> Result<Desired, Failure> {
    let configuration = source.read(Some(store))?;
    warn(&configuration);
    let Configuration {
        mut desired,
        ticket,
        ..
    } = configuration;
    let ticket = ticket.or_else(|| std::env::var(TICKET).ok().filter(|text| !text.is_empty()));
    if let Some(ticket) = ticket {
        let project = enroll(store, &ticket, &desired)?;
        desired.node.project.get_or_insert(project);
    }
    Ok(desired)
}

/// Redeems a ticket, unless this machine is a member of its project already. The name of the project.
fn enroll(store: &Store, ticket: &str, desired: &Desired) -> Result<String, Failure> {
    let ticket = project::read_ticket(ticket)?;
    let node = &desired.node;
    let name = node.project.as_ref().unwrap_or(&ticket.project_name);
    let authority =
        culvert_crypto::ticket::verify(&ticket).map(|issuers| issuers.authority.identifier());
    let known = Database::open(store.home())?.project(name)?;
    if known.is_some_and(|known| Ok(known.authority) == authority) {
        tracing::debug!(
            project = name,
            "the ticket is not needed: this machine is a member"
        );
        return Ok(name.clone());
    }
    let identity = node.identity.as_deref().unwrap_or(DEFAULT_NAME);
    let joined = project::enroll::join(store, &ticket, identity, Some(name), ENROLL)?;
    let (project, identifier) = (&joined.project.name, joined.identifier);
    tracing::info!(project, %identifier, "enrolled");
    Ok(joined.project.name)
}

/// What reads a configuration again. Tickets are redeemed at the start only.
fn again(store: Store, source: Source, first: &Desired) -> daemon::Source {
    let project = first.node.project.clone();
    Box::new(move || {
        let configuration = source.read(Some(&store))?;
        warn(&configuration);
        let mut desired = configuration.desired;
        desired.node.project = desired.node.project.or_else(|| project.clone());
        Ok(desired)
    })
}

fn warn(configuration: &Configuration) {
    for line in configuration.warnings.to_string().lines() {
        tracing::warn!("{line}");
    }
}
