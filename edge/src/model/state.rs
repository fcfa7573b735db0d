//! How something that is kept up is doing.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether something works.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is being set up for the first time.
    #[default]
    Connecting,
    /// It works.
    Up,
    /// It does not, and is tried again.
    Down,
}

/// How something that is kept up is doing.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Whether it works.
    pub state: State,
    /// UNIX seconds since when it has been in this state.
    pub since: u64,
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Milliseconds from `checked-at` on until the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
    /// Identifier of who is at the other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// UDP address of a direct path, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct: Option<String>,
}

/// What a request to have something did.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Created {
    /// It is new.
    New,
    /// The same was there already: nothing was changed.
    Same,
}

/// Something that happened to a resource: one object a line of the event stream.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// UNIX milliseconds.
    pub at_ms: u64,
    /// `tcp-inlet`, `tcp-outlet`, `relay`, `secure-channel`, `tcp-listener`, `tcp-connection`, `policy`,
    /// `node`.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// `created`, `changed`, `deleted`, `up`, `down`, `direct`, `relayed`, `denied`.
    pub event: String,
    /// Why, or who, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
