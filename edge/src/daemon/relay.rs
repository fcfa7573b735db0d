//! Names that a node holds at relays.

use std::sync::Arc;

use culvert_crypto::trust::Trust;
use culvert_manage::problem::Problem;
use culvert_node::session::{RegistrationPlan, Reporter, keep_registered};
use culvert_node::stop::Stopper;

use super::inner::{Inner, State};
use super::resource::{Held, Live, Resource, Scene, Shelf, Streams, check_name, identifiers};
use super::status::Watch;
use crate::endpoint::HostPort;
use crate::model::{RelaySpec, RelayView};
use crate::route;

impl RelaySpec {
    /// The name that the relay is asked for.
    fn registered(&self) -> &str {
        self.relay_address.as_deref().unwrap_or(&self.name)
    }
}

impl Resource for RelaySpec {
    const KIND: &'static str = "relay";
    type View = RelayView;
    type Plan = RegistrationPlan;

    fn key(&self) -> &str {
        &self.name
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.relays
    }

    fn check(&mut self) -> Result<(), Problem> {
        check_name(Self::KIND, &self.name)?;
        route::check_relay_name(self.registered()).map_err(|error| {
            let name = self.registered();
            Problem::invalid(
                format!("'{name}' is not a name for relays: {error}"),
                "choose another one",
            )
        })?;
        identifiers(self.authorized.as_slice())?;
        if self.plain && self.authorized.is_some() {
            return Err(Problem::invalid(
                "authorized: in clear nobody can tell who the relay is",
                "leave out 'plain' or 'authorized'",
            ));
        }
        Ok(())
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<RegistrationPlan, Problem> {
        let relay = scene.relay(self.at.as_deref())?;
        let known = identifiers(self.authorized.as_slice())?;
        let trust = match (self.plain, known.is_empty(), relay.identity) {
            (true, ..) => None,
            (false, false, _) => Some(Trust::OneOf(known)),
            (false, true, Some(identity)) => Some(Trust::OneOf(vec![identity])),
            (false, true, None) => Some(Trust::Anyone),
        };
        Ok(RegistrationPlan {
            host: relay.at.host,
            port: relay.at.port,
            name: self.registered().to_owned(),
            trust,
            lanes: Default::default(),
        })
    }

    fn start(
        &self,
        inner: &Inner,
        plan: RegistrationPlan,
        watch: &Arc<Watch>,
    ) -> Result<Live, Problem> {
        let host = plan.host.clone();
        let place = HostPort {
            host,
            port: plan.port,
        }
        .to_string();
        let (stopper, stop) = Stopper::new();
        let (reporter, reports) = Reporter::new();
        let standing = inner.standing().clone();
        inner.on_all(move |shard| {
            // What was registered without a channel belongs to one connection.
            if shard.number() == 0 || plan.trust.is_some() {
                let credentials = standing.credentials(&Trust::OneOf(Vec::new()));
                let kept = keep_registered(shard.clone(), plan, credentials, reporter, stop);
                shard.spawn(kept);
            }
        })?;
        watch.follow(inner.news(), reports);
        Ok(Live {
            stopper,
            socket: None,
            place,
        })
    }

    fn view(held: &Held<Self>, _: &Inner, _: &Streams) -> RelayView {
        let live = held.live.as_ref();
        let told = held.spec.at.clone().unwrap_or_default();
        RelayView {
            spec: held.spec.clone(),
            destination: live.map_or(told, |live| live.place.clone()),
            forwarding_address: held.watch.forwarding(),
            status: held.watch.status(),
        }
    }
}
