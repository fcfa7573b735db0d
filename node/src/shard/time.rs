//! What a shard does because time has passed.

use std::cell::Cell;

use super::Shard;
use crate::notify::Notify;
use crate::table::Entry;

/// Ticks of the clock ([`crate::clock`]).
#[derive(Default)]
pub(super) struct Ticks {
    count: Cell<u64>,
    counted: Notify,
}

impl Shard {
    /// Calls everything that has deadlines, about four times a second.
    pub(crate) fn tick(&self) {
        self.0.pool.sweep();
        self.0.counters.memory.set(self.0.pool.held() as u64);
        let mut leaving = self.0.leaving.borrow_mut();
        leaving.retain(|stream| stream.is_leaving(self));
        drop(leaving);
        let entries = self.entries();
        // Links first: what the others send now is not to count as waiting.
        for (_, entry) in &entries {
            if let Entry::Link(link) = entry {
                link.tick(self);
            }
        }
        for (address, entry) in entries {
            match entry {
                Entry::Decryptor(channel) => channel.tick(self),
                Entry::Stream(stream) => stream.tick(self),
                Entry::Worker(worker) => worker.tick(self, address),
                Entry::Link(_) | Entry::Encryptor(_) => {}
            }
        }
        let ticks = &self.0.ticks;
        ticks.count.set(ticks.count.get() + 1);
        ticks.counted.notify();
    }

    /// Waits for the next tick: a quarter of a second, roughly.
    pub(crate) async fn next_tick(&self) {
        let ticks = &self.0.ticks;
        let now = ticks.count.get();
        let is_next = || (ticks.count.get() != now).then_some(());
        ticks.counted.until(is_next).await;
    }
}
