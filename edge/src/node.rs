//! Running services for other nodes in the foreground (`protocol/02-routing.md` 3 and 6.5).

use std::net::SocketAddr;
use std::rc::Rc;

use clap::{Args, ValueEnum};
use culvert_crypto::Identifier;
use culvert_crypto::trust::Trust;
use culvert_node::channel::{API, ChannelListener, KEY_EXCHANGER};
use culvert_node::control::listen_address;
use culvert_node::hop::{HOP, Hop};
use culvert_node::key::Key;
use culvert_node::limits::Limits;
use culvert_node::session::{
    Event, NextPlan, RegistrationPlan, Reporter, keep_next, keep_registered,
};
use culvert_node::shard::Shard;
use culvert_node::stop::Stop;
use culvert_node::worker::{ECHO, Echo, UPPERCASE, Uppercase, Worker};
use serde_json::json;

use crate::cli::{AllowArgs, RunArgs, identifier, relay_name};
use crate::endpoint::HostPort;
use crate::events::report_events;
use crate::failure::Failure;
use crate::output::Output;
use crate::portal::{Ready, add, warn_about};
use crate::store::{DEFAULT_NAME, Store};
use crate::trust::{Membership, Standing};

/// Shown behind the help of the command.
pub(crate) const EXAMPLE: &str = "\
Example, on a machine that reaches both networks:
  culvert-edge node --listen 192.0.2.7:4001 --service hop --to inner=10.0.0.5:4000 --allow I07cc…

Nodes outside then reach 10.0.0.5 by the route hop/inner behind a secure channel to this node.

With --output json there is one object a line on stdout: {\"event\":\"starting\"},
{\"event\":\"listening\"}, then {\"event\":\"connected\"} each time a connection of --to is there,
{\"event\":\"registered\"} each time a relay has confirmed the name, and {\"event\":\"down\"} with a reason
each time one of these ended.

Exit status: 0 ended on request, 1 runtime error, 2 wrong usage.";

/// A service of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Service {
    /// Pass messages on to the nodes of --to, and answers back.
    Hop,
    /// Answer with what was sent.
    Echo,
    /// Answer a string in upper case.
    Uppercase,
    /// Accept channels that only exchange keys.
    KeyExchanger,
}

/// Addresses that are taken.
const TAKEN: [&[u8]; 6] = [HOP, ECHO, UPPERCASE, KEY_EXCHANGER, API, b"udp"];

/// A connection to another node, and what it is called here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    name: String,
    at: HostPort,
}

impl Next {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, at) = text
            .split_once('=')
            .ok_or("expected NAME=HOST:PORT, for example inner=10.0.0.5:4000")?;
        let name = relay_name(name)?;
        if TAKEN.contains(&name.as_bytes()) {
            return Err(format!("'{name}' is the address of a service"));
        }
        let at = HostPort::parse_remote(at)?;
        Ok(Self { name, at })
    }
}

/// Arguments of `node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Address to accept nodes on.
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address, required = true)]
    pub listen: Option<SocketAddr>,
    /// A service to run; may be repeated. `echo` answers peers of secure channels in any case.
    #[arg(long, value_enum, required = true)]
    pub service: Vec<Service>,
    /// A node that `hop` may pass messages on to, and the name of the connection in routes; may be
    /// repeated.
    #[arg(long, value_name = "NAME=HOST:PORT", value_parser = Next::parse)]
    pub to: Vec<Next>,
    /// Who may use the services through a secure channel.
    #[command(flatten)]
    pub allow: AllowArgs,
    /// Let whoever reaches this node use the services, without a secure channel, as Ockam nodes do.
    #[arg(long)]
    pub plain: bool,
    /// A relay to register with, so that others reach this node by it.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse_remote, requires = "name")]
    pub relay: Option<HostPort>,
    /// Name to register with the relay.
    #[arg(long, value_parser = relay_name, requires = "relay")]
    pub name: Option<String>,
    /// Identifier the relay must have; may be repeated [default: any]
    #[arg(long, value_name = "IDENTIFIER", value_parser = identifier, requires = "relay")]
    #[arg(conflicts_with = "plain_registration")]
    pub relay_identity: Vec<Identifier>,
    /// Register without a secure channel to the relay: it cannot tell who holds the name.
    #[arg(long, requires = "relay")]
    pub plain_registration: bool,
    /// Name of the identity to use; the default one is made when missing.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub identity: String,
    /// Address to serve metrics on (Prometheus text at /metrics).
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    pub metrics: Option<SocketAddr>,
    /// MiB that messages being received or waiting may take; above it what holds up most is closed
    /// [default: a quarter of the memory, at most 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(32..))]
    pub max_memory: Option<u32>,
}

impl NodeArgs {
    fn runs(&self, service: Service) -> bool {
        self.service.contains(&service)
    }

    /// Who may open channels; nobody, if only `--plain` was given.
    fn trust(&self) -> Result<Option<Trust>, Failure> {
        let is_named = self.allow.allow_any || !self.allow.allow.is_empty();
        if !self.to.is_empty() && !self.runs(Service::Hop) {
            let hint = "pass --service hop";
            return Err(Failure::usage(
                "--to is for messages that hop passes on",
                hint,
            ));
        }
        match is_named {
            true => self.allow.trust().map(Some),
            false if self.runs(Service::KeyExchanger) => Err(Failure::usage(
                "key_exchanger has to know whose keys to take: --allow is missing",
                "pass --allow and the identifier of the peer, or --allow-any",
            )),
            false if self.plain => Ok(None),
            false => Err(Failure::usage(
                "nobody may use the services: --allow is missing",
                "pass --allow and the identifier of a peer, --allow-any, or --plain to let anybody in \
                 without a secure channel",
            )),
        }
    }

    fn run_args(&self) -> RunArgs {
        RunArgs {
            identity: self.identity.clone(),
            // What one thread passes on has one order.
            shards: 1,
            metrics: self.metrics,
            max_memory: self.max_memory,
            portal_window: 1 << 20,
            no_extensions: false,
            skip_handshake: false,
            trace: false,
        }
    }

    fn registration(&self) -> Option<RegistrationPlan> {
        let (relay, name) = (self.relay.as_ref()?, self.name.as_ref()?);
        Some(RegistrationPlan {
            host: relay.host.clone(),
            port: relay.port,
            name: name.clone(),
            trust: match (self.plain_registration, self.relay_identity.as_slice()) {
                (true, _) => None,
                (false, []) => Some(Trust::Anyone),
                (false, known) => Some(Trust::OneOf(known.to_vec())),
            },
            lanes: Default::default(),
        })
    }
}

/// Runs the services until a signal.
///
/// # Errors
///
/// When it cannot start. What happens later is reported and retried.
pub fn run(store: &Store, args: &NodeArgs, output: Output) -> Result<(), Failure> {
    let trust = args.trust()?;
    let standing = Standing::new(
        store,
        &Membership {
            identity: args.identity.clone(),
            ..Membership::default()
        },
    )?;
    let mut ready = Ready::new(standing, &args.run_args())?;
    ready.config.listen = args.listen;
    // Peers of this node are strangers to each other: nobody may hold up others for long.
    ready.config.limits.stall_timeout_ms = Limits::default().stall_timeout_ms;
    trust
        .iter()
        .for_each(|trust| warn_about(trust, &args.allow));
    let (registered, news) = Reporter::new();
    let (mut nexts, mut events) = (Vec::new(), Vec::new());
    for next in &args.to {
        let (reporter, of_next) = Reporter::new();
        events.push((next.clone(), of_next));
        let HostPort { host, port } = next.at.clone();
        let name = next.name.clone();
        nexts.push((NextPlan { name, host, port }, reporter));
    }
    let part = NodePart {
        standing: ready.standing.clone(),
        services: args.service.clone(),
        access: Access {
            plain: args.plain,
            channels: trust.is_some(),
            probes: args.plain_registration,
        },
        trust,
        nexts,
        registration: args.registration().map(|plan| (plan, registered)),
    };
    let node = ready.start(move |shard| part.set_up(shard))?;
    ready.announce(&node, "node", &json!({}), output);
    if let Some(address) = node.address() {
        output.print(
            format!("listening on {address}"),
            &json!({ "event": "listening", "address": address.to_string() }),
        );
    }
    for (next, events) in events {
        report_next(move || events.recv_blocking().ok(), next, output);
    }
    report_events(
        move || news.recv_blocking().ok(),
        args.name.clone().unwrap_or_default(),
        ready.standing.identifier,
        output,
    );
    ready.run(node);
    Ok(())
}

/// Prints what becomes of a connection, on a thread of its own; `wait` gives the next event.
fn report_next(wait: impl Fn() -> Option<Event> + Send + 'static, next: Next, output: Output) {
    let Next { name, at } = next;
    let print = move |event| match event {
        Event::Down { reason, .. } => {
            output.emit(&json!({ "event": "down", "connection": name, "reason": reason }));
        }
        Event::Retry { .. } => {}
        _ => output.print(
            format!("connected to {at}: hop/{name}"),
            &json!({ "event": "connected", "connection": name, "to": at.to_string() }),
        ),
    };
    let thread = std::thread::Builder::new().name("events".into());
    let all = move || std::iter::from_fn(wait).for_each(print);
    if let Err(error) = thread.spawn(all) {
        tracing::error!(%error, "events will not be printed");
    }
}

/// From where the services are reached.
#[derive(Clone, Copy)]
struct Access {
    /// Over links, by anybody.
    plain: bool,
    /// Through channels this node accepts.
    channels: bool,
    /// A relay asks `echo` in clear whether the owner of a plain name is there.
    probes: bool,
}

impl Access {
    fn open(self, shard: &Shard, key: Key) {
        if self.plain {
            shard.open_to_all(key);
        }
        if self.channels {
            shard.open_to_channels(key);
        }
    }
}

/// What the node is made of.
#[derive(Clone)]
struct NodePart {
    standing: Standing,
    services: Vec<Service>,
    access: Access,
    trust: Option<Trust>,
    nexts: Vec<(NextPlan, Reporter)>,
    registration: Option<(RegistrationPlan, Reporter)>,
}

impl NodePart {
    fn set_up(&self, shard: &Shard) {
        let access = self.access;
        let asked = |service| self.services.contains(&service);
        let open = |key| access.open(shard, key);
        if asked(Service::Uppercase) {
            add(shard, UPPERCASE, Rc::new(Uppercase), open);
        }
        add(shard, ECHO, Rc::new(Echo), |key| {
            shard.open_to_channels(key);
            shard.open_to_opened_channels(key);
            if access.probes || access.plain && asked(Service::Echo) {
                shard.open_to_all(key);
            }
        });
        if asked(Service::Hop) {
            add(shard, HOP, Rc::new(Hop::default()), |key| {
                open(key);
                // Answers come back over the connections to other nodes. They only get to whoever
                // sent something there.
                shard.flow(|f| {
                    let _ = f.add_consumer(shard.outgoing_flow(), key);
                });
            });
        }
        self.listen_for_channels(shard, asked(Service::KeyExchanger));
        for (plan, reporter) in self.nexts.clone() {
            let here = shard.clone();
            let open = move |link: &culvert_node::link::Link| access.open(&here, link.address.key);
            let stop = Stop::never();
            shard.spawn(keep_next(shard.clone(), plan, reporter, open, stop));
        }
        if let Some((plan, reporter)) = self.registration.clone() {
            let trust = Trust::OneOf(Vec::new());
            let credentials = self.standing.credentials(&trust);
            let stop = Stop::never();
            let registered = keep_registered(shard.clone(), plan, credentials, reporter, stop);
            shard.spawn(registered);
        }
    }

    fn listen_for_channels(&self, shard: &Shard, for_keys: bool) {
        let Some(trust) = &self.trust else { return };
        let flow = shard.accepted_channels_flow();
        let credentials = || self.standing.credentials(trust);
        let mut listeners: Vec<(&[u8], Rc<dyn Worker>)> =
            vec![(API, Rc::new(ChannelListener::new(credentials(), flow)))];
        if for_keys {
            let listener = ChannelListener::for_keys(credentials(), flow);
            listeners.push((KEY_EXCHANGER, Rc::new(listener)));
        }
        for (name, listener) in listeners {
            add(shard, name, listener, |key| {
                shard.open_to_all(key);
                // A channel inside a channel.
                shard.open_to_channels(key);
            });
        }
    }
}
