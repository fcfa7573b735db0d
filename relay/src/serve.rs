//! Starting the relay.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use culvert_crypto::trust::Trust;
use culvert_manage::events::Events;
use culvert_manage::http::{Address, Server};
use culvert_manage::problem::Problem;
use culvert_node::authority::{self, Authority};
use culvert_node::channel::{API, ChannelListener, Credentials};
use culvert_node::failure::Failure;
use culvert_node::identity::OwnIdentity;
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::policy::{Guard, Otherwise, Policies};
use culvert_node::shard::Shard;
use culvert_node::stop::Stopper;
use culvert_node::store::unlock::Unlock;
use culvert_node::store::{Store, StoreError, Stored};
use culvert_node::worker::{ECHO, Echo, UPPERCASE, Uppercase, Worker};
use culvert_node::{SeenHistories, control, udp};
use culvert_proto::forwarder::{FORWARDING_SERVICE, STATIC_FORWARDING_SERVICE};
use culvert_proto::policy::ResourceType;
use serde_json::json;

use crate::admission::Admission;
use crate::cli::{Output, RunArgs};
use crate::config::Given;
use crate::forwarder::{ForwardingService, PLACEMENT, Placement, Relay};
use crate::life::{Logs, Orders, Running};
use crate::manage::{self, Shown};
use crate::registry::{Most, Registry};

/// Name of the relay's identity in its state directory.
const IDENTITY: &str = "relay";

/// Name of its secure channel listener as a resource of policies.
const LISTENER: &str = "api";

/// How long a service may take to start.
const START: Duration = Duration::from_secs(10);

/// Why the relay cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The node did not start.
    #[error("{0}")]
    Start(io::Error),
    /// The rendezvous service did not start.
    #[error("cannot serve the rendezvous on UDP {0}: {1}")]
    Rendezvous(SocketAddr, io::Error),
    /// Management or metrics cannot be served.
    #[error("{0}")]
    Manage(Problem),
    /// The identity cannot be read or made.
    #[error("{0}")]
    Identity(#[from] StoreError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Start(error) => {
                let hint = "choose another --listen address, or end what uses this one";
                match error.kind() {
                    io::ErrorKind::AddrInUse => Self::conflict(message, hint),
                    _ => Self::new(message, hint),
                }
            }
            Error::Rendezvous(..) => Self::new(message, "choose another --rendezvous address"),
            Error::Manage(problem) => problem.into(),
            Error::Identity(error) => error.into(),
            Error::Signals(_) => Self::new(
                message,
                "this needs a working signalfd or pipe; check the open files limit",
            ),
        }
    }
}

/// Runs until it is told to end.
pub(crate) fn run(given: &Given, args: RunArgs, logs: Logs) -> Result<(), Error> {
    control::set_process_up();
    let unlock = Unlock::new(args.passphrase_file.clone(), args.key_file.clone());
    let store = Store::open(args.home.clone())?.with_unlock(unlock);
    let home = store.home().to_owned();
    let identity = store.load_or_create(IDENTITY, unix_s())?;
    let policies = Policies::watch(&home)?;
    let own = OwnIdentity::from(identity.endpoint()?);
    let identifier = own.identifier().to_string();
    own.follow(store, IDENTITY, Stored::endpoint)
        .map_err(Error::Start)?;
    let relay = relay(&args, &policies);
    let trust = Trusted {
        own,
        histories: SeenHistories::default(),
        policies: policies.clone(),
    };
    let (orders, ordered) = Orders::new().map_err(Error::Signals)?;
    let node = start(&args, &trust, &relay)?;
    let (stopper, stop) = Stopper::new();
    let address = node.listen(args.listen, stop).map_err(Error::Start)?;
    let rendezvous = args
        .rendezvous
        .map(|at| serve_rendezvous(&node, at).map_err(|error| Error::Rendezvous(at, error)))
        .transpose()?;
    let shown = Arc::new(Shown {
        identifier,
        address,
        rendezvous,
        driver: node.driver(),
        shards: node.shards(),
        started_at: unix_s(),
        is_ending: AtomicBool::new(false),
        relay: Arc::clone(&relay),
        policies,
        inspector: node.inspector(),
        counters: node.counters(),
        orders,
    });
    let server = manage::serve(&args, &home, &node, &shown).map_err(Error::Manage)?;
    announce(&args, &shown, &server);
    let running = Running {
        node,
        stopper,
        server,
        shown,
        trust,
        logs,
    };
    running.until_told(given, args, &ordered);
    Ok(())
}

pub(crate) fn unix_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

fn relay(args: &RunArgs, policies: &Policies) -> Arc<Relay> {
    Arc::new(Relay {
        registry: Registry::new(most(args)),
        allow_plain: args.allow_plain_registration.into(),
        admission: Admission {
            by_attribute: (!args.authority.is_empty()).into(),
            guard: Guard::new(policies, "", ResourceType::Relay, Otherwise::Anyone),
        },
        require_authentication: args.require_authentication,
        events: Events::new(),
    })
}

/// How many names there may be.
pub(crate) fn most(args: &RunArgs) -> Most {
    Most {
        names: args.max_forwarders,
        per_identity: usize::try_from(args.max_forwarders_per_identity).unwrap_or(usize::MAX),
    }
}

/// Starts the shards; nothing is accepted yet.
fn start(args: &RunArgs, trust: &Trusted, relay: &Arc<Relay>) -> Result<Node, Error> {
    let config = NodeConfig {
        shards: args.shards.into(),
        listen: None,
        limits: Limits {
            links: args.max_links,
            memory: control::memory_for_messages(args.max_memory),
            frame_timeout_ms: args.frame_timeout.saturating_mul(1000),
            stall_timeout_ms: args.stall_timeout.saturating_mul(1000),
            ..Limits::default()
        },
    };
    let (trust, relay) = (trust.clone(), Arc::clone(relay));
    let listener = Listener::new(args);
    Node::start(&config, move |shard| {
        set_up(shard, &trust, &relay, &listener);
    })
    .map_err(Error::Start)
}

/// What the relay shows of itself, and knows of others.
#[derive(Clone)]
pub(crate) struct Trusted {
    own: OwnIdentity,
    histories: SeenHistories,
    policies: Policies,
}

/// Who may have a secure channel with the relay, and is believed about others.
#[derive(Clone)]
pub(crate) struct Listener {
    authorities: Vec<Authority>,
    require_authentication: bool,
}

impl Listener {
    pub(crate) fn new(args: &RunArgs) -> Self {
        Self {
            authorities: args.authority.clone(),
            require_authentication: args.require_authentication,
        }
    }

    /// Puts a listener for secure channels in the place of the one there is. Channels stay.
    pub(crate) fn put(&self, shard: &Shard, trusted: &Trusted) {
        let before = shard.first_key(&Shard::named_route(API));
        let mut histories = trusted.histories.clone();
        let authorities = authority::believe(&self.authorities, &mut histories);
        let credentials = Credentials {
            authorities: authorities.into(),
            ..Credentials::new(trusted.own.clone(), Trust::Anyone, histories)
        };
        let channels = ChannelListener::new(credentials, shard.accepted_channels_flow())
            .guarded(self.guard(&trusted.policies));
        offer(shard, API, Rc::new(channels));
        if let Some(before) = before {
            shard.remove(before);
        }
    }

    /// Anybody may prove who they are, and what they may do is decided by the services; but where a
    /// proof is what opens the names, it takes a credential if there is an authority.
    fn guard(&self, policies: &Policies) -> Guard {
        let otherwise = match self.require_authentication && !self.authorities.is_empty() {
            true => Otherwise::Credential,
            false => Otherwise::Anyone,
        };
        let kind = ResourceType::SecureChannelListener;
        Guard::new(policies, LISTENER, kind, otherwise)
    }
}

fn set_up(shard: &Shard, trusted: &Trusted, relay: &Arc<Relay>, listener: &Listener) {
    let workers: [(&[u8], Rc<dyn Worker>); 5] = [
        (ECHO, Rc::new(Echo)),
        (UPPERCASE, Rc::new(Uppercase)),
        (PLACEMENT, Rc::new(Placement(Arc::clone(relay)))),
        (
            FORWARDING_SERVICE.as_bytes(),
            Rc::new(ForwardingService(Arc::clone(relay))),
        ),
        (
            STATIC_FORWARDING_SERVICE.as_bytes(),
            Rc::new(ForwardingService(Arc::clone(relay))),
        ),
    ];
    for (name, worker) in workers {
        offer(shard, name, worker);
    }
    listener.put(shard, trusted);
}

/// Starts a service that everybody may use.
fn offer(shard: &Shard, name: &[u8], worker: Rc<dyn Worker>) {
    match shard.add_named(name, worker) {
        Ok(address) => {
            shard.open_to_all(address.key);
            shard.open_to_channels(address.key);
        }
        Err(reason) => tracing::error!(%reason, "a service could not be started"),
    }
}

/// Runs the rendezvous service on the first shard; gives where.
fn serve_rendezvous(node: &Node, at: SocketAddr) -> io::Result<SocketAddr> {
    let (answer, answers) = mpsc::channel();
    node.on_shard(0, move |shard| {
        let _ = answer.send(udp::serve_rendezvous(shard, at));
    })?;
    answers
        .recv_timeout(START)
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn announce(args: &RunArgs, shown: &Shown, server: &Server) {
    let Shown {
        identifier,
        address,
        driver,
        shards,
        ..
    } = shown;
    let metrics = server.addresses().iter().find_map(|at| match at {
        Address::Figures(at) => Some(at.to_string()),
        _ => None,
    });
    let line = match args.output {
        Output::Json => json!({
            "event": "listening",
            "address": address.to_string(),
            "identifier": identifier,
            "driver": driver,
            "shards": shards,
            "metrics": metrics,
            "rendezvous": shown.rendezvous.map(|at| at.to_string()),
            "management": manage::addresses(server),
        })
        .to_string(),
        Output::Text => {
            let rendezvous = shown
                .rendezvous
                .map_or_else(String::new, |at| format!(", rendezvous on UDP {at}"));
            format!(
                "culvert-relay listening on {address} as {identifier} (driver {driver}, {shards} \
                 shards){rendezvous}"
            )
        }
    };
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}
