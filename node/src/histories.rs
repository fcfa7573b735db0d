//! Change histories of peers, remembered while the node runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use culvert_crypto::Identifier;
use culvert_crypto::identity::Histories;

/// Most bytes remembered.
const MOST: usize = 16 << 20;

/// Remembers the newest history of each peer (`protocol/11-identities.md` 6). When full, peers not
/// seen before are verified on their own each time.
///
/// Clones share what they remember: all shards of a node have the same, so that an old key that one
/// of them knows to be replaced is refused by all. Only handshakes look into it.
#[derive(Clone, Debug, Default)]
pub struct SeenHistories(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    histories: HashMap<Identifier, Box<[u8]>>,
    bytes: usize,
}

impl SeenHistories {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Histories for SeenHistories {
    fn get(&self, identifier: &Identifier) -> Option<Vec<u8>> {
        let seen = self.lock();
        let history = seen.histories.get(identifier)?;
        Some(history.to_vec())
    }

    fn put(&mut self, identifier: &Identifier, history: &[u8]) {
        let mut seen = self.lock();
        let known = seen
            .histories
            .get(identifier)
            .map_or(0, |known| known.len());
        // Another shard may have put a newer one since this one was compared: histories only grow.
        if known > history.len() || (known == 0 && seen.bytes + history.len() > MOST) {
            return;
        }
        seen.bytes = seen.bytes - known + history.len();
        seen.histories.insert(*identifier, history.into());
    }
}
