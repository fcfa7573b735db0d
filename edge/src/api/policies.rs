//! Policies: who may use a resource, or all resources of a type.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use culvert_manage::problem::Problem;
use utoipa::OpenApi;

use super::Api;
use super::answers::{Answer, Refused, gone, made, ok};
use super::given::{At, Given, read};
use super::spelling;
use crate::daemon::Manager;
use crate::model::{Created, PolicySpec};

/// What policies add to the document.
#[derive(OpenApi)]
#[openapi(paths(list, set, show, delete))]
pub(super) struct Document;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/{node}/policies", get(list).post(set))
        .route(
            "/{node}/policies/{scope}/{resource}",
            get(show).delete(delete),
        )
}

/// What a path says that a policy is for.
#[derive(Debug)]
enum Scope {
    Name(String),
    Type(String),
}

impl Scope {
    fn parse(scope: &str, resource: String) -> Result<Self, Problem> {
        match scope {
            "name" => Ok(Self::Name(resource)),
            "type" => Ok(Self::Type(resource)),
            _ => Err(Problem::not_found(
                format!("there are no policies of a '{scope}'"),
                "policies are at policies/name/RESOURCE and policies/type/RESOURCE-TYPE",
            )),
        }
    }

    fn is_of(&self, policy: &PolicySpec) -> bool {
        match self {
            Self::Name(name) => policy.resource.as_ref() == Some(name),
            Self::Type(kind) => policy.resource_type.as_ref() == Some(kind),
        }
    }

    fn missing(&self) -> Problem {
        let what = match self {
            Self::Name(name) => format!("the resource '{name}'"),
            Self::Type(kind) => format!("the resource type '{kind}'"),
        };
        Problem::not_found(
            format!("there is no policy of {what}"),
            "see the list of policies",
        )
    }

    fn find(&self, manager: &Manager) -> Result<PolicySpec, Problem> {
        let mut all = manager.policies()?.into_iter();
        all.find(|policy| self.is_of(policy))
            .ok_or_else(|| self.missing())
    }

    fn delete(&self, manager: &Manager) -> Result<(), Problem> {
        match self {
            Self::Name(name) => manager.delete_policy(Some(name), None),
            Self::Type(kind) => manager.delete_policy(None, Some(kind)),
        }
    }
}

/// Lists all policies of the state directory, which all its nodes obey.
#[utoipa::path(get, path = "/{node}/policies", tag = "policies", operation_id = "list policies",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "All of them", body = Vec<PolicySpec>), Refused))]
async fn list(State(api): State<Api>, At(node): At<String>) -> Answer {
    ok(api.work(&node, Manager::policies).await?)
}

/// Sets a policy. It takes the place of an earlier one of the same resource or type.
#[utoipa::path(post, path = "/{node}/policies", tag = "policies", operation_id = "set policy",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    request_body = PolicySpec,
    responses((status = 201, description = "There was none", body = PolicySpec),
        (status = 200, description = "There was one, which counts no longer", body = PolicySpec),
        Refused))]
async fn set(State(api): State<Api>, At(node): At<String>, given: Given) -> Answer {
    let Given(mut given) = given;
    spelling::rename(&mut given, "expression", "allow")?;
    let policy: PolicySpec = read(given)?;
    let set = move |manager: &Manager| {
        let same = |known: &PolicySpec| {
            (&known.resource, &known.resource_type) == (&policy.resource, &policy.resource_type)
        };
        let created = match manager.policies()?.iter().any(same) {
            true => Created::Same,
            false => Created::New,
        };
        Ok((created, manager.set_policy(&policy)?))
    };
    let (created, stored) = api.work(&node, set).await?;
    made(created, stored)
}

/// Shows a policy.
#[utoipa::path(get, path = "/{node}/policies/{scope}/{resource}", tag = "policies",
    operation_id = "show policy",
    params(("node" = String, Path, description = "Name of the node, or `self`"),
        ("scope" = String, Path, description = "`name` or `type`"),
        ("resource" = String, Path, description = "The resource or the type")),
    responses((status = 200, description = "The policy", body = PolicySpec), Refused))]
async fn show(
    State(api): State<Api>,
    At((node, scope, resource)): At<(String, String, String)>,
) -> Answer {
    let scope = Scope::parse(&scope, resource)?;
    ok(api.work(&node, move |manager| scope.find(manager)).await?)
}

/// Deletes a policy: that of the type counts then, or the default of the resource.
#[utoipa::path(delete, path = "/{node}/policies/{scope}/{resource}", tag = "policies",
    operation_id = "delete policy",
    params(("node" = String, Path, description = "Name of the node, or `self`"),
        ("scope" = String, Path, description = "`name` or `type`"),
        ("resource" = String, Path, description = "The resource or the type")),
    responses((status = 204, description = "It is gone"), Refused))]
async fn delete(
    State(api): State<Api>,
    At((node, scope, resource)): At<(String, String, String)>,
) -> Answer {
    let scope = Scope::parse(&scope, resource)?;
    let done = api.work(&node, move |manager| scope.delete(manager)).await;
    done.map(gone)
}
