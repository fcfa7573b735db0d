//! Making a node have what a configuration says.

use culvert_manage::problem::Problem;

use super::inner::Inner;
use super::policies;
use super::resource::Resource;
use super::stored;
use crate::model::{Action, Desired, Difference, Differences, PolicySpec};

/// What is to be done about the resources of a kind.
struct Wanted<R> {
    gone: Vec<String>,
    new: Vec<R>,
    changed: Vec<R>,
    same: usize,
}

impl Inner {
    pub(super) fn apply(&self, desired: &Desired, dry_run: bool) -> Result<Differences, Problem> {
        // What makes no sense is found before anything is changed.
        let listeners = self.compare(&desired.tcp_listeners)?;
        let connections = self.compare(&desired.tcp_connections)?;
        let channels = self.compare(&desired.secure_channels)?;
        let outlets = self.compare(&desired.tcp_outlets)?;
        let relays = self.compare(&desired.relays)?;
        let inlets = self.compare(&desired.tcp_inlets)?;
        let mut done = Differences {
            dry_run,
            ..Differences::default()
        };
        self.apply_node(desired, &mut done)?;
        self.apply_policies(&desired.policies, &mut done)?;
        // Ports and names are free again before others want them.
        self.remove(&inlets, &mut done)?;
        self.remove(&relays, &mut done)?;
        self.remove(&outlets, &mut done)?;
        self.remove(&channels, &mut done)?;
        self.remove(&connections, &mut done)?;
        self.remove(&listeners, &mut done)?;
        self.make(listeners, &mut done)?;
        self.make(connections, &mut done)?;
        self.make(channels, &mut done)?;
        self.make(outlets, &mut done)?;
        self.make(relays, &mut done)?;
        self.make(inlets, &mut done)?;
        Ok(done)
    }

    fn apply_node(&self, desired: &Desired, done: &mut Differences) -> Result<(), Problem> {
        let mut current = self.spec();
        let mut wanted = desired.node.clone();
        wanted.name.clone_from(&current.name);
        if *current == wanted {
            return Ok(());
        }
        // How long streams have in the end is asked then; everything else at the start only.
        let only_drain = crate::model::NodeSpec {
            drain: current.drain,
            ..wanted.clone()
        };
        let action = match only_drain == *current {
            true => Action::Change,
            false => Action::Restart,
        };
        push(done, "node", &current.name, action);
        if !done.dry_run {
            let text =
                serde_json::to_string(&wanted).map_err(|error| Problem::failed(error, ""))?;
            let saved = self.changes().save_node(&current.name, &text, true);
            saved.map_err(stored)?;
            current.drain = wanted.drain;
        }
        Ok(())
    }

    fn apply_policies(&self, wanted: &[PolicySpec], done: &mut Differences) -> Result<(), Problem> {
        let there = self.policies()?;
        for policy in wanted {
            let text = policies::parse(&policy.allow)?.canonical();
            let wanted = PolicySpec {
                allow: text,
                ..policy.clone()
            };
            if there.contains(&wanted) {
                done.unchanged += 1;
                continue;
            }
            let is_new = there.iter().all(|there| {
                (&there.resource, &there.resource_type) != (&wanted.resource, &wanted.resource_type)
            });
            if !done.dry_run {
                self.set_policy(&wanted)?;
            }
            let name = wanted.resource.or(wanted.resource_type).unwrap_or_default();
            push(
                done,
                "policy",
                &name,
                if is_new {
                    Action::Create
                } else {
                    Action::Change
                },
            );
        }
        Ok(())
    }

    fn compare<R: Resource>(&self, desired: &[R]) -> Result<Wanted<R>, Problem> {
        let mut wanted = Wanted {
            gone: Vec::new(),
            new: Vec::new(),
            changed: Vec::new(),
            same: 0,
        };
        let mut kept = Vec::new();
        let mut state = self.state();
        let shelf = R::shelf(&mut state);
        for spec in desired {
            let mut spec = spec.clone();
            spec.check()?;
            // A listener on any port is the one that there is.
            let there = shelf
                .values()
                .find(|held| held.spec.key() == spec.key() || spec.is_met_by(&held.spec));
            let key = there
                .map_or_else(|| spec.key(), |held| held.spec.key())
                .to_owned();
            if kept.contains(&key) {
                return Err(Problem::invalid(
                    format!(
                        "there are two of the kind {} with the name '{key}'",
                        R::KIND
                    ),
                    "give each its own name",
                ));
            }
            kept.push(key);
            match there {
                Some(held) if spec.is_met_by(&held.spec) => wanted.same += 1,
                Some(_) => wanted.changed.push(spec),
                None => wanted.new.push(spec),
            }
        }
        let gone = shelf.keys().filter(|key| !kept.contains(key));
        wanted.gone = gone.cloned().collect();
        Ok(wanted)
    }

    fn remove<R: Resource>(
        &self,
        wanted: &Wanted<R>,
        done: &mut Differences,
    ) -> Result<(), Problem> {
        for key in &wanted.gone {
            if !done.dry_run {
                self.delete::<R>(key)?;
            }
            push(done, R::KIND, key, Action::Delete);
        }
        Ok(())
    }

    fn make<R: Resource>(&self, wanted: Wanted<R>, done: &mut Differences) -> Result<(), Problem> {
        done.unchanged += wanted.same;
        for spec in wanted.changed {
            let key = spec.key().to_owned();
            if !done.dry_run {
                self.replace(spec)?;
            }
            push(done, R::KIND, &key, Action::Change);
        }
        for spec in wanted.new {
            let key = spec.key().to_owned();
            if !done.dry_run {
                self.create(spec)?;
            }
            push(done, R::KIND, &key, Action::Create);
        }
        Ok(())
    }
}

fn push(done: &mut Differences, resource: &str, name: &str, action: Action) {
    done.differences.push(Difference {
        resource: resource.to_owned(),
        name: name.to_owned(),
        action,
    });
}
