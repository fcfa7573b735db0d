//! What has to be done to come from one configuration of a node to another.

use std::collections::BTreeMap;

use culvert_proto::policy::{Mode, Policy, Scope};
use serde::Serialize;
use serde_json::Value;

use super::{Action, Desired, Difference, Differences, PolicySpec};
use crate::endpoint::HostPort;

/// Kinds in the order in which what is new or changed is set up: who may use a portal before the portal,
/// and what others lead through before them. What goes, goes in the opposite order, before.
pub(super) const ORDER: [&str; 8] = [
    "node",
    "policy",
    "tcp-listener",
    "tcp-connection",
    "secure-channel",
    "relay",
    "tcp-outlet",
    "tcp-inlet",
];

/// The setting of a node that can be changed while it runs.
const LIVE: &str = "drain";

/// Something a node has, by its place in [`ORDER`] and its name.
pub(super) type Key = (usize, String);

/// What to do, in the order in which to do it: what a portal may be used by is narrowed or widened
/// first; then what goes frees its ports and names; then the rest is set up. Policies go last, when what
/// they guarded is gone.
///
/// What is the same in both is not touched: its streams go on. Port 0 is the same as whatever port was
/// picked for it, and the two notations of a policy are the same policy.
#[must_use]
pub fn differences(old: &Desired, new: &Desired) -> Differences {
    let (before, after) = (parts(old), parts(new));
    let mut found = Differences::default();
    let mut gone = Vec::new();
    let mut policies_gone = Vec::new();
    let mut made = Vec::new();
    for (key, was) in &before {
        match after.get(key) {
            Some(is) if same(was, is) => found.unchanged += usize::from(key.0 > 0),
            Some(is) => made.push((key, changed(key, was, is))),
            None if key.0 == 0 => made.push((key, difference(key, Action::Restart, false))),
            // It stays, as that of the resource.
            None if is_policy(key) && new.has_own_policy(&key.1) => found.unchanged += 1,
            None if is_policy(key) => policies_gone.push(difference(key, Action::Delete, false)),
            None => gone.push(difference(key, Action::Delete, true)),
        }
    }
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        let action = match key.0 {
            0 => Action::Restart,
            _ => Action::Create,
        };
        made.push((key, difference(key, action, false)));
    }
    made.sort_by_key(|(key, _)| *key);
    let (first, last): (Vec<_>, Vec<_>) = made
        .into_iter()
        .partition(|(key, _)| key.0 == 0 || is_policy(key));
    let (first, last) = (first.into_iter(), last.into_iter());
    found.differences = first
        .map(|(_, difference)| difference)
        .chain(gone.into_iter().rev())
        .chain(last.map(|(_, difference)| difference))
        .chain(policies_gone)
        .collect();
    found
}

fn is_policy(key: &Key) -> bool {
    ORDER[key.0] == "policy"
}

fn difference((order, name): &Key, action: Action, ends_streams: bool) -> Difference {
    Difference {
        resource: ORDER[*order].to_owned(),
        name: name.clone(),
        action,
        ends_streams,
    }
}

fn changed(key: &Key, was: &Value, is: &Value) -> Difference {
    if key.0 == 0 {
        let action = match key.1.as_str() {
            LIVE => Action::Change,
            _ => Action::Restart,
        };
        return difference(key, action, false);
    }
    let mut without_policy = [was.clone(), is.clone()];
    for value in &mut without_policy {
        value.as_object_mut().map(|object| object.remove("allow"));
    }
    let [was, is] = &without_policy;
    difference(key, Action::Change, !is_policy(key) && !same(was, is))
}

/// Whether two resources are the same, apart from a port that was picked.
fn same(was: &Value, is: &Value) -> bool {
    if was == is {
        return true;
    }
    let (Some(was), Some(is)) = (was.as_object(), is.as_object()) else {
        return false;
    };
    was.len() == is.len()
        && is.iter().all(|(key, value)| match was.get(key) {
            Some(other) if key == "from" => picked(other, value),
            other => other == Some(value),
        })
}

/// Whether an address is the one asked for, where port 0 stands for any.
fn picked(had: &Value, wanted: &Value) -> bool {
    let read = |value: &Value| {
        value
            .as_str()
            .and_then(|text| HostPort::parse_local(text).ok())
    };
    match (read(had), read(wanted)) {
        (Some(had), Some(wanted)) => {
            had.host == wanted.host && (wanted.port == 0 || wanted.port == had.port)
        }
        _ => had == wanted,
    }
}

/// Everything in a configuration, as JSON by kind and name; a node by its settings.
pub(super) fn parts(desired: &Desired) -> BTreeMap<Key, Value> {
    let mut parts = BTreeMap::new();
    let mut add = |kind: &str, name: String, value: Value| {
        if let Some(order) = ORDER.iter().position(|known| *known == kind) {
            parts.insert((order, name), value);
        }
    };
    if let Value::Object(settings) = json(&desired.node) {
        for (name, value) in settings {
            add("node", name, value);
        }
    }
    for policy in &desired.policies {
        add("policy", policy.key(), canonical(&policy.allow).into());
    }
    for listener in &desired.tcp_listeners {
        add("tcp-listener", listener.address.clone(), Value::Null);
    }
    for connection in &desired.tcp_connections {
        add("tcp-connection", connection.name.clone(), json(connection));
    }
    for channel in &desired.secure_channels {
        add("secure-channel", channel.name.clone(), json(channel));
    }
    for relay in &desired.relays {
        add("relay", relay.name.clone(), json(relay));
    }
    for outlet in &desired.tcp_outlets {
        add("tcp-outlet", outlet.name.clone(), json(outlet));
    }
    for inlet in &desired.tcp_inlets {
        add("tcp-inlet", inlet.name.clone(), json(inlet));
    }
    parts
}

/// A spec as JSON, its policy in the one notation.
fn json(spec: &impl Serialize) -> Value {
    // Plain structs always can be written.
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(Value::String(allow)) = value.get_mut("allow") {
        *allow = canonical(allow);
    }
    value
}

fn canonical(allow: &str) -> String {
    match Policy::parse(allow, Mode::Strict) {
        Ok(policy) => policy.canonical(),
        Err(_) => allow.to_owned(),
    }
}

impl PolicySpec {
    /// As it is stored.
    #[must_use]
    pub fn new(scope: Scope, allow: String) -> Self {
        let (resource, resource_type) = match scope {
            Scope::Name(name) => (Some(name), None),
            Scope::Type(kind) => (None, Some(kind.as_str().to_owned())),
        };
        Self {
            resource,
            resource_type,
            allow,
        }
    }

    /// What tells it from others: `resource/NAME` or `type/TYPE`.
    #[must_use]
    pub fn key(&self) -> String {
        match (&self.resource, &self.resource_type) {
            (Some(name), _) => format!("resource/{name}"),
            (None, kind) => format!("type/{}", kind.as_deref().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        ChannelSpec, ConnectionSpec, InletSpec, ListenerSpec, Names, NodeSpec, OutletSpec,
        RelaySpec,
    };

    fn inlet(name: &str, from: &str, allow: Option<&str>) -> InletSpec {
        InletSpec {
            name: name.into(),
            from: from.into(),
            via: Some("db".into()),
            allow: allow.map(str::to_owned),
            ..InletSpec::default()
        }
    }

    fn node(inlets: &[InletSpec]) -> Desired {
        Desired {
            tcp_inlets: inlets.to_vec(),
            ..Desired::only(NodeSpec::named("n"))
        }
    }

    fn said(differences: &Differences) -> Vec<String> {
        let one = |d: &Difference| {
            let end = if d.ends_streams { "!" } else { "" };
            format!("{:?} {} {}{end}", d.action, d.resource, d.name)
        };
        differences.differences.iter().map(one).collect()
    }

    #[test]
    fn only_what_differs_is_touched() {
        let old = node(&[
            inlet("a", "1", None),
            inlet("b", "2", Some("web")),
            inlet("c", "3", None),
            inlet("d", "4", None),
        ]);
        let new = node(&[
            inlet("a", "1", None),
            inlet("b", "2", Some("web and not trial")),
            inlet("c", "5", None),
            inlet("e", "4", None),
        ]);
        let found = differences(&old, &new);
        let expected = [
            "Delete tcp-inlet d!",
            "Change tcp-inlet b",
            "Change tcp-inlet c!",
            "Create tcp-inlet e",
        ];
        assert_eq!(said(&found), expected);
        assert_eq!(found.unchanged, 1);
    }

    #[test]
    fn notations_and_picked_ports_make_no_difference() {
        let old = node(&[inlet(
            "a",
            "127.0.0.1:40001",
            Some("(= subject.web \"true\")"),
        )]);
        let new = node(&[inlet("a", "0", Some("web"))]);
        assert_eq!(said(&differences(&old, &new)), Vec::<String>::new());
        let other = node(&[inlet("a", "0.0.0.0:0", Some("web"))]);
        assert_eq!(said(&differences(&old, &other)), ["Change tcp-inlet a!"]);
    }

    #[test]
    fn who_may_is_settled_before_anything_opens() {
        let mut old = node(&[inlet("a", "1", None)]);
        old.relays.push(RelaySpec {
            name: "r".into(),
            ..RelaySpec::default()
        });
        let policy = |name: &str| PolicySpec {
            resource: Some(name.into()),
            resource_type: None,
            allow: "web".into(),
        };
        old.policies.push(policy("a"));
        let mut new = node(&[]);
        new.policies.push(policy("o"));
        new.tcp_outlets.push(OutletSpec {
            name: "o".into(),
            ..OutletSpec::default()
        });
        new.node.drain = 20;
        new.node.shards = 2;
        let expected = [
            "Change node drain",
            "Restart node shards",
            "Create policy resource/o",
            "Delete tcp-inlet a!",
            "Delete relay r!",
            "Create tcp-outlet o",
            "Delete policy resource/a",
        ];
        assert_eq!(said(&differences(&old, &new)), expected);
    }

    #[test]
    fn what_was_made_by_hand_stays() {
        let file = node(&[inlet("a", "1", None), inlet("b", "2", None)]);
        let has = node(&[
            inlet("a", "1", None),
            inlet("b", "2", None),
            inlet("hand", "3", None),
            inlet("taken", "4", None),
        ]);
        let next = node(&[inlet("a", "1", None), inlet("taken", "5", None)]);
        let found = differences(&has.owned_by(&file.names(), &next), &next);
        assert_eq!(
            said(&found),
            ["Delete tcp-inlet b!", "Change tcp-inlet taken!"]
        );
        let text = serde_json::to_string(&file.names()).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Names>(&text).expect("names"),
            file.names()
        );
    }

    #[test]
    fn policies_are_the_same_wherever_they_are_said() {
        let mut beside = node(&[inlet("a", "1", None), inlet("b", "2", None)]);
        for name in ["a", "x"] {
            beside.policies.push(PolicySpec {
                resource: Some(name.into()),
                resource_type: None,
                allow: "web".into(),
            });
        }
        let inside = node(&[inlet("a", "1", Some("web")), inlet("b", "2", None)]);
        let folded = beside.clone().folded();
        assert_eq!(folded.tcp_inlets, inside.tcp_inlets);
        assert_eq!(folded.policies, beside.policies[1..]);
        // The policy that was set by itself stays when the inlet brings it.
        let found = differences(&beside, &inside);
        assert_eq!(
            said(&found),
            ["Change tcp-inlet a", "Delete policy resource/x"]
        );
    }

    /// Does what is said, with maps of names.
    fn applied(old: &Desired, new: &Desired, found: &Differences) -> BTreeMap<Key, Value> {
        let (mut have, wanted) = (parts(old), parts(new));
        for difference in &found.differences {
            let order = ORDER.iter().position(|kind| *kind == difference.resource);
            let key = (order.expect("a kind"), difference.name.clone());
            let want = wanted.get(&key);
            match difference.action {
                Action::Create => assert!(have.insert(key, want.expect("new").clone()).is_none()),
                Action::Change => assert!(have.insert(key, want.expect("new").clone()).is_some()),
                Action::Delete => assert!(have.remove(&key).is_some()),
                Action::Restart => {
                    have.remove(&key);
                    have.extend(want.map(|want| (key, want.clone())));
                }
            }
        }
        // Those are the resources' own now.
        have.retain(|key, _| !is_taken_over(key, new));
        have
    }

    /// Whether a policy is one that a resource brings from now on.
    fn is_taken_over(key: &Key, new: &Desired) -> bool {
        is_policy(key) && !parts(new).contains_key(key) && new.has_own_policy(&key.1)
    }

    fn any_desired() -> impl Strategy<Value = Desired> {
        let name = || prop::sample::select(vec!["a", "b", "c", "d"]);
        let names = || prop::collection::btree_map(name(), 0..3u8, 0..4);
        let few = (names(), names(), names(), names(), names(), names());
        (few, names(), 0..2u64, 0..2u8).prop_map(|(few, policies, drain, shards)| {
            let mut desired = node(&[]);
            desired.node.drain = drain;
            desired.node.shards = shards;
            let text = |number: u8| number.to_string();
            let inlets = few.0.into_iter();
            desired.tcp_inlets = inlets
                .map(|(name, number)| inlet(name, &format!("{}", 1000 + u16::from(number)), None))
                .collect();
            let outlets = few.1.into_iter();
            desired.tcp_outlets = outlets
                .map(|(name, number)| OutletSpec {
                    name: name.into(),
                    to: text(number),
                    allow: (number == 1).then(|| "web".into()),
                    ..OutletSpec::default()
                })
                .collect();
            let relays = few.2.into_iter();
            desired.relays = relays
                .map(|(name, number)| RelaySpec {
                    name: name.into(),
                    at: Some(text(number)),
                    ..RelaySpec::default()
                })
                .collect();
            let channels = few.3.into_iter();
            desired.secure_channels = channels
                .map(|(name, number)| ChannelSpec {
                    name: name.into(),
                    to: text(number),
                    ..ChannelSpec::default()
                })
                .collect();
            desired.tcp_listeners = few
                .4
                .into_keys()
                .map(|name| ListenerSpec {
                    address: name.into(),
                })
                .collect();
            let connections = few.5.into_iter();
            desired.tcp_connections = connections
                .map(|(name, number)| ConnectionSpec {
                    name: name.into(),
                    to: text(number),
                })
                .collect();
            let policies = policies.into_iter();
            desired.policies = policies
                .map(|(name, number)| PolicySpec {
                    resource: (number > 0).then(|| name.to_owned()),
                    resource_type: (number == 0).then(|| name.to_owned()),
                    allow: format!("a{number}"),
                })
                .collect();
            desired
        })
    }

    proptest! {
        #[test]
        fn differences_lead_from_old_to_new(old in any_desired(), new in any_desired()) {
            let found = differences(&old, &new);
            prop_assert_eq!(applied(&old, &new, &found), parts(&new));
            let (before, after) = (parts(&old), parts(&new));
            let same: Vec<_> = before.iter().filter(|(key, value)| after.get(*key) == Some(value)).collect();
            let resources = same.iter().filter(|(key, _)| key.0 > 0).count();
            let taken_over = before.keys().filter(|key| is_taken_over(key, &new)).count();
            prop_assert_eq!(found.unchanged, resources + taken_over);
            for difference in &found.differences {
                let is_same = same.iter().any(|(key, _)| {
                    ORDER[key.0] == difference.resource && key.1 == difference.name
                });
                prop_assert!(!is_same, "{:?}", difference);
            }
            prop_assert_eq!(differences(&new, &new).differences, Vec::new());
        }
    }
}
