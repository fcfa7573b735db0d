//! Making a node have what a configuration says.
//!
//! A configuration owns what it made: it changes and deletes nothing else. Names of that are stored
//! beside the resources.

use std::net::SocketAddr;

use culvert_manage::problem::Problem;
use culvert_node::store::nodes::ResourceKey;

use super::inner::Inner;
use super::resource::Resource;
use super::{policies, stored};
use crate::model::{
    Action, ChannelSpec, ConnectionSpec, Desired, Difference, Differences, ListenerSpec, Names,
    NodeSpec, OutletSpec, RelaySpec, differences,
};

/// Kind and name of the row with the names of what a configuration made.
const OWNED: (&str, &str) = ("configuration", "names");

impl Inner {
    /// Carries out what differs; all of it or, where something cannot be done, nothing.
    pub(super) fn apply(&self, desired: &Desired, dry_run: bool) -> Result<Differences, Problem> {
        let _alone = self.applying();
        // What makes no sense is found before anything is changed.
        let mut wanted = checked(desired.clone().folded())?;
        self.name().clone_into(&mut wanted.node.name);
        let have = self.desired()?;
        let before = self.owned()?;
        take_listeners(&mut wanted, &have);
        let old = have.owned_by(&before, &wanted);
        let mut found = differences(&old, &wanted);
        found.dry_run = dry_run;
        if dry_run {
            return Ok(found);
        }
        // What is made and then lost track of would stay for ever: it is written down first.
        self.save_owned(&before.clone().with(wanted.names()))?;
        for difference in &found.differences {
            if let Err(problem) = self.carry_out(difference, &mut wanted) {
                self.put_back(&old, &wanted, &before);
                return Err(problem);
            }
        }
        self.settle_policies(&wanted)?;
        self.save_owned(&wanted.names())?;
        Ok(found)
    }

    /// Everything that the node has.
    fn desired(&self) -> Result<Desired, Problem> {
        Ok(Desired {
            node: self.spec().clone(),
            policies: self.policies()?,
            relays: self.specs(),
            tcp_outlets: self.specs(),
            tcp_inlets: self.specs(),
            secure_channels: self.specs(),
            tcp_listeners: self.specs(),
            tcp_connections: self.specs(),
        })
    }

    fn specs<R: Resource>(&self) -> Vec<R> {
        let mut state = self.state();
        let shelf = R::shelf(&mut state).values();
        shelf.map(|held| held.spec.clone()).collect()
    }

    /// Names of what a configuration made.
    fn owned(&self) -> Result<Names, Problem> {
        let rows = self.changes().resources(self.name(), OWNED.0);
        let rows = rows.map_err(stored)?;
        let row = rows.iter().find(|(name, _)| name == OWNED.1);
        let names = row.map(|(_, text)| serde_json::from_str(text));
        // Names that cannot be read own nothing: better too much stays than too little.
        Ok(names.and_then(Result::ok).unwrap_or_default())
    }

    fn save_owned(&self, names: &Names) -> Result<(), Problem> {
        let text = serde_json::to_string(names).map_err(|error| Problem::failed(error, ""))?;
        let key = ResourceKey {
            node: self.name(),
            kind: OWNED.0,
            name: OWNED.1,
        };
        let saved = self.changes().save_resource(key, &text, None, false);
        saved.map_err(stored)
    }

    fn carry_out(&self, difference: &Difference, wanted: &mut Desired) -> Result<(), Problem> {
        match difference.resource.as_str() {
            "node" => self.apply_node(&wanted.node),
            "policy" => self.apply_policy(difference, wanted),
            ListenerSpec::KIND => {
                let made = self.make(difference, &wanted.tcp_listeners)?;
                if let Some(spec) = made {
                    // A picked port is what it is called by from now on.
                    let asked = |listener: &&mut ListenerSpec| listener.address == difference.name;
                    let mut listeners = wanted.tcp_listeners.iter_mut();
                    if let Some(listener) = listeners.find(asked) {
                        *listener = spec;
                    }
                }
                Ok(())
            }
            ConnectionSpec::KIND => self.make(difference, &wanted.tcp_connections).map(drop),
            ChannelSpec::KIND => self.make(difference, &wanted.secure_channels).map(drop),
            RelaySpec::KIND => self.make(difference, &wanted.relays).map(drop),
            OutletSpec::KIND => self.make(difference, &wanted.tcp_outlets).map(drop),
            _ => self.make(difference, &wanted.tcp_inlets).map(drop),
        }
    }

    /// Creates, changes or deletes a resource; what is there then, if it is new.
    fn make<R: Resource>(&self, difference: &Difference, all: &[R]) -> Result<Option<R>, Problem> {
        if difference.action == Action::Delete {
            return self.delete::<R>(&difference.name).map(|()| None);
        }
        let spec = all.iter().find(|spec| spec.key() == difference.name);
        let Some(spec) = spec.cloned() else {
            return Ok(None);
        };
        if difference.action == Action::Change {
            return self.replace(spec).map(|_| None);
        }
        let before = self.specs::<R>();
        let was_there = |key: &str| before.iter().any(|has| has.key() == key);
        self.create(spec)?;
        let mut now = self.specs::<R>().into_iter();
        Ok(now.find(|has| !was_there(has.key())))
    }

    /// How long streams have in the end is asked then; everything else at the next start.
    fn apply_node(&self, wanted: &NodeSpec) -> Result<(), Problem> {
        let text = serde_json::to_string(wanted).map_err(|error| Problem::failed(error, ""))?;
        let saved = self.changes().save_node(self.name(), &text, true);
        saved.map_err(stored)?;
        self.spec().drain = wanted.drain;
        Ok(())
    }

    fn apply_policy(&self, difference: &Difference, wanted: &Desired) -> Result<(), Problem> {
        let named = wanted.policies.iter();
        let mut named = named.filter(|policy| policy.key() == difference.name);
        if let Some(policy) = named.next() {
            return self.set_policy(policy).map(drop);
        }
        match difference.name.split_once('/') {
            Some(("type", kind)) => self.delete_policy(None, Some(kind)),
            Some((_, name)) => self.delete_policy(Some(name), None),
            None => Ok(()),
        }
    }

    /// A resource takes the policy of its name along when it goes, or brings none any more.
    fn settle_policies(&self, wanted: &Desired) -> Result<(), Problem> {
        let there = self.policies()?;
        for policy in wanted
            .policies
            .iter()
            .filter(|policy| !there.contains(policy))
        {
            self.set_policy(policy)?;
        }
        Ok(())
    }

    /// Undoes what was carried out of a configuration, as far as that is possible.
    fn put_back(&self, old: &Desired, wanted: &Desired, owned: &Names) {
        let _ = self.apply_node(&old.node);
        let Ok(have) = self.desired() else { return };
        let mut old = old.clone();
        let made = have.owned_by(&wanted.names().with(owned.clone()), &old);
        for difference in &differences(&made, &old).differences {
            if let Err(problem) = self.carry_out(difference, &mut old) {
                let (resource, name) = (&difference.resource, &difference.name);
                tracing::error!(resource, name, %problem, "a configuration could not be undone");
            }
        }
        let settled = self.settle_policies(&old);
        if let Err(problem) = settled.and_then(|()| self.save_owned(owned)) {
            tracing::error!(%problem, "a configuration could not be undone");
        }
    }
}

/// Brings everything into the form that is stored.
fn checked(mut desired: Desired) -> Result<Desired, Problem> {
    check(&mut desired.tcp_listeners)?;
    check(&mut desired.tcp_connections)?;
    check(&mut desired.secure_channels)?;
    check(&mut desired.relays)?;
    check(&mut desired.tcp_outlets)?;
    check(&mut desired.tcp_inlets)?;
    for policy in &mut desired.policies {
        policy.allow = policies::parse(&policy.allow)?.canonical();
    }
    Ok(desired)
}

fn check<R: Resource>(specs: &mut [R]) -> Result<(), Problem> {
    let mut keys = Vec::new();
    for spec in specs {
        spec.check()?;
        let key = spec.key().to_owned();
        if keys.contains(&key) {
            return Err(Problem::invalid(
                format!(
                    "there are two of the kind {} with the name '{key}'",
                    R::KIND
                ),
                "give each its own name",
            ));
        }
        keys.push(key);
    }
    Ok(())
}

/// A listener on any port is the one that there is.
fn take_listeners(wanted: &mut Desired, have: &Desired) {
    let parsed = |listener: &ListenerSpec| listener.address.parse::<SocketAddr>().ok();
    for index in 0..wanted.tcp_listeners.len() {
        let Some(asked) = parsed(&wanted.tcp_listeners[index]).filter(|at| at.port() == 0) else {
            continue;
        };
        let mut there = have.tcp_listeners.iter();
        let found = there.find(|there| {
            parsed(there).is_some_and(|at| at.ip() == asked.ip())
                && !wanted.tcp_listeners.contains(there)
        });
        if let Some(found) = found {
            wanted.tcp_listeners[index] = found.clone();
        }
    }
}
