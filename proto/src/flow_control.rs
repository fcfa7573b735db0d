//! Flow control: what a remote sender may reach.
//!
//! Specification: `protocol/02-routing.md` 6. Nothing here travels; both ends keep their own.
//!
//! * A *producer* is an address that injects messages from outside: a TCP receiver, a decryptor. It
//!   has an id of its own and, when something that listens made it, the id of that *spawner*.
//! * A *consumer* of an id is an address that producers with that id (as own or spawner id) may send
//!   to.
//!
//! A message from a producer may go on to the next address if and only if that address is a consumer
//! of the producer's own id or of its spawner's id. Everything else is dropped without a word to the
//! peer.

use crate::limits::{MAX_FLOW_CONSUMERS, MAX_FLOW_PRODUCERS};
use core::hash::Hash;
use rustc_hash::{FxHashMap, FxHashSet};

/// Names a set of consumers. Local to a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowId(u64);

impl FlowId {
    /// The id with this number. The caller keeps numbers apart; see [`FlowControls::fresh_id`].
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Why an address was not added. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// The id has [`MAX_FLOW_CONSUMERS`] consumers.
    #[error("too many consumers of one flow control id")]
    Consumers,
    /// There are [`MAX_FLOW_PRODUCERS`] producers, additional producer addresses or spawners.
    #[error("too many flow control producers")]
    Producers,
    /// An additional address for a producer that does not exist.
    #[error("no such producer")]
    NoProducer,
}

/// The ids of a producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    /// Its own id.
    pub id: FlowId,
    /// The id of the spawner that made it.
    pub spawner: Option<FlowId>,
}

/// A producer and the additional addresses that lead to it.
#[derive(Clone, Debug)]
struct Entry<A> {
    ids: Producer,
    additional: Vec<A>,
}

/// All producers, consumers and spawners of a node, or of a part of it that is on its own.
///
/// `A` is how the node names local addresses: a small handle it chose itself, never bytes of a peer
/// (the hash is not made for those).
#[derive(Clone, Debug)]
pub struct FlowControls<A> {
    next_id: u64,
    producers: FxHashMap<A, Entry<A>>,
    /// Additional producer address -> producer.
    additional: FxHashMap<A, A>,
    spawners: FxHashMap<A, FlowId>,
    consumers: FxHashMap<FlowId, FxHashSet<A>>,
    /// The reverse of `consumers`, so that removing an address does not look at every id.
    consumer_of: FxHashMap<A, FxHashSet<FlowId>>,
    /// How many producers (own and spawner id) and spawners use an id.
    users: FxHashMap<FlowId, usize>,
}

impl<A: Copy + Eq + Hash> Default for FlowControls<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Copy + Eq + Hash> FlowControls<A> {
    /// Nobody may reach anything.
    #[must_use]
    pub fn new() -> Self {
        Self {
            next_id: 0,
            producers: FxHashMap::default(),
            additional: FxHashMap::default(),
            spawners: FxHashMap::default(),
            consumers: FxHashMap::default(),
            consumer_of: FxHashMap::default(),
            users: FxHashMap::default(),
        }
    }

    /// An id that this value has not given out before.
    pub fn fresh_id(&mut self) -> FlowId {
        self.next_id += 1;
        FlowId(self.next_id)
    }

    /// Makes `address` a producer, replacing what it was.
    ///
    /// # Errors
    /// [`FlowError::Producers`] when there are too many.
    pub fn add_producer(
        &mut self,
        address: A,
        id: FlowId,
        spawner: Option<FlowId>,
    ) -> Result<(), FlowError> {
        room(self.producers.len(), self.producers.contains_key(&address))?;
        for id in [Some(id), spawner].into_iter().flatten() {
            *self.users.entry(id).or_default() += 1;
        }
        let ids = Producer { id, spawner };
        if let Some(old) = self.producers.get_mut(&address) {
            let old = core::mem::replace(&mut old.ids, ids);
            self.release_producer(old);
        } else {
            self.producers.insert(
                address,
                Entry {
                    ids,
                    additional: Vec::new(),
                },
            );
        }
        Ok(())
    }

    /// Makes `address` lead to `producer`: the TCP sender to its receiver, the encryptor to its
    /// decryptor. It no longer leads there once `producer` was removed.
    ///
    /// # Errors
    /// [`FlowError::NoProducer`], or [`FlowError::Producers`] when there are too many.
    pub fn add_producer_address(&mut self, address: A, producer: A) -> Result<(), FlowError> {
        room(
            self.additional.len(),
            self.additional.contains_key(&address),
        )?;
        let entry = self
            .producers
            .get_mut(&producer)
            .ok_or(FlowError::NoProducer)?;
        entry.additional.push(address);
        if let Some(old) = self.additional.insert(address, producer) {
            self.detach(old, address);
        }
        Ok(())
    }

    /// Makes `address` a spawner of `id`, replacing what it was.
    ///
    /// # Errors
    /// [`FlowError::Producers`] when there are too many.
    pub fn add_spawner(&mut self, address: A, id: FlowId) -> Result<(), FlowError> {
        room(self.spawners.len(), self.spawners.contains_key(&address))?;
        *self.users.entry(id).or_default() += 1;
        if let Some(old) = self.spawners.insert(address, id) {
            self.release(old);
        }
        Ok(())
    }

    /// Lets producers with `id` send to `address`.
    ///
    /// # Errors
    /// [`FlowError::Consumers`] when the id has too many.
    pub fn add_consumer(&mut self, id: FlowId, address: A) -> Result<(), FlowError> {
        let consumers = self.consumers.entry(id).or_default();
        if consumers.contains(&address) {
            return Ok(());
        }
        if consumers.len() >= MAX_FLOW_CONSUMERS {
            return Err(FlowError::Consumers);
        }
        consumers.insert(address);
        self.consumer_of.entry(address).or_default().insert(id);
        Ok(())
    }

    /// Makes `address` a consumer of every id that `like` is a consumer of now: what a secure
    /// channel inherits from its listener.
    ///
    /// # Errors
    /// [`FlowError::Consumers`] when one of the ids has too many.
    pub fn add_consumer_like(&mut self, address: A, like: A) -> Result<(), FlowError> {
        let ids: Vec<FlowId> = self
            .consumer_of
            .get(&like)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        ids.into_iter()
            .try_for_each(|id| self.add_consumer(id, address))
    }

    /// The side effect of a relay for one message that goes to `next` and came from `previous` (the
    /// first address of its return route): each may from now on be reached from the other's
    /// producer. Cheap when it is already so.
    ///
    /// Specification: `protocol/02-routing.md` 6.4.
    ///
    /// # Errors
    /// [`FlowError::Consumers`] when one of the ids has too many.
    pub fn grant(&mut self, next: A, previous: A) -> Result<(), FlowError> {
        if let Some(id) = self.id_behind(next) {
            self.add_consumer(id, previous)?;
        }
        if let Some(id) = self.id_behind(previous) {
            self.add_consumer(id, next)?;
        }
        Ok(())
    }

    /// The producer at `address`, which may be one of its additional addresses.
    #[must_use]
    pub fn producer_behind(&self, address: A) -> Option<Producer> {
        let direct = self.producers.get(&address);
        let entry = direct.or_else(|| self.producers.get(self.additional.get(&address)?));
        entry.map(|entry| entry.ids)
    }

    /// The id behind `address`: the own id of the producer it is or leads to.
    #[must_use]
    pub fn id_behind(&self, address: A) -> Option<FlowId> {
        self.producer_behind(address).map(|producer| producer.id)
    }

    /// The id that producers made by the spawner at `address` carry.
    #[must_use]
    pub fn spawner_id(&self, address: A) -> Option<FlowId> {
        self.spawners.get(&address).copied()
    }

    /// Whether a message from a producer with these ids may go on to `next`.
    ///
    /// Specification: `protocol/02-routing.md` 6.2.
    #[inline]
    #[must_use]
    pub fn allowed(&self, producer: FlowId, spawner: Option<FlowId>, next: A) -> bool {
        self.is_consumer(producer, next) || spawner.is_some_and(|id| self.is_consumer(id, next))
    }

    /// Whether `address` is a consumer of `id`.
    #[inline]
    #[must_use]
    pub fn is_consumer(&self, id: FlowId, address: A) -> bool {
        self.consumers
            .get(&id)
            .is_some_and(|consumers| consumers.contains(&address))
    }

    /// Forgets an address that has stopped. The consumers of ids that nobody uses any more go with
    /// it.
    pub fn remove(&mut self, address: A) {
        for id in self.consumer_of.remove(&address).into_iter().flatten() {
            if let Some(consumers) = self.consumers.get_mut(&id) {
                consumers.remove(&address);
                if consumers.is_empty() {
                    self.consumers.remove(&id);
                }
            }
        }
        if let Some(producer) = self.additional.remove(&address) {
            self.detach(producer, address);
        }
        if let Some(id) = self.spawners.remove(&address) {
            self.release(id);
        }
        if let Some(entry) = self.producers.remove(&address) {
            for additional in entry.additional {
                self.additional.remove(&additional);
            }
            self.release_producer(entry.ids);
        }
    }

    /// Takes one occurrence of `address` off the additional addresses of `producer`.
    fn detach(&mut self, producer: A, address: A) {
        if let Some(entry) = self.producers.get_mut(&producer)
            && let Some(i) = entry.additional.iter().position(|&other| other == address)
        {
            entry.additional.swap_remove(i);
        }
    }

    fn release_producer(&mut self, producer: Producer) {
        self.release(producer.id);
        if let Some(spawner) = producer.spawner {
            self.release(spawner);
        }
    }

    /// One user of `id` less.
    fn release(&mut self, id: FlowId) {
        if let Some(users) = self.users.get_mut(&id) {
            *users -= 1;
            if *users > 0 {
                return;
            }
        }
        self.users.remove(&id);
        for consumer in self.consumers.remove(&id).into_iter().flatten() {
            if let Some(ids) = self.consumer_of.get_mut(&consumer) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.consumer_of.remove(&consumer);
                }
            }
        }
    }

    /// Number of (id, consumer) pairs, for metrics and tests.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.consumers.values().map(FxHashSet::len).sum()
    }
}

const fn room(present: usize, replaces: bool) -> Result<(), FlowError> {
    if present >= MAX_FLOW_PRODUCERS && !replaces {
        return Err(FlowError::Producers);
    }
    Ok(())
}
