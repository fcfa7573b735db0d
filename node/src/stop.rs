//! Stopping what runs on shards, from any thread.

use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};

/// Stops everything that was given one of its [`Stop`]s: when told to, or when dropped.
///
/// What is stopped ends by itself a moment later, on its own shard; [`Stopper::wait`] waits for that.
#[derive(Debug)]
pub struct Stopper {
    /// Nothing is sent: closing it is what is waited for.
    stop: Sender<()>,
    /// Disconnected once every [`Stop`] is gone.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Stopper {
    /// A stopper and what to give to those that it is to stop.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let (stop, stopped) = async_channel::bounded(1);
        let (running, ended) = mpsc::channel();
        let ended = Mutex::new(ended);
        let held = Held {
            stopped,
            _running: running,
        };
        (Self { stop, ended }, Stop(Some(held)))
    }

    /// Stops them. Doing so again does nothing.
    pub fn stop(&self) {
        self.stop.close();
    }

    /// Blocks until everything that was given a [`Stop`] has ended, at most for `limit`; whether it has.
    /// From then on its ports and names are free. Not for the thread of a shard, and not for whoever
    /// keeps a [`Stop`] itself.
    pub fn wait(&self, limit: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        loop {
            let left = limit.saturating_sub(began.elapsed());
            match ended.recv_timeout(left) {
                Err(mpsc::RecvTimeoutError::Disconnected) => return true,
                Err(mpsc::RecvTimeoutError::Timeout) => return false,
                Ok(()) => {}
            }
        }
    }
}

/// Tells whether to stop. For any thread; whoever was given one keeps it until it has ended.
#[derive(Clone, Debug)]
pub struct Stop(Option<Held>);

#[derive(Clone, Debug)]
struct Held {
    stopped: Receiver<()>,
    _running: mpsc::Sender<()>,
}

impl Stop {
    /// For what ends with its node only.
    #[must_use]
    pub fn never() -> Self {
        Self(None)
    }

    /// Whether it is time to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.stopped.is_closed())
    }

    /// Waits until it is time to end. May be given up and waited for again.
    pub async fn stopped(&self) {
        match &self.0 {
            Some(held) => while held.stopped.recv().await.is_ok() {},
            None => core::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn is_ready(stop: &Stop) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(stop.stopped()).poll(&mut context) == Poll::Ready(())
    }

    #[test]
    fn every_copy_is_stopped_once_and_for_all() {
        let (stopper, stop) = Stopper::new();
        let copy = stop.clone();
        assert!(!copy.is_stopped() && !is_ready(&copy));
        stopper.stop();
        stopper.stop();
        assert!(copy.is_stopped() && is_ready(&copy) && is_ready(&stop));
        assert!(is_ready(&copy), "asked again");
    }

    #[test]
    fn dropping_the_stopper_stops() {
        let (stopper, stop) = Stopper::new();
        drop(stopper);
        assert!(stop.is_stopped() && is_ready(&stop));
    }

    #[test]
    fn nobody_stops_what_runs_for_ever() {
        let stop = Stop::never();
        assert!(!stop.is_stopped() && !is_ready(&stop));
    }

    #[test]
    fn the_end_of_all_is_waited_for() {
        let (stopper, stop) = Stopper::new();
        stopper.stop();
        let copy = stop.clone();
        drop(stop);
        assert!(!stopper.wait(Duration::from_millis(1)), "one is left");
        let ending = std::thread::spawn(move || drop(copy));
        assert!(stopper.wait(Duration::from_secs(20)));
        ending.join().unwrap();
    }
}
