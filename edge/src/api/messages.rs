//! Sending a message along a route and waiting for the answer.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use culvert_manage::problem::Problem;
use culvert_proto::bare;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::Api;
use super::answers::{Answer, Refused, ok};
use super::given::{At, Given, read};
use crate::daemon::Manager;

/// Longest time that an answer is waited for: less than a request may take.
const LONGEST: u64 = 25_000;

/// What messages add to the document.
#[derive(OpenApi)]
#[openapi(paths(send))]
pub(super) struct Document;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/{node}/messages", post(send))
}

/// A message.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Message {
    /// Multiaddr of whom it is for, for example `/service/echo` or
    /// `/dnsaddr/db.example/tcp/4000/secure/api/service/echo`.
    to: String,
    /// What it says, sent as a text with its length in front; this or `hex`.
    #[serde(default)]
    message: Option<String>,
    /// Its bytes in hexadecimal digits, sent as they are; this or `message`.
    #[serde(default)]
    hex: Option<String>,
    /// Milliseconds to wait for the answer, at most 25000.
    #[serde(default = "Message::usual_timeout")]
    timeout_ms: u64,
}

impl Message {
    fn usual_timeout() -> u64 {
        10_000
    }

    fn payload(&self) -> Result<Vec<u8>, Problem> {
        match (&self.message, &self.hex) {
            (Some(text), None) => Ok(bare::string(text)),
            (None, Some(digits)) => hex::decode(digits).map_err(|error| {
                let message = format!("the field 'hex' is wrong: {error}");
                Problem::invalid(message, "write two hexadecimal digits for each byte")
            }),
            _ => Err(Problem::invalid(
                "either 'message' or 'hex' says what to send",
                "give one of them",
            )),
        }
    }
}

/// What came back.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct Reply {
    /// Its text, if it is one with its length in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Its bytes in hexadecimal digits.
    hex: String,
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Self {
        let text = bare::read_string(&bytes).ok();
        let whole = text.filter(|(_, rest)| rest.is_empty());
        Self {
            message: whole.map(|(text, _)| text.to_owned()),
            hex: hex::encode(&bytes),
        }
    }
}

/// Sends a message and waits for the answer.
#[utoipa::path(post, path = "/{node}/messages", tag = "messages", operation_id = "send message",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    request_body = Message,
    responses((status = 200, description = "The answer", body = Reply), Refused))]
async fn send(State(api): State<Api>, At(node): At<String>, given: Given) -> Answer {
    let message: Message = read(given.0)?;
    if message.timeout_ms > LONGEST {
        return Err(Problem::invalid(
            format!("the field 'timeout-ms' is more than {LONGEST}"),
            "wait less, and ask again",
        ));
    }
    let payload = message.payload()?;
    let send = move |manager: &Manager| {
        let timeout = Duration::from_millis(message.timeout_ms);
        manager.send_message(&message.to, payload, timeout)
    };
    ok(Reply::from(api.work(&node, send).await?))
}
