//! How what is kept up is doing, as its sessions report it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_channel::Receiver;
use culvert_manage::events::Events;
use culvert_node::session::Event;
use tokio::runtime::Handle;

use crate::commands::now_s;
use crate::model::{Change, State, Status};

/// Tells everybody who listens that something happened to a resource.
pub(super) fn tell(events: &Events, kind: &str, name: &str, event: &str, detail: Option<String>) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    events.publish(&Change {
        at_ms: since.map_or(0, |since| since.as_millis() as u64),
        resource: kind.to_owned(),
        name: name.to_owned(),
        event: event.to_owned(),
        detail,
    });
}

/// What is known of one resource that was started. A resource that is started again gets a new one.
pub(super) struct Watch {
    kind: &'static str,
    name: String,
    events: Events,
    seen: Mutex<Seen>,
}

struct Seen {
    status: Status,
    retry_at: Option<Instant>,
    /// Address that a relay gave.
    forwarding: Option<String>,
    /// What is still reported is about something that is gone.
    retired: bool,
}

impl Watch {
    /// Of something that is about to be started.
    pub(super) fn new(kind: &'static str, name: &str, events: &Events) -> Arc<Self> {
        let status = Status {
            state: State::Connecting,
            since: now_s(),
            ..Status::default()
        };
        Arc::new(Self {
            kind,
            name: name.to_owned(),
            events: events.clone(),
            seen: Mutex::new(Seen {
                status,
                retry_at: None,
                forwarding: None,
                retired: false,
            }),
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is doing now.
    pub(super) fn status(&self) -> Status {
        let seen = self.seen();
        // None while an attempt is under way.
        let left = seen.retry_at;
        let left = left.and_then(|at| at.checked_duration_since(Instant::now()));
        Status {
            retry_in_ms: left.map(|left| left.as_millis() as u64),
            ..seen.status.clone()
        }
    }

    /// The address that a relay gave it.
    pub(super) fn forwarding(&self) -> Option<String> {
        self.seen().forwarding.clone()
    }

    /// Believes no later report.
    pub(super) fn retire(&self) {
        self.seen().retired = true;
    }

    /// It works.
    pub(super) fn up(&self, peer: Option<String>) {
        let mut seen = self.seen();
        if seen.retired {
            return;
        }
        let is_news = seen.status.state != State::Up || seen.status.peer != peer;
        if seen.status.state != State::Up {
            seen.status.since = now_s();
        }
        seen.status.state = State::Up;
        seen.status.reason = None;
        seen.status.peer.clone_from(&peer);
        seen.retry_at = None;
        drop(seen);
        if is_news {
            self.tell("up", peer);
        }
    }

    /// It does not work, and is tried again, perhaps after this time.
    pub(super) fn down(&self, reason: String, retry_in: Option<Duration>) {
        let mut seen = self.seen();
        if seen.retired {
            return;
        }
        let known = seen.status.reason.as_ref() == Some(&reason);
        let is_news = seen.status.state != State::Down || !known;
        if seen.status.state != State::Down {
            seen.status.since = now_s();
        }
        seen.status.state = State::Down;
        seen.status.reason = Some(reason.clone());
        seen.status.peer = None;
        seen.status.direct = None;
        seen.retry_at = retry_in.and_then(|pause| Instant::now().checked_add(pause));
        drop(seen);
        if is_news {
            self.tell("down", Some(reason));
        }
    }

    /// Another attempt came to the same, the next is after this time.
    fn retried(&self, retry_in: Duration) {
        self.seen().retry_at = Instant::now().checked_add(retry_in);
    }

    fn note(&self, event: Event) {
        match event {
            Event::Registered {
                address, identity, ..
            } => {
                self.seen().forwarding = Some(address);
                self.up(identity.map(|identity| identity.to_string()));
            }
            Event::Up { peer } => self.up(peer.map(|peer| peer.to_string())),
            Event::Down { reason, retry_in } => self.down(reason, retry_in),
            Event::Retry { retry_in } => self.retried(retry_in),
            Event::Direct { to } => self.direct(Some(to.to_string()), None),
            Event::Relayed { reason } => self.direct(None, Some(reason)),
        }
    }

    fn direct(&self, to: Option<String>, reason: Option<String>) {
        let mut seen = self.seen();
        if seen.retired {
            return;
        }
        seen.status.direct.clone_from(&to);
        drop(seen);
        match to {
            Some(to) => self.tell("direct", Some(to)),
            None => self.tell("relayed", reason),
        }
    }

    fn tell(&self, event: &str, detail: Option<String>) {
        tell(&self.events, self.kind, &self.name, event, detail);
    }

    /// Follows what a session reports until it ends.
    pub(super) fn follow(self: &Arc<Self>, news: &Handle, reports: Receiver<Event>) {
        let watch = Arc::clone(self);
        news.spawn(async move {
            while let Ok(event) = reports.recv().await {
                watch.note(event);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(reason: &str, pause: u64) -> Event {
        Event::Down {
            reason: reason.into(),
            retry_in: Some(Duration::from_secs(pause)),
        }
    }

    #[test]
    fn reports_become_a_status_and_news() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let events = Events::new();
        let mut heard = events.subscribe();
        let watch = Watch::new("relay", "db", &events);
        assert_eq!(watch.status().state, State::Connecting);
        watch.note(down("refused", 1000));
        watch.note(down("refused", 1000));
        let status = watch.status();
        assert_eq!(status.state, State::Down);
        assert_eq!(status.reason.as_deref(), Some("refused"));
        assert!(status.retry_in_ms.is_some_and(|left| left > 900_000));
        watch.note(Event::Retry {
            retry_in: Duration::from_secs(5000),
        });
        let status = watch.status();
        assert_eq!(status.reason.as_deref(), Some("refused"));
        assert!(status.retry_in_ms.is_some_and(|left| left > 4_900_000));
        watch.note(Event::Up { peer: None });
        assert_eq!(watch.status().state, State::Up);
        assert_eq!(watch.status().retry_in_ms, None);
        watch.retire();
        watch.note(down("late", 0));
        assert_eq!(watch.status().state, State::Up);
        drop((watch, events));
        let mut names = Vec::new();
        while let Some(line) = runtime.block_on(heard.next()) {
            let change: Change = serde_json::from_str(&line).expect("a change");
            names.push(change.event);
        }
        assert_eq!(names, ["down", "up"], "the same reason again is no news");
    }
}
