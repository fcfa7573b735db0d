//! Waking tasks of the same shard.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes the tasks of one shard that wait for something to change.
///
/// A notification is not stored: a waiter checks its condition, then waits, and because shard
/// tasks run one at a time nothing can slip in between.
#[derive(Default, Debug)]
pub(crate) struct Notify {
    waiters: RefCell<Vec<Waker>>,
}

impl Notify {
    /// Wakes every waiting task.
    pub(crate) fn notify(&self) {
        let mut waiters = self.waiters.borrow_mut();
        if waiters.is_empty() {
            return;
        }
        // Waking only marks tasks as runnable; none of them runs inside this loop.
        for waker in waiters.drain(..) {
            waker.wake();
        }
    }

    /// Waits until `ready` gives a value; it is asked now and after each notification.
    pub(crate) async fn until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        poll_fn(|cx| match ready() {
            Some(value) => Poll::Ready(value),
            None => {
                let mut waiters = self.waiters.borrow_mut();
                if !waiters.iter().any(|w| w.will_wake(cx.waker())) {
                    waiters.push(cx.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }
}

/// A place that may be full: producers that filled it wait here until it is drained or gone.
#[derive(Default, Debug)]
pub struct Gate {
    shut: Cell<bool>,
    changed: Notify,
}

impl Gate {
    /// Whether producers must wait.
    pub fn is_shut(&self) -> bool {
        self.shut.get()
    }

    /// Makes producers wait.
    pub(crate) fn shut(&self) {
        self.shut.set(true);
    }

    /// Lets producers go on.
    pub(crate) fn open(&self) {
        if self.shut.replace(false) {
            self.changed.notify();
        }
    }

    /// Waits until the gate is open.
    pub async fn passed(&self) {
        self.changed
            .until(|| (!self.shut.get()).then_some(()))
            .await;
    }
}
