//! A name of this node for what a session keeps up.

use std::cell::Cell;

use crate::key::Key;
use crate::shard::Shard;

/// Where a name is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// On the shard of the session.
    Here,
    /// On all shards.
    Everywhere,
}

/// A name that leads to what is up at present, and nowhere once it is dropped.
pub(super) struct Name<'a> {
    shard: &'a Shard,
    name: &'a [u8],
    place: Where,
    key: Cell<Option<Key>>,
}

impl<'a> Name<'a> {
    pub(super) fn new(shard: &'a Shard, name: &'a [u8], place: Where) -> Self {
        Self {
            shard,
            name,
            place,
            key: Cell::new(None),
        }
    }

    /// Has the name lead to something else, or nowhere.
    pub(super) fn lead_to(&self, key: Option<Key>) {
        let name = self.name;
        if let Some(old) = self.key.replace(key) {
            self.shard.clear_name(name, old);
            self.tell_others(move |shard, name| shard.clear_name(name, old));
        }
        if let Some(new) = key {
            self.shard.set_name(name, new);
            self.tell_others(move |shard, name| shard.set_name(name, new));
        }
    }

    fn tell_others(&self, what: impl Fn(&Shard, &[u8]) + Clone + Send + 'static) {
        if self.place == Where::Everywhere {
            let name = self.name.to_vec();
            self.shard.tell_others(move |shard| what(shard, &name));
        }
    }
}

impl Drop for Name<'_> {
    fn drop(&mut self) {
        self.lead_to(None);
    }
}
