//! Members of projects, at their authorities. Only enrollers see and change them.
#![allow(unused_qualifications, reason = "utoipa writes `Of` with its path")]

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use culvert_crypto::Identifier;
use culvert_manage::problem::Problem;
use culvert_proto::authority::{AttributesEntry, check_attributes};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::Api;
use super::answers::{Answer, Refused, gone, ok, problem};
use super::given::{Asked, At, Given, read};
use super::tickets::{PATIENCE, project_name};
use crate::daemon::Manager;
use crate::project::members;

/// What members add to the document.
#[derive(OpenApi)]
#[openapi(paths(list, show, put, remove))]
pub(super) struct Document;

pub(super) fn routes() -> Router<Api> {
    let one = get(show).put(put).delete(remove);
    Router::new()
        .route("/{node}/authority-members", get(list))
        .route("/{node}/authority-members/{id}", one)
}

/// Which authority.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Of {
    /// Name of the project on this machine [default: the only one]
    #[serde(default)]
    project: Option<String>,
}

/// What is to be said about a member.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct MemberSpec {
    /// What its credentials will say.
    attributes: BTreeMap<String, String>,
    /// Name of the project on this machine [default: the only one]
    #[serde(default)]
    authority: Option<String>,
}

/// A member.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct MemberView {
    /// Its identifier.
    identity: String,
    /// What its credentials say.
    attributes: BTreeMap<String, String>,
    /// UNIX seconds.
    added_at: u64,
    /// Identifier of who added it.
    #[serde(skip_serializing_if = "Option::is_none")]
    added_by: Option<String>,
}

impl MemberView {
    fn new(identifier: &Identifier, entry: AttributesEntry) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
        let pairs = entry.attributes.into_iter();
        Self {
            identity: identifier.to_string(),
            attributes: pairs
                .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
                .collect(),
            added_at: entry.added_at,
            added_by: entry.attested_by.map(|by| by.to_string()),
        }
    }
}

fn identifier(text: &str) -> Result<Identifier, Problem> {
    text.parse().map_err(|_| {
        Problem::invalid(
            format!("'{text}' is not an identifier"),
            "an identifier is the letter I and 64 hexadecimal digits",
        )
    })
}

fn missing(id: &Identifier) -> Problem {
    Problem::not_found(format!("{id} is not a member"), "see the list of members")
}

/// Lists the members of a project.
#[utoipa::path(get, path = "/{node}/authority-members", tag = "projects",
    operation_id = "list members",
    params(("node" = String, Path, description = "Name of the node, or `self`"), Of),
    responses((status = 200, description = "All of them", body = Vec<MemberView>), Refused))]
async fn list(State(api): State<Api>, At(node): At<String>, of: Asked<Of>) -> Answer {
    let Asked(Of { project }) = of;
    let list = move |manager: &Manager| {
        let list = members::list(manager.store(), project.as_deref(), PATIENCE);
        list.map_err(problem)
    };
    let all = api.visit(&node, list).await?;
    let all: Vec<MemberView> = all
        .into_iter()
        .map(|(id, entry)| MemberView::new(&id, entry))
        .collect();
    ok(all)
}

/// Shows a member.
#[utoipa::path(get, path = "/{node}/authority-members/{id}", tag = "projects",
    operation_id = "show member",
    params(("node" = String, Path, description = "Name of the node, or `self`"),
        ("id" = String, Path, description = "Identifier of the member"), Of),
    responses((status = 200, description = "It", body = MemberView), Refused))]
async fn show(
    State(api): State<Api>,
    At((node, id)): At<(String, String)>,
    Asked(Of { project }): Asked<Of>,
) -> Answer {
    let id = identifier(&id)?;
    let show = move |manager: &Manager| {
        let found = members::show(manager.store(), project.as_deref(), id, PATIENCE);
        found.map_err(problem)
    };
    let found = api.visit(&node, show).await?;
    let entry = found.ok_or_else(|| missing(&id))?;
    ok(MemberView::new(&id, entry))
}

/// Makes somebody a member, or says something else about a member from now on.
#[utoipa::path(put, path = "/{node}/authority-members/{id}", tag = "projects",
    operation_id = "put member",
    params(("node" = String, Path, description = "Name of the node, or `self`"),
        ("id" = String, Path, description = "Identifier of the member")),
    request_body = MemberSpec,
    responses((status = 200, description = "It", body = MemberView), Refused))]
async fn put(State(api): State<Api>, At((node, id)): At<(String, String)>, given: Given) -> Answer {
    let id = identifier(&id)?;
    let Given(mut given) = given;
    project_name(&mut given, "authority", "project");
    let spec: MemberSpec = read(given)?;
    check_attributes(&spec.attributes)
        .map_err(|error| Problem::invalid(error, "change the attributes"))?;
    let put = move |manager: &Manager| {
        let (store, project) = (manager.store(), spec.authority.as_deref());
        members::put(store, project, id, spec.attributes, PATIENCE / 2).map_err(problem)?;
        members::show(store, project, id, PATIENCE / 2).map_err(problem)
    };
    let found = api.visit(&node, put).await?;
    let entry = found.ok_or_else(|| missing(&id))?;
    ok(MemberView::new(&id, entry))
}

/// Takes membership away. Credentials that were issued end by themselves.
#[utoipa::path(delete, path = "/{node}/authority-members/{id}", tag = "projects",
    operation_id = "remove member",
    params(("node" = String, Path, description = "Name of the node, or `self`"),
        ("id" = String, Path, description = "Identifier of the member"), Of),
    responses((status = 204, description = "It is none any more"), Refused))]
async fn remove(
    State(api): State<Api>,
    At((node, id)): At<(String, String)>,
    Asked(Of { project }): Asked<Of>,
) -> Answer {
    let id = identifier(&id)?;
    let remove = move |manager: &Manager| {
        let removed = members::remove(manager.store(), project.as_deref(), id, PATIENCE);
        match removed.map_err(problem)? {
            true => Ok(()),
            false => Err(missing(&id)),
        }
    };
    api.visit(&node, remove).await.map(gone)
}
