//! What cannot be told from the form of a file: addresses, routes, policies, and what belongs together.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use culvert_manage::config::{Document, Place};
use culvert_node::authority::Authority;
use culvert_proto::policy::{Mode, Policy};

use super::Machine;
use super::node::Head;
use super::section::Item;
use crate::cli::identifier;
use crate::daemon::TAKEN;
use crate::duration;
use crate::endpoint::HostPort;
use crate::model::{ChannelSpec, ConnectionSpec, InletSpec, OutletSpec, PolicySpec, RelaySpec};
use crate::policy::lint;

/// Longest name of a resource, in bytes.
const LONGEST_NAME: usize = 64;

/// Least memory for messages, in MiB.
const LEAST_MEMORY: u32 = 32;

/// A resource that has a name: its path in the file, where its policy is, and that policy.
type Named<'a> = (&'a str, Place, Option<&'a str>);

/// Everything in a file that could be read.
pub(super) struct Known<'a> {
    /// What the machine has, if that is known.
    pub(super) machine: Option<&'a Machine>,
    /// Whether the node may have a project, whose relay is then meant where none is said.
    pub(super) has_project: bool,
    pub(super) policies: &'a [Item<PolicySpec>],
    pub(super) relays: &'a [Item<RelaySpec>],
    pub(super) outlets: &'a [Item<OutletSpec>],
    pub(super) inlets: &'a [Item<InletSpec>],
    pub(super) channels: &'a [Item<ChannelSpec>],
    pub(super) connections: &'a [Item<ConnectionSpec>],
}

pub(super) struct Checker<'a> {
    document: &'a mut Document,
    pub(super) known: &'a Known<'a>,
}

/// Checks everything that could be read.
pub(super) fn check(document: &mut Document, head: Option<&Head>, known: &Known<'_>) {
    let mut checker = Checker { document, known };
    let mut ports = Ports::default();
    if let Some(head) = head {
        checker.node(head, &mut ports);
    }
    for item in known.policies {
        checker.policy_of(item);
    }
    for item in known.relays {
        checker.relay(item);
    }
    for item in known.outlets {
        checker.outlet(item);
    }
    for item in known.inlets {
        checker.inlet(item, &mut ports);
    }
    for item in known.channels {
        checker.channel(item);
    }
    for item in known.connections {
        checker.name("tcp-connection", item, &item.spec.name);
        checker.remote(item, "to", &item.spec.to);
    }
    checker.names();
    checker.policies();
    if !known.has_project && head.is_some_and(|head| head.authorities.is_empty()) {
        checker.somebody();
    }
}

/// Addresses that are listened on, by what is shown of them, with who does.
#[derive(Default)]
pub(super) struct Ports(Vec<(HostPort, String, Place)>);

impl Ports {
    /// Who listens there already.
    fn take(
        &mut self,
        at: HostPort,
        path: &str,
        place: Place,
    ) -> Option<&(HostPort, String, Place)> {
        let everywhere = |host: &str| matches!(host, "0.0.0.0" | "::");
        let meets = |other: &HostPort| {
            at.port != 0
                && other.port == at.port
                && (other.host == at.host || everywhere(&other.host) || everywhere(&at.host))
        };
        if let Some(index) = self.0.iter().position(|(other, ..)| meets(other)) {
            return self.0.get(index);
        }
        self.0.push((at, path.to_owned(), place));
        None
    }
}

impl Checker<'_> {
    pub(super) fn refuse(&mut self, place: Place, message: String) {
        self.document.findings().refuse(place, message);
    }

    pub(super) fn warn(&mut self, place: Place, message: String) {
        self.document.findings().warn(place, message);
    }

    /// Says what is wrong with the value of a key.
    pub(super) fn wrong<T>(&mut self, item: &Item<T>, key: &str, why: impl std::fmt::Display) {
        let message = format!("{}.{key}: {why}", item.path);
        self.refuse(item.place(key), message);
    }

    pub(super) fn name<T>(&mut self, kind: &str, item: &Item<T>, name: &str) {
        if !is_name(name, LONGEST_NAME) {
            let message = format!(
                "'{name}' is not a name for a {kind}: use 1 to {LONGEST_NAME} of a-z A-Z 0-9 . _ -, not \
                 starting with . or -"
            );
            self.refuse(item.place, message);
        }
    }

    pub(super) fn remote<T>(&mut self, item: &Item<T>, key: &str, text: &str) {
        if let Err(why) = HostPort::parse_remote(text) {
            self.wrong(item, key, why);
        }
    }

    pub(super) fn identifiers<'t, T>(
        &mut self,
        item: &Item<T>,
        texts: impl IntoIterator<Item = &'t String>,
    ) {
        for text in texts {
            if let Err(why) = identifier(text) {
                self.wrong(item, "authorized", format!("'{text}': {why}"));
            }
        }
    }

    pub(super) fn listen(
        &mut self,
        at: Result<HostPort, String>,
        path: &str,
        place: Place,
        ports: &mut Ports,
    ) {
        match at {
            Err(why) => self.refuse(place, format!("{path}: {why}")),
            Ok(at) => {
                if let Some((other, by, first)) = ports.take(at, path, place) {
                    let message = format!(
                        "{path}: {by} in line {} listens on {other} already",
                        first.line
                    );
                    self.refuse(place, message);
                }
            }
        }
    }

    fn node(&mut self, head: &Head, ports: &mut Ports) {
        let place = |key: &str| {
            head.tree()
                .get(key)
                .map_or(Place::START, |value| value.place)
        };
        let name = head.name.as_deref().unwrap_or_default();
        if !is_name(name, 48) || name == "self" {
            let message = format!(
                "name: '{name}' is not a name for a node: use 1 to 48 of a-z A-Z 0-9 . _ -, not starting \
                 with . or -, and not 'self'"
            );
            self.refuse(place("name"), message);
        }
        if let Some(Err(why)) = head.drain.as_deref().map(duration::parse) {
            self.refuse(place("drain"), format!("drain: {why}"));
        }
        if head.max_memory.is_some_and(|max| max < LEAST_MEMORY) {
            let message = format!("max-memory: at least {LEAST_MEMORY} MiB are needed");
            self.refuse(place("max-memory"), message);
        }
        for (index, text) in head.authorities.iter().enumerate() {
            if let Err(why) = Authority::parse(text) {
                self.refuse(place("authorities"), format!("authorities[{index}]: {why}"));
            }
        }
        self.project(head, place("project"));
        for (key, address) in head.listeners() {
            let at = socket(address);
            self.listen(at, key, place(key), ports);
        }
        let Some(http) = &head.http else { return };
        let inside = |key: &str| {
            let value = head.tree().get("http").and_then(|http| http.get(key));
            value.map_or_else(|| place("http"), |value| value.place)
        };
        self.listen(
            socket(&http.address),
            "http.address",
            inside("address"),
            ports,
        );
        match (&http.tls_certificate, &http.tls_key) {
            (Some(_), None) => self.refuse(
                inside("tls-certificate"),
                "http: 'tls-key' is missing beside 'tls-certificate'".to_owned(),
            ),
            (None, Some(_)) => self.refuse(
                inside("tls-key"),
                "http: 'tls-certificate' is missing beside 'tls-key'".to_owned(),
            ),
            (None, None) if http.address.parse().is_ok_and(|at: SocketAddr| !at.ip().is_loopback()) => self
                .refuse(
                    inside("address"),
                    "http.address: others can read the token on the way: listen on 127.0.0.1, or give \
                     'tls-certificate' and 'tls-key'"
                        .to_owned(),
                ),
            _ => {}
        }
    }

    fn project(&mut self, head: &Head, place: Place) {
        let (Some(name), Some(known)) = (&head.project, self.known.machine) else {
            return;
        };
        if !known.projects.contains(name) && !head.has_ticket() {
            let message = format!(
                "project: this machine is not enrolled with a project '{name}'; give a 'ticket', or run \
                 `culvert-edge project enroll`"
            );
            self.warn(place, message);
        }
    }

    /// Checks a policy; findings point into its text.
    pub(super) fn policy<T>(&mut self, item: &Item<T>, text: &str) {
        let Err(error) = Policy::parse(text, Mode::Strict) else {
            return;
        };
        let (at, what) = match error.likely() {
            Some(refusal) => (refusal.at, refusal.problem.to_string()),
            None => (0, error.to_string()),
        };
        let message = format!("{}.allow: {what}; {}", item.path, error.hint());
        self.refuse(item.place_of("allow", at), message);
    }

    fn policy_of(&mut self, item: &Item<PolicySpec>) {
        let spec = &item.spec;
        self.policy(item, &spec.allow);
        match (&spec.resource, &spec.resource_type) {
            (Some(_), Some(_)) => {
                let message = format!(
                    "{}: 'resource' and 'resource-type' are both there; give one",
                    item.path
                );
                self.refuse(item.place("resource-type"), message);
            }
            (None, None) => {
                let message = format!("{}: 'resource' or 'resource-type' is missing", item.path);
                self.refuse(item.place, message);
            }
            (Some(name), None) => {
                let known = self.resource_names();
                if !known.contains_key(name.as_str()) {
                    let near = culvert_manage::config::tree::nearest(name, known.keys().copied());
                    let near =
                        near.map_or_else(String::new, |near| format!(", did you mean '{near}'?"));
                    let message =
                        format!("{}: this file has no resource '{name}'{near}", item.path);
                    self.warn(item.place("resource"), message);
                }
            }
            (None, Some(kind)) => {
                if let Err(problem) = lint::check_type(kind) {
                    let message = format!("{}: {}; {}", item.path, problem.message, problem.hint);
                    self.refuse(item.place("resource-type"), message);
                }
            }
        }
    }

    /// Names of everything that policies by name are about, with where each is.
    fn resource_names(&self) -> BTreeMap<&str, Vec<Named<'_>>> {
        let mut names: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for item in self.known.outlets {
            let allow = item.spec.allow.as_deref();
            names.entry(&item.spec.name).or_default().push((
                item.path.as_str(),
                item.place("allow"),
                allow,
            ));
        }
        for item in self.known.inlets {
            let allow = item.spec.allow.as_deref();
            names.entry(&item.spec.name).or_default().push((
                item.path.as_str(),
                item.place("allow"),
                allow,
            ));
        }
        for item in self.known.relays {
            names
                .entry(&item.spec.name)
                .or_default()
                .push((item.path.as_str(), item.place, None));
        }
        names
    }

    /// Refuses names that two resources have.
    fn names(&mut self) {
        let known = self.known;
        self.unique("tcp-outlet", known.outlets, |spec| &spec.name);
        self.unique("tcp-inlet", known.inlets, |spec| &spec.name);
        self.unique("relay", known.relays, |spec| &spec.name);
        self.unique("secure-channel", known.channels, |spec| &spec.name);
        self.unique("tcp-connection", known.connections, |spec| &spec.name);
        let mut addresses: Vec<(&str, &str, Place)> = Vec::new();
        for item in known.outlets {
            addresses.push((&item.spec.name, &item.path, item.place));
        }
        for item in known.channels {
            addresses.push((&item.spec.name, &item.path, item.place));
        }
        for item in known.connections {
            addresses.push((&item.spec.name, &item.path, item.place));
        }
        self.addresses(&addresses);
    }

    /// Refuses names that something else has as its address in routes. That of two of a kind is said
    /// elsewhere.
    fn addresses(&mut self, all: &[(&str, &str, Place)]) {
        let kind = |path: &str| path.split(['.', '[']).next().map(str::to_owned);
        for (index, (name, path, place)) in all.iter().enumerate() {
            if TAKEN.contains(name) {
                let message = format!(
                    "{path}: the address '{name}' is a service of every node; choose another name"
                );
                self.refuse(*place, message);
            }
            let mut before = all.iter().take(index);
            let other = before.find(|(other, at, _)| other == name && kind(at) != kind(path));
            if let Some((_, other, _)) = other {
                let message = format!(
                    "{path}: {other} has this address in routes already; choose another name"
                );
                self.refuse(*place, message);
            }
        }
    }

    fn unique<T>(&mut self, kind: &str, items: &[Item<T>], name: impl Fn(&T) -> &String) {
        let mut seen: BTreeMap<&String, Place> = BTreeMap::new();
        for item in items {
            let name = name(&item.spec);
            match seen.get(name) {
                Some(first) => {
                    let line = first.line;
                    let message =
                        format!("{}: line {line} has a {kind} '{name}' already", item.path);
                    self.refuse(item.place, message);
                }
                None => {
                    seen.insert(name, item.place);
                }
            }
        }
    }

    /// Refuses policies that are said twice, and differently.
    fn policies(&mut self) {
        let mut said: BTreeMap<String, (Option<String>, Place)> = BTreeMap::new();
        let mut doubles = Vec::new();
        let mut add = |key: String, path: &str, text: &str, place: Place| {
            let policy = Policy::parse(text, Mode::Strict).ok();
            let policy = policy.map(|policy| policy.canonical());
            match said.get(&key) {
                Some((other, first)) if *other != policy => doubles.push((
                    place,
                    format!(
                        "{path}: line {} gives {} another policy",
                        first.line,
                        words(&key)
                    ),
                )),
                Some(_) => {}
                None => {
                    said.insert(key, (policy, place));
                }
            }
        };
        for item in self.known.policies {
            add(
                item.spec.key(),
                &item.path,
                &item.spec.allow,
                item.place("allow"),
            );
        }
        for (name, resources) in &self.resource_names() {
            for (path, place, allow) in resources {
                if let Some(allow) = allow {
                    add(format!("resource/{name}"), path, allow, *place);
                }
            }
        }
        for (place, message) in doubles {
            self.refuse(place, message);
        }
    }
}

/// The key of a policy for people.
fn words(key: &str) -> String {
    match key.split_once('/') {
        Some(("type", kind)) => format!("the type '{kind}'"),
        Some((_, name)) => format!("the resource '{name}'"),
        None => key.to_owned(),
    }
}

fn is_name(name: &str, longest: usize) -> bool {
    (1..=longest).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// An address to listen on that is no name.
fn socket(text: &str) -> Result<HostPort, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("'{text}' is not ADDRESS:PORT, for example 127.0.0.1:4000"))?;
    Ok(HostPort {
        host: address.ip().to_string(),
        port: address.port(),
    })
}
