//! The configuration file of a node: YAML or JSON to [`Desired`].
//!
//! ```yaml
//! name: db-edge
//! ticket: $TICKET
//! relay: postgres
//! tcp-outlet: {to: "127.0.0.1:5432", allow: web}
//! ```
//!
//! The keys are those of Ockam's node configuration where it has them. Nothing is read and ignored, except
//! `version`, which says nothing about a node.
//!
//! | module | what |
//! |---|---|
//! | [`command`] | `culvert-edge check` |
//! | [`source`] | a file, and what it takes to read it again |
//! | [`start`] | nodes that run from one |

mod check;
pub mod command;
mod foreign;
mod node;
mod portal;
mod section;
pub mod source;
pub mod start;
#[cfg(test)]
mod tests;

use culvert_manage::config::tree::Value;
use culvert_manage::config::{Document, Findings, Place, Variables};

use crate::model::{
    ChannelSpec, ConnectionSpec, Desired, InletSpec, OutletSpec, PolicySpec, RelaySpec,
};
use check::Known;
use section::Kind;

pub use source::Source;

/// A node as a file describes it.
#[derive(Debug)]
pub struct Configuration {
    /// The node and everything it is to have.
    pub desired: Desired,
    /// Ticket to enroll with where the node is not a member yet: its text, or a file with it.
    pub ticket: Option<String>,
    /// What is probably not meant.
    pub warnings: Findings,
}

const POLICIES: Kind = Kind {
    one: "policy",
    many: "policies",
    keys: &["resource", "resource-type", "allow"],
    text: None,
    name: None,
};

const RELAYS: Kind = Kind {
    one: "relay",
    many: "relays",
    keys: &["name", "at", "authorized", "relay-address", "plain"],
    text: Some("name"),
    name: Some("default"),
};

const OUTLETS: Kind = Kind {
    one: "tcp-outlet",
    many: "tcp-outlets",
    keys: &["name", "from", "to", "allow", "skip-handshake"],
    text: None,
    name: Some("outlet"),
};

const INLETS: Kind = Kind {
    one: "tcp-inlet",
    many: "tcp-inlets",
    keys: &[
        "name",
        "from",
        "via",
        "at",
        "to",
        "authorized",
        "allow",
        "direct",
        "authenticate",
        "skip-handshake",
    ],
    text: None,
    name: Some("inlet"),
};

const CHANNELS: Kind = Kind {
    one: "secure-channel",
    many: "secure-channels",
    keys: &["name", "to", "authorized"],
    text: None,
    name: None,
};

const CONNECTIONS: Kind = Kind {
    one: "tcp-connection",
    many: "tcp-connections",
    keys: &["name", "to"],
    text: None,
    name: None,
};

/// All resources that a file may have.
const KINDS: [&Kind; 6] = [
    &POLICIES,
    &RELAYS,
    &OUTLETS,
    &INLETS,
    &CHANNELS,
    &CONNECTIONS,
];

/// What a machine has that files for it rely on.
#[derive(Debug, Default)]
pub struct Machine {
    /// Names of the projects that it is a member of.
    pub projects: Vec<String>,
    /// Keys of its policies; none where whoever applies the file looks at them.
    pub policies: Option<Vec<String>>,
}

/// Reads a configuration. `file` is what it is called in findings; `name` is what the node is called if
/// the file does not say; `machine` is the node's, if that is known.
///
/// # Errors
///
/// Everything that is wrong with it, with the places.
pub fn read(
    file: &str,
    text: &str,
    name: &str,
    variables: &Variables,
    machine: Option<&Machine>,
) -> Result<Configuration, Findings> {
    let mut document = Document::parse(file, text, variables)?;
    let projects = machine.map(|machine| machine.projects.as_slice());
    check_content(&mut document);
    check_keys(&mut document);
    let head = node::read(&mut document, name);
    let policies = section::read::<PolicySpec>(&mut document, &POLICIES);
    let relays = section::read::<RelaySpec>(&mut document, &RELAYS);
    let outlets = section::read::<OutletSpec>(&mut document, &OUTLETS);
    let inlets = section::read::<InletSpec>(&mut document, &INLETS);
    let channels = section::read::<ChannelSpec>(&mut document, &CHANNELS);
    let connections = section::read::<ConnectionSpec>(&mut document, &CONNECTIONS);
    let known = Known {
        machine,
        has_project: head
            .as_ref()
            .is_some_and(|head| head.may_have_project(projects)),
        policies: &policies,
        relays: &relays,
        outlets: &outlets,
        inlets: &inlets,
        channels: &channels,
        connections: &connections,
    };
    check::check(&mut document, head.as_ref(), &known);
    let value = head.map(|head| {
        let (node, ticket, tcp_listeners) = head.into_parts();
        let desired = Desired {
            node,
            policies: specs(policies),
            relays: specs(relays),
            tcp_outlets: specs(outlets),
            tcp_inlets: specs(inlets),
            secure_channels: specs(channels),
            tcp_listeners,
            tcp_connections: specs(connections),
        };
        (desired.folded(), ticket)
    });
    let ((desired, ticket), warnings) = document.finish(value)?;
    Ok(Configuration {
        desired,
        ticket,
        warnings,
    })
}

fn specs<T>(items: Vec<section::Item<T>>) -> Vec<T> {
    items.into_iter().map(|item| item.spec).collect()
}

/// Refuses a file without any key: it is one that is being written, or was lost, and would take away
/// everything that there is.
fn check_content(document: &mut Document) {
    let is_empty = match &document.tree().value {
        Value::Map(entries) => entries.is_empty(),
        Value::Scalar(scalar) => scalar.plain && matches!(scalar.text.as_str(), "" | "~" | "null"),
        Value::List(_) => false,
    };
    if is_empty {
        let message = "nothing is in it; a node that is to have nothing takes a 'name'".to_owned();
        document.findings().refuse(Place::START, message);
    }
}

/// Refuses keys that mean nothing, those of Ockam with what to do instead.
fn check_keys(document: &mut Document) {
    let kinds = KINDS.iter().flat_map(|kind| [kind.one, kind.many]);
    let known: Vec<_> = node::KEYS.iter().copied().chain(kinds).collect();
    let root = document.tree().clone();
    let mut rest = root.clone();
    for entry in root.entries() {
        let is_known = known
            .iter()
            .any(|key| culvert_manage::config::tree::same_key(key, &entry.key));
        if is_known {
            continue;
        }
        if let Some(reason) = foreign::of_file(&entry.key) {
            let message = format!("'{}' has no meaning here: {reason}", entry.key);
            document.findings().refuse(entry.place, message);
            rest.remove(&entry.key);
        }
    }
    document.check_keys(&rest, "", &known);
}
