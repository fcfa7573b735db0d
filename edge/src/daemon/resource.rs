//! What all kinds of resources have in common.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::inner::{Map, State};
use crate::commands::now_s;
use crate::model::{
    ChannelSpec, ChannelView, ConnectionSpec, ConnectionView, InletSpec, InletView, ListenerSpec,
    ListenerView, OutletSpec, OutletView, RelaySpec, RelayView, State as Up, Status,
};

/// A resource that the node has.
pub(super) struct Held<R> {
    pub(super) spec: R,
    pub(super) status: Status,
}

impl<R> Held<R> {
    pub(super) fn new(spec: R) -> Self {
        let status = Status {
            state: Up::Connecting,
            since: now_s(),
            ..Status::default()
        };
        Self { spec, status }
    }
}

/// All of a kind.
pub(super) type Shelf<R> = Map<Held<R>>;

/// A kind of resource.
pub(super) trait Resource: Clone + PartialEq + Serialize + DeserializeOwned + Send {
    /// The kind, as people and the database know it.
    const KIND: &'static str;
    /// The spec with how it is doing.
    type View;
    /// What tells it from others of its kind.
    fn key(&self) -> &str;
    /// Where those of its kind are.
    fn shelf(state: &mut State) -> &mut Shelf<Self>;
    /// How it is doing.
    fn view(held: &Held<Self>) -> Self::View;
}

impl Resource for InletSpec {
    const KIND: &'static str = "tcp-inlet";
    type View = InletView;

    fn key(&self) -> &str {
        &self.name
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.inlets
    }

    fn view(held: &Held<Self>) -> InletView {
        InletView {
            spec: held.spec.clone(),
            bind_address: Some(held.spec.from.clone()),
            route: String::new(),
            status: held.status.clone(),
            streams: 0,
        }
    }
}

impl Resource for OutletSpec {
    const KIND: &'static str = "tcp-outlet";
    type View = OutletView;

    fn key(&self) -> &str {
        &self.name
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.outlets
    }

    fn view(held: &Held<Self>) -> OutletView {
        OutletView {
            spec: held.spec.clone(),
            status: held.status.clone(),
            policy: held.spec.allow.clone().unwrap_or_default(),
            streams: 0,
        }
    }
}

impl Resource for RelaySpec {
    const KIND: &'static str = "relay";
    type View = RelayView;

    fn key(&self) -> &str {
        &self.name
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.relays
    }

    fn view(held: &Held<Self>) -> RelayView {
        RelayView {
            spec: held.spec.clone(),
            destination: held.spec.at.clone().unwrap_or_default(),
            forwarding_address: None,
            status: held.status.clone(),
        }
    }
}

impl Resource for ChannelSpec {
    const KIND: &'static str = "secure-channel";
    type View = ChannelView;

    fn key(&self) -> &str {
        &self.name
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.channels
    }

    fn view(held: &Held<Self>) -> ChannelView {
        ChannelView {
            spec: held.spec.clone(),
            status: held.status.clone(),
        }
    }
}

impl Resource for ListenerSpec {
    const KIND: &'static str = "tcp-listener";
    type View = ListenerView;

    fn key(&self) -> &str {
        &self.address
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.listeners
    }

    fn view(held: &Held<Self>) -> ListenerView {
        ListenerView {
            spec: held.spec.clone(),
            status: held.status.clone(),
        }
    }
}

impl Resource for ConnectionSpec {
    const KIND: &'static str = "tcp-connection";
    type View = ConnectionView;

    fn key(&self) -> &str {
        &self.name
    }

    fn shelf(state: &mut State) -> &mut Shelf<Self> {
        &mut state.connections
    }

    fn view(held: &Held<Self>) -> ConnectionView {
        ConnectionView {
            spec: held.spec.clone(),
            status: held.status.clone(),
        }
    }
}
