//! Projects that this machine is a member of, and the credentials it got there.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use culvert_crypto::credential;
use culvert_crypto::identity::Histories;
use culvert_manage::problem::Problem;
use culvert_node::store::database::Database;
use culvert_node::store::projects::Project;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::Api;
use super::answers::{Answer, Refused, ok, problem};
use super::given::At;
use crate::commands::now_s;
use crate::daemon::Manager;
use crate::project::attributes;

/// What these add to the document.
#[derive(OpenApi)]
#[openapi(paths(projects, credentials))]
pub(super) struct Document;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/{node}/projects", get(projects))
        .route("/{node}/credentials", get(credentials))
}

/// A project that this machine is a member of.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct ProjectView {
    /// What it is called on this machine.
    name: String,
    /// Its own id.
    id: String,
    /// Multiaddr of its node, usually a relay.
    route: String,
    /// Identifier of its authority.
    authority: String,
    /// Multiaddr of its authority.
    authority_route: String,
    /// Name of the identity of this machine that is the member.
    identity: String,
}

impl From<Project> for ProjectView {
    fn from(project: Project) -> Self {
        Self {
            name: project.name,
            id: project.id,
            route: project.route,
            authority: project.authority.to_string(),
            authority_route: project.authority_route,
            identity: project.identity,
        }
    }
}

/// What an authority says about an identity of this machine.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct CredentialView {
    /// The project.
    project: String,
    /// Identifier of the authority.
    issuer: String,
    /// Identifier whom it is about.
    subject: String,
    /// Names and values; empty if it is not valid.
    attributes: BTreeMap<String, String>,
    /// UNIX seconds.
    expires_at: u64,
    /// Whether others believe it now.
    valid: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Lists the projects that this machine is a member of.
#[utoipa::path(get, path = "/{node}/projects", tag = "projects", operation_id = "list projects",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "All of them", body = Vec<ProjectView>), Refused))]
async fn projects(State(api): State<Api>, At(node): At<String>) -> Answer {
    let list = |manager: &Manager| {
        let mut db = Database::open(manager.store().home()).map_err(problem)?;
        let all = db.projects().map_err(problem)?;
        Ok(all
            .into_iter()
            .map(Into::into)
            .collect::<Vec<ProjectView>>())
    };
    ok(api.work(&node, list).await?)
}

/// Lists what the authorities of these projects say about this machine.
#[utoipa::path(get, path = "/{node}/credentials", tag = "projects",
    operation_id = "list credentials",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "All of them", body = Vec<CredentialView>), Refused))]
async fn credentials(State(api): State<Api>, At(node): At<String>) -> Answer {
    let list = |manager: &Manager| {
        let mut db = Database::open(manager.store().home()).map_err(problem)?;
        let mut all = Vec::new();
        for project in db.projects().map_err(problem)? {
            all.extend(of_project(manager, &mut db, &project)?);
        }
        Ok(all)
    };
    ok(api.work(&node, list).await?)
}

fn of_project(
    manager: &Manager,
    db: &mut Database,
    project: &Project,
) -> Result<Option<CredentialView>, Problem> {
    let entry = manager.store().entry(&project.identity).map_err(problem)?;
    let (subject, issuer) = (entry.identifier(), project.authority);
    let Some(stored) = db.credential(&subject, &issuer).map_err(problem)? else {
        return Ok(None);
    };
    let mut known = BTreeMap::new();
    known.put(&issuer, &project.authority_history);
    let verified = credential::verify(&stored.encoded, Some(&subject), &[issuer], &known, now_s());
    Ok(Some(CredentialView {
        project: project.name.clone(),
        issuer: issuer.to_string(),
        subject: subject.to_string(),
        attributes: verified.as_ref().map(attributes).unwrap_or_default(),
        expires_at: stored.expires_at,
        valid: verified.is_ok(),
        reason: verified.err().map(|error| error.to_string()),
    }))
}
