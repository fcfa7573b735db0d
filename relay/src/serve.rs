//! Starting the relay and running until it is told to end.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use culvert_crypto::trust::Trust;
use culvert_manage::observe::Observed;
use culvert_manage::problem::Problem;
use culvert_node::authority::{self, Authority};
use culvert_node::channel::{API, ChannelListener, Credentials};
use culvert_node::identity::OwnIdentity;
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::policy::{Guard, Otherwise, Policies};
use culvert_node::shard::Shard;
use culvert_node::store::unlock::Unlock;
use culvert_node::store::{Store, StoreError, Stored};
use culvert_node::worker::{ECHO, Echo, UPPERCASE, Uppercase, Worker};
use culvert_node::{SeenHistories, control, udp};
use culvert_proto::forwarder::{FORWARDING_SERVICE, STATIC_FORWARDING_SERVICE};
use culvert_proto::policy::ResourceType;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::admission::Admission;
use crate::cli::{Cli, Output};
use crate::forwarder::{ForwardingService, PLACEMENT, Placement, Relay};
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
    /// Metrics cannot be served.
    #[error("cannot serve metrics: {0}")]
    Metrics(Problem),
    /// The identity cannot be read or made.
    #[error("{0}")]
    Identity(#[from] StoreError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
}

impl Error {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Start(_) => "choose another --listen address, or end what uses this one".into(),
            Self::Rendezvous(..) => "choose another --rendezvous address".into(),
            Self::Metrics(..) => "choose another --metrics address".into(),
            Self::Identity(error) => error.hint(),
            Self::Signals(_) => {
                "this needs a working signalfd or pipe; check the open files limit".into()
            }
        }
    }
}

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(cli: &Cli) -> Result<(), Error> {
    control::raise_file_limit();
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let unlock = Unlock::new(cli.passphrase_file.clone(), cli.key_file.clone());
    let store = Store::open(cli.home.clone())?.with_unlock(unlock);
    let identity = store.load_or_create(IDENTITY, now_s)?;
    let policies = Policies::watch(store.home())?;
    let own = OwnIdentity::from(identity.endpoint()?);
    let identifier = own.identifier().to_string();
    own.follow(store, IDENTITY, Stored::endpoint)
        .map_err(Error::Start)?;
    let config = NodeConfig {
        shards: cli.shards.into(),
        listen: Some(cli.listen),
        limits: Limits {
            links: cli.max_links,
            memory: control::memory_for_messages(cli.max_memory),
            frame_timeout_ms: cli.frame_timeout.saturating_mul(1000),
            stall_timeout_ms: cli.stall_timeout.saturating_mul(1000),
            ..Limits::default()
        },
    };
    let relay = Arc::new(Relay {
        registry: Registry::new(Most {
            names: cli.max_forwarders,
            per_identity: cli.max_forwarders_per_identity as usize,
        }),
        allow_plain: cli.allow_plain_registration,
        admission: Admission {
            by_attribute: !cli.authority.is_empty(),
            guard: Guard::new(&policies, "", ResourceType::Relay, Otherwise::Anyone),
        },
        require_authentication: cli.require_authentication,
    });
    let trust = Trusted {
        own,
        histories: SeenHistories::default(),
        authorities: cli.authority.clone(),
        guard: listener_guard(cli, &policies),
    };
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::Signals)?;
    let node =
        Node::start(&config, move |shard| set_up(shard, &trust, &relay)).map_err(Error::Start)?;
    let rendezvous = cli
        .rendezvous
        .map(|at| serve_rendezvous(&node, at).map_err(|error| Error::Rendezvous(at, error)))
        .transpose()?;
    let metrics = cli
        .metrics
        .map(|at| Observed::new(&node).serve(at).map_err(Error::Metrics))
        .transpose()?;
    let services = Services {
        metrics: metrics.as_ref().and_then(|at| at.addresses()[0].socket()),
        rendezvous,
    };
    announce(cli, &node, &identifier, services);
    signals.forever().next();
    tracing::info!("ending");
    node.shutdown();
    Ok(())
}

/// What the relay shows of itself, and believes of others.
#[derive(Clone)]
struct Trusted {
    own: OwnIdentity,
    histories: SeenHistories,
    authorities: Vec<Authority>,
    /// Who may have a secure channel with the relay.
    guard: Guard,
}

/// Anybody may prove who they are, and what they may do is decided by the services; but where a proof is
/// what opens the names, it takes a credential if there is an authority.
fn listener_guard(cli: &Cli, policies: &Policies) -> Guard {
    let otherwise = match cli.require_authentication && !cli.authority.is_empty() {
        true => Otherwise::Credential,
        false => Otherwise::Anyone,
    };
    Guard::new(
        policies,
        LISTENER,
        ResourceType::SecureChannelListener,
        otherwise,
    )
}

fn set_up(shard: &Shard, trusted: &Trusted, relay: &Arc<Relay>) {
    let mut histories = trusted.histories.clone();
    let authorities = authority::believe(&trusted.authorities, &mut histories);
    let credentials = Credentials {
        authorities: authorities.into(),
        ..Credentials::new(trusted.own.clone(), Trust::Anyone, histories)
    };
    let channels = ChannelListener::new(credentials, shard.accepted_channels_flow())
        .guarded(trusted.guard.clone());
    let workers: [(&[u8], Rc<dyn Worker>); 6] = [
        (ECHO, Rc::new(Echo)),
        (UPPERCASE, Rc::new(Uppercase)),
        (PLACEMENT, Rc::new(Placement(Arc::clone(relay)))),
        (API, Rc::new(channels)),
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
        match shard.add_named(name, worker) {
            Ok(address) => {
                shard.open_to_all(address.key);
                shard.open_to_channels(address.key);
            }
            Err(reason) => tracing::error!(%reason, "a service could not be started"),
        }
    }
}

/// Where the relay serves something beside messages.
#[derive(Clone, Copy)]
struct Services {
    metrics: Option<SocketAddr>,
    rendezvous: Option<SocketAddr>,
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

fn announce(cli: &Cli, node: &Node, identifier: &str, services: Services) {
    let address = node.address().unwrap_or(cli.listen);
    let (driver, shards) = (node.driver(), node.shards());
    let line = match cli.output {
        Output::Json => json!({
            "event": "listening",
            "address": address.to_string(),
            "identifier": identifier,
            "driver": driver,
            "shards": shards,
            "metrics": services.metrics.map(|at| at.to_string()),
            "rendezvous": services.rendezvous.map(|at| at.to_string()),
        })
        .to_string(),
        Output::Text => {
            let rendezvous = services
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
