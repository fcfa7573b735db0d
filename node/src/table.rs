//! The local addresses of one shard and what is behind each.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::channel::Channel;
use crate::key::{Key, LocalAddress};
use crate::link::Link;
use crate::portal::Stream;
use crate::worker::Worker;

/// Most addresses in use on one shard.
const MAX_SLOTS: usize = 1 << 22;
/// Most things that may depend on one address.
const MAX_DEPENDENTS: usize = 1 << 20;

/// What an address leads to. The kinds on the data path have variants of their own; everything
/// else is a worker.
#[derive(Clone)]
pub(crate) enum Entry {
    Link(Rc<Link>),
    /// The address ciphertexts of a channel come to.
    Decryptor(Rc<Channel>),
    /// The address that leads into a channel.
    Encryptor(Rc<Channel>),
    Stream(Rc<Stream>),
    Worker(Rc<dyn Worker>),
}

struct Slot {
    generation: u32,
    tag: u64,
    entry: Option<Entry>,
    dependents: Vec<Key>,
}

/// How many links were sent to one of the targets of a name; shared by all shards.
#[derive(Clone, Debug, Default)]
pub struct Load(Arc<AtomicUsize>);

/// One of the addresses behind a name, possibly on another shard.
struct Target {
    key: Key,
    /// Kept for names that may have several targets.
    load: Option<Load>,
}

/// The addresses behind one name, seen from one shard; at least one.
#[derive(Clone, Copy)]
pub(crate) struct Targets<'a> {
    shard: u8,
    list: &'a [Target],
}

impl Targets<'_> {
    /// Whether a key is one of them.
    pub(crate) fn include(self, key: Key) -> bool {
        self.list.iter().any(|target| target.key == key)
    }

    /// One of those on this shard, or else of all: the same one for the same source.
    pub(crate) fn of_source(self, source: Option<Key>) -> Option<Key> {
        if let [only] = self.list {
            return Some(only.key);
        }
        let source = source.map_or(0, Key::slot);
        let here = || self.list.iter().filter(|t| t.key.shard() == self.shard);
        match here().count() {
            0 => self
                .list
                .get(source % self.list.len().max(1))
                .map(|t| t.key),
            count => here().nth(source % count).map(|t| t.key),
        }
    }

    /// Assigns a source to the least used: on this shard where there are some, unless `anywhere`; of those
    /// that are used as little, to one on this shard. None for names that are not shared.
    pub(crate) fn place(self, anywhere: bool) -> Option<Place> {
        let least = |here: bool| {
            self.list
                .iter()
                .filter(|t| !here || t.key.shard() == self.shard)
                .filter_map(|t| Some((t.key, t.load.as_ref()?)))
                .min_by_key(|(key, load)| {
                    let is_elsewhere = key.shard() != self.shard;
                    (load.0.load(Ordering::Relaxed), is_elsewhere)
                })
        };
        let nearest = if anywhere { None } else { least(true) };
        let (key, load) = nearest.or_else(|| least(false))?;
        Some(Place::new(key, load))
    }
}

/// That a link uses one of the targets of a name: it keeps to it, and counts there.
pub(crate) struct Place {
    pub(crate) key: Key,
    load: Load,
}

impl Place {
    fn new(key: Key, load: &Load) -> Self {
        load.0.fetch_add(1, Ordering::Relaxed);
        Self {
            key,
            load: load.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Slots by number, names by text.
pub(crate) struct Table {
    shard: u8,
    slots: Vec<Slot>,
    free: Vec<u32>,
    names: HashMap<Box<[u8]>, Vec<Target>>,
}

impl Table {
    pub(crate) fn new(shard: u8) -> Self {
        Self {
            shard,
            slots: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// Mints an address; none when too many are in use.
    pub(crate) fn insert(
        &mut self,
        tag: u64,
        make: impl FnOnce(LocalAddress) -> Entry,
    ) -> Option<LocalAddress> {
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.slots.len() < MAX_SLOTS => {
                self.slots.push(Slot {
                    generation: 0,
                    tag: 0,
                    entry: None,
                    dependents: Vec::new(),
                });
                (self.slots.len() - 1) as u32
            }
            None => return None,
        };
        let slot = &mut self.slots[number as usize];
        let address = LocalAddress {
            key: Key::new(self.shard, number, slot.generation),
            tag,
        };
        slot.tag = tag;
        slot.entry = Some(make(address));
        Some(address)
    }

    fn slot(&self, key: Key) -> Option<&Slot> {
        let slot = self.slots.get(key.slot())?;
        (key.shard() == self.shard && slot.generation == key.generation()).then_some(slot)
    }

    /// What is behind an address that a message named: the random tag must match.
    pub(crate) fn get(&self, address: LocalAddress) -> Option<&Entry> {
        let slot = self.slot(address.key)?;
        (slot.tag == address.tag).then_some(slot.entry.as_ref()?)
    }

    /// What is behind a key this node keeps itself.
    pub(crate) fn by_key(&self, key: Key) -> Option<(LocalAddress, &Entry)> {
        let slot = self.slot(key)?;
        Some((LocalAddress { key, tag: slot.tag }, slot.entry.as_ref()?))
    }

    /// Puts another entry behind an address.
    pub(crate) fn replace(&mut self, key: Key, entry: Entry) {
        if self.slot(key).is_some() {
            self.slots[key.slot()].entry = Some(entry);
        }
    }

    /// Takes an entry out, with the keys of what depends on it.
    pub(crate) fn remove(&mut self, key: Key) -> Option<(LocalAddress, Entry, Vec<Key>)> {
        self.slot(key)?;
        let slot = &mut self.slots[key.slot()];
        let entry = slot.entry.take()?;
        let address = LocalAddress { key, tag: slot.tag };
        slot.generation = (slot.generation + 1) & 0xff_ffff;
        let dependents = std::mem::take(&mut slot.dependents);
        self.free.push(key.slot() as u32);
        Some((address, entry, dependents))
    }

    /// Has `dependent` told when `key` is removed; false if there is no such entry.
    pub(crate) fn depend(&mut self, key: Key, dependent: Key) -> bool {
        if self
            .slot(key)
            .is_none_or(|s| s.entry.is_none() || s.dependents.len() >= MAX_DEPENDENTS)
        {
            return false;
        }
        let list = &mut self.slots[key.slot()].dependents;
        // Streams come and go on one channel: forget those that ended before growing further.
        if list.len() == list.capacity() && list.len() >= 64 {
            let slots = &self.slots;
            let alive: Vec<Key> = slots[key.slot()]
                .dependents
                .iter()
                .copied()
                .filter(|k| {
                    slots
                        .get(k.slot())
                        .is_some_and(|s| s.generation == k.generation())
                })
                .collect();
            self.slots[key.slot()].dependents = alive;
        }
        self.slots[key.slot()].dependents.push(dependent);
        true
    }

    /// Every entry of this shard.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (LocalAddress, &Entry)> {
        self.slots.iter().enumerate().filter_map(|(number, slot)| {
            let key = Key::new(self.shard, number as u32, slot.generation);
            Some((LocalAddress { key, tag: slot.tag }, slot.entry.as_ref()?))
        })
    }

    /// What a name leads to.
    pub(crate) fn targets(&self, name: &[u8]) -> Option<Targets<'_>> {
        let list = self.names.get(name)?;
        let shard = self.shard;
        Some(Targets { shard, list })
    }

    /// Makes a name lead to one key only.
    pub(crate) fn set_name(&mut self, name: &[u8], key: Key) {
        self.names
            .insert(name.into(), vec![Target { key, load: None }]);
    }

    /// Makes a name lead to one more key.
    pub(crate) fn add_target(&mut self, name: &[u8], key: Key, load: Load) {
        let targets = self.names.entry(name.into()).or_default();
        targets.retain(|t| t.key != key && t.load.is_some());
        targets.push(Target {
            key,
            load: Some(load),
        });
    }

    /// Has a name no longer lead to `key`.
    pub(crate) fn clear_name(&mut self, name: &[u8], key: Key) {
        if let Some(targets) = self.names.get_mut(name) {
            targets.retain(|t| t.key != key);
            if targets.is_empty() {
                self.names.remove(name);
            }
        }
    }
}
