//! `/metrics`, `/live` and `/ready`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use culvert_node::metrics::{Counters, Snapshot};
use culvert_node::node::Node;
use culvert_node::pulse::Pulse;
use serde_json::json;
use tokio::time::timeout;

use super::history::History;
use crate::http::{Place, Server};
use crate::page;
use crate::problem::{Kind, Problem};

/// How long shards may take to say that they are there.
const BEAT: Duration = Duration::from_secs(2);

/// What a node needs to be of use, each with the reason why it is missing.
pub type Checks = Vec<(String, Result<(), String>)>;

/// A running node, as seen from outside. Cloning is cheap.
#[derive(Clone)]
pub struct Observed {
    counters: Vec<Arc<Counters>>,
    pulse: Pulse,
    checks: Arc<dyn Fn() -> Checks + Send + Sync>,
}

impl Observed {
    /// A node that is ready when its shards are.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        Self {
            counters: node.counters(),
            pulse: node.pulse(),
            checks: Arc::new(Vec::new),
        }
    }

    /// One that is ready when what `checks` names is there too. It may block for a moment.
    #[must_use]
    pub fn with_checks(self, checks: impl Fn() -> Checks + Send + Sync + 'static) -> Self {
        let checks = Arc::new(checks);
        Self { checks, ..self }
    }

    /// Whether all shards answer within two seconds.
    pub async fn is_alive(&self) -> bool {
        timeout(BEAT, self.pulse.beat()).await.unwrap_or(false)
    }

    /// `GET /metrics`, the text format of Prometheus; `GET /live`, 200 while the shards answer;
    /// `GET /ready`, 200 while the node is of use, and 503 with what is missing.
    pub fn router(&self) -> Router {
        let (metrics, live, ready) = (self.clone(), self.clone(), self.clone());
        Router::new()
            .route("/metrics", get(move || async move { metrics.metrics() }))
            .route("/live", get(move || async move { live.live().await }))
            .route("/ready", get(move || async move { ready.ready().await }))
    }

    /// These, `GET /v1/history` and the status page; and what has to run beside them, to have a history.
    pub fn watched(&self) -> (Router, impl Future<Output = ()> + Send + 'static) {
        let history = History::default();
        let routes = self.router().merge(history.clone().router());
        (
            routes.merge(page::router()),
            history.keep(self.counters.clone()),
        )
    }

    /// Serves the three by themselves, to everybody.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub fn serve(&self, at: SocketAddr) -> Result<Server, Problem> {
        Server::start(vec![Place::Figures(at)], self.router())
    }

    fn metrics(&self) -> Response {
        let text = Snapshot::sum(&self.counters).prometheus();
        ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
    }

    async fn live(&self) -> Response {
        match self.is_alive().await {
            true => "ok\n".into_response(),
            false => {
                let hint = "end the process and start it again, and keep its log";
                Problem::new(Kind::Unavailable, SILENT, hint).into_response()
            }
        }
    }

    async fn ready(&self) -> Response {
        let checks = Arc::clone(&self.checks);
        let checks = tokio::task::spawn_blocking(move || checks());
        let (alive, checks) = tokio::join!(self.is_alive(), checks);
        let shards = if alive {
            Ok(())
        } else {
            Err(SILENT.to_owned())
        };
        let mut all = vec![("shards".to_owned(), shards)];
        match checks {
            Ok(checks) => all.extend(checks),
            Err(error) => all.push(("checks".to_owned(), Err(error.to_string()))),
        }
        let is_ready = all.iter().all(|(_, found)| found.is_ok());
        let checks: Vec<_> = all
            .into_iter()
            .map(|(what, found)| match found {
                Ok(()) => json!({ "what": what, "ready": true }),
                Err(reason) => json!({ "what": what, "ready": false, "reason": reason }),
            })
            .collect();
        let status = match is_ready {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let answer = json!({ "ready": is_ready, "checks": checks });
        (status, Json(answer)).into_response()
    }
}

const SILENT: &str = "a shard does not answer: the node is overloaded or stuck";
