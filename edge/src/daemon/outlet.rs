//! Outlets of a node.

use std::sync::Arc;

use culvert_manage::problem::Problem;
use culvert_node::policy::{Guard, Otherwise};
use culvert_node::portal::{Outlet, Role, Target};
use culvert_node::stop::Stopper;
use culvert_proto::policy::ResourceType;
use culvert_proto::portal::Config;

use super::inner::{Inner, State};
use super::resource::{Held, Live, Resource, Scene, Shelf, Streams, check_name, streams_of};
use super::status::Watch;
use crate::endpoint::HostPort;
use crate::model::{OutletSpec, OutletView};

/// What an outlet is started with.
pub(super) struct Plan {
    target: Target,
    config: Config,
    guard: Guard,
}

/// Where a service is: a port alone is one of this machine.
fn service(text: &str) -> Result<HostPort, Problem> {
    let read = HostPort::parse_local(text).and_then(|at| match at.port {
        0 => Err("port 0 is not a port one can connect to".to_owned()),
        _ => Ok(at),
    });
    read.map_err(|error| {
        Problem::invalid(
            format!("to: '{text}' is not a service: {error}"),
            "for example 127.0.0.1:5432",
        )
    })
}

impl Resource for OutletSpec {
    const KIND: &'static str = "tcp-outlet";
    const GUARDED: Option<ResourceType> = Some(ResourceType::TcpOutlet);
    const HAS_ADDRESS: bool = true;
    type View = OutletView;
    type Plan = Plan;

    fn key(&self) -> &str {
        &self.name
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.outlets
    }

    fn check(&mut self) -> Result<(), Problem> {
        check_name(Self::KIND, &self.name)?;
        self.to = service(&self.to)?.to_string();
        super::policies::check(&mut self.allow)
    }

    fn allow(&self) -> Option<&str> {
        self.allow.as_deref()
    }

    fn with_policy(self, allow: Option<String>) -> Self {
        Self { allow, ..self }
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<Plan, Problem> {
        let at = service(&self.to)?;
        let standing = scene.inner.standing();
        Ok(Plan {
            target: Target {
                host: at.host,
                port: at.port,
            },
            config: Config {
                skip_handshake: self.skip_handshake,
                ..Config::default()
            },
            guard: standing.guard(ResourceType::TcpOutlet, &self.name, Otherwise::Nobody),
        })
    }

    fn start(&self, inner: &Inner, plan: Plan, watch: &Arc<Watch>) -> Result<Live, Problem> {
        let (stopper, stop) = Stopper::new();
        let name = self.name.clone().into_bytes();
        let started = inner.on_all(move |shard| {
            let outlet = Outlet::new(plan.target.clone(), plan.config).guarded(plan.guard.clone());
            // Reachable through channels only, whose peers the guard is asked about.
            outlet
                .start(shard, &name, stop.clone())
                .map(|address| shard.open_to_channels(address.key))
        })?;
        for shard in started {
            if let Err(reason) = shard {
                let problem = format!("the outlet '{}' cannot be started: {reason}", self.name);
                return Err(Problem::failed(problem, "choose another name"));
            }
        }
        watch.up(None);
        Ok(Live {
            stopper,
            socket: None,
            place: self.to.clone(),
        })
    }

    fn view(held: &Held<Self>, inner: &Inner, streams: &Streams) -> OutletView {
        OutletView {
            spec: held.spec.clone(),
            status: held.watch.status(),
            policy: inner.policy_text(&ResourceType::TcpOutlet, &held.spec.name),
            streams: streams_of(Role::Outlet, &held.spec.name, streams),
        }
    }
}
