//! Resources in a file: a map of names, a list, or a single one.
//!
//! ```yaml
//! tcp-inlets:            tcp-inlet:             relays: [a, b]
//!   web: {from: 8080}      from: 8080           relay: a
//! ```

use culvert_manage::config::tree::{Entry, Scalar, Tree, Value, same_key};
use culvert_manage::config::{Document, Place};
use serde::de::DeserializeOwned;

use super::foreign;

const OUTLET: &str = "tcp-outlet";

/// How resources of a kind are written.
pub(super) struct Kind {
    /// The key for one of them, and what they are called elsewhere.
    pub(super) one: &'static str,
    /// The key for several.
    pub(super) many: &'static str,
    /// Keys of a resource; one of them tells a resource from a map of names.
    pub(super) keys: &'static [&'static str],
    /// The key that a text in place of a resource stands for, where it may be one.
    pub(super) text: Option<&'static str>,
    /// The name of a single one that is given none.
    pub(super) name: Option<&'static str>,
}

/// A resource and where it is.
pub(super) struct Item<T> {
    pub(super) spec: T,
    /// Its keys and values.
    pub(super) tree: Tree,
    /// What it is called in findings: `tcp-inlets.web`.
    pub(super) path: String,
    /// Where its name is.
    pub(super) place: Place,
}

impl<T> Item<T> {
    /// Where a key of it is, or it itself.
    pub(super) fn place(&self, key: &str) -> Place {
        self.tree.get(key).map_or(self.place, |value| value.place)
    }

    /// Where a byte of the text of a key is.
    pub(super) fn place_of(&self, key: &str, byte: usize) -> Place {
        let value = self.tree.get(key);
        value.map_or(self.place, |value| value.place_of(byte))
    }
}

/// A resource that was found, not yet read.
struct Found {
    name: Option<(String, Place)>,
    tree: Tree,
    path: String,
    place: Place,
}

/// Reads all resources of a kind. Those that cannot be read are among the findings.
pub(super) fn read<T: DeserializeOwned>(document: &mut Document, kind: &Kind) -> Vec<Item<T>> {
    let mut items: Vec<Item<T>> = Vec::new();
    for mut found in find(document, kind) {
        let Some(tree) = prepared(document, kind, &mut found) else {
            continue;
        };
        if let Some(spec) = document.read_part(&tree, &found.path) {
            items.push(Item {
                spec,
                tree,
                path: found.path,
                place: found.name.map_or(found.place, |(_, place)| place),
            });
        }
    }
    items
}

fn find(document: &mut Document, kind: &Kind) -> Vec<Found> {
    let root = document.tree();
    let one = root.entry(kind.one).cloned();
    let entry = match (one, root.entry(kind.many).cloned()) {
        (Some(one), Some(many)) => {
            let message = format!(
                "'{}' is there as well as '{}'; write one of them",
                kind.one, kind.many
            );
            document
                .findings()
                .refuse(one.place.max(many.place), message);
            return Vec::new();
        }
        (one, many) => one.or(many),
    };
    let Some(Entry { key, value, .. }) = entry else {
        return Vec::new();
    };
    if value.is_nothing() {
        return Vec::new();
    }
    match &value.value {
        Value::List(items) => {
            let numbered = items.iter().enumerate();
            let found = numbered.map(|(index, item)| Found {
                name: None,
                tree: item.clone(),
                path: format!("{key}[{index}]"),
                place: item.place,
            });
            found.collect()
        }
        Value::Map(entries) if !is_single(kind, entries) => {
            let found = entries.iter().map(|entry| Found {
                name: Some((entry.key.clone(), entry.place)),
                tree: entry.value.clone(),
                path: format!("{key}.{}", entry.key),
                place: entry.place,
            });
            found.collect()
        }
        _ => vec![Found {
            name: None,
            place: value.place,
            tree: value,
            path: key,
        }],
    }
}

/// Whether these are the keys of one resource, not names of several.
fn is_single(kind: &Kind, entries: &[Entry]) -> bool {
    entries.iter().any(|entry| {
        let is_value = !matches!(entry.value.value, Value::Map(_)) && !entry.value.is_nothing();
        is_value && kind.keys.iter().any(|key| same_key(key, &entry.key))
    })
}

/// The keys and values of a resource, its name among them, with nothing that only Ockam has.
fn prepared(document: &mut Document, kind: &Kind, found: &mut Found) -> Option<Tree> {
    let mut entries = match &found.tree.value {
        Value::Map(entries) => entries.clone(),
        Value::Scalar(_) if found.tree.is_nothing() => Vec::new(),
        Value::Scalar(_) if kind.text.is_some() => vec![Entry {
            key: kind.text.unwrap_or_default().to_owned(),
            place: found.tree.place,
            value: found.tree.clone(),
        }],
        _ => {
            let described = found.tree.described();
            let message = format!(
                "{}: expected keys and values, found {described}",
                found.path
            );
            document.findings().refuse(found.tree.place, message);
            return None;
        }
    };
    let mut is_usable = true;
    entries.iter_mut().for_each(strip_scheme);
    entries.retain_mut(|entry| {
        if same_key(&entry.key, "expression") {
            "allow".clone_into(&mut entry.key);
        }
        let is_known = kind.keys.iter().any(|key| same_key(key, &entry.key));
        match foreign::of_resource(kind.one, &entry.key) {
            Some(reason) if !is_known => {
                let message = format!(
                    "{}: '{}' has no meaning here: {reason}",
                    found.path, entry.key
                );
                document.findings().refuse(entry.place, message);
                is_usable = false;
                false
            }
            _ => true,
        }
    });
    if kind.one == OUTLET {
        take_address(document, found, &mut entries);
    }
    let named = entries.iter().find(|entry| same_key(&entry.key, "name"));
    match (&found.name, named) {
        (Some((name, _)), Some(entry)) if entry.value.text() != Some(name) => {
            let message = format!("{}: it is called '{name}' already, by its key", found.path);
            document.findings().refuse(entry.place, message);
            is_usable = false;
        }
        (Some((name, place)), None) => entries.push(text_entry("name", name, *place)),
        (None, None) => {
            if let Some(name) = kind.name {
                entries.push(text_entry("name", name, found.place));
            }
        }
        _ => {}
    }
    let tree = Tree {
        place: found.tree.place,
        value: Value::Map(entries),
    };
    // What is wrong with the rest of it is said as well.
    if !is_usable {
        document.check_keys(&tree, &found.path, kind.keys);
    }
    is_usable.then_some(tree)
}

/// Ockam's addresses may begin with `tcp://`.
fn strip_scheme(entry: &mut Entry) {
    let Value::Scalar(scalar) = &mut entry.value.value else {
        return;
    };
    if ["from", "to"].contains(&entry.key.as_str())
        && let Some(address) = scalar.text.strip_prefix("tcp://")
    {
        scalar.text = address.to_owned();
        scalar.exact = None;
    }
}

/// Ockam's outlets have a name and an address, `from`; here the address, which others need, is the name.
fn take_address(document: &mut Document, found: &mut Found, entries: &mut Vec<Entry>) {
    let Some(index) = entries.iter().position(|entry| entry.key == "from") else {
        return;
    };
    let from = entries.remove(index).value;
    let Some(address) = from.text() else {
        let message = format!(
            "{}.from: expected text, found {}",
            found.path,
            from.described()
        );
        return document.findings().refuse(from.place, message);
    };
    let address = address.strip_prefix("/service/").unwrap_or(address);
    if let Some((name, place)) = found.name.take_if(|(name, _)| name != address) {
        let message = format!(
            "{}: the outlet is called '{address}' here, as its address; '{name}' is not used",
            found.path
        );
        document.findings().warn(place, message);
    }
    entries.retain(|entry| !same_key(&entry.key, "name"));
    entries.push(text_entry("name", address, from.place));
}

fn text_entry(key: &str, text: &str, place: Place) -> Entry {
    let scalar = Scalar {
        text: text.to_owned(),
        plain: false,
        exact: None,
    };
    let value = Value::Scalar(scalar);
    Entry {
        key: key.to_owned(),
        place,
        value: Tree { place, value },
    }
}
