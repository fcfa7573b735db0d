//! The management API of a node: HTTP and JSON over what the [`Manager`] does.
//!
//! ```text
//! curl -> Unix socket or TCP (manage) -> router -> one file a resource -> Manager
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`given`] | reading bodies, and saying what is wrong with them |
//! | [`spelling`] | what Ockam's control API calls things |
//! | [`resource`] | the five operations that resources have in common |
//! | [`document`] | the OpenAPI document, made from the types and handlers |
//! | [`remote`] | Ockam's CBOR requests, inside of authenticated secure channels |
//!
//! All others are one resource each. Names and bodies follow Ockam's control API; `docs/api.md` says
//! what differs.

mod answers;
mod config;
mod credentials;
pub mod document;
mod events;
mod given;
mod identities;
mod members;
mod messages;
mod node;
mod policies;
mod relays;
pub mod remote;
mod resource;
mod secure_channels;
mod spelling;
mod tcp_connections;
mod tcp_inlets;
mod tcp_listeners;
mod tcp_outlets;
#[cfg(test)]
mod tests;
mod tickets;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use tokio::sync::Semaphore;

use crate::daemon::Manager;

/// Version of the API, in paths and in the document.
pub const VERSION: &str = "1.0.0";

/// Requests to authorities at a time: each has a connection of its own.
const VISITS: usize = 4;

/// The routes, below `/v1` and, for scripts made for Ockam's control API, without it. The listener has
/// to bound bodies and time and to know who asks.
pub fn router(manager: Manager) -> Router {
    let api = Api {
        manager,
        ockam: false,
        changing: Arc::default(),
        visits: Arc::new(Semaphore::new(VISITS)),
    };
    let as_ockam = Api {
        ockam: true,
        ..api.clone()
    };
    let own = routes().route("/openapi.json", get(document::show));
    Router::new()
        .nest("/v1", own.with_state(api))
        .merge(routes().with_state(as_ockam))
}

fn routes() -> Router<Api> {
    let all = [
        node::routes(),
        tcp_inlets::routes(),
        tcp_outlets::routes(),
        relays::routes(),
        secure_channels::routes(),
        tcp_listeners::routes(),
        tcp_connections::routes(),
        policies::routes(),
        identities::routes(),
        credentials::routes(),
        tickets::routes(),
        members::routes(),
        messages::routes(),
        events::routes(),
        config::routes(),
    ];
    all.into_iter().fold(Router::new(), Router::merge)
}

/// What handlers share.
#[derive(Clone)]
struct Api {
    manager: Manager,
    /// Whether answers also say things as Ockam's control API does.
    ockam: bool,
    /// Held from reading a resource to writing it back changed.
    changing: Arc<Mutex<()>>,
    /// Taken while an authority is asked.
    visits: Arc<Semaphore>,
}
