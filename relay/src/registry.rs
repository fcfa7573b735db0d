//! Who holds which name, for all shards of the relay.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use culvert_crypto::Identifier;
use culvert_node::key::Key;
use culvert_proto::forwarder::{Lane, MAX_LANES};
use culvert_proto::route::Route;
use serde::Serialize;

/// One connection over which a name is held.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The forwarder's address, which also says on which shard it lives.
    pub forwarder: Key,
    /// The link or channel the registration came by.
    pub came_by: Key,
    /// The hops to the owner's node.
    pub way: Route,
    /// Which of the owner's connections this is.
    pub lane: u8,
    /// Whether the owner is told when it loses the name.
    pub is_told: bool,
}

/// Who registers: an identity holds a name over as many connections of one process as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claimant {
    /// The link or channel the registration came by.
    pub came_by: Key,
    /// The authenticated identity; none for a plain registration.
    pub identity: Option<Identifier>,
    /// Process and connection, from a Culvert edge.
    pub lane: Option<Lane>,
}

/// The holder of a name.
#[derive(Debug)]
struct Owner {
    identity: Option<Identifier>,
    /// When it got the name, in milliseconds since 1970-01-01 UTC.
    since_ms: u64,
    process: Option<u64>,
    /// Never empty.
    members: Vec<Member>,
}

impl Owner {
    /// Whether the claimant is another connection of the process that holds the name.
    fn is_joined_by(&self, claimant: &Claimant) -> bool {
        let process = claimant.lane.map(|lane| lane.process);
        self.identity.is_some()
            && self.identity == claimant.identity
            && process.is_some()
            && self.process == process
    }

    /// Whether it is the same identity.
    fn is(&self, claimant: &Claimant) -> bool {
        self.identity.is_some() && self.identity == claimant.identity
    }

    /// Whether the claimant may take the name over or join: the same identity unless its process is
    /// an earlier one, or over the same connection.
    fn yields_to(&self, claimant: &Claimant) -> bool {
        let process = claimant.lane.map(|lane| lane.process);
        let is_earlier = process.is_some() && process < self.process;
        (self.is(claimant) && !is_earlier)
            || self.members.iter().any(|m| m.came_by == claimant.came_by)
    }
}

/// A name, as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ForwarderView {
    /// The name that was registered.
    pub name: String,
    /// Who holds it; none for a plain registration.
    pub identity: Option<String>,
    /// Since when, in milliseconds since 1970-01-01 UTC.
    pub since_ms: u64,
    /// Over how many connections.
    pub links: usize,
    /// The shards those are on.
    pub shards: Vec<u8>,
}

/// What a registration may do.
#[derive(Clone, Debug)]
pub(crate) enum Claim {
    /// Nobody holds the name, or the claimant may have it.
    Free,
    /// Somebody who proved nothing holds it: ask whether they are still there.
    Probe(Member),
    /// It belongs to somebody else.
    Taken,
    /// A later process of the same identity holds it.
    Later,
    /// The relay, or the identity, holds as many names as it may.
    Full,
}

/// How many names there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// In all, each connection that holds one counted.
    pub names: usize,
    /// Of one identity, and of all plain registrations together.
    pub per_identity: usize,
}

#[derive(Debug, Default)]
struct Names {
    owners: HashMap<String, Owner>,
    /// Connections that hold names, by identity.
    counts: HashMap<Option<Identifier>, usize>,
    total: usize,
}

impl Names {
    fn count(&mut self, identity: Option<Identifier>) {
        *self.counts.entry(identity).or_default() += 1;
        self.total += 1;
    }

    fn uncount(&mut self, identity: Option<Identifier>, members: usize) {
        self.total -= members;
        if let Some(count) = self.counts.get_mut(&identity) {
            *count -= members;
            if *count == 0 {
                self.counts.remove(&identity);
            }
        }
    }
}

/// The names of a relay. Registrations are rare, so one lock serves all shards; the data path
/// uses each shard's own copy of the names.
#[derive(Debug)]
pub(crate) struct Registry {
    names: Mutex<Names>,
    /// Names whose owner is being asked whether it is there.
    probed: Mutex<HashSet<String>>,
    most: Mutex<Most>,
}

impl Registry {
    /// An empty registry.
    pub(crate) fn new(most: Most) -> Self {
        Self {
            names: Mutex::default(),
            probed: Mutex::default(),
            most: Mutex::new(most),
        }
    }

    /// Sets how many names there may be. What is registered stays.
    pub(crate) fn limit(&self, most: Most) {
        *self.most.lock().unwrap_or_else(PoisonError::into_inner) = most;
    }

    fn most(&self) -> Most {
        *self.most.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> std::sync::MutexGuard<'_, Names> {
        // Nothing can panic while the lock is held, so the maps are whole in any case.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a claimant may have a name: an identity may always take its own name back, a plain
    /// claimant only over the same connection.
    pub(crate) fn claim(&self, name: &str, claimant: &Claimant) -> Claim {
        let lane = claimant.lane.map_or(0, |lane| lane.number);
        if lane >= MAX_LANES {
            return Claim::Full;
        }
        let names = self.names();
        let own = names.counts.get(&claimant.identity).copied().unwrap_or(0);
        let most = self.most();
        let is_full = names.total >= most.names || own >= most.per_identity;
        let Some(owner) = names.owners.get(name) else {
            return if is_full { Claim::Full } else { Claim::Free };
        };
        let has_place = owner.members.iter().any(|member| member.lane == lane);
        if is_full && owner.is_joined_by(claimant) && !has_place {
            return Claim::Full;
        }
        match (
            owner.yields_to(claimant),
            owner.identity,
            &owner.members[..],
        ) {
            (true, ..) => Claim::Free,
            (false, None, [member, ..]) => Claim::Probe(member.clone()),
            _ if owner.is(claimant) => Claim::Later,
            _ => Claim::Taken,
        }
    }

    /// Gives the name to a claimant if it may have it, or if it is still held by `instead_of`; gives
    /// the connections that are replaced. `Err` if somebody else got it in the meantime.
    pub(crate) fn give(
        &self,
        name: &str,
        claimant: &Claimant,
        member: Member,
        instead_of: Option<Key>,
    ) -> Result<Vec<Member>, ()> {
        let mut names = self.names();
        if let Some(owner) = names.owners.get_mut(name) {
            if owner.is_joined_by(claimant) {
                let same = |other: &mut Member| other.lane == member.lane;
                let replaced = owner.members.extract_if(.., same).collect::<Vec<_>>();
                owner.members.push(member);
                names.uncount(claimant.identity, replaced.len());
                names.count(claimant.identity);
                return Ok(replaced);
            }
            let gone = owner.members.first().map(|m| m.forwarder) == instead_of;
            if !owner.yields_to(claimant) && !gone {
                return Err(());
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let owner = Owner {
            identity: claimant.identity,
            since_ms: now.map_or(0, |since| since.as_millis() as u64),
            process: claimant.lane.map(|lane| lane.process),
            members: vec![member],
        };
        names.count(claimant.identity);
        let Some(old) = names.owners.insert(name.to_owned(), owner) else {
            return Ok(Vec::new());
        };
        names.uncount(old.identity, old.members.len());
        Ok(old.members)
    }

    /// The shard that a connection of a process had better be on, so that its connections are on as
    /// many shards as there are: as far from that of another as their numbers are. Where there is no other
    /// yet, all that come at once, as after a restart of the relay, are told the same.
    pub(crate) fn shard_for(&self, name: &str, lane: Lane, shards: u8) -> u8 {
        let shards = i32::from(shards.max(1));
        let names = self.names();
        let owner = names.owners.get(name);
        let owner = owner.filter(|owner| owner.process == Some(lane.process));
        let shard_of_lane_0 = match owner.and_then(|owner| owner.members.first()) {
            Some(other) => i32::from(other.forwarder.shard()) - i32::from(other.lane),
            None => (lane.process % 256) as i32,
        };
        let shard = (shard_of_lane_0 + i32::from(lane.number)).rem_euclid(shards);
        u8::try_from(shard).unwrap_or(0)
    }

    /// The first `most` names in the order of the alphabet, and how many there are.
    pub(crate) fn list(&self, most: usize) -> (usize, Vec<ForwarderView>) {
        let names = self.names();
        // Keeps the smallest, so that the lock is not held for sorting all of them.
        let mut first = BinaryHeap::with_capacity(most.min(names.owners.len()) + 1);
        for name in names.owners.keys() {
            if first.len() < most || first.peek().is_some_and(|last| name < *last) {
                first.push(name);
            }
            if first.len() > most {
                first.pop();
            }
        }
        let view = |name: &String| {
            let owner = names.owners.get(name)?;
            let shards = owner.members.iter().map(|member| member.forwarder.shard());
            Some(ForwarderView {
                name: name.clone(),
                identity: owner.identity.map(|identity| identity.to_string()),
                since_ms: owner.since_ms,
                links: owner.members.len(),
                shards: shards.collect(),
            })
        };
        let sorted = first.into_sorted_vec();
        (
            names.owners.len(),
            sorted.into_iter().filter_map(view).collect(),
        )
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

    /// Frees a name if this forwarder was the last that held it.
    pub(crate) fn release(&self, name: &str, forwarder: Key) {
        let mut names = self.names();
        let Some(owner) = names.owners.get_mut(name) else {
            return;
        };
        let before = owner.members.len();
        owner.members.retain(|member| member.forwarder != forwarder);
        let (gone, identity) = (before - owner.members.len(), owner.identity);
        if owner.members.is_empty() {
            names.owners.remove(name);
        }
        names.uncount(identity, gone);
    }
}

#[cfg(test)]
mod tests {
    use culvert_node::key::LocalAddress;

    use super::*;

    const NAME: &str = "db";

    fn key(digit: u8) -> Key {
        let mut text = *b"AAAAAAAAAAAAAAAAAAAA";
        text[8] += digit;
        LocalAddress::parse(&text).expect("an address").key
    }

    /// Lane `number` of a process, over a connection of its own.
    fn claimant(process: u64, number: u8) -> Claimant {
        Claimant {
            came_by: key(number),
            identity: Some(Identifier([7; 32])),
            lane: Some(Lane { process, number }),
        }
    }

    fn registry() -> Registry {
        Registry::new(Most {
            names: 2,
            per_identity: 2,
        })
    }

    #[test]
    fn connections_that_come_at_once_are_told_different_shards() {
        let registry = registry();
        for process in 0..300 {
            for shards in 1..5 {
                let shard = |number| registry.shard_for(NAME, Lane { process, number }, shards);
                let mut told: Vec<u8> = (0..shards).map(shard).collect();
                told.sort_unstable();
                assert_eq!(told, (0..shards).collect::<Vec<_>>());
            }
        }
    }

    fn give(registry: &Registry, claimant: &Claimant) -> usize {
        let lane = claimant.lane.map_or(0, |lane| lane.number);
        let member = Member {
            forwarder: claimant.came_by,
            came_by: claimant.came_by,
            way: Route::default(),
            lane,
            is_told: true,
        };
        let replaced = registry.give(NAME, claimant, member, None);
        replaced.expect("the name").len()
    }

    #[test]
    fn a_lane_may_come_back_when_there_is_no_room_for_another() {
        let registry = registry();
        assert_eq!(give(&registry, &claimant(1, 0)), 0);
        assert_eq!(give(&registry, &claimant(1, 1)), 0);
        let claim = |lane| registry.claim(NAME, &claimant(1, lane));
        assert!(matches!(claim(2), Claim::Full));
        assert!(matches!(claim(1), Claim::Free));
        assert_eq!(give(&registry, &claimant(1, 1)), 1);
    }

    #[test]
    fn the_list_is_sorted_and_bounded() {
        let registry = Registry::new(Most {
            names: 10,
            per_identity: 10,
        });
        for (number, name) in ["mail", "db", "web"].into_iter().enumerate() {
            let number = number as u8;
            let member = Member {
                forwarder: key(number),
                came_by: key(number),
                way: Route::default(),
                lane: 0,
                is_told: true,
            };
            let given = registry.give(name, &claimant(1, number), member, None);
            assert!(given.expect("the name").is_empty());
        }
        let (total, listed) = registry.list(2);
        let names: Vec<_> = listed.iter().map(|one| one.name.as_str()).collect();
        assert_eq!((total, names), (3, vec!["db", "mail"]));
        let who = Identifier([7; 32]).to_string();
        assert_eq!(listed[0].identity.as_ref(), Some(&who));
        assert_eq!((listed[0].links, registry.list(0).1.len()), (1, 0));
    }

    #[test]
    fn no_process_has_more_lanes_than_may_be() {
        let claim = registry().claim(NAME, &claimant(1, MAX_LANES));
        assert!(matches!(claim, Claim::Full));
    }
}
