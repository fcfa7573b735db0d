//! Who holds which name, for all shards of the relay.

use std::collections::{HashMap, HashSet};
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
    /// Nobody holds the name, or the claimant does: with this forwarder.
    Free(Option<Key>),
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
    /// Names whose owner is being asked whether it is there.
    probed: Mutex<HashSet<String>>,
    most: usize,
}

impl Registry {
    /// An empty registry for at most this many names.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            names: Mutex::default(),
            probed: Mutex::default(),
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
        let Some(owner) = names.get(name) else {
            return if names.len() >= self.most {
                Claim::Full
            } else {
                Claim::Free(None)
            };
        };
        let is_same = owner.identity.is_some() && owner.identity == identity;
        if is_same || owner.came_by == came_by {
            return Claim::Free(Some(owner.forwarder));
        }
        match owner.identity {
            Some(_) => Claim::Taken,
            None => Claim::Probe(owner.clone()),
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

    /// Notes that the owner of a name is being asked; false if it is already.
    pub(crate) fn begin_probe(&self, name: &str) -> bool {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        probed.insert(name.to_owned())
    }

    /// Notes that the question was answered, or not.
    pub(crate) fn end_probe(&self, name: &str) {
        self.probed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
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
