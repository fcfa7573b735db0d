//! Listeners, connections and secure channels of a node.

use std::net::SocketAddr;
use std::sync::Arc;

use culvert_crypto::trust::Trust;
use culvert_manage::problem::Problem;
use culvert_node::control::listen_address;
use culvert_node::session::{NextPlan, PathPlan, Reporter, keep_channel, keep_next};
use culvert_node::stop::Stopper;

use super::inlet::not_free;
use super::inner::{Inner, State};
use super::resource::{Held, Live, Resource, Scene, Shelf, Streams, check_name, identifiers};
use super::status::Watch;
use crate::endpoint::HostPort;
use crate::model::{
    ChannelSpec, ChannelView, ConnectionSpec, ConnectionView, ListenerSpec, ListenerView,
};
use crate::portal::describe;

impl ListenerSpec {
    fn parsed(&self) -> Result<SocketAddr, Problem> {
        listen_address(&self.address).map_err(|expected| {
            Problem::invalid(
                format!("address: '{}' cannot be listened on", self.address),
                expected,
            )
        })
    }
}

impl Resource for ListenerSpec {
    const KIND: &'static str = "tcp-listener";
    type View = ListenerView;
    type Plan = (Live, SocketAddr);

    fn key(&self) -> &str {
        &self.address
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.listeners
    }

    fn check(&mut self) -> Result<(), Problem> {
        self.address = self.parsed()?.to_string();
        Ok(())
    }

    /// Listening is all there is to it; dropping the plan ends that.
    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<Self::Plan, Problem> {
        let (stopper, stop) = Stopper::new();
        let at = self.parsed()?;
        let bound = scene.inner.with_node(|node| node.listen(at, stop))?;
        let bound = bound.map_err(|error| not_free(&error, error.to_string()))?;
        self.address = bound.to_string();
        let live = Live {
            stopper,
            socket: None,
            place: self.address.clone(),
        };
        Ok((live, bound))
    }

    fn start(&self, _: &Inner, plan: Self::Plan, watch: &Arc<Watch>) -> Result<Live, Problem> {
        watch.up(None);
        Ok(plan.0)
    }

    fn view(held: &Held<Self>, _: &Inner, _: &Streams) -> ListenerView {
        ListenerView {
            spec: held.spec.clone(),
            status: held.watch.status(),
        }
    }
}

fn node(text: &str) -> Result<HostPort, Problem> {
    HostPort::parse_remote(text).map_err(|error| {
        Problem::invalid(
            format!("to: '{text}' is not a node: {error}"),
            "for example 10.0.0.5:4000",
        )
    })
}

impl Resource for ConnectionSpec {
    const KIND: &'static str = "tcp-connection";
    const HAS_ADDRESS: bool = true;
    type View = ConnectionView;
    type Plan = HostPort;

    fn key(&self) -> &str {
        &self.name
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.connections
    }

    fn check(&mut self) -> Result<(), Problem> {
        check_name(Self::KIND, &self.name)?;
        self.to = node(&self.to)?.to_string();
        Ok(())
    }

    fn prepare(&mut self, _: &mut Scene<'_>) -> Result<HostPort, Problem> {
        node(&self.to)
    }

    /// On one shard: what this node itself sends goes over it, nobody else may use it.
    fn start(&self, inner: &Inner, plan: HostPort, watch: &Arc<Watch>) -> Result<Live, Problem> {
        let (stopper, stop) = Stopper::new();
        let (reporter, reports) = Reporter::new();
        let plan = NextPlan {
            name: self.name.clone(),
            host: plan.host,
            port: plan.port,
        };
        inner.on_first(move |shard| {
            let kept = keep_next(shard.clone(), plan, reporter, |_| {}, stop);
            shard.spawn(kept);
        })?;
        watch.follow(inner.news(), reports);
        Ok(Live {
            stopper,
            socket: None,
            place: self.to.clone(),
        })
    }

    fn view(held: &Held<Self>, _: &Inner, _: &Streams) -> ConnectionView {
        ConnectionView {
            spec: held.spec.clone(),
            status: held.watch.status(),
        }
    }
}

impl Resource for ChannelSpec {
    const KIND: &'static str = "secure-channel";
    const HAS_ADDRESS: bool = true;
    type View = ChannelView;
    type Plan = PathPlan;

    fn key(&self) -> &str {
        &self.name
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.channels
    }

    fn check(&mut self) -> Result<(), Problem> {
        check_name(Self::KIND, &self.name)?;
        identifiers(&self.authorized).map(drop)
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<PathPlan, Problem> {
        scene.channel(self)
    }

    /// On one shard, as a connection is.
    fn start(&self, inner: &Inner, plan: PathPlan, watch: &Arc<Watch>) -> Result<Live, Problem> {
        let place = describe(&plan);
        let (stopper, stop) = Stopper::new();
        let (reporter, reports) = Reporter::new();
        let (standing, name) = (inner.standing().clone(), self.name.clone().into_bytes());
        inner.on_first(move |shard| {
            // The legs of the plan say who may answer.
            let credentials = standing.credentials(&Trust::OneOf(Vec::new()));
            let kept = keep_channel(shard.clone(), plan, name, credentials, reporter, stop);
            shard.spawn(kept);
        })?;
        watch.follow(inner.news(), reports);
        Ok(Live {
            stopper,
            socket: None,
            place,
        })
    }

    fn view(held: &Held<Self>, _: &Inner, _: &Streams) -> ChannelView {
        ChannelView {
            spec: held.spec.clone(),
            status: held.watch.status(),
            route: format!("/secure-channel/{}", held.spec.name),
        }
    }
}
