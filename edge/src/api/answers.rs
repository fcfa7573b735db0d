//! From what the manager says to what the caller is told.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use culvert_manage::problem::{Kind, Problem};
use serde::Serialize;
use utoipa::IntoResponses;

use super::Api;
use crate::daemon::Manager;
use crate::failure::Failure;
use crate::model::Created;

/// What a handler gives.
pub(super) type Answer = Result<Response, Problem>;

/// The problems that any request may end with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes answers and is never made")]
pub(super) enum Refused {
    /// Something in the request makes no sense; the message names it.
    #[response(status = 400)]
    Invalid(Problem),
    /// The bearer token is missing or another one (TCP only).
    #[response(status = 401)]
    Unauthenticated(Problem),
    /// The caller, or this node at its authority, may not do this.
    #[response(status = 403)]
    Denied(Problem),
    /// There is no node or nothing of this name.
    #[response(status = 404)]
    NotFound(Problem),
    /// The path is right, but not with this method.
    #[response(status = 405)]
    Method(Problem),
    /// It is there already and is another one, or what it needs is taken.
    #[response(status = 409)]
    Conflict(Problem),
    /// More than 256 KiB.
    #[response(status = 413)]
    TooLarge(Problem),
    /// It could not be done, for example for lack of disk space.
    #[response(status = 500)]
    Failed(Problem),
    /// Whom it takes does not answer, or too much is asked at once.
    #[response(status = 503)]
    Unavailable(Problem),
    /// It took too long.
    #[response(status = 504)]
    TimedOut(Problem),
}

impl Api {
    /// Does something with the node that a path names, on a thread that may block.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        node: &str,
        work: impl FnOnce(&Manager) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let manager = self.manager.clone();
        if node != "self" && node != manager.name() {
            return Err(Problem::not_found(
                format!("there is no node '{node}' here"),
                format!(
                    "this is the node '{}', which is also called 'self'",
                    manager.name()
                ),
            ));
        }
        let done = tokio::task::spawn_blocking(move || work(&manager)).await;
        done.unwrap_or_else(|_| {
            Err(Problem::failed(
                "the node failed while it worked on this",
                "see its log",
            ))
        })
    }
}

/// 200 with a body.
pub(super) fn ok(body: impl Serialize) -> Answer {
    Ok(Json(body).into_response())
}

/// 201 or, where nothing had to be done, 200; with a body.
pub(super) fn made(created: Created, body: impl Serialize) -> Answer {
    let status = match created {
        Created::New => StatusCode::CREATED,
        Created::Same => StatusCode::OK,
    };
    Ok((status, Json(body)).into_response())
}

/// 204.
pub(super) fn gone(_: ()) -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// What a command says about its failure, for callers of the API.
pub(super) fn problem(failure: impl Into<Failure>) -> Problem {
    let failure: Failure = failure.into();
    let kind = match failure.reason {
        "ticket_undecodable" | "ticket_forged" => Kind::Invalid,
        "ticket_unknown" | "ticket_expired" | "ticket_used" | "ticket_revoked" | "refused" => {
            Kind::Denied
        }
        "project_taken" => Kind::Conflict,
        "authority_silent" => Kind::TimedOut,
        _ if failure.reason.starts_with("authority_") => Kind::Unavailable,
        _ => of_status(failure.status),
    };
    Problem::new(kind, failure.message, failure.hint)
}

/// The nearest to an exit status.
fn of_status(status: u8) -> Kind {
    match status {
        2 => Kind::Invalid,
        3 => Kind::Denied,
        4 => Kind::NotFound,
        5 => Kind::Conflict,
        6 => Kind::Unavailable,
        _ => Kind::Failed,
    }
}
