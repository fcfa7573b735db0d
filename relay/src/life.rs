//! From being ready to the end: signals and orders, reloads, draining.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use culvert_manage::http::Server;
use culvert_manage::problem::{Kind, Problem};
use culvert_manage::service;
use culvert_node::metrics::Snapshot;
use culvert_node::node::Node;
use culvert_node::stop::Stopper;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use crate::cli::RunArgs;
use crate::config::{self, Given};
use crate::manage::Shown;
use crate::serve::{Listener, Trusted, most};

/// What can be changed while the relay runs.
const LIVE: [&str; 6] = [
    "allow-plain-registration",
    "authority",
    "drain",
    "log",
    "max-forwarders",
    "max-forwarders-per-identity",
];
/// How often it is looked whether connections have come to rest.
const LOOK: Duration = Duration::from_millis(50);
/// Without messages for this long they have.
const REST: Duration = Duration::from_secs(1);

/// Changes what is logged.
pub(crate) type Logs = Box<dyn Fn(EnvFilter)>;

/// What the relay is told to do.
pub(crate) enum Order {
    /// Signals of the operating system.
    Signal(i32),
    /// Read the configuration file again, and say what that changed.
    Reload(Sender<Result<Value, Problem>>),
    /// End, with this much time for connections if not the usual.
    Stop(Option<Duration>),
}

/// Tells the relay what to do; for any thread.
pub(crate) struct Orders(Sender<Order>);

impl Orders {
    /// The two ends. Signals come in from now on.
    pub(crate) fn new() -> io::Result<(Self, Receiver<Order>)> {
        let (orders, ordered) = mpsc::channel();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let told = orders.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    if told.send(Order::Signal(signal)).is_err() {
                        return;
                    }
                }
            })?;
        Ok((Self(orders), ordered))
    }

    /// Has the relay end.
    pub(crate) fn stop(&self, drain: Option<Duration>) {
        let _ = self.0.send(Order::Stop(drain));
    }

    /// Has it read its configuration again; blocks until it has.
    pub(crate) fn reload(&self) -> Result<Value, Problem> {
        let (answer, answers) = mpsc::channel();
        let _ = self.0.send(Order::Reload(answer));
        answers.recv().unwrap_or_else(|_| Err(ending()))
    }
}

fn ending() -> Problem {
    Problem::new(
        Kind::Conflict,
        "the relay is ending",
        "ask the one that takes its place",
    )
}

/// A relay that is ready.
pub(crate) struct Running {
    pub(crate) node: Node,
    pub(crate) stopper: Stopper,
    pub(crate) server: Server,
    pub(crate) shown: Arc<Shown>,
    pub(crate) trust: Trusted,
    pub(crate) logs: Logs,
}

impl Running {
    /// Does what it is told until that is to end, and ends in order.
    pub(crate) fn until_told(self, given: &Given, mut args: RunArgs, ordered: &Receiver<Order>) {
        let status = format!("forwarding on {}", self.shown.address);
        service::ready(&status);
        let drain = loop {
            match ordered.recv() {
                Ok(Order::Signal(SIGHUP)) => {
                    service::reloading();
                    match self.reload(given, &mut args) {
                        Ok(changes) => tracing::info!(%changes, "reloaded"),
                        Err(Problem { message, hint, .. }) => {
                            tracing::error!(hint, "not reloaded: {message}");
                        }
                    }
                    service::ready(&status);
                }
                Ok(Order::Reload(answer)) => {
                    service::reloading();
                    let _ = answer.send(self.reload(given, &mut args));
                    service::ready(&status);
                }
                Ok(Order::Stop(drain)) => break drain,
                Ok(Order::Signal(_)) | Err(_) => break None,
            }
        };
        let drain = drain.unwrap_or_else(|| Duration::from_secs(args.drain));
        self.end(drain, ordered);
    }

    /// Applies what the file says now, as far as that can be done.
    fn reload(&self, given: &Given, args: &mut RunArgs) -> Result<Value, Problem> {
        if given.file().is_none() {
            return Err(Problem::invalid(
                "the relay was started without a configuration file",
                "start it with --config FILE; policies need no reload",
            ));
        }
        let wanted = given.read()?;
        let filter = config::filter(&wanted.log, "log")
            .map_err(|failure| Problem::invalid(failure.message, failure.hint))?;
        let different = config::differences(args, &wanted);
        let (changed, needs_restart): (Vec<_>, Vec<_>) =
            different.into_iter().partition(|name| LIVE.contains(name));
        let relay = &self.shown.relay;
        relay.registry.limit(most(&wanted));
        relay
            .allow_plain
            .store(wanted.allow_plain_registration, Ordering::Relaxed);
        if changed.contains(&"log") {
            (self.logs)(filter);
        }
        if changed.contains(&"authority") {
            let mut args = args.clone();
            args.authority.clone_from(&wanted.authority);
            self.believe(&args)?;
        }
        args.max_forwarders = wanted.max_forwarders;
        args.max_forwarders_per_identity = wanted.max_forwarders_per_identity;
        args.allow_plain_registration = wanted.allow_plain_registration;
        args.authority = wanted.authority;
        args.drain = wanted.drain;
        args.log = wanted.log;
        let changes = json!({ "changed": changed, "needs-restart": needs_restart });
        self.shown.tell("changed", &changes.to_string());
        Ok(changes)
    }

    /// Believes other authorities about those who come from now on.
    fn believe(&self, args: &RunArgs) -> Result<(), Problem> {
        let by_attribute = &self.shown.relay.admission.by_attribute;
        // Nobody gets in between: first closed, then changed, then open as wanted.
        by_attribute.store(true, Ordering::Relaxed);
        let listener = Listener::new(args);
        let (answer, answers) = mpsc::channel();
        for shard in 0..self.node.shards() {
            let (listener, trust, answer) = (listener.clone(), self.trust.clone(), answer.clone());
            let put = move |shard: &culvert_node::shard::Shard| {
                listener.put(shard, &trust);
                let _ = answer.send(());
            };
            self.node
                .on_shard(shard, put)
                .map_err(|error| Problem::failed(error, "start the relay again"))?;
        }
        drop(answer);
        while answers.recv().is_ok() {}
        by_attribute.store(!args.authority.is_empty(), Ordering::Relaxed);
        Ok(())
    }

    /// Accepts nothing more; ends once connections have come to rest, or the time is over, or it is
    /// told to again.
    fn end(self, drain: Duration, ordered: &Receiver<Order>) {
        tracing::info!(drain_s = drain.as_secs(), "ending");
        self.shown.is_ending.store(true, Ordering::Relaxed);
        service::stopping(drain);
        self.shown.tell("ending", "");
        self.stopper.stop();
        let began = Instant::now();
        let (mut seen, mut since) = (0, began);
        while began.elapsed() < drain {
            let now = Snapshot::sum(&self.shown.counters);
            if now.messages_in != seen {
                (seen, since) = (now.messages_in, Instant::now());
            }
            if now.links == 0 || since.elapsed() >= REST {
                break;
            }
            match ordered.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) | Ok(Order::Signal(SIGHUP)) => {}
                Ok(Order::Reload(answer)) => drop(answer.send(Err(ending()))),
                Ok(Order::Signal(_) | Order::Stop(_)) | Err(_) => {
                    tracing::info!("ending at once");
                    break;
                }
            }
        }
        let links = Snapshot::sum(&self.shown.counters).links;
        tracing::info!(links, "closing what is open");
        self.shown.relay.events.end();
        self.server.stop();
        self.node.shutdown();
    }
}
