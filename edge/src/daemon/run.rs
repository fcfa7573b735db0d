//! Running a node until it is told to end.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use culvert_manage::http::{Address, Place, Server, TlsFiles, Token};
use culvert_manage::problem::Problem;
use culvert_manage::service;
use culvert_node::store::database::Database;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::inner::{Source, Wake};
use super::{Manager, NodeLock};
use crate::failure::Failure;
use crate::model::{Desired, NodeSpec};
use crate::process;
use crate::store::Store;
use crate::{api, config};

/// Socket of the management API in the directory of a node.
pub const SOCKET: &str = "api.sock";
/// Token of its TCP listener.
const TOKEN: &str = "token";

/// A configuration that a node is started with.
pub struct Configured {
    /// What it says now.
    pub desired: Desired,
    /// Reads it again.
    pub again: Source,
}

/// Runs a node until a signal or a request tells it to end, and lets its streams end then. `ready` is
/// called when everything stored for it has been started.
///
/// # Errors
///
/// When it cannot start. What happens later is reported and retried.
pub fn run(
    store: &Store,
    spec: NodeSpec,
    configured: Option<Configured>,
    ready: impl FnOnce(&Manager),
) -> Result<(), Failure> {
    let lock = NodeLock::take(store, &spec.name)?;
    let directory = lock.directory().to_owned();
    let mut signals = process::end_signals()?;
    let manager = Manager::start(store, spec.clone(), lock)?;
    let ending = Arc::new(AtomicBool::new(false));
    let (waker, is_ending) = (manager.waker(), Arc::clone(&ending));
    let watch = move || {
        for signal in signals.forever() {
            if signal != SIGHUP && is_ending.load(Ordering::Acquire) {
                tracing::warn!("told to end again: what is under way is broken off");
                std::process::exit(1);
            }
            let _ = waker.send(Wake::Signal(signal));
        }
    };
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(watch).map_err(|error| {
        Failure::new(format!("cannot start a thread: {error}"), "see `ulimit -u`")
    })?;
    let text = serde_json::to_string(&spec).map_err(|error| Failure::new(error, ""))?;
    let mut database = Database::open(store.home())?;
    let is_new = database.node(&spec.name)?.is_none();
    database.save_node(&spec.name, &text, true)?;
    if let Some(Configured { desired, again }) = configured {
        if let Err(problem) = manager.apply(&desired, false) {
            if is_new {
                // What cannot be as it was described is not left behind.
                database.delete_node(&spec.name)?;
                let _ = fs::remove_dir_all(&directory);
            }
            return Err(problem.into());
        }
        manager.set_source(again);
    } else if let Some(again) = config::start::stored(store, &spec.name)? {
        manager.set_source(again);
    }
    let server = serve(&manager, &spec, directory)?;
    let alive = manager.clone();
    server.spawn(service::keep_watchdog(move || is_alive(alive.clone())));
    say_ready(&manager);
    ready(&manager);
    let drain = wait(&manager);
    ending.store(true, Ordering::Release);
    tracing::info!(
        seconds = drain.as_secs(),
        "ending, streams may end by themselves for so long"
    );
    service::stopping(drain);
    match manager.drain(drain) {
        0 => tracing::info!("all streams have ended"),
        left => tracing::warn!(left, "streams were broken off"),
    }
    manager.events().end();
    server.stop();
    Ok(())
}

fn say_ready(manager: &Manager) {
    let view = manager.view();
    let (inlets, outlets) = (view.tcp_inlets.len(), view.tcp_outlets.len());
    service::ready(&format!(
        "node '{}': {inlets} inlets, {outlets} outlets, {} relays",
        view.spec.name,
        view.relays.len()
    ));
}

/// Serves the management API, metrics and the status page.
fn serve(manager: &Manager, spec: &NodeSpec, directory: PathBuf) -> Result<Server, Problem> {
    let mut places = vec![Place::Unix(directory.join(SOCKET))];
    if let Some(http) = &spec.http {
        let address = http.address.parse().map_err(|_| {
            Problem::invalid(
                format!("http: '{}' is not an address to listen on", http.address),
                "for example 127.0.0.1:9000",
            )
        })?;
        let token = http.token_file.as_ref();
        let token = token.map_or_else(|| directory.join(TOKEN), PathBuf::from);
        let tls = match (&http.tls_certificate, &http.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: certificate.into(),
                key: key.into(),
            }),
            (None, None) => None,
            _ => {
                return Err(Problem::invalid(
                    "http: HTTPS takes a certificate and its key, and one of them is missing",
                    "give both 'tls-certificate' and 'tls-key'",
                ));
            }
        };
        places.push(Place::Tcp {
            address,
            token: Token::load_or_create(&token)?,
            tls,
            insecure: false,
        });
    }
    let (watched, watching) = manager.observed()?.watched();
    let server = Server::start(places, api::router(manager.clone()).merge(watched))?;
    server.spawn(watching);
    let over_tcp = |address: &&Address| matches!(address, Address::Tcp { .. });
    let address = server.addresses().iter().find(over_tcp);
    manager.set_http_address(address.map(ToString::to_string));
    Ok(server)
}

/// Whether all shards answer.
async fn is_alive(manager: Manager) -> bool {
    let asked = tokio::task::spawn_blocking(move || manager.is_alive());
    asked.await.unwrap_or(false)
}

/// Waits until the node is to end; how long streams may take then.
fn wait(manager: &Manager) -> Duration {
    let usual = || Duration::from_secs(manager.view().spec.drain);
    for wake in manager.wakes() {
        match wake {
            Wake::Stop(drain) => return drain.unwrap_or_else(usual),
            Wake::Signal(SIGINT | SIGTERM) => return usual(),
            Wake::Signal(_) => reload(manager),
        }
    }
    usual()
}

/// What SIGHUP does.
fn reload(manager: &Manager) {
    service::reloading();
    match manager.reload() {
        Ok(done) => {
            let changes = done.differences.len();
            tracing::info!(changes, unchanged = done.unchanged, "reloaded");
        }
        Err(problem) => {
            let hint = problem.hint.as_str();
            tracing::error!(%problem, hint, "not reloaded, everything stays as it was");
        }
    }
    say_ready(manager);
}
