//! From a request to an answer: limits, and one form for everything that goes wrong.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::DefaultBodyLimit;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::Limits;
use super::gate::{Caller, Gate};
use crate::problem::{Kind, Problem};

/// Bytes of a body that is too large which are read, and thrown away, so that the client gets to
/// reading the answer.
const DISCARDED: usize = 64 << 20;
/// Most bytes of a text that becomes a message.
const MESSAGE: usize = 4096;

/// What all requests of a place share.
pub(super) struct Service {
    pub(super) gate: Gate,
    pub(super) routes: Router,
    pub(super) limits: Limits,
}

impl Service {
    pub(super) fn new(gate: Gate, routes: Router, limits: Limits) -> Self {
        // Bodies are whole, and short enough, before a route sees them.
        let routes = routes.layer(DefaultBodyLimit::disable());
        Self {
            gate,
            routes,
            limits,
        }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, caller: Caller, request: Request<Incoming>) -> Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = match self.gate.admit(caller, &request) {
            Err(problem) => refuse(problem),
            Ok(()) => {
                let answer = timeout(self.limits.request, self.pass(request)).await;
                answer.unwrap_or_else(|_| self.too_late())
            }
        };
        let mut response = uniform(&method, &path, response).await;
        let headers = response.headers_mut();
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        headers.insert(
            "x-content-type-options",
            HeaderValue::from_static("nosniff"),
        );
        let status = response.status().as_u16();
        match method == Method::GET || method == Method::HEAD {
            true => tracing::debug!(%method, path, status, uid = caller.uid, "asked"),
            false => tracing::info!(%method, path, status, uid = caller.uid, "asked"),
        }
        response
    }

    async fn pass(&self, request: Request<Incoming>) -> Response {
        let (head, body) = request.into_parts();
        match read(body, self.limits.body).await {
            Ok(body) => {
                let request = Request::from_parts(head, Body::from(body));
                match self.routes.clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
            Err(problem) => closing(problem.into_response()),
        }
    }

    fn too_late(&self) -> Response {
        let limit = self.limits.request.as_secs_f32();
        closing(
            Problem::new(
                Kind::TimedOut,
                format!("the request was not done after {limit} s"),
                "send it faster, or look whether it was done after all before it is sent again",
            )
            .into_response(),
        )
    }
}

/// The whole body.
async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Problem> {
    let (mut kept, mut seen) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::invalid(format!("the body of the request broke off: {error}"), "")
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        seen = seen.saturating_add(data.len());
        match seen <= limit {
            true => kept.extend_from_slice(&data),
            false => kept.clear(),
        }
        if seen > DISCARDED {
            break;
        }
    }
    match seen <= limit {
        true => Ok(kept.into()),
        false => Err(Problem::new(
            Kind::TooLarge,
            format!("the body of a request may have {limit} bytes"),
            "send less",
        )),
    }
}

/// The connection is of no further use: part of the request may not have been read.
fn closing(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

fn refuse(problem: Problem) -> Response {
    let asks = problem.kind == Kind::Unauthenticated;
    let mut response = closing(problem.into_response());
    if asks {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    response
}

/// Makes a [`Problem`] of whatever went wrong.
async fn uniform(method: &Method, path: &str, response: Response) -> Response {
    let status = response.status();
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.starts_with(b"application/json") || kind.ends_with(b"+json")
    });
    if !(status.is_client_error() || status.is_server_error()) || is_json || method == Method::HEAD
    {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let text = to_bytes(body, MESSAGE).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let allowed = head
        .headers
        .get(ALLOW)
        .and_then(|value| value.to_str().ok());
    let (kind, message, hint) = match status {
        StatusCode::NOT_FOUND if text.is_empty() => (
            Kind::NotFound,
            format!("there is no {path} here"),
            "check the path; those of the API begin with /v1/".to_owned(),
        ),
        StatusCode::METHOD_NOT_ALLOWED => (
            Kind::Invalid,
            format!("{method} makes no sense for {path}"),
            format!(
                "it can be asked for with {}",
                allowed.unwrap_or("other methods")
            ),
        ),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (
            Kind::Invalid,
            "the body must be JSON".to_owned(),
            "send it with the header `Content-Type: application/json`".to_owned(),
        ),
        _ => (kind_of(status), plain(&text), String::new()),
    };
    // What the routes tell apart as 422 is a body that does not fit, as JSON that is none is.
    head.status = match status {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    };
    head.headers.remove(CONTENT_TYPE);
    head.headers.remove(axum::http::header::CONTENT_LENGTH);
    let message = match message.is_empty() {
        true => format!("{method} {path} was not carried out: {status}"),
        false => message,
    };
    let mut response = Json(Problem::new(kind, message, hint)).into_response();
    *response.status_mut() = head.status;
    for (name, value) in &head.headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// What the extractor of JSON says, in words that are of use to who sent it.
fn plain(text: &str) -> String {
    let phrases = [
        (
            "Failed to parse the request body as JSON: ",
            "the body is no JSON: ",
        ),
        (
            "Failed to deserialize the JSON body into the target type: ",
            "the body does not fit: ",
        ),
        (
            "Failed to deserialize query string: ",
            "the query does not fit: ",
        ),
    ];
    let said = phrases
        .iter()
        .find_map(|(said, instead)| Some(format!("{instead}{}", text.strip_prefix(said)?)));
    said.unwrap_or_else(|| text.to_owned())
}

/// What an HTTP status means.
pub(crate) fn kind_of(status: StatusCode) -> Kind {
    match status {
        StatusCode::UNAUTHORIZED => Kind::Unauthenticated,
        StatusCode::FORBIDDEN => Kind::Denied,
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::CONFLICT => Kind::Conflict,
        StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Kind::Unavailable,
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => Kind::TimedOut,
        status if status.is_client_error() => Kind::Invalid,
        _ => Kind::Failed,
    }
}
