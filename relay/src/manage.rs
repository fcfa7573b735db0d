//! What operators ask a running relay, over HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use culvert_manage::http::{Address, Place, Server, TlsFiles, Token};
use culvert_manage::observe::Observed;
use culvert_manage::observe::history::History;
use culvert_manage::problem::{Kind, Problem};
use culvert_manage::{page, service};
use culvert_node::inspect::Inspector;
use culvert_node::metrics::{Counters, Snapshot};
use culvert_node::node::Node;
use culvert_node::policy::Policies;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::{ManageAt, RunArgs};
use crate::forwarder::Relay;
use crate::life::Orders;

/// Version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Version of what is asked here.
const API_VERSION: &str = "1.0.0";
/// Name of the socket in the state directory.
pub(crate) const SOCKET: &str = "relay.sock";
/// Name of the token's file there.
const TOKEN: &str = "relay.token";
/// Most names in a list.
const NAMES: usize = 1000;
/// How long shards may take to say what is open.
const INSPECTION: Duration = Duration::from_secs(5);

/// What is shown of a relay.
pub(crate) struct Shown {
    pub(crate) identifier: String,
    pub(crate) address: SocketAddr,
    pub(crate) rendezvous: Option<SocketAddr>,
    pub(crate) driver: &'static str,
    pub(crate) shards: usize,
    /// UNIX seconds.
    pub(crate) started_at: u64,
    pub(crate) is_ending: AtomicBool,
    pub(crate) relay: Arc<Relay>,
    pub(crate) policies: Policies,
    pub(crate) inspector: Inspector,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) orders: Orders,
}

impl Shown {
    /// Tells those who follow events what happens to the relay itself.
    pub(crate) fn tell(&self, event: &str, detail: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.relay.events.publish(&json!({
            "at-ms": now.map_or(0, |since| since.as_millis() as u64),
            "resource": "node",
            "name": "relay",
            "event": event,
            "detail": detail,
        }));
    }

    fn describe(&self) -> Value {
        let now = Snapshot::sum(&self.counters);
        let (total, forwarders) = self.relay.registry.list(NAMES);
        let state = match self.is_ending.load(Ordering::Relaxed) {
            true => "ending",
            false => "running",
        };
        json!({
            "name": "relay",
            "kind": "relay",
            "state": state,
            "identifier": self.identifier,
            "address": self.address.to_string(),
            "rendezvous": self.rendezvous.map(|at| at.to_string()),
            "pid": std::process::id(),
            "started-at": self.started_at,
            "driver": self.driver,
            "shards": self.shards,
            "version": VERSION,
            "api-version": API_VERSION,
            "links": now.links,
            "channels": now.channels,
            "forwarders-total": total,
            "forwarders": forwarders,
        })
    }
}

/// Serves management, and metrics where they have an address of their own. Also the thread that feeds
/// the watchdog of the service manager.
pub(crate) fn serve(
    args: &RunArgs,
    home: &Path,
    node: &Node,
    shown: &Arc<Shown>,
) -> Result<Server, Problem> {
    let ending = Arc::clone(shown);
    let observed = Observed::new(node).with_checks(move || {
        let accepting = match ending.is_ending.load(Ordering::Relaxed) {
            true => Err("the relay is ending".to_owned()),
            false => Ok(()),
        };
        vec![("accepting".to_owned(), accepting)]
    });
    let history = History::default();
    let routes = routes(shown)
        .merge(observed.router())
        .merge(history.clone().router())
        .merge(page::router());
    let places = places(args, home)?;
    let by_default = Place::Unix(home.join(SOCKET));
    let is_default =
        !args.no_manage && !args.manage.iter().any(|at| matches!(at, ManageAt::Unix(_)));
    let server = match is_default {
        false => Server::start(places, routes)?,
        true => {
            let mut with_default = places.clone();
            with_default.push(by_default);
            match Server::start(with_default, routes.clone()) {
                Ok(server) => server,
                Err(why) => {
                    let server = Server::start(places, routes)?;
                    // Nobody asked for it: the relay does its work without.
                    let Problem { message, hint, .. } = why;
                    tracing::warn!(hint, "not managed through a socket: {message}");
                    server
                }
            }
        }
    };
    server.spawn(history.keep(node.counters()));
    server.spawn(async move { service::keep_watchdog(|| observed.is_alive()).await });
    Ok(server)
}

/// Where management is asked for, and metrics.
fn places(args: &RunArgs, home: &Path) -> Result<Vec<Place>, Problem> {
    let tls = match (&args.manage_tls_certificate, &args.manage_tls_key) {
        (Some(certificate), Some(key)) => Some(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        _ => None,
    };
    let token = || {
        let named = args.manage_token_file.clone();
        Token::load_or_create(&named.unwrap_or_else(|| home.join(TOKEN)))
    };
    let mut places = Vec::new();
    for at in &args.manage {
        places.push(match at {
            ManageAt::Unix(path) => Place::Unix(path.clone()),
            ManageAt::Tcp(address) => Place::Tcp {
                address: *address,
                token: token()?,
                tls: tls.clone(),
                insecure: args.manage_insecure,
            },
        });
    }
    places.extend(args.metrics.map(Place::Figures));
    Ok(places)
}

/// Where management is served, for people and programs.
pub(crate) fn addresses(server: &Server) -> Vec<String> {
    let managed = |at: &&Address| !matches!(at, Address::Figures(_));
    let all = server.addresses().iter().filter(managed);
    all.map(ToString::to_string).collect()
}

fn routes(shown: &Arc<Shown>) -> Router {
    Router::new()
        .route("/v1/self", get(describe))
        .route("/v1/self/forwarders", get(forwarders))
        .route("/v1/self/inspect", get(inspect))
        .route("/v1/self/denials", get(denials))
        .route("/v1/self/events", get(events))
        .route("/v1/self/reload", post(reload))
        .route("/v1/self/stop", post(stop))
        .with_state(Arc::clone(shown))
}

async fn describe(State(shown): State<Arc<Shown>>) -> Json<Value> {
    Json(shown.describe())
}

async fn forwarders(State(shown): State<Arc<Shown>>) -> Json<Value> {
    let (total, forwarders) = shown.relay.registry.list(NAMES);
    Json(json!({ "total": total, "forwarders": forwarders }))
}

async fn inspect(State(shown): State<Arc<Shown>>) -> Result<Json<Value>, Problem> {
    let found = blocking(move || shown.inspector.inspect(INSPECTION)).await?;
    let found = found
        .map_err(|error| Problem::new(Kind::Unavailable, error, "try again; see also /live"))?;
    Ok(Json(json!(found)))
}

async fn denials(State(shown): State<Arc<Shown>>) -> Json<Value> {
    Json(json!(shown.policies.denials()))
}

/// How events are wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default = "yes")]
    follow: bool,
}

fn yes() -> bool {
    true
}

async fn events(State(shown): State<Arc<Shown>>, Query(wanted): Query<Wanted>) -> Response {
    let hello = json!({
        "event": "hello",
        "resource": "node",
        "name": "relay",
        "version": VERSION,
        "api-version": API_VERSION,
    });
    shown.relay.events.respond(&hello, wanted.follow)
}

async fn reload(State(shown): State<Arc<Shown>>) -> Result<Json<Value>, Problem> {
    blocking(move || shown.orders.reload()).await?.map(Json)
}

/// How the relay is to end.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Stop {
    drain_s: Option<u64>,
}

async fn stop(
    State(shown): State<Arc<Shown>>,
    wanted: Option<Json<Stop>>,
) -> (StatusCode, Json<Value>) {
    let wanted = wanted.map(|Json(wanted)| wanted).unwrap_or_default();
    shown.orders.stop(wanted.drain_s.map(Duration::from_secs));
    (StatusCode::ACCEPTED, Json(json!({ "state": "ending" })))
}

async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(what).await;
    done.map_err(|error| Problem::failed(error, "see the log"))
}
