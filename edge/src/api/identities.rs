//! Identities of the state directory.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use culvert_manage::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::Api;
use super::answers::{Answer, Refused, gone, made, ok, problem};
use super::given::{At, Given, read};
use super::spelling;
use crate::commands::now_s;
use crate::daemon::Manager;
use crate::model::Created;
use crate::store::{Entry, NewIdentity, Store};

/// What identities add to the document.
#[derive(OpenApi)]
#[openapi(paths(list, create, show, delete))]
pub(super) struct Document;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/{node}/identities", get(list).post(create))
        .route("/{node}/identities/{name}", get(show).delete(delete))
}

/// A new identity.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct IdentitySpec {
    /// What it is called on this machine [default: a random name]
    name: String,
    /// The vault for its keys [default: the default vault]
    #[serde(default)]
    vault: Option<String>,
    /// Handle of a key in the vault to be used in place of a new one.
    #[serde(default)]
    key: Option<String>,
}

/// An identity.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct IdentityView {
    /// What it is called on this machine.
    name: String,
    /// Its identifier.
    identifier: String,
    /// Its change history, in hexadecimal digits: what others need to know it.
    change_history: String,
    /// How many changes that has.
    changes: usize,
    /// The vault with its keys; none if they are in its own file.
    vault: Option<String>,
    /// UNIX seconds from when on its current key is valid.
    valid_from: u64,
    /// UNIX seconds until when it is.
    valid_until: u64,
}

impl From<Entry> for IdentityView {
    fn from(entry: Entry) -> Self {
        let latest = entry.identity.latest();
        Self {
            identifier: entry.identifier().to_string(),
            change_history: hex::encode(entry.identity.history()),
            changes: entry.identity.change_hashes().len(),
            vault: entry.vault().map(ToOwned::to_owned),
            valid_from: latest.valid_from,
            valid_until: latest.valid_until,
            name: entry.name,
        }
    }
}

fn find(store: &Store, name: &str) -> Result<IdentityView, Problem> {
    store.entry(name).map(Into::into).map_err(problem)
}

/// Lists the identities of the state directory.
#[utoipa::path(get, path = "/{node}/identities", tag = "identities",
    operation_id = "list identities",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "All of them", body = Vec<IdentityView>), Refused))]
async fn list(State(api): State<Api>, At(node): At<String>) -> Answer {
    let list = |manager: &Manager| {
        let store = manager.store();
        let names = store.names().map_err(problem)?;
        let all = names.iter().map(|name| find(store, name));
        all.collect::<Result<Vec<_>, Problem>>()
    };
    ok(api.work(&node, list).await?)
}

/// Makes an identity. If there is one of this name already, nothing happens, unless another vault or
/// key is asked for.
#[utoipa::path(post, path = "/{node}/identities", tag = "identities",
    operation_id = "create identity",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    request_body = IdentitySpec,
    responses((status = 201, description = "It is new", body = IdentityView),
        (status = 200, description = "It was there already", body = IdentityView), Refused))]
async fn create(State(api): State<Api>, At(node): At<String>, given: Given) -> Answer {
    let Given(mut given) = given;
    spelling::name(&mut given);
    let IdentitySpec { name, vault, key } = read(given)?;
    let create = move |manager: &Manager| {
        let store = manager.store();
        if let Ok(known) = find(store, &name)
            && key.is_none()
            && (vault.is_none() || vault == known.vault)
        {
            return Ok((Created::Same, known));
        }
        let new = NewIdentity {
            vault,
            key,
            key_type: None,
        };
        store
            .create_identity(&name, &new, now_s())
            .map_err(problem)?;
        Ok((Created::New, find(store, &name)?))
    };
    let (created, view) = api.work(&node, create).await?;
    made(created, view)
}

/// Shows an identity.
#[utoipa::path(get, path = "/{node}/identities/{name}", tag = "identities",
    operation_id = "show identity",
    params(("node" = String, Path, description = "Name of the node, or `self`"),
        ("name" = String, Path, description = "What it is called")),
    responses((status = 200, description = "It", body = IdentityView), Refused))]
async fn show(State(api): State<Api>, At((node, name)): At<(String, String)>) -> Answer {
    ok(api.work(&node, move |m| find(m.store(), &name)).await?)
}

/// Deletes an identity with its keys. That of the node itself cannot be deleted.
#[utoipa::path(delete, path = "/{node}/identities/{name}", tag = "identities",
    operation_id = "delete identity",
    params(("node" = String, Path, description = "Name of the node, or `self`"),
        ("name" = String, Path, description = "What it is called")),
    responses((status = 204, description = "It is gone"), Refused))]
async fn delete(State(api): State<Api>, At((node, name)): At<(String, String)>) -> Answer {
    let delete = move |manager: &Manager| {
        let store = manager.store();
        if find(store, &name)?.identifier == manager.view().identifier {
            return Err(Problem::conflict(
                format!(
                    "the node '{}' runs as the identity '{name}'",
                    manager.name()
                ),
                "stop the node first",
            ));
        }
        store.delete_identity(&name, false).map_err(problem)
    };
    api.work(&node, delete).await.map(gone)
}
