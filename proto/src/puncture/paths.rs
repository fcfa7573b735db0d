//! Where the peer may be reached, and where it is.

use core::net::SocketAddr;

/// Pings to a place that the peer was heard from and that does not answer, before it is forgotten.
const TRIES: u8 = 20;

/// The place that answered.
#[derive(Clone, Copy, Debug)]
struct Path {
    to: SocketAddr,
    heard_ms: u64,
}

/// A place that the peer was heard from, beside the one it told.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: SocketAddr,
    /// Pings left.
    tries: u8,
    was_pinged: bool,
}

/// Where Pings go: to the place the peer told, until another answers; and to one other place that
/// it was heard from. The last such place counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paths {
    told: SocketAddr,
    heard: Option<Heard>,
    path: Option<Path>,
}

impl Paths {
    pub(super) const fn new(told: SocketAddr) -> Self {
        Self {
            told,
            heard: None,
            path: None,
        }
    }

    /// The place the peer told.
    pub(super) const fn told(&self) -> SocketAddr {
        self.told
    }

    /// The place that answers.
    pub(super) fn answering(&self) -> Option<SocketAddr> {
        self.path.map(|path| path.to)
    }

    /// When it last did.
    pub(super) fn heard_ms(&self) -> Option<u64> {
        self.path.map(|path| path.heard_ms)
    }

    /// The place the peer told, or the one that answered.
    fn main(&self) -> SocketAddr {
        self.path.map_or(self.told, |path| path.to)
    }

    /// Where the Pings of this round go.
    pub(super) fn round(&mut self) -> [Option<SocketAddr>; 2] {
        let mut other = None;
        if let Some(heard) = &mut self.heard {
            other = Some(heard.at);
            heard.was_pinged = true;
            heard.tries = heard.tries.saturating_sub(1);
            if heard.tries == 0 {
                self.heard = None;
            }
        }
        [Some(self.main()), other]
    }

    /// The peer was heard from `source`. Says whether that is news.
    pub(super) fn on_message(&mut self, source: SocketAddr) -> bool {
        if source == self.main() {
            return false;
        }
        let known = self.heard.filter(|heard| heard.at == source);
        self.heard = Some(Heard {
            at: source,
            tries: TRIES,
            was_pinged: known.is_some_and(|heard| heard.was_pinged),
        });
        known.is_none()
    }

    /// A Pong came from `source`. Says whether the path leads there; one that was heard less than
    /// `patience_ms` ago is not left for another.
    pub(super) fn on_pong(&mut self, now_ms: u64, source: SocketAddr, patience_ms: u64) -> bool {
        // To a place that was never pinged, nobody can have answered.
        let was_pinged = self
            .heard
            .is_some_and(|heard| heard.at == source && heard.was_pinged);
        let leads_there = match self.path {
            Some(path) if path.to == source => true,
            Some(path) => was_pinged && now_ms.saturating_sub(path.heard_ms) >= patience_ms,
            None => was_pinged || source == self.told,
        };
        if leads_there {
            self.heard = self.heard.filter(|heard| heard.at != source);
            self.path = Some(Path {
                to: source,
                heard_ms: now_ms,
            });
        }
        leads_there
    }
}
