//! Becoming a member of a project by a ticket.

use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_crypto::credential::{self, VerifiedCredential};
use culvert_crypto::identity::Histories;
use culvert_node::shard::Shard;
use culvert_node::store::database::Database;
use culvert_node::store::projects::{Project, StoredCredential};
use culvert_proto::authority::{MemberAttributes, OneTimeCode, Service};
use culvert_proto::identity::encode;
use culvert_proto::ticket::Ticket;

use super::ask::{Authority, Trouble, Visit, accepted, is_member_already};
use super::attributes;
use crate::authority::client::Client;
use crate::commands::{identity_for_use, now_s};
use crate::failure::Failure;
use crate::route;
use crate::store::Store;

/// What becoming a member gave.
pub(crate) struct Joined {
    /// The project as it is stored now.
    pub(crate) project: Project,
    /// Who is the member.
    pub(crate) identifier: Identifier,
    /// What the authority says about it.
    pub(crate) attributes: MemberAttributes,
    /// Until when that is believed, UNIX seconds.
    pub(crate) expires_at: u64,
    /// Whether it was a member before.
    pub(crate) was_member: bool,
}

/// What an enrollment gave.
struct Enrolled {
    encoded: Vec<u8>,
    verified: VerifiedCredential,
    /// The history that the authority showed.
    authority_history: Vec<u8>,
    before: bool,
}

/// Redeems a ticket as the identity of this name, and stores the project and the credential.
///
/// # Errors
///
/// What is wrong with the ticket, or what the authority said; nothing is stored then.
pub(crate) fn join(
    store: &Store,
    ticket: &Ticket,
    identity: &str,
    name: Option<&str>,
    limit: Duration,
) -> Result<Joined, Failure> {
    let issuers = culvert_crypto::ticket::verify(ticket).map_err(|error| {
        let message = format!("the ticket cannot be believed: {error}");
        let hint = "it was changed on the way, or belongs to another project: ask for another one";
        Failure::usage(message, hint).because("ticket_forged")
    })?;
    let route = &ticket.authority_route;
    let place = route::place(&route.to_string()).map_err(|error| {
        let message = format!("the route of the authority, {route}, cannot be used: {error}");
        Failure::usage(message, "ask the operator of the authority").because("ticket_forged")
    })?;
    let mut db = Database::open(store.home())?;
    let name = name.unwrap_or(&ticket.project_name).to_owned();
    let authority = issuers.authority.identifier();
    let other = db.project(&name)?;
    if let Some(other) = other.filter(|other| other.authority != authority) {
        let message = format!(
            "there is another project '{name}' here, of {}",
            other.authority
        );
        let hint = "choose another --name, or run `culvert-edge project delete` first";
        return Err(Failure::conflict(message, hint).because("project_taken"));
    }
    let stored = identity_for_use(store, identity)?;
    let (me, endpoint) = (stored.identifier(), stored.endpoint()?);
    let history = issuers.authority.history();
    let asked = Authority::new(place, authority, history, limit);
    let code = ticket.code.clone();
    let client = Client::start()?;
    let enrolled = client.run(async move |shard: &Shard| {
        let visit = asked.visit(shard, endpoint).await?;
        redeem(&asked, &visit, me, &code).await
    });
    client.end();
    let enrolled = enrolled??;
    let project = Project {
        name,
        id: ticket.project_id.clone(),
        route: ticket.project_route.to_string(),
        change_history: ticket.project_history.clone(),
        authority,
        authority_history: enrolled.authority_history,
        authority_route: route.to_string(),
        identity: identity.to_owned(),
    };
    let credential = StoredCredential {
        encoded: enrolled.encoded,
        expires_at: enrolled.verified.expires_at,
    };
    db.save_enrollment(&project, &me, &credential)?;
    Ok(Joined {
        project,
        identifier: me,
        attributes: attributes(&enrolled.verified),
        expires_at: credential.expires_at,
        was_member: enrolled.before,
    })
}

async fn redeem(
    authority: &Authority,
    visit: &Visit,
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
