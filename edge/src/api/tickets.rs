//! Tickets of projects: making them for others, and becoming a member by one.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use culvert_manage::problem::{Kind, Problem};
use culvert_proto::authority::{CreateToken, check_attributes};
use culvert_proto::ticket::Ticket;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{OpenApi, ToSchema};

use super::Api;
use super::answers::{Answer, Refused, made, problem};
use super::given::{At, Given, read};
use crate::daemon::Manager;
use crate::model::Created;
use crate::project::{enroll, members};
use crate::store::DEFAULT_NAME;

/// Longest time that an authority may take: less than a request may.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What tickets add to the document.
#[derive(OpenApi)]
#[openapi(paths(create, redeem))]
pub(super) struct Document;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/{node}/tickets", post(create))
        .route("/{node}/tickets/enroll", post(redeem))
}

impl Api {
    /// Does something that an authority is asked for.
    pub(super) async fn visit<T: Send + 'static>(
        &self,
        node: &str,
        work: impl FnOnce(&Manager) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let Ok(turn) = self.visits.clone().try_acquire_owned() else {
            return Err(Problem::new(
                Kind::Unavailable,
                "authorities are being asked by others already",
                "try again in a moment",
            ));
        };
        let work = move |manager: &Manager| {
            let _turn = turn;
            work(manager)
        };
        self.work(node, work).await
    }
}

/// What a ticket is good for.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TicketSpec {
    /// What the credentials of those who redeem it will say.
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    /// Name of the project on this machine [default: the only one]
    #[serde(default)]
    project: Option<String>,
    /// How often it can be redeemed.
    #[serde(default = "TicketSpec::usual_count")]
    usage_count: u64,
    /// For how many seconds.
    #[serde(default = "TicketSpec::usual_time")]
    expires_in: u64,
}

impl TicketSpec {
    fn usual_count() -> u64 {
        1
    }

    fn usual_time() -> u64 {
        600
    }
}

/// A ticket.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct TicketView {
    /// The ticket itself. Whoever has it becomes a member.
    encoded: String,
    /// Name of the project on this machine.
    project: String,
    /// UNIX seconds until when it can be redeemed.
    expires_at: u64,
    /// How often.
    uses_left: u64,
}

/// A ticket to redeem.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct EnrollSpec {
    /// The ticket.
    ticket: String,
    /// Name of the identity that becomes a member [default: the node's]
    #[serde(default)]
    identity: Option<String>,
    /// What to call the project on this machine [default: what the ticket calls it]
    #[serde(default)]
    name: Option<String>,
}

/// What a machine is in a project.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct EnrollView {
    /// Name of the project on this machine.
    project: String,
    /// Who is the member.
    identifier: String,
    /// Multiaddr of the authority.
    route: String,
    /// Identifier of the authority.
    identity: String,
    /// What it says about the member.
    attributes: BTreeMap<String, String>,
    /// UNIX seconds until when that is believed.
    expires_at: u64,
    /// Whether it was a member before.
    was_member: bool,
}

/// `{"existing": {"name": …}}` is how Ockam's control API names a project; others name none.
pub(super) fn project_name(given: &mut Map<String, Value>, field: &str, known: &str) {
    let name = given.get(field).and_then(|value| value.get(known));
    if let Some(of_known) = name {
        let name = of_known.get("name").cloned().unwrap_or_default();
        given.insert(field.to_owned(), name);
    }
}

/// Has the authority of a project make a ticket. Only enrollers can.
#[utoipa::path(post, path = "/{node}/tickets", tag = "projects", operation_id = "create ticket",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    request_body = TicketSpec,
    responses((status = 201, description = "A new ticket", body = TicketView), Refused))]
async fn create(State(api): State<Api>, At(node): At<String>, given: Given) -> Answer {
    let Given(mut given) = given;
    project_name(&mut given, "project", "existing");
    let spec: TicketSpec = read(given)?;
    check_attributes(&spec.attributes)
        .map_err(|error| Problem::invalid(error, "change the attributes"))?;
    if spec.usage_count == 0 || spec.expires_in == 0 {
        return Err(Problem::invalid(
            "a ticket that cannot be redeemed is of no use",
            "'usage-count' and 'expires-in' are at least 1",
        ));
    }
    let wanted = CreateToken {
        attributes: spec.attributes,
        ttl_secs: Some(spec.expires_in),
        ttl_count: Some(spec.usage_count),
    };
    let create = move |manager: &Manager| {
        let project = spec.project.as_deref();
        members::ticket(manager.store(), project, &wanted, PATIENCE).map_err(problem)
    };
    let ticket = api.visit(&node, create).await?;
    let view = TicketView {
        encoded: ticket.text,
        project: ticket.project,
        expires_at: ticket.expires_at,
        uses_left: spec.usage_count,
    };
    made(Created::New, view)
}

/// Redeems a ticket: this machine becomes a member of the project. Who is one already gets a new
/// credential.
#[utoipa::path(post, path = "/{node}/tickets/enroll", tag = "projects", operation_id = "enroll",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    request_body = EnrollSpec,
    responses((status = 201, description = "It is a member now", body = EnrollView),
        (status = 200, description = "It was one before", body = EnrollView), Refused))]
async fn redeem(State(api): State<Api>, At(node): At<String>, given: Given) -> Answer {
    let spec: EnrollSpec = read(given.0)?;
    let ticket = Ticket::parse(&spec.ticket).map_err(|error| {
        let message = format!("the field 'ticket' is no ticket: {error}");
        Problem::invalid(message, "copy the whole ticket, or ask for another one")
    })?;
    let redeem = move |manager: &Manager| {
        let of_node = manager.view().spec.identity;
        let identity = spec.identity.or(of_node);
        let identity = identity.as_deref().unwrap_or(DEFAULT_NAME);
        let name = spec.name.as_deref();
        enroll::join(manager.store(), &ticket, identity, name, PATIENCE).map_err(problem)
    };
    let joined = api.visit(&node, redeem).await?;
    let created = match joined.was_member {
        true => Created::Same,
        false => Created::New,
    };
    let view = EnrollView {
        project: joined.project.name,
        identifier: joined.identifier.to_string(),
        route: joined.project.authority_route,
        identity: joined.project.authority.to_string(),
        attributes: joined.attributes,
        expires_at: joined.expires_at,
        was_member: joined.was_member,
    };
    made(created, view)
}
