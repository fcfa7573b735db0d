//! What a turn of the shard has queued for sockets leaves together at its end.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

use super::Shard;
use crate::notify::Notify;
use crate::queue::{Outgoing, write_out};
use crate::sys::Parts;

/// When so much has been read, it is written before more is read: as long as it is in the processor's cache, and
/// into the same buffer.
const ENOUGH: usize = 128 << 10;

/// What has to be written.
#[derive(Default)]
pub(super) struct Sending {
    due: RefCell<Vec<Rc<dyn Outgoing>>>,
    /// The list of the turn before, empty: to be used again.
    spare: RefCell<Vec<Rc<dyn Outgoing>>>,
    called: Notify,
    /// Bytes read since everything was written.
    taken: Cell<usize>,
    parts: RefCell<Parts>,
}

impl Shard {
    /// Has the queue of a link or stream written when what can run now has run.
    pub(crate) fn send_soon(&self, to: Rc<dyn Outgoing>) {
        let sending = &self.0.sending;
        sending.due.borrow_mut().push(to);
        sending.called.notify();
    }

    /// Notes that bytes were read and handed on; when there were many, what they led to is written at once.
    pub(crate) fn took_in(&self, bytes: usize) {
        let taken = &self.0.sending.taken;
        taken.set(taken.get() + bytes);
        if taken.get() >= ENOUGH {
            self.write_due();
        }
    }

    /// Room to describe what is written.
    pub(crate) fn parts(&self) -> RefMut<'_, Parts> {
        self.0.sending.parts.borrow_mut()
    }

    /// Writes what is due, and what becomes due by that.
    fn write_due(&self) {
        let sending = &self.0.sending;
        sending.taken.set(0);
        loop {
            let mut due = sending.due.replace(sending.spare.take());
            if due.is_empty() {
                sending.spare.replace(due);
                return;
            }
            for to in due.drain(..) {
                write_out(self, &to);
            }
            sending.spare.replace(due);
        }
    }

    /// Writes what every turn has queued. Tasks that were woken before this one run before it.
    pub(crate) async fn keep_sending(self) {
        loop {
            let sending = &self.0.sending;
            let is_due = || (!sending.due.borrow().is_empty()).then_some(());
            sending.called.until(is_due).await;
            self.write_due();
        }
    }
}
