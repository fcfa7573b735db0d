//! Ending the demo at any moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;
use crate::process;

/// Whether a signal asked the demo to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Waits for signals on a thread of its own.
    ///
    /// # Errors
    ///
    /// When signals cannot be waited for.
    pub fn on_signals() -> Result<Self, Failure> {
        let stop = Self::default();
        let mut signals = process::end_signals()?;
        let flag = Arc::clone(&stop.0);
        thread::spawn(move || {
            signals.forever().next();
            flag.store(true, Ordering::SeqCst);
        });
        Ok(stop)
    }

    /// Whether it is time to end.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Leaves whatever is under way when it is time to end.
    ///
    /// # Errors
    ///
    /// A failure that is not reported as one.
    pub fn check(&self) -> Result<(), Failure> {
        if self.requested() {
            return Err(Failure::new("interrupted", ""));
        }
        Ok(())
    }

    /// Sleeps, but not for long once it is time to end.
    pub fn sleep(&self) {
        thread::sleep(Duration::from_millis(50));
    }
}
