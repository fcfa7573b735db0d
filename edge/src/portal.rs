//! Running an outlet or an inlet in the foreground.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use culvert_crypto::trust::Trust;
use culvert_manage::http::Server;
use culvert_manage::observe::Observed;
use culvert_node::channel::{API, ChannelListener};
use culvert_node::control;
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::policy::Guard;
use culvert_node::portal::{Inlet, Lanes, OUTLET, Outlet, Target};
use culvert_node::session::{PathPlan, RegistrationPlan, Reporter, keep_path, keep_registered};
use culvert_node::shard::Shard;
use culvert_node::stop::Stop;
use culvert_node::udp::{DirectOffer, RendezvousAt};
use culvert_node::worker::{ECHO, Echo, UPPERCASE, Uppercase, Worker};
use culvert_proto::policy::ResourceType;
use culvert_proto::portal::Config;
use serde_json::{Value, json};

use crate::cli::{AllowArgs, InletArgs, OutletArgs, RunArgs};
use crate::events::report_events;
use crate::failure::Failure;
use crate::output::Output;
use crate::process;
use crate::route;
use crate::store::Store;
use crate::trust::{self, Standing};

/// How long an inlet's shard may take to start listening.
const START: Duration = Duration::from_secs(10);

/// Name of an inlet as a resource of policies where its route does not give one.
const INLET: &str = "inlet";

/// Runs an outlet until a signal.
///
/// # Errors
///
/// When it cannot start. What happens later is reported and retried.
pub fn outlet(store: &Store, args: &OutletArgs, output: Output) -> Result<(), Failure> {
    let trust = args.trust.trust(&args.allow)?;
    let resource = (ResourceType::TcpOutlet, args.name.as_str());
    let (standing, guard) = trust::of_portal(
        store,
        &args.run.identity,
        &args.trust,
        &args.allow,
        resource,
    )?;
    let mut ready = Ready::new(standing, &args.run)?;
    let (reporter, events) = Reporter::new();
    let part = OutletPart {
        standing: ready.standing.clone(),
        guard,
        target: Target {
            host: args.to.host.clone(),
            port: args.to.port,
        },
        config: config(&args.run),
        plan: RegistrationPlan {
            host: args.relay.host.clone(),
            port: args.relay.port,
            name: args.name.clone(),
            trust: match (args.plain_registration, args.relay_identity.as_slice()) {
                (true, _) => None,
                (false, []) => Some(Trust::Anyone),
                (false, known) => Some(Trust::OneOf(known.to_vec())),
            },
            lanes: Default::default(),
        },
        rendezvous: args.direct.rendezvous((&args.relay.host, args.relay.port)),
        reporter,
    };
    warn_about(&trust, &args.allow);
    let node = ready.start(move |shard| part.set_up(shard, &trust))?;
    let started = json!({ "name": args.name, "to": args.to.to_string() });
    ready.announce(&node, "outlet", &started, output);
    report_events(
        move || events.recv_blocking().ok(),
        args.name.clone(),
        ready.standing.identifier,
        output,
    );
    ready.run(node);
    Ok(())
}

/// Runs an inlet until a signal.
///
/// # Errors
///
/// When it cannot start. What happens later is reported and retried.
pub fn inlet(store: &Store, args: &InletArgs, output: Output) -> Result<(), Failure> {
    let plan = plan(args)?;
    let resource = (ResourceType::TcpInlet, args.via.as_deref().unwrap_or(INLET));
    let (standing, guard) = trust::of_portal(
        store,
        &args.run.identity,
        &args.trust,
        &args.allow,
        resource,
    )?;
    let mut ready = Ready::new(standing, &args.run)?;
    let listener = process::listen(&args.from)?;
    let (reporter, events) = Reporter::new();
    let node = ready.start(|shard| open_services(shard, false))?;
    let started = json!({ "route": describe(&plan) });
    ready.announce(&node, "inlet", &started, output);
    let trust = (ready.standing.clone(), guard);
    let address = start_inlet(&node, listener, trust, plan, config(&args.run), reporter)?;
    output.print(
        format!("listening on {address}"),
        &json!({ "event": "listening", "address": address.to_string() }),
    );
    report_events(
        move || events.recv_blocking().ok(),
        String::new(),
        ready.standing.identifier,
        output,
    );
    ready.run(node);
    Ok(())
}

/// How long the relay may take nothing. Longer than the relay's own patience with whoever holds this
/// edge up: the relay closes that one, and the edge must not lose its link and name meanwhile.
pub(crate) const STALL_TIMEOUT_MS: u64 = 60_000;

/// Everything a portal needs before its node starts.
pub(crate) struct Ready {
    pub(crate) standing: Standing,
    pub(crate) config: NodeConfig,
    signals: signal_hook::iterator::Signals,
    metrics_wanted: Option<SocketAddr>,
    metrics: Option<Server>,
    /// Whether streams are traced.
    trace: bool,
}

impl Ready {
    pub(crate) fn new(standing: Standing, run: &RunArgs) -> Result<Self, Failure> {
        let signals = process::end_signals()?;
        process::set_process_up();
        Ok(Self {
            standing,
            config: NodeConfig {
                shards: run.shards.into(),
                listen: None,
                limits: Limits {
                    stall_timeout_ms: STALL_TIMEOUT_MS,
                    memory: control::memory_for_messages(run.max_memory),
                    ..Limits::default()
                },
            },
            signals,
            trace: run.trace,
            metrics_wanted: run.metrics,
            metrics: None,
        })
    }

    pub(crate) fn start(
        &mut self,
        setup: impl Fn(&Shard) + Clone + Send + 'static,
    ) -> Result<Node, Failure> {
        let trace = self.trace;
        let setup = move |shard: &Shard| {
            shard.trace_streams(trace);
            setup(shard);
        };
        let node = Node::start(&self.config, setup).map_err(|error| {
            let hint = "see the message; `ulimit -l` shows the limit of locked memory";
            Failure::new(format!("cannot start: {error}"), hint)
        })?;
        self.metrics = serve_metrics(self.metrics_wanted, &node)?;
        Ok(node)
    }

    pub(crate) fn announce(&self, node: &Node, role: &str, more: &Value, output: Output) {
        let mut event = json!({
            "event": "starting",
            "role": role,
            "identifier": self.standing.identifier.to_string(),
            "driver": node.driver(),
            "shards": node.shards(),
            "metrics": self.metrics.as_ref().and_then(metrics_at),
        });
        if let (Some(event), Some(more)) = (event.as_object_mut(), more.as_object()) {
            event.extend(more.clone());
        }
        output.print(
            format!(
                "{role} as {} ({}, shards: {})",
                self.standing.identifier,
                node.driver(),
                node.shards()
            ),
            &event,
        );
    }

    /// Blocks until a signal, then ends in order.
    pub(crate) fn run(&mut self, node: Node) {
        self.signals.forever().next();
        tracing::info!("ending");
        node.shutdown();
    }
}

/// Serves metrics, if that is asked for.
pub(crate) fn serve_metrics(
    at: Option<SocketAddr>,
    node: &Node,
) -> Result<Option<Server>, Failure> {
    at.map(|at| Observed::new(node).serve(at))
        .transpose()
        .map_err(|mut problem| {
            problem.message = format!("cannot serve metrics: {}", problem.message);
            problem.hint = "choose another --metrics address".into();
            problem.into()
        })
}

/// Where metrics are served.
pub(crate) fn metrics_at(server: &Server) -> Option<String> {
    let address = server.addresses().first()?.socket()?;
    Some(address.to_string())
}

fn config(run: &RunArgs) -> Config {
    Config {
        window: run.portal_window,
        extensions: !run.no_extensions,
        skip_handshake: run.skip_handshake,
        ..Config::default()
    }
}

pub(crate) fn warn_about(trust: &Trust, allow: &AllowArgs) {
    if *trust == Trust::Anyone && allow.allow_any {
        tracing::warn!("--allow-any: whoever reaches the relay can be at the other end");
    }
}

/// Adds a worker under a well-known name. Only a full table refuses it, and a new one is empty.
pub(crate) fn add(
    shard: &Shard,
    name: &[u8],
    worker: Rc<dyn Worker>,
    permit: impl FnOnce(culvert_node::key::Key),
) {
    match shard.add_named(name, worker) {
        Ok(address) => permit(address.key),
        Err(reason) => tracing::error!(%reason, "a service could not be started"),
    }
}

/// The services that peers use to find out whether this node is alive.
pub(crate) fn open_services(shard: &Shard, plain: bool) {
    let services: [(&[u8], Rc<dyn Worker>); 2] =
        [(ECHO, Rc::new(Echo)), (UPPERCASE, Rc::new(Uppercase))];
    for (name, worker) in services {
        add(shard, name, worker, |key| {
            // Peers' keep-alive comes through channels. In clear it is answered only where a relay
            // has to ask whether a plain owner is still there: everybody can send that way.
            shard.open_to_channels(key);
            shard.open_to_opened_channels(key);
            if plain {
                shard.open_to_all(key);
            }
        });
    }
}

/// What each shard of an outlet is made of.
#[derive(Clone)]
struct OutletPart {
    standing: Standing,
    guard: Guard,
    target: Target,
    config: Config,
    plan: RegistrationPlan,
    rendezvous: Option<RendezvousAt>,
    reporter: Reporter,
}

impl OutletPart {
    fn set_up(&self, shard: &Shard, trust: &Trust) {
        open_services(shard, self.plan.trust.is_none());
        let credentials = self.standing.credentials(trust);
        if shard.number() == 0 {
            self.standing.keep_fresh(shard);
        }
        let channels = ChannelListener::new(credentials.clone(), shard.accepted_channels_flow())
            .guarded(self.standing.channels());
        add(shard, API, Rc::new(channels), |key| {
            shard.open_to_all(key);
            // A channel inside a channel.
            shard.open_to_channels(key);
        });
        // Reachable through channels only: those end at peers that `trust` allows.
        let outlet = Outlet::new(self.target.clone(), self.config);
        let outlet = outlet.guarded(self.guard.clone());
        add(shard, OUTLET, Rc::new(outlet), |key| {
            shard.open_to_channels(key);
        });
        if let Some(rendezvous) = &self.rendezvous
            && let Err(reason) =
                DirectOffer::start(shard, rendezvous.clone(), self.reporter.clone())
        {
            tracing::error!(%reason, "direct paths cannot be offered");
        }
        // What was registered without a channel belongs to one connection.
        if shard.number() == 0 || self.plan.trust.is_some() {
            shard.spawn(keep_registered(
                shard.clone(),
                self.plan.clone(),
                credentials,
                self.reporter.clone(),
                Stop::never(),
            ));
        }
    }
}

fn plan(args: &InletArgs) -> Result<PathPlan, Failure> {
    let mut plan = match (&args.route, &args.relay, &args.via) {
        (Some(text), _, _) => {
            let trust = match args.trust.trust(&args.allow) {
                // Without a channel nobody is asked who they are.
                Err(_) if args.insecure && !text.contains("/secure/") => Trust::Anyone,
                trust => trust?,
            };
            route::parse(text, &trust, args.insecure)
                .map_err(|error| Failure::usage(format!("--route: {error}"), error.hint()))?
        }
        (None, Some(relay), Some(via)) => route::via(relay, via, args.trust.trust(&args.allow)?)
            .map_err(|error| Failure::usage(format!("--via: {error}"), ""))?,
        _ => {
            return Err(Failure::usage(
                "it is not said where to go",
                "pass --relay and --via, or --route",
            ));
        }
    };
    if args.authenticate {
        plan.admission = Some(match args.relay_identity.as_slice() {
            [] => Trust::Anyone,
            known => Trust::OneOf(known.to_vec()),
        });
    }
    plan.direct = args.direct.rendezvous((&plan.host, plan.port));
    if plan.direct.is_some() && plan.legs.is_empty() {
        let hint = "leave --direct out, or use a route with /secure/";
        return Err(Failure::usage("--direct needs a secure channel", hint));
    }
    match plan.legs.last() {
        Some(last) => warn_about(&last.trust, &args.allow),
        None => tracing::warn!("--insecure: everybody between can read and change the data"),
    }
    Ok(plan)
}

/// A plan as text.
pub(crate) fn describe(plan: &PathPlan) -> String {
    let mut text = format!("{}:{}", plan.host, plan.port);
    let hop = |text: &mut String, kind: &str, hop: &[u8]| {
        text.push_str(" => ");
        text.push_str(kind);
        text.push_str(&String::from_utf8_lossy(hop));
    };
    for leg in &plan.legs {
        leg.hops.iter().for_each(|name| hop(&mut text, "", name));
        hop(&mut text, "secure ", &leg.listener);
    }
    plan.tail.iter().for_each(|name| hop(&mut text, "", name));
    text
}

fn start_inlet(
    node: &Node,
    listener: TcpListener,
    (standing, guard): (Standing, Guard),
    plan: PathPlan,
    config: Config,
    reporter: Reporter,
) -> Result<SocketAddr, Failure> {
    let (answer, answers) = mpsc::channel();
    let failed = |error: std::io::Error| {
        Failure::new(format!("cannot start the inlet: {error}"), "try again")
    };
    let (lanes, ends) = Lanes::new(node.shards());
    for (shard, end) in ends.into_iter().enumerate() {
        let (plan, reporter) = (plan.clone(), reporter.clone());
        let (standing, guard) = (standing.clone(), guard.clone());
        let start = move |shard: &Shard| {
            let paths = end.start(shard, config, Some(guard), Stop::never());
            // The legs of the plan say who may answer.
            let credentials = standing.credentials(&Trust::OneOf(Vec::new()));
            if shard.number() == 0 {
                standing.keep_fresh(shard);
            }
            let (here, stop) = (shard.clone(), Stop::never());
            shard.spawn(keep_path(here, plan, credentials, paths, reporter, stop));
        };
        node.on_shard(shard, start).map_err(failed)?;
    }
    node.on_shard(0, move |shard| {
        let _ = answer.send(Inlet::start(shard, listener, lanes, Stop::never()));
    })
    .map_err(failed)?;
    match answers.recv_timeout(START) {
        Ok(started) => started.map(|inlet| inlet.address).map_err(failed),
        Err(_) => Err(failed(std::io::ErrorKind::TimedOut.into())),
    }
}
