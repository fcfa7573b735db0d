//! From what the manager says to what the caller is told.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use culvert_manage::problem::{Kind, Problem};
use serde::Serialize;
use utoipa::IntoResponses;
use utoipa::openapi::{Ref, RefOr, Response as Described};

use super::Api;
use crate::daemon::Manager;
use crate::failure::Failure;
use crate::model::Created;
use crate::project::sort_of;

/// What a handler gives.
pub(super) type Answer = Result<Response, Problem>;

/// The problems that any request may end with, by what they are called in the document.
pub(super) struct Refused;

impl Refused {
    /// Status, name and description.
    pub(super) const ALL: [(&'static str, &'static str, &'static str); 10] = [
        (
            "400",
            "Invalid",
            "Something in the request makes no sense; the message names it.",
        ),
        (
            "401",
            "Unauthenticated",
            "The bearer token is missing or another one (TCP only).",
        ),
        (
            "403",
            "Denied",
            "The caller, or this node at its authority, may not do this.",
        ),
        (
            "404",
            "NotFound",
            "There is no node or nothing of this name.",
        ),
        (
            "405",
            "WrongMethod",
            "The path is right, but not with this method.",
        ),
        (
            "409",
            "Conflict",
            "It is there already and is another one, or what it needs is taken.",
        ),
        ("413", "TooLarge", "More than 256 KiB."),
        (
            "500",
            "Failed",
            "It could not be done, for example for lack of disk space.",
        ),
        (
            "503",
            "Unavailable",
            "Whom it takes does not answer, or too much is asked at once.",
        ),
        ("504", "TimedOut", "It took too long."),
    ];
}

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let of = |(status, name, _): (&str, _, _)| {
            let described = Ref::from_response_name(name);
            (status.to_owned(), RefOr::Ref(described))
        };
        Self::ALL.into_iter().map(of).collect()
    }
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
    let kind = sort_of(failure.reason).unwrap_or_else(|| of_status(failure.status));
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
