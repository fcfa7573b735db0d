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
    /// Each with the number of its wait.
    waiters: RefCell<Vec<(u64, Waker)>>,
    waits: Cell<u64>,
}

impl Notify {
    /// Wakes every waiting task.
    pub(crate) fn notify(&self) {
        let mut waiters = self.waiters.borrow_mut();
        if waiters.is_empty() {
            return;
        }
        // Waking only marks tasks as runnable; none of them runs inside this loop.
        for (_, waker) in waiters.drain(..) {
            waker.wake();
        }
    }

    /// Waits until `ready` gives a value; it is asked now and after each notification.
    pub(crate) async fn until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        let number = self.waits.get();
        self.waits.set(number + 1);
        let mut wait = Wait {
            notify: self,
            number,
            is_entered: false,
        };
        poll_fn(|cx| match ready() {
            Some(value) => Poll::Ready(value),
            None => {
                wait.enter(cx.waker());
                Poll::Pending
            }
        })
        .await
    }
}

/// One wait. Its waker goes with it: tasks that wait for one of several things leave this one, again
/// and again, without having been notified.
struct Wait<'a> {
    notify: &'a Notify,
    number: u64,
    is_entered: bool,
}

impl Wait<'_> {
    /// Wakers of one task need not look the same, so that the number tells whose they are.
    fn enter(&mut self, waker: &Waker) {
        let mut waiters = self.notify.waiters.borrow_mut();
        let known = match self.is_entered {
            true => waiters.iter_mut().find(|(n, _)| *n == self.number),
            false => None,
        };
        match known {
            Some((_, known)) => known.clone_from(waker),
            None => waiters.push((self.number, waker.clone())),
        }
        self.is_entered = true;
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.is_entered {
            let mut waiters = self.notify.waiters.borrow_mut();
            if let Some(at) = waiters.iter().position(|(n, _)| *n == self.number) {
                waiters.swap_remove(at);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context, Wake};

    #[derive(Default)]
    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polled with other wakers each time, and given up without a notification.
    #[test]
    fn a_wait_leaves_nothing_behind() {
        let notify = Notify::default();
        for _ in 0..100 {
            let mut wait = pin!(notify.until(|| None::<()>));
            for _ in 0..10 {
                let waker = Arc::new(Woken::default()).into();
                let mut context = Context::from_waker(&waker);
                assert!(wait.as_mut().poll(&mut context).is_pending());
                assert_eq!(notify.waiters.borrow().len(), 1);
            }
        }
        assert!(notify.waiters.borrow().is_empty());
    }

    #[test]
    fn every_waiter_is_woken_once_by_its_last_waker() {
        let notify = Notify::default();
        let [old, new] = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let mut waits = [(); 2].map(|()| Box::pin(notify.until(|| None::<()>)));
        for woken in [&old, &new] {
            let waker = Arc::clone(woken).into();
            for wait in &mut waits {
                let mut context = Context::from_waker(&waker);
                assert!(wait.as_mut().poll(&mut context).is_pending());
            }
        }
        notify.notify();
        notify.notify();
        let count = |woken: &Woken| woken.0.load(Ordering::Relaxed);
        assert_eq!((count(&old), count(&new)), (0, 2));
    }
}
