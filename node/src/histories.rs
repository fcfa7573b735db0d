//! Change histories of peers, remembered while the node runs.

use std::collections::HashMap;

use culvert_crypto::Identifier;
use culvert_crypto::identity::Histories;

/// Most bytes remembered.
const MOST: usize = 16 << 20;

/// Remembers the newest history of each peer (`protocol/11-identities.md` 6). When full, peers not
/// seen before are verified on their own each time.
#[derive(Debug, Default)]
pub struct SeenHistories {
    histories: HashMap<Identifier, Box<[u8]>>,
    bytes: usize,
}

impl Histories for SeenHistories {
    fn get(&self, identifier: &Identifier) -> Option<Vec<u8>> {
        self.histories
            .get(identifier)
            .map(|history| history.to_vec())
    }

    fn put(&mut self, identifier: &Identifier, history: &[u8]) {
        let known = self
            .histories
            .get(identifier)
            .map_or(0, |history| history.len());
        if known == 0 && self.bytes + history.len() > MOST {
            return;
        }
        self.bytes = self.bytes - known + history.len();
        self.histories.insert(*identifier, history.into());
    }
}
