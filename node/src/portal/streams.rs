//! The streams of one inlet or outlet on one shard.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::stream::Stream;
use crate::key::Key;
use crate::reason::CloseReason;
use crate::shard::Shard;

/// Streams with or without a socket, until whoever serves them is done.
#[derive(Default)]
pub(super) struct Streams(RefCell<HashMap<Key, Rc<Stream>>>);

impl Streams {
    /// Counts a stream in, until what it gives is dropped.
    pub(super) fn enter(self: &Rc<Self>, stream: &Rc<Stream>) -> Entered {
        let key = stream.address.key;
        self.0.borrow_mut().insert(key, Rc::clone(stream));
        Entered(Rc::clone(self), key)
    }

    /// Ends all of them, so that both ends see that they did not end in order.
    pub(super) fn break_off(&self, shard: &Shard) {
        // None of them is served in between, so all that are there now are ended.
        let all: Vec<_> = self.0.borrow().values().cloned().collect();
        for stream in all {
            stream.break_off(shard, CloseReason::Local);
        }
    }
}

/// That a stream is one of those.
pub(super) struct Entered(Rc<Streams>, Key);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.borrow_mut().remove(&self.1);
    }
}
