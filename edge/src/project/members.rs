//! What an enroller does at the authority of a project: tickets and members.

use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_node::session::request::{Answer, Question};
use culvert_node::shard::Shard;
use culvert_node::store::database::Database;
use culvert_node::store::projects::Project;
use culvert_proto::authority::{
    AddMember, AttributesEntry, CreateToken, MemberAttributes, MemberList, OneTimeCode, Service,
};
use culvert_proto::identity::{decode_exact, encode};
use culvert_proto::multiaddr::MultiAddr;
use culvert_proto::request::Method;
use culvert_proto::ticket::Ticket;

use super::ask::{Authority, Trouble, accepted, is_no_member};
use super::find;
use crate::authority::client::Client;
use crate::authority::local;
use crate::commands::{identity_for_use, now_s};
use crate::failure::Failure;
use crate::route;
use crate::store::Store;

/// A new ticket.
pub(crate) struct MadeTicket {
    /// The ticket: whoever has it becomes a member.
    pub(crate) text: String,
    /// Name of the project on this machine.
    pub(crate) project: String,
    /// UNIX seconds.
    pub(crate) expires_at: u64,
}

/// Has the authority of a project make a ticket.
///
/// # Errors
///
/// That there is no such project, or what the authority said.
pub(crate) fn ticket(
    store: &Store,
    project: Option<&str>,
    wanted: &CreateToken,
    limit: Duration,
) -> Result<MadeTicket, Failure> {
    let project = project_of(store, project)?;
    let multiaddr = |text: &str| -> Result<MultiAddr, Failure> {
        text.parse().map_err(|error| unreadable(&project, &error))
    };
    let node = culvert_crypto::identity::Identity::verify(&project.change_history, None)
        .map_err(|error| unreadable(&project, &error))?;
    let asked = Asked {
        service: Service::TokenIssuer,
        method: Method::Post,
        path: "/".to_owned(),
        body: Some(encode(wanted)),
    };
    let body = accepted(answer(store, &project, asked, limit)?)?;
    let code: OneTimeCode = decode_exact(&body).map_err(|_| Trouble::Body)?;
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
    Ok(MadeTicket {
        text,
        expires_at: now_s().saturating_add(wanted.ttl_secs.unwrap_or_default()),
        project: project.name,
    })
}

/// The members of a project, as its authority says.
///
/// # Errors
///
/// That there is no such project, or what the authority said.
pub(crate) fn list(
    store: &Store,
    project: Option<&str>,
    limit: Duration,
) -> Result<MemberList, Failure> {
    let project = project_of(store, project)?;
    let asked = Asked::about_members(Method::Get, "/members".to_owned());
    let body = accepted(answer(store, &project, asked, limit)?)?;
    Ok(decode_exact(&body).map_err(|_| Trouble::Body)?)
}

/// A member of a project; none if it is not one.
///
/// # Errors
///
/// That there is no such project, or what the authority said.
pub(crate) fn show(
    store: &Store,
    project: Option<&str>,
    member: Identifier,
    limit: Duration,
) -> Result<Option<AttributesEntry>, Failure> {
    let project = project_of(store, project)?;
    let asked = Asked::about_members(Method::Get, format!("/members/{member}"));
    let answer = answer(store, &project, asked, limit)?;
    if is_no_member(&answer, &member) {
        return Ok(None);
    }
    let body = accepted(answer)?;
    Ok(Some(decode_exact(&body).map_err(|_| Trouble::Body)?))
}

/// Makes somebody a member, or says something else about a member from now on.
///
/// # Errors
///
/// That there is no such project, or what the authority said.
pub(crate) fn put(
    store: &Store,
    project: Option<&str>,
    member: Identifier,
    attributes: MemberAttributes,
    limit: Duration,
) -> Result<(), Failure> {
    let project = project_of(store, project)?;
    let asked = Asked {
        body: Some(encode(&AddMember { member, attributes })),
        ..Asked::about_members(Method::Post, "/".to_owned())
    };
    accepted(answer(store, &project, asked, limit)?)?;
    Ok(())
}

/// Takes membership away; false if there was none.
///
/// # Errors
///
/// That there is no such project, or what the authority said.
pub(crate) fn remove(
    store: &Store,
    project: Option<&str>,
    member: Identifier,
    limit: Duration,
) -> Result<bool, Failure> {
    let project = project_of(store, project)?;
    let asked = |method| Asked::about_members(method, format!("/members/{member}"));
    // Authorities take away what is not there without a word.
    let look = answers(
        store,
        &project,
        vec![asked(Method::Get), asked(Method::Delete)],
        limit,
    )?;
    for answer in look {
        if is_no_member(&answer, &member) {
            return Ok(false);
        }
        accepted(answer)?;
    }
    Ok(true)
}

fn project_of(store: &Store, name: Option<&str>) -> Result<Project, Failure> {
    find(&mut Database::open(store.home())?, name)
}

/// A request to an authority.
struct Asked {
    service: Service,
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
}

impl Asked {
    fn about_members(method: Method, path: String) -> Self {
        Self {
            service: Service::DirectAuthenticator,
            method,
            path,
            body: None,
        }
    }
}

/// Asks the authority of a project something.
fn answer(
    store: &Store,
    project: &Project,
    asked: Asked,
    limit: Duration,
) -> Result<Answer, Failure> {
    let mut answers = answers(store, project, vec![asked], limit)?;
    Ok(answers.pop().ok_or(Trouble::Body)?)
}

/// Asks the authority of a project one thing after the other, as the identity that is a member, until it
/// refuses one: that answer is the last.
fn answers(
    store: &Store,
    project: &Project,
    asked: Vec<Asked>,
    limit: Duration,
) -> Result<Vec<Answer>, Failure> {
    let place =
        route::place(&project.authority_route).map_err(|error| unreadable(project, &error))?;
    let endpoint = identity_for_use(store, &project.identity)?.endpoint()?;
    let history = &project.authority_history;
    let authority = Authority::new(place, project.authority, history, limit);
    let client = Client::start()?;
    let answers = client.run(async move |shard: &Shard| {
        let visit = authority.visit(shard, endpoint).await?;
        let mut answers = Vec::new();
        for one in asked {
            let question = Question {
                service: one.service.address(),
                method: one.method,
                path: &one.path,
                body: one.body.as_deref(),
            };
            let answer = visit.ask(&question).await?;
            let is_ok = answer.is_ok();
            answers.push(answer);
            if !is_ok {
                break;
            }
        }
        Ok::<_, Trouble>(answers)
    });
    client.end();
    Ok(answers??)
}

fn unreadable(project: &Project, what: &dyn std::fmt::Display) -> Failure {
    let message = format!(
        "what is stored about '{}' cannot be used: {what}",
        project.name
    );
    Failure::new(message, "enroll again")
}
