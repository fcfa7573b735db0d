//! What is behind a [`Manager`](super::Manager).

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::time::Duration;

use culvert_manage::events::Events;
use culvert_manage::problem::{Kind, Problem};
use culvert_node::node::Node;
use culvert_node::shard::Shard;
use culvert_node::store::database::Database;
use culvert_node::store::projects::Project;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::NodeLock;
use super::resource::{Resource, Shelf, Streams};
use crate::model::{
    ChannelSpec, ConnectionSpec, Desired, Differences, InletSpec, ListenerSpec, NodeSpec, NodeView,
    OutletSpec, RelaySpec, State as Up,
};
use crate::store::Store;
use crate::trust::Standing;

/// How long a shard may take to start something.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// How long a shard may take to say what it has.
const LOOK: Duration = Duration::from_secs(5);

/// Everything a node has, by kind.
#[derive(Default)]
pub(super) struct State {
    pub(super) inlets: Shelf<InletSpec>,
    pub(super) outlets: Shelf<OutletSpec>,
    pub(super) relays: Shelf<RelaySpec>,
    pub(super) channels: Shelf<ChannelSpec>,
    pub(super) listeners: Shelf<ListenerSpec>,
    pub(super) connections: Shelf<ConnectionSpec>,
    /// What is stored and cannot be read, with the reason.
    pub(super) damaged: Vec<(String, String)>,
}

/// What wakes the process up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// It is to end, and streams have so long for that.
    Stop(Option<Duration>),
    /// A signal that came.
    Signal(i32),
}

/// Where the configuration that a node was started with comes from.
pub type Source = Box<dyn Fn() -> Result<Desired, Problem> + Send + Sync>;

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) spec: Mutex<NodeSpec>,
    pub(super) started_at: u64,
    pub(super) driver: &'static str,
    pub(super) standing: Standing,
    pub(super) project: Option<Project>,
    /// None once it is ending.
    pub(super) node: RwLock<Option<Node>>,
    /// Held during a change: there is one at a time.
    pub(super) changes: Mutex<Database>,
    pub(super) state: Mutex<State>,
    pub(super) events: Events,
    pub(super) news: Handle,
    /// The runtime of `news` ends when this is dropped.
    pub(super) _running: async_channel::Sender<()>,
    pub(super) wakes: mpsc::Sender<Wake>,
    pub(super) woken: Mutex<Option<mpsc::Receiver<Wake>>>,
    pub(super) http: Mutex<Option<String>>,
    pub(super) source: Mutex<Option<Source>>,
    /// Held while a configuration is applied.
    pub(super) applying: Mutex<()>,
    pub(super) lock: NodeLock,
}

/// What another thread panicked in is as it was before or after.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        held(&self.state)
    }

    pub(super) fn changes(&self) -> MutexGuard<'_, Database> {
        held(&self.changes)
    }

    pub(super) fn spec(&self) -> MutexGuard<'_, NodeSpec> {
        held(&self.spec)
    }

    pub(super) fn http(&self) -> MutexGuard<'_, Option<String>> {
        held(&self.http)
    }

    pub(super) fn source(&self) -> MutexGuard<'_, Option<Source>> {
        held(&self.source)
    }

    pub(super) fn applying(&self) -> MutexGuard<'_, ()> {
        held(&self.applying)
    }

    pub(super) fn name(&self) -> &str {
        self.lock.name()
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn project(&self) -> Option<&Project> {
        self.project.as_ref()
    }

    pub(super) fn news(&self) -> &Handle {
        &self.news
    }

    pub(super) fn events(&self) -> Events {
        self.events.clone()
    }

    /// Does something with the node.
    pub(super) fn with_node<T>(&self, what: impl FnOnce(&Node) -> T) -> Result<T, Problem> {
        let node = self.node.read().unwrap_or_else(PoisonError::into_inner);
        let ending = || {
            Problem::new(
                Kind::Unavailable,
                format!("the node '{}' is ending", self.name()),
                "start it again, then try again",
            )
        };
        node.as_ref().map(what).ok_or_else(ending)
    }

    /// Has every shard do something, and waits for all answers.
    pub(super) fn on_all<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Shard) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, Problem> {
        self.with_node(|node| {
            let (answer, answers) = mpsc::channel();
            for number in 0..node.shards() {
                let (what, answer) = (what.clone(), answer.clone());
                let asked = node.on_shard(number, move |shard| {
                    let _ = answer.send(what(shard));
                });
                asked.map_err(no_answer)?;
            }
            let answered = |_| answers.recv_timeout(ANSWER).map_err(no_answer);
            (0..node.shards()).map(answered).collect()
        })?
    }

    /// Has the first shard do something.
    pub(super) fn on_first(
        &self,
        what: impl FnOnce(&Shard) + Send + 'static,
    ) -> Result<(), Problem> {
        self.with_node(|node| node.on_shard(0, what))?
            .map_err(no_answer)
    }

    pub(super) fn view(&self) -> NodeView {
        NodeView {
            spec: self.spec().clone(),
            identifier: self.standing.identifier.to_string(),
            pid: std::process::id(),
            started_at: self.started_at,
            driver: self.driver.to_owned(),
            http_address: self.http().clone(),
            version: crate::VERSION.to_owned(),
            api_version: crate::api::VERSION.to_owned(),
            tcp_listeners: self.list::<ListenerSpec>(),
            tcp_connections: self.list::<ConnectionSpec>(),
            secure_channels: self.list::<ChannelSpec>(),
            relays: self.list::<RelaySpec>(),
            tcp_inlets: self.list::<InletSpec>(),
            tcp_outlets: self.list::<OutletSpec>(),
        }
    }

    pub(super) fn list<R: Resource>(&self) -> Vec<R::View> {
        let streams = self.streams::<R>();
        let mut state = self.state();
        let shelf = R::shelf(&mut state).values();
        shelf.map(|held| R::view(held, self, &streams)).collect()
    }

    pub(super) fn one<R: Resource>(&self, key: &str) -> Result<R::View, Problem> {
        let streams = self.streams::<R>();
        let mut state = self.state();
        let found = R::shelf(&mut state).get(key);
        found
            .map(|held| R::view(held, self, &streams))
            .ok_or_else(|| missing::<R>(key))
    }

    /// How many streams there are of each resource; none are said to be where the node does not answer.
    fn streams<R: Resource>(&self) -> Streams {
        if R::GUARDED.is_none() {
            return Streams::new();
        }
        let seen = self.with_node(Node::inspector);
        let seen = seen.ok().and_then(|inspector| inspector.inspect(LOOK).ok());
        seen.map_or_else(Streams::new, |seen| seen.streams_of)
    }

    pub(super) fn inspect(&self) -> Result<Value, Problem> {
        let inspector = self.with_node(Node::inspector)?;
        let seen = inspector.inspect(LOOK).map_err(no_answer)?;
        serde_json::to_value(seen).map_err(|error| Problem::failed(error, ""))
    }

    pub(super) fn denials(&self) -> Value {
        serde_json::to_value(self.standing.policies.denials()).unwrap_or_else(|_| json!([]))
    }

    pub(super) fn readiness(&self) -> Vec<(String, Result<(), String>)> {
        let mut state = self.state();
        let mut all: Vec<_> = state
            .damaged
            .iter()
            .map(|(what, reason)| (what.clone(), Err(reason.clone())))
            .collect();
        readiness_of::<ListenerSpec>(&mut state, &mut all);
        readiness_of::<ConnectionSpec>(&mut state, &mut all);
        readiness_of::<ChannelSpec>(&mut state, &mut all);
        readiness_of::<RelaySpec>(&mut state, &mut all);
        readiness_of::<OutletSpec>(&mut state, &mut all);
        readiness_of::<InletSpec>(&mut state, &mut all);
        all
    }

    pub(super) fn stop(&self, drain: Option<Duration>) {
        let _ = self.wakes.send(Wake::Stop(drain));
    }

    pub(super) fn reload(&self) -> Result<Differences, Problem> {
        let source = self.source();
        let source = source.as_ref().ok_or_else(|| {
            Problem::invalid(
                format!(
                    "the node '{}' was started without a configuration file",
                    self.name()
                ),
                "make it from a file: `culvert-edge node create FILE`, or `culvert-edge run -f FILE`",
            )
        })?;
        let desired = source()?;
        self.apply(&desired, false)
    }
}

fn readiness_of<R: Resource>(state: &mut State, all: &mut Vec<(String, Result<(), String>)>) {
    for (key, held) in R::shelf(state).iter() {
        let status = held.watch.status();
        let is_up = match status.state {
            Up::Up => Ok(()),
            Up::Connecting => Err("it is being set up".to_owned()),
            Up::Down => Err(status.reason.unwrap_or_default()),
        };
        all.push((format!("{} {key}", R::KIND), is_up));
    }
}

fn no_answer(error: impl std::fmt::Display) -> Problem {
    let message = format!("the node does not answer: {error}");
    Problem::failed(message, "restart it; its log may say more")
}

pub(super) fn missing<R: Resource>(key: &str) -> Problem {
    Problem::not_found(
        format!("there is no {} '{key}'", R::KIND),
        format!("`culvert-edge {} list` shows all of them", R::KIND),
    )
}
