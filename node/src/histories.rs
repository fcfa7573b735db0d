//! Change histories of peers, remembered while the node runs.

use std::collections::HashMap;

use culvert_crypto::Identifier;
use culvert_crypto::identity::Histories;

/// Most peers remembered.
const MOST: usize = 65_536;

/// Remembers the newest history of each peer (`protocol/11-identities.md` 6). When full, peers not
/// seen before are verified on their own each time.
#[derive(Debug, Default)]
pub struct SeenHistories(HashMap<Identifier, Box<[u8]>>);

impl Histories for SeenHistories {
    fn get(&self, identifier: &Identifier) -> Option<Vec<u8>> {
        self.0.get(identifier).map(|history| history.to_vec())
    }

    fn put(&mut self, identifier: &Identifier, history: &[u8]) {
        if self.0.len() < MOST || self.0.contains_key(identifier) {
            self.0.insert(*identifier, history.into());
        }
    }
}
