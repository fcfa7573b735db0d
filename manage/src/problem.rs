//! Why something that was asked for was not done.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use culvert_node::failure::Failure;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Kinds of refusals: each has one HTTP status and one exit status of the command line.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What was asked for makes no sense: 400.
    Invalid,
    /// Who asks did not say who they are: 401.
    Unauthenticated,
    /// Who asks may not: 403.
    Denied,
    /// There is nothing of this name: 404.
    NotFound,
    /// It is there already and is another one, or what it needs is taken: 409.
    Conflict,
    /// More than a request may have: 413.
    TooLarge,
    /// It could not be done, for example for lack of disk space: 500.
    Failed,
    /// Whom it takes does not answer: 503.
    Unavailable,
    /// It took too long: 504.
    TimedOut,
}

impl Kind {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too-large",
            Self::Failed => "failed",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed-out",
        }
    }

    /// The exit status of a program that ends for it.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Invalid | Self::TooLarge => 2,
            Self::Unauthenticated | Self::Denied => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Unavailable | Self::TimedOut => 6,
        }
    }
}

/// Why a request was not carried out, and what to do next. The body of every answer that is not a
/// success: `{"kind": …, "message": …, "hint": …}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What programs tell it from others by.
    pub kind: Kind,
    /// What happened, and to what.
    pub message: String,
    /// What to do next; may be empty.
    #[serde(default)]
    pub hint: String,
}

impl Problem {
    /// Why, and what to do next.
    pub fn new(kind: Kind, message: impl ToString, hint: impl ToString) -> Self {
        Self {
            kind,
            message: message.to_string(),
            hint: hint.to_string(),
        }
    }

    /// What was asked for makes no sense.
    pub fn invalid(message: impl ToString, hint: impl ToString) -> Self {
        Self::new(Kind::Invalid, message, hint)
    }

    /// There is nothing of this name.
    pub fn not_found(message: impl ToString, hint: impl ToString) -> Self {
        Self::new(Kind::NotFound, message, hint)
    }

    /// It is there already, or what it needs is taken.
    pub fn conflict(message: impl ToString, hint: impl ToString) -> Self {
        Self::new(Kind::Conflict, message, hint)
    }

    /// It could not be done.
    pub fn failed(message: impl ToString, hint: impl ToString) -> Self {
        Self::new(Kind::Failed, message, hint)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let kind = problem.kind;
        Self::new(problem.message, problem.hint).because_of(kind.exit_status(), kind.name())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.kind.status(), Json(self)).into_response()
    }
}
