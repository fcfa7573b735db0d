//! Changing what a node has: all of it, or nothing.

use culvert_manage::problem::Problem;
use culvert_node::store::database::Database;
use culvert_node::store::nodes::ResourceKey;
use culvert_proto::policy::Scope;

use super::inner::{Inner, missing};
use super::resource::{Held, Live, Resource, Scene};
use super::status::{Watch, tell};
use super::{policies, stored};
use crate::model::Created;

/// Most resources of a kind.
const MOST: usize = 1000;
/// Addresses that are taken on every node.
pub(crate) const TAKEN: [&str; 9] = [
    "api",
    "credential_issuer",
    "echo",
    "forwarding_service",
    "hop",
    "key_exchanger",
    "static_forwarding_service",
    "udp",
    "uppercase",
];

impl Inner {
    pub(super) fn create<R: Resource>(&self, mut spec: R) -> Result<(Created, R::View), Problem> {
        spec.check()?;
        let mut database = self.changes();
        let there = R::shelf(&mut self.state())
            .get(spec.key())
            .map(|held| held.spec.clone());
        if let Some(there) = there {
            return match spec.is_met_by(&there) {
                true => Ok((Created::Same, self.one::<R>(spec.key())?)),
                false => Err(Problem::conflict(
                    format!(
                        "there is a {} '{}' already, with other settings",
                        R::KIND,
                        spec.key()
                    ),
                    "change that one, delete it first, or choose another name",
                )),
            };
        }
        self.has_room::<R>(spec.key())?;
        self.somebody_may(&mut database, &spec, None)?;
        self.put(&mut database, spec, None)
            .map(|view| (Created::New, view))
    }

    pub(super) fn replace<R: Resource>(&self, mut spec: R) -> Result<R::View, Problem> {
        spec.check()?;
        let mut database = self.changes();
        let there = R::shelf(&mut self.state())
            .get(spec.key())
            .map(|held| held.spec.clone());
        let there = there.ok_or_else(|| missing::<R>(spec.key()))?;
        if spec.is_met_by(&there) {
            return self.one::<R>(spec.key());
        }
        self.somebody_may(&mut database, &spec, Some(&there))?;
        let bare = |spec: &R| spec.clone().with_policy(None);
        if bare(&spec).is_met_by(&bare(&there)) {
            return self.change_policy(&mut database, &spec, there);
        }
        self.put(&mut database, spec, Some(&there))
    }

    /// Only who may use it changes: what runs stays.
    fn change_policy<R: Resource>(
        &self,
        database: &mut Database,
        spec: &R,
        there: R,
    ) -> Result<R::View, Problem> {
        // What was completed when it was made, like a port, stays.
        let there = there.with_policy(spec.allow().map(str::to_owned));
        self.save(database, &there, true)?;
        let mut state = self.state();
        if let Some(held) = R::shelf(&mut state).get_mut(there.key()) {
            held.spec = there.clone();
        }
        drop(state);
        tell(&self.events, R::KIND, spec.key(), "changed", None);
        self.one::<R>(spec.key())
    }

    /// Stores a resource and the policy that comes with it; `had_policy` if its name may have one that
    /// is to go.
    fn save<R: Resource>(
        &self,
        database: &mut Database,
        spec: &R,
        had_policy: bool,
    ) -> Result<(), Problem> {
        let policy = spec.allow().map(policies::parse).transpose()?;
        let text = serde_json::to_string(spec).map_err(|error| Problem::failed(error, ""))?;
        let key = self.row::<R>(spec.key());
        let saved = database.save_resource(key, &text, policy.as_ref(), had_policy);
        saved.map_err(stored)?;
        self.refresh(database)
    }

    fn row<'a, R: Resource>(&'a self, key: &'a str) -> ResourceKey<'a> {
        ResourceKey {
            node: self.name(),
            kind: R::KIND,
            name: key,
        }
    }

    /// Prepares, stores and starts a resource, in place of `there`. When that fails everything is as it
    /// was.
    fn put<R: Resource>(
        &self,
        database: &mut Database,
        mut spec: R,
        there: Option<&R>,
    ) -> Result<R::View, Problem> {
        let key = spec.key().to_owned();
        let scope = Scope::Name(key.clone());
        let policy = database.policy(&scope).map_err(stored)?;
        let old = there.and_then(|_| R::shelf(&mut self.state()).get_mut(&key)?.live.take());
        let mut scene = Scene {
            inner: self,
            database,
            old: old.as_ref(),
            restored: false,
        };
        let plan = match spec.prepare(&mut scene) {
            Ok(plan) => plan,
            Err(problem) => return Err(self.keep::<R>(&key, old, problem)),
        };
        let had_policy = there.is_some_and(|there| there.allow().is_some());
        if let Err(problem) = self.save(database, &spec, had_policy) {
            return Err(self.keep::<R>(&key, old, problem));
        }
        if let Some(held) = R::shelf(&mut self.state()).get(&key) {
            held.watch.retire();
        }
        if let Some(old) = old {
            old.end(&key);
        }
        let watch = Watch::new(R::KIND, spec.key(), &self.events);
        match spec.start(self, plan, &watch) {
            Ok(live) => {
                let event = if there.is_some() {
                    "changed"
                } else {
                    "created"
                };
                let name = spec.key().to_owned();
                let live = Some(live);
                let entry = Held { spec, watch, live };
                R::shelf(&mut self.state()).insert(name.clone(), entry);
                tell(&self.events, R::KIND, &name, event, None);
                self.one::<R>(&name)
            }
            Err(problem) => {
                self.undo(database, &spec, there, &scope, policy.as_deref());
                Err(problem)
            }
        }
    }

    /// Leaves what runs as it is.
    fn keep<R: Resource>(&self, key: &str, old: Option<Live>, problem: Problem) -> Problem {
        if let Some(held) = R::shelf(&mut self.state()).get_mut(key) {
            held.live = old;
        }
        problem
    }

    /// Stores what was there before a change that failed. What cannot run now is tried again later.
    fn undo<R: Resource>(
        &self,
        database: &mut Database,
        spec: &R,
        there: Option<&R>,
        scope: &Scope,
        policy: Option<&str>,
    ) {
        let undone = match there {
            Some(there) => self.save(database, there, false),
            None => {
                let row = self.row::<R>(spec.key());
                let deleted = database.delete_resource(row, false);
                deleted.map(drop).map_err(stored)
            }
        };
        let undone = undone.and_then(|()| match spec.allow() {
            Some(_) => database.put_back_policy(scope, policy).map_err(stored),
            None => Ok(()),
        });
        if let Err(problem) = undone.and_then(|()| self.refresh(database)) {
            tracing::error!(%problem, "a change that failed could not be undone in the database");
        }
    }

    /// Whether one more can be made under this name.
    fn has_room<R: Resource>(&self, key: &str) -> Result<(), Problem> {
        let mut state = self.state();
        if R::shelf(&mut state).len() >= MOST {
            return Err(Problem::conflict(
                format!(
                    "this node has {MOST} of the kind {} already, and no more are possible",
                    R::KIND
                ),
                "delete some, or use another node",
            ));
        }
        if !R::HAS_ADDRESS {
            return Ok(());
        }
        let taken = [
            (TAKEN.contains(&key), "a service of every node"),
            (key.starts_with("forward_to_"), "kept for relays"),
            (state.outlets.contains_key(key), "an outlet"),
            (state.channels.contains_key(key), "a secure channel"),
            (state.connections.contains_key(key), "a TCP connection"),
        ];
        match taken.iter().find(|(is_taken, _)| *is_taken) {
            Some((_, by)) => Err(Problem::conflict(
                format!("the address '{key}' is {by}"),
                "choose another name",
            )),
            None => Ok(()),
        }
    }

    pub(super) fn delete<R: Resource>(&self, key: &str) -> Result<(), Problem> {
        let mut database = self.changes();
        let there = R::shelf(&mut self.state())
            .get(key)
            .map(|held| held.spec.clone());
        let there = there.ok_or_else(|| missing::<R>(key))?;
        let with_policy = there.allow().is_some();
        let deleted = database.delete_resource(self.row::<R>(key), with_policy);
        deleted.map_err(stored)?;
        let gone = R::shelf(&mut self.state()).remove(key);
        if let Some(gone) = gone {
            gone.watch.retire();
            if let Some(live) = gone.live {
                live.end(key);
            }
        }
        self.refresh(&mut database)?;
        tell(&self.events, R::KIND, key, "deleted", None);
        Ok(())
    }
}
