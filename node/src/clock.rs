//! The thread that tells the shards that time has passed.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::shard::Inbox;

/// How often.
const TICK: Duration = Duration::from_millis(250);

/// Ticks until it is dropped.
///
/// A timer of the shard's own would be set anew at every wait for I/O, which costs more than a message in a
/// virtual machine.
pub(crate) struct Clock {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Clock {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn start(inboxes: Vec<Inbox>) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let ticking = move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                inboxes.iter().for_each(Inbox::tick);
            }
        };
        let thread = thread::Builder::new()
            .name("clock".to_owned())
            .spawn(ticking)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
