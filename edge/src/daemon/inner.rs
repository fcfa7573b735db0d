//! What is behind a [`Manager`](super::Manager).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use culvert_manage::problem::{Kind, Problem};
use serde_json::{Value, json};

use super::NodeLock;
use super::resource::{Held, Resource, Shelf};
use crate::commands::now_s;
use crate::failure::Failure;
use crate::model::{
    ChannelSpec, ConnectionSpec, Created, Desired, Differences, InletSpec, ListenerSpec, NodeSpec,
    NodeView, OutletSpec, PolicySpec, RelaySpec, Versions,
};
use crate::store::Store;

/// Everything a node has, by kind.
#[derive(Default)]
pub(super) struct State {
    pub(super) inlets: Shelf<InletSpec>,
    pub(super) outlets: Shelf<OutletSpec>,
    pub(super) relays: Shelf<RelaySpec>,
    pub(super) channels: Shelf<ChannelSpec>,
    pub(super) listeners: Shelf<ListenerSpec>,
    pub(super) connections: Shelf<ConnectionSpec>,
}

pub(super) struct Inner {
    store: Store,
    spec: NodeSpec,
    started_at: u64,
    state: Mutex<State>,
    _lock: NodeLock,
}

impl Inner {
    pub(super) fn start(store: &Store, spec: NodeSpec, lock: NodeLock) -> Result<Self, Failure> {
        Ok(Self {
            store: store.clone(),
            spec,
            started_at: now_s(),
            state: Mutex::default(),
            _lock: lock,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn view(&self) -> NodeView {
        NodeView {
            spec: self.spec.clone(),
            identifier: String::new(),
            pid: std::process::id(),
            started_at: self.started_at,
            driver: String::new(),
            http_address: None,
            versions: Versions {
                program: env!("CARGO_PKG_VERSION").to_owned(),
                api: "1".to_owned(),
            },
            tcp_listeners: self.list::<ListenerSpec>(),
            tcp_connections: self.list::<ConnectionSpec>(),
            secure_channels: self.list::<ChannelSpec>(),
            relays: self.list::<RelaySpec>(),
            tcp_inlets: self.list::<InletSpec>(),
            tcp_outlets: self.list::<OutletSpec>(),
        }
    }

    pub(super) fn list<R: Resource>(&self) -> Vec<R::View> {
        R::shelf(&mut self.state()).values().map(R::view).collect()
    }

    pub(super) fn one<R: Resource>(&self, name: &str) -> Result<R::View, Problem> {
        let mut state = self.state();
        let found = R::shelf(&mut state).get(name).map(R::view);
        found.ok_or_else(|| missing::<R>(name))
    }

    pub(super) fn create<R: Resource>(&self, spec: R) -> Result<(Created, R::View), Problem> {
        let mut state = self.state();
        let shelf = R::shelf(&mut state);
        if let Some(held) = shelf.get(spec.key()) {
            return match held.spec == spec {
                true => Ok((Created::Same, R::view(held))),
                false => Err(Problem::conflict(
                    format!(
                        "there is a {} '{}' already, with other settings",
                        R::KIND,
                        spec.key()
                    ),
                    "change that one, or delete it first",
                )),
            };
        }
        let held = Held::new(spec);
        let view = R::view(&held);
        shelf.insert(held.spec.key().to_owned(), held);
        Ok((Created::New, view))
    }

    pub(super) fn replace<R: Resource>(&self, spec: R) -> Result<R::View, Problem> {
        let mut state = self.state();
        let shelf = R::shelf(&mut state);
        let held = shelf.get_mut(spec.key());
        let held = held.ok_or_else(|| missing::<R>(spec.key()))?;
        held.spec = spec;
        Ok(R::view(held))
    }

    pub(super) fn delete<R: Resource>(&self, name: &str) -> Result<(), Problem> {
        let mut state = self.state();
        let removed = R::shelf(&mut state).remove(name);
        removed.map(drop).ok_or_else(|| missing::<R>(name))
    }

    pub(super) fn apply(&self, _: &Desired, _: bool) -> Result<Differences, Problem> {
        Err(not_yet())
    }

    pub(super) fn policies(&self) -> Result<Vec<PolicySpec>, Problem> {
        Err(not_yet())
    }

    pub(super) fn set_policy(&self, _: &PolicySpec) -> Result<PolicySpec, Problem> {
        Err(not_yet())
    }

    pub(super) fn delete_policy(&self, _: Option<&str>, _: Option<&str>) -> Result<(), Problem> {
        Err(not_yet())
    }

    pub(super) fn inspect(&self) -> Result<Value, Problem> {
        Err(not_yet())
    }

    pub(super) fn denials(&self) -> Value {
        json!([])
    }

    pub(super) fn send_message(
        &self,
        _: &str,
        _: Vec<u8>,
        _: Duration,
    ) -> Result<Vec<u8>, Problem> {
        Err(not_yet())
    }

    pub(super) fn readiness(&self) -> Vec<(String, Result<(), String>)> {
        Vec::new()
    }

    pub(super) fn stop(&self, _: Option<Duration>) {}

    pub(super) fn reload(&self) -> Result<Differences, Problem> {
        Err(not_yet())
    }
}

fn not_yet() -> Problem {
    Problem::new(Kind::Failed, "this part is not written yet", "")
}

fn missing<R: Resource>(name: &str) -> Problem {
    Problem::not_found(
        format!("there is no {} '{name}'", R::KIND),
        format!("`culvert-edge {} list` shows all of them", R::KIND),
    )
}

/// Keeps the map type in one place.
pub(super) type Map<T> = BTreeMap<String, T>;
