//! The outer loop of every session: a link, what is made over it, and again when that is lost.

use std::rc::Rc;

use super::Reporter;
use super::connect::connect_link;
use crate::link::Link;
use crate::reason::CloseReason;
use crate::session::Backoff;
use crate::shard::Shard;

/// Why something is not up (any more).
pub(super) struct Lost {
    pub(super) reason: String,
    /// It was up, and was reported as such.
    pub(super) was_up: bool,
}

impl Lost {
    /// The link ended.
    pub(super) fn link(reason: CloseReason, was_up: bool) -> Self {
        Self {
            reason: format!("the connection to the relay ended: {reason}"),
            was_up,
        }
    }
}

/// Opens links one after the other until the node ends, each for as long as `over_link` takes.
pub(super) async fn keep(
    shard: &Shard,
    (host, port): (&str, u16),
    reporter: &Reporter,
    mut over_link: impl AsyncFnMut(&Rc<Link>, &mut Backoff) -> Lost,
) {
    let mut backoff = Backoff::default();
    let mut told = String::new();
    loop {
        let lost = match connect_link(shard, host, port).await {
            Err(error) => Lost {
                reason: format!("cannot connect to {host}:{port}: {error}"),
                was_up: false,
            },
            Ok(link) => {
                let lost = over_link(&link, &mut backoff).await;
                if shard.is_ending() {
                    return;
                }
                link.close(CloseReason::Local);
                lost
            }
        };
        if lost.was_up {
            reporter.went_down(&lost.reason);
        } else if told != lost.reason {
            reporter.failed(shard, &lost.reason);
        }
        if lost.was_up || told != lost.reason {
            let lane = shard.number();
            tracing::warn!(lane, reason = lost.reason, "not connected, trying again");
        }
        told = lost.reason;
        backoff.pause().await;
    }
}
