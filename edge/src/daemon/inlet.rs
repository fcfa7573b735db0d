//! Inlets of a node.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};

use culvert_crypto::trust::Trust;
use culvert_manage::problem::{Kind, Problem};
use culvert_node::control;
use culvert_node::policy::{Guard, Otherwise};
use culvert_node::portal::{Inlet, Lanes, Role};
use culvert_node::session::{PathPlan, Reporter, keep_path};
use culvert_node::stop::Stopper;
use culvert_node::udp::RendezvousAt;
use culvert_proto::policy::ResourceType;
use culvert_proto::portal::Config;

use super::inner::{ANSWER, Inner, State};
use super::resource::{
    Held, Live, Resource, Scene, Shelf, Streams, check_name, identifiers, streams_of,
};
use super::status::Watch;
use crate::endpoint::HostPort;
use crate::model::{InletSpec, InletView};
use crate::portal::describe;
use crate::process;

/// What an inlet is started with.
pub(super) struct Plan {
    socket: TcpListener,
    path: PathPlan,
    config: Config,
    guard: Guard,
}

fn local(text: &str) -> Result<HostPort, Problem> {
    HostPort::parse_local(text).map_err(|error| {
        Problem::invalid(
            format!("from: '{text}' is not an address to listen on: {error}"),
            "for example 127.0.0.1:15432, or 15432",
        )
    })
}

/// Why an address cannot be listened on, as `message` says, with what to do.
pub(super) fn not_free(error: &std::io::Error, message: String) -> Problem {
    let (kind, hint) = match error.kind() {
        ErrorKind::AddrInUse => (
            Kind::Conflict,
            "end what uses this address (`ss -ltnp` shows it), or choose another one; port 0 picks a free one",
        ),
        ErrorKind::PermissionDenied => (
            Kind::Failed,
            "choose a port above 1023, or grant the permission (CAP_NET_BIND_SERVICE)",
        ),
        ErrorKind::AddrNotAvailable | ErrorKind::NotFound => {
            (Kind::Invalid, "choose an address of this machine")
        }
        _ => (Kind::Failed, "see the message"),
    };
    Problem::new(kind, message, hint)
}

impl InletSpec {
    /// The socket: that of the one it takes the place of, if it is to listen there.
    fn bind(&self, scene: &Scene<'_>) -> Result<TcpListener, Problem> {
        let (name, at) = (&self.name, &self.from);
        let failed = |error: std::io::Error| {
            let message = format!("the tcp-inlet '{name}': cannot listen on {at}: {error}");
            not_free(&error, message)
        };
        let kept = scene.old.and_then(|old| old.socket.as_ref());
        if let Some(socket) = kept
            && socket
                .local_addr()
                .is_ok_and(|at| self.is_at(&at.to_string()))
        {
            return socket.try_clone().map_err(failed);
        }
        let at = local(&self.from)?;
        match scene.restored {
            // Of a process that was killed a moment ago, perhaps.
            true => control::once_free(|| process::listen_now(&at)),
            false => process::listen_now(&at),
        }
        .map_err(failed)
    }

    /// Whether it is to listen at this address.
    fn is_at(&self, address: &str) -> bool {
        if self.from == address {
            return true;
        }
        let (Ok(wanted), Ok(there)) = (local(&self.from), local(address)) else {
            return false;
        };
        let same_host = wanted.host == there.host
            || wanted.host == "localhost"
                && there
                    .host
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        same_host && (wanted.port == 0 || wanted.port == there.port)
    }
}

impl Resource for InletSpec {
    const KIND: &'static str = "tcp-inlet";
    const GUARDED: Option<ResourceType> = Some(ResourceType::TcpInlet);
    type View = InletView;
    type Plan = Plan;

    fn key(&self) -> &str {
        &self.name
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.inlets
    }

    fn check(&mut self) -> Result<(), Problem> {
        check_name(Self::KIND, &self.name)?;
        self.from = local(&self.from)?.to_string();
        identifiers(self.authorized.as_slice())?;
        super::policies::check(&mut self.allow)?;
        super::place::check_inlet(self)
    }

    fn is_met_by(&self, there: &Self) -> bool {
        let as_there = Self {
            from: there.from.clone(),
            ..self.clone()
        };
        as_there == *there && self.is_at(&there.from)
    }

    fn allow(&self) -> Option<&str> {
        self.allow.as_deref()
    }

    fn with_policy(self, allow: Option<String>) -> Self {
        Self { allow, ..self }
    }

    fn names_peers(&self) -> bool {
        self.authorized.is_some()
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<Plan, Problem> {
        let mut path = scene.path(self)?;
        if self.direct {
            path.direct = Some(RendezvousAt {
                host: path.host.clone(),
                port: path.port,
            });
        }
        let otherwise = match self.authorized {
            Some(_) => Otherwise::Anyone,
            None => Otherwise::Nobody,
        };
        let standing = scene.inner.standing();
        let guard = standing.guard(ResourceType::TcpInlet, &self.name, otherwise);
        let socket = self.bind(scene)?;
        let at = socket.local_addr().map_err(|error| {
            let message = format!("the tcp-inlet '{}' cannot listen: {error}", self.name);
            not_free(&error, message)
        })?;
        if local(&self.from)?.port == 0 {
            self.from = at.to_string();
        }
        let config = Config {
            skip_handshake: self.skip_handshake,
            ..Config::default()
        };
        Ok(Plan {
            socket,
            path,
            config,
            guard,
        })
    }

    fn start(&self, inner: &Inner, plan: Plan, watch: &Arc<Watch>) -> Result<Live, Problem> {
        let failed = |error: std::io::Error| {
            let problem = format!("the tcp-inlet '{}' cannot be started: {error}", self.name);
            Problem::failed(problem, "try again")
        };
        let place = describe(&plan.path);
        let kept = plan.socket.try_clone().map_err(failed)?;
        let (stopper, stop) = Stopper::new();
        let (reporter, reports) = Reporter::new();
        let (answer, answers) = mpsc::channel();
        let started = inner.with_node(|node| {
            let (lanes, ends) = Lanes::new(node.shards());
            for (shard, end) in ends.into_iter().enumerate() {
                let (path, reporter, stop) = (plan.path.clone(), reporter.clone(), stop.clone());
                let (standing, guard) = (inner.standing().clone(), plan.guard.clone());
                node.on_shard(shard, move |shard| {
                    let paths = end.start(shard, plan.config, Some(guard), stop.clone());
                    // The legs of the plan say who may answer.
                    let credentials = standing.credentials(&Trust::OneOf(Vec::new()));
                    let kept = keep_path(shard.clone(), path, credentials, paths, reporter, stop);
                    shard.spawn(kept);
                })?;
            }
            node.on_shard(0, move |shard| {
                let inlet = Inlet::start(shard, plan.socket, lanes, stop);
                let _ = answer.send(inlet.map(|inlet| inlet.address));
            })
        })?;
        started.map_err(failed)?;
        let started: Result<SocketAddr, _> = match answers.recv_timeout(ANSWER) {
            Ok(started) => started,
            Err(_) => Err(ErrorKind::TimedOut.into()),
        };
        started.map_err(failed)?;
        watch.follow(inner.news(), reports);
        Ok(Live {
            stopper,
            socket: Some(kept),
            place,
        })
    }

    fn view(held: &Held<Self>, _: &Inner, streams: &Streams) -> InletView {
        let live = held.live.as_ref();
        let bound = live.and_then(|live| live.socket.as_ref()?.local_addr().ok());
        InletView {
            spec: held.spec.clone(),
            bind_address: bound.map(|at| at.to_string()),
            route: live.map_or_else(String::new, |live| live.place.clone()),
            status: held.watch.status(),
            streams: streams_of(Role::Inlet, &held.spec.name, streams),
        }
    }
}
