//! `culvert-edge project-member`: members of a project, as its enrollers see and change them.

use std::time::Duration;

use clap::{Args, Subcommand};
use culvert_crypto::Identifier;
use culvert_proto::authority::{AttributesEntry, ENROLLER, ROLE};
use serde_json::{Map, Value, json};

use crate::authority::args::AttributeArgs;
use crate::cli::identifier;
use crate::commands::resource::ConfirmArgs;
use crate::duration;
use crate::failure::Failure;
use crate::output::Output;
use crate::project::members;
use crate::store::Store;

/// Add, list, show and delete members of a project. Only enrollers can; the authority is asked.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Make somebody a member, or replace what its credentials say.
    Add {
        /// Its identifier.
        #[arg(value_parser = identifier)]
        identifier: Identifier,
        /// What its credentials say.
        #[command(flatten)]
        attributes: AttributeArgs,
        /// Of which project.
        #[command(flatten)]
        of: ProjectArgs,
    },
    /// List the members and what their credentials say.
    List {
        /// Only those who may add members.
        #[arg(long, visible_alias = "enroller")]
        enrollers: bool,
        /// Of which project.
        #[command(flatten)]
        of: ProjectArgs,
    },
    /// List the identifiers of the members.
    ListIds {
        /// Of which project.
        #[command(flatten)]
        of: ProjectArgs,
    },
    /// Show a member.
    Show {
        /// Its identifier.
        #[arg(value_parser = identifier)]
        identifier: Identifier,
        /// Of which project.
        #[command(flatten)]
        of: ProjectArgs,
    },
    /// Delete a member: it gets no more credentials; those it has stay valid until they end.
    Delete {
        /// Its identifier.
        #[arg(value_parser = identifier, required_unless_present = "all", conflicts_with = "all")]
        identifier: Option<Identifier>,
        /// Delete all that are no enrollers.
        #[arg(long)]
        all: bool,
        /// Whether to ask first.
        #[command(flatten)]
        confirm: ConfirmArgs,
        /// Of which project.
        #[command(flatten)]
        of: ProjectArgs,
    },
}

/// Which project, and how long its authority may take.
#[derive(Debug, Args)]
pub struct ProjectArgs {
    /// Name of the project [default: the only one there is]
    #[arg(long, short, visible_alias = "project", value_name = "NAME")]
    pub project_name: Option<String>,
    /// How long the authority may take.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_whole)]
    pub timeout: Duration,
}

/// Runs a command about members.
///
/// # Errors
///
/// What the authority says.
pub fn run(store: &Store, command: &MemberCommand, output: Output) -> Result<(), Failure> {
    match command {
        MemberCommand::Add {
            identifier,
            attributes,
            of,
        } => {
            let wanted = attributes.attributes()?;
            let project = of.project_name.as_deref();
            members::put(store, project, *identifier, wanted.clone(), of.timeout)?;
            let text = format!("{identifier} is a member");
            let value = json!({ "identifier": identifier.to_string(), "attributes": wanted });
            output.print(text, &value);
        }
        MemberCommand::List { enrollers, of } => {
            let all = members::list(store, of.project_name.as_deref(), of.timeout)?;
            let all = all
                .iter()
                .filter(|(_, entry)| !enrollers || is_enroller(entry));
            let all: Vec<Value> = all.map(|(id, entry)| describe(id, entry)).collect();
            let rows = all.iter().map(|member| {
                let attributes = member["attributes"].as_object().into_iter().flatten();
                let pairs = attributes
                    .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
                let identifier = member["identifier"].as_str().unwrap_or_default();
                vec![identifier.to_owned(), pairs.collect::<Vec<_>>().join(" ")]
            });
            let rows = rows.collect();
            output.table(&["IDENTIFIER", "ATTRIBUTES"], rows, &Value::Array(all));
        }
        MemberCommand::ListIds { of } => {
            let all = members::list(store, of.project_name.as_deref(), of.timeout)?;
            let all: Vec<String> = all.keys().map(Identifier::to_string).collect();
            output.say(all.join("\n"));
            output.emit(&json!(all));
        }
        MemberCommand::Show { identifier, of } => {
            let project = of.project_name.as_deref();
            let found = members::show(store, project, *identifier, of.timeout)?;
            let entry = found.ok_or_else(|| no_member(identifier))?;
            super::resource::card(&describe(identifier, &entry), output);
        }
        MemberCommand::Delete {
            identifier,
            confirm,
            of,
            ..
        } => delete(store, identifier.as_ref(), *confirm, of, output)?,
    }
    Ok(())
}

fn delete(
    store: &Store,
    identifier: Option<&Identifier>,
    confirm: ConfirmArgs,
    of: &ProjectArgs,
    output: Output,
) -> Result<(), Failure> {
    let project = of.project_name.as_deref();
    let unwanted = match identifier {
        Some(identifier) => vec![*identifier],
        None => {
            let all = members::list(store, project, of.timeout)?;
            let others = all.iter().filter(|(_, entry)| !is_enroller(entry));
            others.map(|(identifier, _)| *identifier).collect()
        }
    };
    confirm.ask(&format!("delete {} of the members", unwanted.len()))?;
    let mut deleted = Vec::new();
    for member in &unwanted {
        if members::remove(store, project, *member, of.timeout)? {
            output.say(format!("deleted {member}"));
            deleted.push(member.to_string());
        } else if identifier.is_some() {
            return Err(no_member(member));
        }
    }
    output.emit(&json!({ "deleted": deleted }));
    Ok(())
}

fn no_member(identifier: &Identifier) -> Failure {
    Failure::not_found(
        format!("{identifier} is not a member"),
        "see `culvert-edge project-member list`",
    )
}

fn is_enroller(entry: &AttributesEntry) -> bool {
    let role = entry.attributes.get(ROLE.as_bytes());
    role.is_some_and(|role| role == ENROLLER.as_bytes())
}

fn describe(identifier: &Identifier, entry: &AttributesEntry) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs = entry.attributes.iter();
    let attributes: Map<String, Value> = pairs
        .map(|(name, value)| (text(name), text(value).into()))
        .collect();
    json!({
        "identifier": identifier.to_string(),
        "attributes": attributes,
        "added-at": entry.added_at,
        "added-by": entry.attested_by.map(|id| id.to_string()),
    })
}
