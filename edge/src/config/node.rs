//! What a file says about the node itself.

use culvert_manage::config::Document;
use culvert_manage::config::tree::{Tree, Value, same_key};
use serde::Deserialize;

use crate::duration;
use crate::model::{HttpSpec, ListenerSpec, NodeSpec};

/// Keys of the node itself.
pub(super) const KEYS: &[&str] = &[
    "version",
    "ticket",
    "name",
    "identity",
    "project",
    "authorities",
    "http",
    "shards",
    "max-memory",
    "trace",
    "drain",
    "tcp-listener-address",
    "tcp-listeners",
];

/// The node itself, as the file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Head {
    #[serde(skip)]
    pub(super) tree: Option<Tree>,
    #[serde(rename = "version")]
    _version: Option<String>,
    pub(super) name: Option<String>,
    ticket: Option<String>,
    pub(super) identity: Option<String>,
    pub(super) project: Option<String>,
    pub(super) authorities: Vec<String>,
    pub(super) http: Option<HttpSpec>,
    shards: u8,
    pub(super) max_memory: Option<u32>,
    trace: bool,
    pub(super) drain: Option<String>,
    pub(super) tcp_listener_address: Option<String>,
    pub(super) tcp_listeners: Vec<String>,
}

impl Head {
    /// The keys and values of the node.
    pub(super) fn tree(&self) -> &Tree {
        self.tree.as_ref().unwrap_or(&NOTHING)
    }

    /// Whether it may be a member of a project, as far as that can be told.
    pub(super) fn may_have_project(&self, known: Option<&[String]>) -> bool {
        self.project.is_some()
            || self.ticket.is_some()
            || known.is_none_or(|known| !known.is_empty())
    }

    /// Whether it is to become a member.
    pub(super) fn has_ticket(&self) -> bool {
        self.ticket.is_some()
    }

    /// Addresses to listen on, with the key that each is of.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let one = self.tcp_listener_address.iter();
        let many = self.tcp_listeners.iter();
        one.map(|address| ("tcp-listener-address", address))
            .chain(many.map(|address| ("tcp-listeners", address)))
    }

    pub(super) fn into_parts(self) -> (NodeSpec, Option<String>, Vec<ListenerSpec>) {
        let listeners = self.listeners().map(|(_, address)| ListenerSpec {
            address: address.clone(),
        });
        let listeners = listeners.collect();
        let drain = self
            .drain
            .as_deref()
            .and_then(|text| duration::parse(text).ok());
        let node = NodeSpec {
            name: self.name.unwrap_or_default(),
            identity: self.identity,
            project: self.project,
            authorities: self.authorities,
            http: self.http,
            shards: self.shards,
            max_memory: self.max_memory,
            trace: self.trace,
            drain: drain.map_or_else(NodeSpec::default_drain, |drain| drain.as_secs()),
        };
        (node, self.ticket, listeners)
    }
}

static NOTHING: Tree = Tree {
    place: culvert_manage::config::Place::START,
    value: Value::Map(Vec::new()),
};

/// Reads the node itself; `name` is its name if the file does not say.
pub(super) fn read(document: &mut Document, name: &str) -> Option<Head> {
    let root = document.tree();
    let own = root
        .entries()
        .iter()
        .filter(|entry| KEYS.iter().any(|key| same_key(key, &entry.key)));
    let tree = Tree {
        place: root.place,
        value: Value::Map(own.cloned().collect()),
    };
    let mut head: Head = document.read_part(&tree, "")?;
    head.name.get_or_insert_with(|| name.to_owned());
    head.tree = Some(tree);
    Some(head)
}
