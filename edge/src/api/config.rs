//! Making the node have what a configuration says.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use utoipa::OpenApi;

use super::Api;
use super::answers::{Answer, Refused, ok};
use super::given::At;
use crate::daemon::Manager;
use crate::model::Differences;

/// What configurations add to the document.
#[derive(OpenApi)]
#[openapi(paths(reload))]
pub(super) struct Document;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/{node}/reload", post(reload))
}

/// Reads the file again that the node was started with, and applies what differs.
#[utoipa::path(post, path = "/{node}/reload", tag = "config", operation_id = "reload",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "What differed", body = Differences), Refused))]
async fn reload(State(api): State<Api>, At(node): At<String>) -> Answer {
    ok(api.work(&node, Manager::reload).await?)
}
