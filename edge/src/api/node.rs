//! The node itself: what it is and has, how it is doing, and its end.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::Api;
use super::answers::{Answer, Refused, ok};
use super::given::{At, Given, read};
use crate::daemon::Manager;
use crate::model::{NodeView, State as Doing, Status};

/// What the node adds to the document.
#[derive(OpenApi)]
#[openapi(paths(show, status, workers, services, inspect, denials, stop))]
pub(super) struct Document;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/{node}", get(show))
        .route("/{node}/status", get(status))
        .route("/{node}/workers", get(workers))
        .route("/{node}/services", get(services))
        .route("/{node}/inspect", get(inspect))
        .route("/{node}/denials", get(denials))
        .route("/{node}/stop", post(stop))
}

/// A node in short.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct NodeStatus {
    /// What it is called.
    name: String,
    /// Its identifier.
    identifier: String,
    /// Its process.
    pid: u32,
    /// UNIX seconds when it was started.
    started_at: u64,
    /// Version of the program.
    version: String,
    /// Version of the management API.
    api_version: String,
    /// Whether everything in `checks` is well.
    ready: bool,
    /// What has to be well.
    checks: Vec<Check>,
    /// How many resources there are of each kind.
    resources: BTreeMap<&'static str, Count>,
    /// Streams open now.
    streams: u64,
}

/// Something that has to be well.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct Check {
    /// What.
    name: String,
    /// Whether it is well.
    ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// How many are in which state.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct Count {
    /// They work.
    up: u64,
    /// They are being set up for the first time.
    connecting: u64,
    /// They do not work, and are tried again.
    down: u64,
}

impl Count {
    fn of<'a>(all: impl Iterator<Item = &'a Status>) -> Self {
        all.fold(Self::default(), |mut count, status| {
            *match status.state {
                Doing::Up => &mut count.up,
                Doing::Connecting => &mut count.connecting,
                Doing::Down => &mut count.down,
            } += 1;
            count
        })
    }
}

fn in_short(manager: &Manager) -> NodeStatus {
    let view = manager.view();
    let checks = manager.readiness().into_iter().map(|(name, state)| Check {
        name,
        ok: state.is_ok(),
        reason: state.err(),
    });
    let checks: Vec<Check> = checks.collect();
    let counts = [
        (
            "tcp-inlet",
            Count::of(view.tcp_inlets.iter().map(|v| &v.status)),
        ),
        (
            "tcp-outlet",
            Count::of(view.tcp_outlets.iter().map(|v| &v.status)),
        ),
        ("relay", Count::of(view.relays.iter().map(|v| &v.status))),
        (
            "secure-channel",
            Count::of(view.secure_channels.iter().map(|v| &v.status)),
        ),
        (
            "tcp-listener",
            Count::of(view.tcp_listeners.iter().map(|v| &v.status)),
        ),
        (
            "tcp-connection",
            Count::of(view.tcp_connections.iter().map(|v| &v.status)),
        ),
    ];
    let inlets = view.tcp_inlets.iter().map(|inlet| inlet.streams);
    let outlets = view.tcp_outlets.iter().map(|outlet| outlet.streams);
    NodeStatus {
        streams: inlets.chain(outlets).sum(),
        name: view.spec.name,
        identifier: view.identifier,
        pid: view.pid,
        started_at: view.started_at,
        version: view.version,
        api_version: view.api_version,
        ready: checks.iter().all(|check| check.ok),
        checks,
        resources: counts.into_iter().collect(),
    }
}

/// An address of this node that messages can be sent to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Worker {
    /// The address, as in `/service/ADDRESS`.
    pub(super) address: String,
    /// `tcp-outlet`, `echo`, `uppercase`, `secure-channel-listener`, `node-manager`, `secure-channel` or
    /// `tcp-connection`.
    pub(super) r#type: &'static str,
}

/// What others can reach through a secure channel, as far as they are let in.
pub(super) fn offered(view: &NodeView) -> Vec<Worker> {
    let worker = |address: &str, r#type| Worker {
        address: address.to_owned(),
        r#type,
    };
    let mut all = vec![
        worker("api", "secure-channel-listener"),
        worker("echo", "echo"),
        worker("uppercase", "uppercase"),
        worker(culvert_proto::request::NODE_MANAGER, "node-manager"),
    ];
    let outlets = view.tcp_outlets.iter();
    all.extend(outlets.map(|outlet| worker(&outlet.spec.name, "tcp-outlet")));
    all
}

/// The same, and what leads to other nodes.
pub(super) fn reachable(view: &NodeView) -> Vec<Worker> {
    let mut all = offered(view);
    let channels = view
        .secure_channels
        .iter()
        .map(|v| (&v.spec.name, "secure-channel"));
    let connections = view
        .tcp_connections
        .iter()
        .map(|v| (&v.spec.name, "tcp-connection"));
    all.extend(channels.chain(connections).map(|(name, r#type)| Worker {
        address: name.clone(),
        r#type,
    }));
    all
}

/// How to stop.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Stop {
    /// Seconds that streams have to end in [default: what the node was started with]
    #[serde(default)]
    drain_s: Option<u64>,
}

/// Shows the node and everything it has.
#[utoipa::path(get, path = "/{node}", tag = "node", operation_id = "show node",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "The node", body = NodeView), Refused))]
async fn show(State(api): State<Api>, At(node): At<String>) -> Answer {
    ok(api.work(&node, |manager| Ok(manager.view())).await?)
}

/// Says in short how the node is doing.
#[utoipa::path(get, path = "/{node}/status", tag = "node", operation_id = "show status",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "The node in short", body = NodeStatus), Refused))]
async fn status(State(api): State<Api>, At(node): At<String>) -> Answer {
    ok(api.work(&node, |manager| Ok(in_short(manager))).await?)
}

/// Lists the addresses that messages can be sent to.
#[utoipa::path(get, path = "/{node}/workers", tag = "node", operation_id = "list workers",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "All of them", body = Vec<Worker>), Refused))]
async fn workers(State(api): State<Api>, At(node): At<String>) -> Answer {
    ok(api
        .work(&node, |manager| Ok(reachable(&manager.view())))
        .await?)
}

/// Lists what other nodes can use, as far as they are let in.
#[utoipa::path(get, path = "/{node}/services", tag = "node", operation_id = "list services",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "All of them", body = Vec<Worker>), Refused))]
async fn services(State(api): State<Api>, At(node): At<String>) -> Answer {
    ok(api
        .work(&node, |manager| Ok(offered(&manager.view())))
        .await?)
}

/// Shows links, channels and streams: at most 1000 of each.
#[utoipa::path(get, path = "/{node}/inspect", tag = "node", operation_id = "inspect node",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "What is open now", body = Object), Refused))]
async fn inspect(State(api): State<Api>, At(node): At<String>) -> Answer {
    ok(api.work(&node, Manager::inspect).await?)
}

/// Shows how often policies denied something, and the last hundred cases.
#[utoipa::path(get, path = "/{node}/denials", tag = "node", operation_id = "show denials",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "Who was denied what", body = Object), Refused))]
async fn denials(State(api): State<Api>, At(node): At<String>) -> Answer {
    ok(api.work(&node, |manager| Ok(manager.denials())).await?)
}

/// Ends the node, once its streams have ended or the time is up. The answer comes first.
#[utoipa::path(post, path = "/{node}/stop", tag = "node", operation_id = "stop node",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    request_body = Stop,
    responses((status = 202, description = "It is ending"), Refused))]
async fn stop(State(api): State<Api>, At(node): At<String>, given: Given) -> Answer {
    let Stop { drain_s } = read(given.0)?;
    let stop = move |manager: &Manager| {
        manager.stop(drain_s.map(Duration::from_secs));
        Ok(())
    };
    api.work(&node, stop).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}
