//! Ending a part of what a shard has, or all of it in peace.

use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use crate::link::Link;
use crate::reason::CloseReason;
use crate::table::Entry;

/// How often it is looked whether something has ended.
const LOOK: Duration = Duration::from_millis(20);

impl Shard {
    /// Ends the streams and channels that a link carries, so that their far sides are told: those inside
    /// others first.
    pub(crate) fn end_carried(&self, link: &Link, reason: CloseReason) {
        let is_it = |carrier: &Link| carrier.address == link.address;
        let entries = self.entries();
        for (_, entry) in &entries {
            if let Entry::Stream(stream) = entry
                && stream
                    .carrier(self)
                    .is_some_and(|key| key == link.address.key)
            {
                stream.break_off(self, reason);
            }
        }
        let mut channels: Vec<_> = entries
            .into_iter()
            .filter_map(|(_, entry)| match entry {
                Entry::Decryptor(channel) => {
                    let (carrier, depth) = self.carrier_below(channel.decryptor.key)?;
                    is_it(&carrier).then_some((depth, channel))
                }
                _ => None,
            })
            .collect();
        channels.sort_by_key(|(depth, _)| core::cmp::Reverse(*depth));
        for (_, channel) in channels {
            channel.close(self, reason);
        }
    }

    /// Waits until there are no streams, their clients and services have got everything, and what was
    /// queued for other nodes by then has left.
    pub(crate) async fn until_quiet(&self) {
        let busy = || {
            let leaving = self.0.leaving.borrow();
            self.counters().streams.get() > 0 || leaving.iter().any(|one| one.is_unfinished())
        };
        while busy() {
            self.sleep(LOOK).await;
        }
        let last = |link: &Rc<Link>| {
            let (written, waiting) = link.sent();
            written + waiting as u64
        };
        let links = self
            .entries()
            .into_iter()
            .filter_map(|(_, entry)| match entry {
                Entry::Link(link) => Some((last(&link), link)),
                _ => None,
            });
        for (last, link) in links.collect::<Vec<_>>() {
            while link.ended().is_none() && link.sent().0 < last {
                self.sleep(LOOK).await;
            }
        }
    }
}
