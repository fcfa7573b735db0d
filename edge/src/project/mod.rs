//! Being a member of projects: enrolling by a ticket, making tickets for others, and what is known
//! about projects here.

pub mod args;
mod ask;

use std::io::Read;
use std::path::Path;

use culvert_crypto::Identifier;
use culvert_crypto::credential::{self, VerifiedCredential};
use culvert_crypto::identity::Histories;
use culvert_node::shard::Shard;
use culvert_node::store::database::Database;
use culvert_node::store::projects::{Project, StoredCredential};
use culvert_proto::authority::{CreateToken, OneTimeCode, Service};
use culvert_proto::identity::{decode_exact, encode};
use culvert_proto::limits::MAX_TICKET;
use culvert_proto::multiaddr::MultiAddr;
use culvert_proto::ticket::Ticket;
use serde_json::{Value, json};

use crate::authority::client::Client;
use crate::authority::local;
use crate::commands::{identity_for_use, now_s};
use crate::duration::roughly;
use crate::failure::Failure;
use crate::output::Output;
use crate::route;
use crate::store::Store;
use args::{EnrollArgs, ProjectCommand, TicketCommandArgs};
use ask::{Authority, Trouble, accepted, is_member_already};

/// Runs a command about projects.
///
/// # Errors
///
/// What the command says.
pub fn run(store: &Store, command: &ProjectCommand, output: Output) -> Result<(), Failure> {
    match command {
        ProjectCommand::Enroll(args) => enroll(store, args, output),
        ProjectCommand::Ticket(args) => ticket(store, args, output),
        ProjectCommand::List => list(store, output),
        ProjectCommand::Show { name } => show(store, name.as_deref(), output),
        ProjectCommand::Delete { name } => delete(store, name, output),
    }
}

/// The ticket in an argument: itself, in a file, or on standard input.
fn read_ticket(argument: &str) -> Result<Ticket, Failure> {
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

/// What an enrollment gave.
struct Enrolled {
    encoded: Vec<u8>,
    verified: VerifiedCredential,
    /// The history that the authority showed.
    authority_history: Vec<u8>,
    before: bool,
}

fn enroll(store: &Store, args: &EnrollArgs, output: Output) -> Result<(), Failure> {
    let ticket = read_ticket(&args.ticket)?;
    let issuers = culvert_crypto::ticket::verify(&ticket).map_err(|error| {
        let message = format!("the ticket cannot be believed: {error}");
        let hint = "it was changed on the way, or belongs to another project: ask for another one";
        Failure::new(message, hint).because("ticket_forged")
    })?;
    let route = &ticket.authority_route;
    let place = route::place(&route.to_string()).map_err(|error| {
        let message = format!("the route of the authority, {route}, cannot be used: {error}");
        Failure::new(message, "ask the operator of the authority").because("ticket_forged")
    })?;
    let mut db = Database::open(store.home())?;
    let name = args.name.as_ref().unwrap_or(&ticket.project_name);
    let authority = issuers.authority.identifier();
    if let Some(other) = db
        .project(name)?
        .filter(|other| other.authority != authority)
    {
        let message = format!(
            "there is another project '{name}' here, of {}",
            other.authority
        );
        let hint = "choose another --name, or run `culvert-edge project delete` first";
        return Err(Failure::new(message, hint).because("project_taken"));
    }
    let stored = identity_for_use(store, &args.identity)?;
    let (me, endpoint) = (stored.identifier(), stored.endpoint()?);
    let history = issuers.authority.history();
    let asked = Authority::new(place, authority, history, args.timeout);
    let code = ticket.code.clone();
    let client = Client::start()?;
    let enrolled = client.run(async move |shard: &Shard| {
        let visit = asked.visit(shard, endpoint).await?;
        redeem(&asked, &visit, me, &code).await
    });
    client.end();
    let enrolled = enrolled??;
    let project = Project {
        name: name.clone(),
        id: ticket.project_id.clone(),
        route: ticket.project_route.to_string(),
        change_history: ticket.project_history.clone(),
        authority,
        authority_history: enrolled.authority_history,
        authority_route: route.to_string(),
        identity: args.identity.clone(),
    };
    let credential = StoredCredential {
        encoded: enrolled.encoded,
        expires_at: enrolled.verified.expires_at,
    };
    db.save_enrollment(&project, &me, &credential)?;
    let left = roughly(credential.expires_at.saturating_sub(now_s()));
    let again = if enrolled.before { " (as before)" } else { "" };
    let attributes = attributes(&enrolled.verified);
    output.print(
        format!(
            "{me} is a member of the project '{name}'{again}{}; its credential is valid for {left}",
            line(&attributes)
        ),
        &json!({
            "project": name,
            "identifier": me.to_string(),
            "authority": authority.to_string(),
            "attributes": attributes,
            "expires_at": credential.expires_at,
            "was_member": enrolled.before,
        }),
    );
    Ok(())
}

async fn redeem(
    authority: &Authority,
    visit: &ask::Visit,
    me: Identifier,
    code: &OneTimeCode,
) -> Result<Enrolled, Trouble> {
    let answer = visit
        .post(Service::TokenAcceptor, Some(&encode(code)))
        .await?;
    let before = is_member_already(&answer);
    if !before {
        accepted(answer)?;
    }
    let encoded = accepted(visit.post(Service::CredentialIssuer, None).await?)?;
    let issuers = [authority.identifier];
    let verified = credential::verify(&encoded, Some(&me), &issuers, &authority.known, now_s())
        .map_err(Trouble::Credential)?;
    let authority_history = authority.known.get(&authority.identifier);
    Ok(Enrolled {
        encoded,
        verified,
        authority_history: authority_history.unwrap_or_default(),
        before,
    })
}

/// Names and values as text; what is no text is left out.
fn attributes(credential: &VerifiedCredential) -> Value {
    let pairs = credential.attributes.map.iter();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    pairs
        .filter_map(|(name, value)| Some((text(name)?, Value::from(text(value)?))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn line(attributes: &Value) -> String {
    let mut text = String::new();
    for (name, value) in attributes.as_object().into_iter().flatten() {
        text.push_str(&format!("  {name}={}", value.as_str().unwrap_or_default()));
    }
    text
}

/// The project of a name, or the only one.
fn find(db: &mut Database, name: Option<&str>) -> Result<Project, Failure> {
    let enroll = "run `culvert-edge project enroll` with a ticket first";
    if let Some(name) = name {
        let message = format!("this machine is not enrolled with a project '{name}'");
        let hint = format!("see `culvert-edge project list`, or {enroll}");
        return db.project(name)?.ok_or_else(|| Failure::new(message, hint));
    }
    let mut all = db.projects()?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Failure::new(
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
    let mut db = Database::open(store.home())?;
    let project = find(&mut db, args.project.as_deref())?;
    let unreadable = |what: &dyn std::fmt::Display| {
        let message = format!(
            "what is stored about '{}' cannot be used: {what}",
            project.name
        );
        Failure::new(message, "enroll again")
    };
    let multiaddr = |text: &str| -> Result<MultiAddr, Failure> {
        text.parse().map_err(|error| unreadable(&error))
    };
    let place = route::place(&project.authority_route).map_err(|error| unreadable(&error))?;
    let node = culvert_crypto::identity::Identity::verify(&project.change_history, None)
        .map_err(|error| unreadable(&error))?;
    let endpoint = identity_for_use(store, &project.identity)?.endpoint()?;
    let history = &project.authority_history;
    let asked = Authority::new(place, project.authority, history, args.timeout);
    let client = Client::start()?;
    let body = client.run(async move |shard: &Shard| {
        let visit = asked.visit(shard, endpoint).await?;
        accepted(
            visit
                .post(Service::TokenIssuer, Some(&encode(&wanted)))
                .await?,
        )
    });
    client.end();
    let code: OneTimeCode = decode_exact(&body??).map_err(|_| Trouble::Body)?;
    let text = local::text(&Ticket {
        code,
        project_id: project.id.clone(),
        project_route: multiaddr(&project.route)?,
        project_identifier: Some(node.identifier()),
        project_name: project.name.clone(),
        project_history: project.change_history.clone(),
        authority_history: project.authority_history.clone(),
        authority_route: multiaddr(&project.authority_route)?,
    })?;
    let expires_at = now_s().saturating_add(args.ticket.expires_in.as_secs());
    let shown = json!({
        "ticket": text,
        "project": project.name,
        "expires_at": expires_at,
        "uses_left": args.ticket.usage_count,
    });
    output.print(&text, &shown);
    let left = roughly(args.ticket.expires_in.as_secs());
    tracing::info!(
        "made a ticket, good for {left}: redeem it with `culvert-edge project enroll TICKET`"
    );
    Ok(())
}

fn list(store: &Store, output: Output) -> Result<(), Failure> {
    let mut db = Database::open(store.home())?;
    let mut all = Vec::new();
    for project in db.projects()? {
        output.say(format!("{}  authority {}", project.name, project.authority));
        all.push(json!({
            "name": project.name,
            "id": project.id,
            "route": project.route,
            "authority": project.authority.to_string(),
            "authority_route": project.authority_route,
            "identity": project.identity,
        }));
    }
    output.emit(&Value::Array(all));
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
        None => (Value::Null, "none".to_owned()),
        Some(Ok(verified)) => {
            let left = verified.expires_at.saturating_sub(now_s());
            (attributes(verified), format!("valid for {}", roughly(left)))
        }
        Some(Err(error)) => (Value::Null, format!("not valid: {error}")),
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
