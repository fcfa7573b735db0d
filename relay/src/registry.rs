//! Who holds which name, for all shards of the relay.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use culvert_crypto::Identifier;
use culvert_node::key::Key;
use culvert_proto::route::Route;

/// The holder of a name.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// The forwarder's address, which also says on which shard it lives.
    pub forwarder: Key,
    /// The link or channel the registration came by.
    pub came_by: Key,
    /// The authenticated identity; none for a plain registration.
    pub identity: Option<Identifier>,
    /// The hops to the owner's node.
    pub way: Route,
}

/// What a registration may do.
#[derive(Clone, Debug)]
pub(crate) enum Claim {
    /// Nobody holds the name, or the claimant does.
    Free,
    /// Somebody who proved nothing holds it: ask whether they are still there.
    Probe(Owner),
    /// It belongs to somebody else.
    Taken,
    /// The relay holds as many names as it may.
    Full,
}

/// The names of a relay. Registrations are rare, so one lock serves all shards; the data path
/// uses each shard's own copy of the names.
#[derive(Debug)]
pub(crate) struct Registry {
    names: Mutex<HashMap<String, Owner>>,
    most: usize,
}

impl Registry {
    /// An empty registry for at most this many names.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            names: Mutex::default(),
            most,
        }
    }

    fn names(&self) -> std::sync::MutexGuard<'_, HashMap<String, Owner>> {
        // Nothing can panic while the lock is held, so the map is whole in any case.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a claimant may have a name: an identity may always take its own name back, a plain
    /// claimant only over the same connection.
    pub(crate) fn claim(&self, name: &str, came_by: Key, identity: Option<Identifier>) -> Claim {
        let names = self.names();
        match names.get(name) {
            None if names.len() >= self.most => Claim::Full,
            None => Claim::Free,
            Some(owner) if owner.came_by == came_by => Claim::Free,
            Some(owner) => match (owner.identity, identity) {
                (Some(owner), Some(claimant)) if owner == claimant => Claim::Free,
                (Some(_), _) => Claim::Taken,
                (None, _) => Claim::Probe(owner.clone()),
            },
        }
    }

    /// Gives the name to an owner, if it is still held by `instead_of` or nobody; gives the owner it
    /// replaces. `Err` if somebody else got it in the meantime.
    pub(crate) fn give(
        &self,
        name: &str,
        owner: Owner,
        instead_of: Option<Key>,
    ) -> Result<Option<Owner>, ()> {
        let mut names = self.names();
        let held_by = names.get(name).map(|held| held.forwarder);
        if held_by.is_some() && held_by != instead_of {
            return Err(());
        }
        Ok(names.insert(name.to_owned(), owner))
    }

    /// The forwarder that holds a name.
    pub(crate) fn holder(&self, name: &str) -> Option<Key> {
        self.names().get(name).map(|owner| owner.forwarder)
    }

    /// Frees a name if this forwarder still holds it.
    pub(crate) fn release(&self, name: &str, forwarder: Key) {
        let mut names = self.names();
        if names
            .get(name)
            .is_some_and(|owner| owner.forwarder == forwarder)
        {
            names.remove(name);
        }
    }
}
