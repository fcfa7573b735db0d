//! What of a node a configuration file may change.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Desired;
use super::differences::{ORDER, parts};

/// Names of resources and policies by kind: what a configuration file has made, so that it changes and
/// deletes nothing that was made by hand.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Names(BTreeSet<(String, String)>);

impl Names {
    /// These and others.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether something is among them.
    #[must_use]
    pub fn has(&self, kind: &str, name: &str) -> bool {
        // The set is small, and asked only when a file is applied.
        self.0.contains(&(kind.to_owned(), name.to_owned()))
    }
}

impl Desired {
    /// Whether a policy, by its key, is one that a resource brings itself.
    pub(super) fn has_own_policy(&self, key: &str) -> bool {
        let own = |name: &str, allow: &Option<String>| {
            allow.is_some() && key.strip_prefix("resource/") == Some(name)
        };
        let mut outlets = self.tcp_outlets.iter();
        let mut inlets = self.tcp_inlets.iter();
        outlets.any(|outlet| own(&outlet.name, &outlet.allow))
            || inlets.any(|inlet| own(&inlet.name, &inlet.allow))
    }

    /// The same with policies of outlets and inlets in it brought by these themselves. Which way a file
    /// says it makes no difference then.
    #[must_use]
    pub fn folded(mut self) -> Self {
        self.policies.retain(|policy| {
            let Some(name) = &policy.resource else {
                return true;
            };
            let outlets = self.tcp_outlets.iter_mut();
            let outlets = outlets
                .filter(|outlet| outlet.name == *name)
                .map(|outlet| &mut outlet.allow);
            let inlets = self.tcp_inlets.iter_mut();
            let inlets = inlets
                .filter(|inlet| inlet.name == *name)
                .map(|inlet| &mut inlet.allow);
            let mut is_alone = true;
            for allow in outlets.chain(inlets) {
                allow.get_or_insert_with(|| policy.allow.clone());
                is_alone = false;
            }
            is_alone
        });
        self
    }

    /// Names of everything in it.
    #[must_use]
    pub fn names(&self) -> Names {
        let keys = parts(self).into_keys().filter(|key| key.0 > 0);
        Names(
            keys.map(|(order, name)| (ORDER[order].to_owned(), name))
                .collect(),
        )
    }

    /// What of it a configuration file may change: what the file made before, and what it has now.
    ///
    /// Of what a node has this is `old` of [`differences`]; everything else was made by hand and stays.
    /// Something made by hand that the file has as well belongs to the file from then on.
    #[must_use]
    pub fn owned_by(&self, before: &Names, file: &Self) -> Self {
        let now = file.names();
        let owned = |kind: &str, name: &str| before.has(kind, name) || now.has(kind, name);
        let mut part = self.clone();
        part.policies
            .retain(|policy| owned("policy", &policy.key()));
        part.tcp_listeners
            .retain(|listener| owned("tcp-listener", &listener.address));
        part.tcp_connections
            .retain(|connection| owned("tcp-connection", &connection.name));
        part.secure_channels
            .retain(|channel| owned("secure-channel", &channel.name));
        part.relays.retain(|relay| owned("relay", &relay.name));
        part.tcp_outlets
            .retain(|outlet| owned("tcp-outlet", &outlet.name));
        part.tcp_inlets
            .retain(|inlet| owned("tcp-inlet", &inlet.name));
        part
    }
}
