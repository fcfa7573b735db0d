//! What happens in the node, as it happens.
#![allow(unused_qualifications, reason = "utoipa writes `Wanted` with its path")]

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;
use serde_json::json;
use utoipa::{IntoParams, OpenApi};

use super::answers::{Answer, Refused};
use super::given::{Asked, At};
use super::{Api, VERSION};
use crate::daemon::Manager;
use crate::model::Change;

/// What events add to the document.
#[derive(OpenApi)]
#[openapi(paths(listen))]
pub(super) struct Document;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/{node}/events", get(listen))
}

/// How long to listen.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Whether to go on after the first line.
    #[serde(default = "Wanted::follow")]
    follow: bool,
}

impl Wanted {
    fn follow() -> bool {
        true
    }
}

/// Tells what happens, one object a line: first `{"event":"hello", …}`, then changes. Empty lines come
/// while nothing happens. Who is too slow misses the oldest, and is told how many:
/// `{"event":"missed","missed":N}`.
#[utoipa::path(get, path = "/{node}/events", tag = "node", operation_id = "listen",
    params(("node" = String, Path, description = "Name of the node, or `self`"), Wanted),
    responses((status = 200, description = "One object a line", body = Change,
        content_type = "application/x-ndjson"), Refused))]
async fn listen(
    State(api): State<Api>,
    At(node): At<String>,
    Asked(Wanted { follow }): Asked<Wanted>,
) -> Answer {
    let about = |manager: &Manager| Ok((manager.name().to_owned(), manager.events()));
    let (node, events) = api.work(&node, about).await?;
    let hello = json!({
        "event": "hello",
        "node": node,
        "version": crate::VERSION,
        "api-version": VERSION,
    });
    Ok(events.respond(&hello, follow))
}
