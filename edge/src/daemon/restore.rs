//! Starting a node, and everything that is stored for it.

use std::rc::Rc;
use std::sync::{Arc, Mutex, RwLock, Weak, mpsc};
use std::time::Duration;

use culvert_crypto::trust::Trust;
use culvert_manage::events::Events;
use culvert_manage::problem::Problem;
use culvert_node::authority::Authority;
use culvert_node::channel::{API, ChannelListener};
use culvert_node::control;
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::shard::Shard;
use culvert_node::store::database::Database;
use culvert_node::store::projects::Project;
use tokio::runtime::Handle;

use super::NodeLock;
use super::inner::{Inner, State};
use super::resource::{Held, Live, Resource, Scene};
use super::status::Watch;
use crate::commands::now_s;
use crate::failure::Failure;
use crate::model::{
    ChannelSpec, ConnectionSpec, InletSpec, ListenerSpec, NodeSpec, OutletSpec, RelaySpec,
};
use crate::portal::{STALL_TIMEOUT_MS, add, open_services};
use crate::process;
use crate::store::{DEFAULT_NAME, Store, StoreError};
use crate::trust::{Membership, Standing};

/// How often what cannot run is tried again.
const AGAIN: Duration = Duration::from_secs(2);

impl Inner {
    /// Starts the node and everything that is stored for it.
    pub(super) fn start(
        store: &Store,
        spec: NodeSpec,
        lock: NodeLock,
    ) -> Result<Arc<Self>, Failure> {
        let mut database = Database::open(store.home())?;
        if let Some(what) = database.check_integrity()? {
            let path = store.home().join("culvert.db");
            return Err(StoreError::Corrupt { path, what }.into());
        }
        let (membership, project) = membership(&mut database, &spec)?;
        let standing = Standing::new(store, &membership)?;
        process::set_process_up();
        let node = start_node(&spec, &standing)?;
        let (news, running) = news()?;
        let (wakes, woken) = mpsc::channel();
        let inner = Arc::new(Self {
            store: store.clone(),
            spec: Mutex::new(spec),
            started_at: now_s(),
            driver: node.driver(),
            standing,
            project,
            node: RwLock::new(Some(node)),
            changes: Mutex::new(database),
            state: Mutex::default(),
            events: Events::new(),
            news,
            _running: running,
            wakes,
            woken: Mutex::new(Some(woken)),
            http: Mutex::default(),
            source: Mutex::default(),
            applying: Mutex::default(),
            lock,
        });
        inner.restore_all().map_err(Failure::from)?;
        let again = Arc::downgrade(&inner);
        std::thread::Builder::new()
            .name("again".into())
            .spawn(move || try_again(&again))
            .map_err(no_thread)?;
        Ok(inner)
    }

    fn restore_all(&self) -> Result<(), Problem> {
        self.restore::<ListenerSpec>()?;
        self.restore::<ConnectionSpec>()?;
        self.restore::<ChannelSpec>()?;
        self.restore::<OutletSpec>()?;
        self.restore::<RelaySpec>()?;
        self.restore::<InletSpec>()
    }

    fn restore<R: Resource>(&self) -> Result<(), Problem> {
        let mut database = self.changes();
        let rows = database.resources(self.name(), R::KIND);
        for (key, text) in rows.map_err(super::stored)? {
            let spec: R = match serde_json::from_str(&text) {
                Ok(spec) => spec,
                Err(error) => {
                    let reason = format!("what is stored about it cannot be read: {error}");
                    let what = format!("{} {key}", R::KIND);
                    tracing::error!(what, reason, "left out");
                    self.state().damaged.push((what, reason));
                    continue;
                }
            };
            let watch = Watch::new(R::KIND, &key, &self.events());
            let live = self.bring_up(&mut database, &spec, &watch);
            let entry = Held { spec, watch, live };
            R::shelf(&mut self.state()).insert(key, entry);
        }
        Ok(())
    }

    /// Starts what is stored; none, and it is down, when that does not work now.
    fn bring_up<R: Resource>(
        &self,
        database: &mut Database,
        spec: &R,
        watch: &Arc<Watch>,
    ) -> Option<Live> {
        let mut scene = Scene {
            inner: self,
            database,
            old: None,
            restored: true,
        };
        let prepared = spec.clone().prepare(&mut scene);
        match prepared.and_then(|plan| spec.start(self, plan, watch)) {
            Ok(live) => Some(live),
            Err(problem) => {
                let name = spec.key();
                if watch.status().reason.as_ref() != Some(&problem.message) {
                    tracing::warn!(kind = R::KIND, name, %problem, hint = problem.hint, "down");
                }
                watch.down(problem.message, Some(AGAIN));
                None
            }
        }
    }

    /// Tries what cannot run once more.
    fn revive<R: Resource>(&self) {
        let waiting = |state: &mut State| -> Vec<String> {
            let shelf = R::shelf(state).iter();
            let waiting = shelf.filter(|(_, held)| held.live.is_none());
            waiting.map(|(key, _)| key.clone()).collect()
        };
        if waiting(&mut self.state()).is_empty() {
            return;
        }
        let mut database = self.changes();
        // During a change what is changed does not run either.
        let waiting = waiting(&mut self.state());
        for key in waiting {
            let found = R::shelf(&mut self.state())
                .get(&key)
                .map(|held| (held.spec.clone(), Arc::clone(&held.watch)));
            let Some((spec, watch)) = found else { continue };
            let live = self.bring_up(&mut database, &spec, &watch);
            if let Some(held) = R::shelf(&mut self.state()).get_mut(&key) {
                held.live = live;
            }
        }
    }
}

fn try_again(inner: &Weak<Inner>) {
    loop {
        std::thread::sleep(AGAIN);
        let Some(inner) = inner.upgrade() else { return };
        inner.revive::<ListenerSpec>();
        inner.revive::<ConnectionSpec>();
        inner.revive::<ChannelSpec>();
        inner.revive::<OutletSpec>();
        inner.revive::<RelaySpec>();
        inner.revive::<InletSpec>();
    }
}

/// As whom a node runs and whom it believes.
fn membership(
    database: &mut Database,
    spec: &NodeSpec,
) -> Result<(Membership, Option<Project>), Failure> {
    let projects = database.projects()?;
    let is_own = |project: &&Project| match &spec.identity {
        Some(identity) => project.identity == *identity,
        None => true,
    };
    let project = match &spec.project {
        // What is wrong with it is said when it is used.
        Some(name) => projects.iter().find(|project| project.name == *name),
        None => {
            let mut own = projects.iter().filter(is_own);
            own.next().filter(|_| own.next().is_none())
        }
    };
    if let (Some(project), Some(identity)) = (project, &spec.identity)
        && project.identity != *identity
    {
        return Err(Failure::usage(
            format!(
                "the identity '{}' is the member of the project '{}', not '{identity}'",
                project.identity, project.name
            ),
            "leave the identity out, or choose another project",
        ));
    }
    let mut authorities = Vec::new();
    for history in &spec.authorities {
        let read = Authority::parse(history);
        authorities
            .push(read.map_err(|error| Failure::usage(format!("authorities: {error}"), ""))?);
    }
    let identity = project.map(|project| project.identity.clone());
    let membership = Membership {
        identity: identity
            .or_else(|| spec.identity.clone())
            .unwrap_or_else(|| DEFAULT_NAME.to_owned()),
        project: project
            .map(|project| project.name.clone())
            .or_else(|| spec.project.clone()),
        authorities,
        credential: None,
    };
    Ok((membership, project.cloned()))
}

fn start_node(spec: &NodeSpec, standing: &Standing) -> Result<Node, Failure> {
    let config = NodeConfig {
        shards: spec.shards.into(),
        listen: None,
        limits: Limits {
            stall_timeout_ms: STALL_TIMEOUT_MS,
            memory: control::memory_for_messages(spec.max_memory),
            ..Limits::default()
        },
    };
    let (standing, trace) = (standing.clone(), spec.trace);
    let setup = move |shard: &Shard| {
        shard.trace_streams(trace);
        set_up(shard, &standing);
    };
    Node::start(&config, setup).map_err(|error| {
        let hint = "see the message; `ulimit -l` shows the limit of locked memory";
        Failure::new(format!("cannot start: {error}"), hint)
    })
}

/// What every node has: services that show that it is alive, and a listener for secure channels.
fn set_up(shard: &Shard, standing: &Standing) {
    open_services(shard, false);
    if shard.number() == 0 {
        standing.keep_fresh(shard);
    }
    // Everybody may try; policies decide about channels and about what is behind them.
    let credentials = standing.credentials(&Trust::Anyone);
    let listener = ChannelListener::new(credentials, shard.accepted_channels_flow());
    add(
        shard,
        API,
        Rc::new(listener.guarded(standing.channels())),
        |key| {
            shard.open_to_all(key);
            // A channel inside a channel.
            shard.open_to_channels(key);
        },
    );
}

/// A thread for what sessions report; it ends with the sender.
fn news() -> Result<(Handle, async_channel::Sender<()>), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(no_thread)?;
    let handle = runtime.handle().clone();
    let (running, ended) = async_channel::bounded::<()>(1);
    std::thread::Builder::new()
        .name("news".into())
        .spawn(move || {
            let _ = runtime.block_on(ended.recv());
        })
        .map_err(no_thread)?;
    Ok((handle, running))
}

fn no_thread(error: std::io::Error) -> Failure {
    Failure::new(format!("cannot start a thread: {error}"), "see `ulimit -u`")
}
