//! Being a member of projects: enrolling by a ticket, making tickets for others, and what is known
//! about projects here.

pub mod args;
mod ask;
pub(crate) mod enroll;
mod exchange;
pub(crate) mod members;

use std::io::Read;
use std::path::Path;

use culvert_crypto::credential::{self, VerifiedCredential};
use culvert_crypto::identity::Histories;
use culvert_node::store::database::Database;
use culvert_node::store::projects::Project;
use culvert_proto::authority::{CreateToken, MemberAttributes};
use culvert_proto::limits::MAX_TICKET;
use culvert_proto::ticket::Ticket;
use serde_json::{Value, json};

use crate::commands::now_s;
use crate::daemon::lock;
use crate::duration::roughly;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;
use args::{EnrollArgs, EnrollHereArgs, ProjectCommand, TicketCommandArgs};
pub(crate) use ask::sort_of;
use enroll::Joined;

/// Runs a command about projects.
///
/// # Errors
///
/// What the command says.
pub fn run(store: &Store, command: &ProjectCommand, output: Output) -> Result<(), Failure> {
    match command {
        ProjectCommand::Enroll(args) => enroll(store, args, output),
        ProjectCommand::Ticket(args) => ticket(store, args, output),
        ProjectCommand::Import {
            file,
            project_file,
            identity,
        } => {
            let file = file.as_ref().or(project_file.as_ref());
            let file = file.map_or_else(|| Path::new("-"), |file| file.as_path());
            exchange::import(store, file, identity, output)
        }
        ProjectCommand::Information { name } => {
            exchange::information(store, name.as_deref(), output)
        }
        ProjectCommand::List => list(store, output),
        ProjectCommand::Show { name } => show(store, name.as_deref(), output),
        ProjectCommand::Delete { name } => delete(store, name, output),
    }
}

/// `culvert-edge enroll`: with a ticket, becomes a member of its project.
///
/// # Errors
///
/// Wrong usage without one: there is no service to log in to; what `project enroll` says.
pub fn enroll_here(store: &Store, args: &EnrollHereArgs, output: Output) -> Result<(), Failure> {
    let ticket = args.ticket.clone().ok_or_else(|| {
        Failure::usage(
            "there is no hosted service to log in to: a project is enrolled with by a ticket",
            "run an authority of your own with `culvert-edge authority create`, or ask who runs one \
             for a ticket: `culvert-edge enroll TICKET`",
        )
    })?;
    let args = EnrollArgs {
        ticket,
        identity: args.identity.clone(),
        name: None,
        timeout: args.timeout,
    };
    enroll(store, &args, output)
}

/// The ticket in an argument: itself, in a file, or on standard input.
pub(crate) fn read_ticket(argument: &str) -> Result<Ticket, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("cannot read the ticket in {argument}: {error}"), "")
            .because("ticket_undecodable")
    };
    let mut text = String::new();
    let most = MAX_TICKET as u64 + 2;
    if argument == "-" {
        let input = std::io::stdin().lock();
        input
            .take(most)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    } else if argument.len() < 4096 && Path::new(argument).is_file() {
        let file = std::fs::File::open(argument).map_err(unreadable)?;
        file.take(most)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    } else {
        argument.clone_into(&mut text);
    }
    Ticket::parse(&text).map_err(|error| {
        Failure::usage(
            format!("this is not a ticket: {error}"),
            "copy the whole ticket, or ask for another one",
        )
        .because("ticket_undecodable")
    })
}

fn enroll(store: &Store, args: &EnrollArgs, output: Output) -> Result<(), Failure> {
    let ticket = read_ticket(&args.ticket)?;
    let name = args.name.as_deref();
    let joined = enroll::join(store, &ticket, &args.identity, name, args.timeout)?;
    let Joined {
        project,
        identifier,
        attributes,
        ..
    } = &joined;
    let left = roughly(joined.expires_at.saturating_sub(now_s()));
    let again = if joined.was_member {
        " (as before)"
    } else {
        ""
    };
    let mut text = format!(
        "{identifier} is a member of the project '{}'{again}{}; its credential is valid for {left}",
        project.name,
        line(attributes)
    );
    let mut value = json!({
        "project": project.name,
        "identifier": identifier.to_string(),
        "authority": project.authority.to_string(),
        "attributes": attributes,
        "expires_at": joined.expires_at,
        "was_member": joined.was_member,
    });
    let without = match joined.was_member {
        true => Vec::new(),
        false => running_without(store, project)?,
    };
    for node in &without {
        text.push_str(&format!(
            "\nthe node '{node}' runs without the project until it is started again: \
             `culvert-edge node stop {node}`, then `culvert-edge node start {node}`"
        ));
    }
    if !without.is_empty() {
        value["start_again"] = json!(without);
    }
    output.print(text, &value);
    Ok(())
}

/// The nodes that would take part in a project, were they not running already.
fn running_without(store: &Store, project: &Project) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for node in Database::open(store.home())?.nodes()? {
        let is_of = |name: &str, own: &str| {
            let spec: Option<Value> = serde_json::from_str(&node.spec).ok();
            let said = spec.and_then(|spec| spec[name].as_str().map(str::to_owned));
            said.is_none_or(|said| said == own)
        };
        if is_of("project", &project.name)
            && is_of("identity", &project.identity)
            && lock::holder(store, &node.name)?.is_some()
        {
            names.push(node.name);
        }
    }
    Ok(names)
}

/// Names and values as text; what is no text is left out.
pub(crate) fn attributes(credential: &VerifiedCredential) -> MemberAttributes {
    let pairs = credential.attributes.map.iter();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    pairs
        .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
        .collect()
}

fn line(attributes: &MemberAttributes) -> String {
    let mut text = String::new();
    for (name, value) in attributes {
        text.push_str(&format!("  {name}={value}"));
    }
    text
}

/// The project of a name, or the only one.
fn find(db: &mut Database, name: Option<&str>) -> Result<Project, Failure> {
    let enroll = "run `culvert-edge project enroll` with a ticket first";
    if let Some(name) = name {
        let message = format!("this machine is not enrolled with a project '{name}'");
        let hint = format!("see `culvert-edge project list`, or {enroll}");
        return db
            .project(name)?
            .ok_or_else(|| Failure::not_found(message, hint));
    }
    let mut all = db.projects()?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Failure::not_found(
            "this machine is not enrolled with any project",
            enroll,
        )),
        (Some(_), false) => Err(Failure::usage(
            "there are several projects",
            "say which one; see `culvert-edge project list`",
        )),
    }
}

fn ticket(store: &Store, args: &TicketCommandArgs, output: Output) -> Result<(), Failure> {
    let wanted = CreateToken {
        attributes: args.ticket.attributes.attributes()?,
        ttl_secs: Some(args.ticket.expires_in.as_secs()),
        ttl_count: Some(args.ticket.usage_count),
    };
    let made = members::ticket(store, args.project.as_deref(), &wanted, args.timeout)?;
    let shown = json!({
        "ticket": made.text,
        "project": made.project,
        "expires_at": made.expires_at,
        "uses_left": args.ticket.usage_count,
    });
    output.print(&made.text, &shown);
    let left = roughly(args.ticket.expires_in.as_secs());
    tracing::info!(
        "made a ticket, good for {left}: redeem it with `culvert-edge project enroll TICKET`"
    );
    Ok(())
}

fn list(store: &Store, output: Output) -> Result<(), Failure> {
    let mut db = Database::open(store.home())?;
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for project in db.projects()? {
        let identity = project.identity.clone();
        rows.push(vec![
            project.name.clone(),
            identity,
            project.authority.to_string(),
        ]);
        all.push(json!({
            "name": project.name,
            "id": project.id,
            "route": project.route,
            "authority": project.authority.to_string(),
            "authority_route": project.authority_route,
            "identity": project.identity,
        }));
    }
    output.table(&["NAME", "IDENTITY", "AUTHORITY"], rows, &Value::Array(all));
    Ok(())
}

fn show(store: &Store, name: Option<&str>, output: Output) -> Result<(), Failure> {
    let mut db = Database::open(store.home())?;
    let project = find(&mut db, name)?;
    let me = store.load(&project.identity)?.identifier();
    let stored = db.credential(&me, &project.authority)?;
    let mut known = std::collections::BTreeMap::new();
    known.put(&project.authority, &project.authority_history);
    let verified = stored.as_ref().map(|stored| {
        let issuers = [project.authority];
        credential::verify(&stored.encoded, Some(&me), &issuers, &known, now_s())
    });
    let (said, state) = match &verified {
        None => (MemberAttributes::new(), "none".to_owned()),
        Some(Ok(verified)) => {
            let left = verified.expires_at.saturating_sub(now_s());
            (attributes(verified), format!("valid for {}", roughly(left)))
        }
        Some(Err(error)) => (MemberAttributes::new(), format!("not valid: {error}")),
    };
    let Project {
        name, authority, ..
    } = &project;
    output.print(
        format!(
            "{name}\n  route       {}\n  authority   {authority}\n  at          {}\n  identity    \
             {me} ({})\n  credential  {state}{}",
            project.route,
            project.authority_route,
            project.identity,
            line(&said)
        ),
        &json!({
            "name": name,
            "id": project.id,
            "route": project.route,
            "change_history": hex::encode(&project.change_history),
            "authority": authority.to_string(),
            "authority_route": project.authority_route,
            "authority_change_history": hex::encode(&project.authority_history),
            "identity": project.identity,
            "identifier": me.to_string(),
            "credential": state,
            "attributes": said,
            "expires_at": stored.map(|stored| stored.expires_at),
        }),
    );
    Ok(())
}

fn delete(store: &Store, name: &str, output: Output) -> Result<(), Failure> {
    if !Database::open(store.home())?.delete_project(name)? {
        return Err(Failure::new(
            format!("this machine is not enrolled with a project '{name}'"),
            "see `culvert-edge project list`",
        ));
    }
    output.print(format!("forgot '{name}'"), &json!({ "deleted": name }));
    Ok(())
}
