//! The outer loop of every session: a link, what is made over it, and again when that is lost.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use super::Reporter;
use super::connect::connect_link;
use crate::link::Link;
use crate::reason::CloseReason;
use crate::session::Backoff;
use crate::shard::Shard;
use crate::stop::Stop;

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

/// What is kept up.
pub(super) struct Kept<'a> {
    pub(super) shard: &'a Shard,
    /// Host and TCP port of the first node.
    pub(super) place: (&'a str, u16),
    pub(super) reporter: &'a Reporter,
    pub(super) stop: &'a Stop,
}

impl Kept<'_> {
    /// Opens links one after the other until it is stopped or the node ends, each for as long as
    /// `over_link` takes. `leave` is called before a link that works is given up.
    pub(super) async fn keep(
        &self,
        mut over_link: impl AsyncFnMut(&Rc<Link>, &mut Backoff) -> Lost,
        leave: impl Fn(),
    ) {
        let (host, port) = self.place;
        let mut backoff = Backoff::default();
        let mut told = String::new();
        while let Some(connected) = self
            .unless_stopped(connect_link(self.shard, host, port))
            .await
        {
            let lost = match connected {
                Err(error) => Lost {
                    reason: format!("cannot connect to {host}:{port}: {error}"),
                    was_up: false,
                },
                Ok(link) => {
                    let used = self.use_link(&link, over_link(&link, &mut backoff), &leave);
                    let Some(lost) = used.await else {
                        return link.leave(self.shard).await;
                    };
                    if self.shard.is_ending() {
                        return;
                    }
                    link.close(self.shard, CloseReason::Local);
                    lost
                }
            };
            let pause = backoff.next();
            self.report(&lost, &told, pause);
            told = lost.reason;
            if self
                .unless_stopped(monoio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Waits for something; none when it is time to end.
    async fn unless_stopped<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        monoio::select! {
            () = self.stop.stopped() => None,
            done = what => Some(done),
        }
    }

    /// Uses a link until it is lost; none when it was stopped. Then all that it carries has ended.
    async fn use_link(
        &self,
        link: &Rc<Link>,
        using: impl Future<Output = Lost>,
        leave: impl Fn(),
    ) -> Option<Lost> {
        let mut using = pin!(using);
        let used = self.unless_stopped(using.as_mut()).await;
        if used.is_none() {
            // Before what uses it is given up: the far sides are told over what it has.
            leave();
            self.shard.end_carried(link, CloseReason::Local);
        }
        used
    }

    fn report(&self, lost: &Lost, told: &str, pause: Duration) {
        let (shard, reason) = (self.shard, lost.reason.as_str());
        if lost.was_up {
            self.reporter.went_down(reason, Some(pause));
        } else if told != reason {
            self.reporter.failed(shard, reason, Some(pause));
        } else {
            self.reporter.failed_again(shard, pause);
        }
        if lost.was_up || told != reason {
            let lane = shard.number();
            tracing::warn!(lane, reason, "not connected, trying again");
        }
    }
}
