//! The messages of one peer that are under way.

use super::partial::Partial;
use super::{Config, Datagram, Received, Refusal, RoutingNumber};
use core::mem;
use std::borrow::Cow;
use std::collections::VecDeque;

/// What is known of one message.
#[derive(Debug)]
enum Slot {
    /// No part has arrived.
    Empty,
    /// Some have.
    Partial(Box<Partial>),
    /// It was delivered, or given up to make room.
    Closed,
}

impl Slot {
    /// Memory and number of the parts kept.
    fn size(&self) -> (usize, usize) {
        match self {
            Self::Partial(partial) => (partial.bytes(), partial.parts()),
            Self::Empty | Self::Closed => (0, 0),
        }
    }

    fn is_stale(&self, config: &Config, now_ms: u64) -> bool {
        match self {
            Self::Partial(partial) => {
                now_ms.saturating_sub(partial.touched_ms()) >= config.stale_ms
            }
            Self::Empty | Self::Closed => false,
        }
    }
}

/// A window of consecutive messages, from the oldest that is still accepted.
#[derive(Debug)]
pub(super) struct Peer {
    oldest: RoutingNumber,
    slots: VecDeque<Slot>,
    bytes: usize,
    parts: usize,
    heard_ms: u64,
}

impl Peer {
    /// A peer whose first message is `first`: older ones are late.
    pub(super) fn new(first: RoutingNumber, window: u16) -> Self {
        Self {
            oldest: first,
            slots: (0..window.max(1)).map(|_| Slot::Empty).collect(),
            bytes: 0,
            parts: 0,
            heard_ms: 0,
        }
    }

    /// Memory of all partial messages, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// When a datagram was last taken, in milliseconds.
    pub(super) const fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// Takes a datagram that was checked. `most` is the memory this peer may have in all, in bytes.
    pub(super) fn receive<'a>(
        &mut self,
        config: &Config,
        most: usize,
        now_ms: u64,
        datagram: &Datagram<'a>,
    ) -> Result<Received<'a>, Refusal> {
        if datagram.number.is_older_than(self.oldest) {
            return Err(Refusal::Late);
        }
        let place = self.advance_to(datagram.number);
        let mut partial = match self.replace(place, Slot::Empty) {
            Slot::Closed => {
                self.replace(place, Slot::Closed);
                return Err(Refusal::Closed);
            }
            slot if slot.is_stale(config, now_ms) => Box::new(Partial::new(datagram.total)),
            Slot::Partial(partial) => partial,
            Slot::Empty => Box::new(Partial::new(datagram.total)),
        };
        let fits = partial
            .check(datagram)
            .and_then(|()| self.make_room(config, most, place, &partial, datagram));
        if let Err(refusal) = fits {
            self.put(place, partial);
            return Err(refusal);
        }
        self.heard_ms = now_ms;
        if datagram.total == 1 {
            self.replace(place, Slot::Closed);
            return Ok(Received::Message(Cow::Borrowed(datagram.part)));
        }
        partial.add(datagram, now_ms);
        if partial.is_complete() {
            self.replace(place, Slot::Closed);
            return Ok(Received::Message(Cow::Owned(partial.assemble())));
        }
        self.put(place, partial);
        Ok(Received::Stored)
    }

    /// Moves the window so that `number`, which is not older than it, is in it, and returns its
    /// place. Messages that fall out are lost.
    fn advance_to(&mut self, number: RoutingNumber) -> usize {
        let steps = number.steps_from(self.oldest);
        let shift = (steps + 1).saturating_sub(self.slots.len() as u16);
        for _ in 0..self.slots.len().min(shift.into()) {
            self.replace(0, Slot::Empty);
            self.slots.rotate_left(1);
        }
        self.oldest = self.oldest.plus(shift);
        usize::from(steps - shift)
    }

    /// The only place where slots change, so that the sums are always right.
    fn replace(&mut self, place: usize, slot: Slot) -> Slot {
        let Some(there) = self.slots.get_mut(place) else {
            return Slot::Closed;
        };
        let (bytes, parts) = slot.size();
        self.bytes += bytes;
        self.parts += parts;
        let before = mem::replace(there, slot);
        let (bytes, parts) = before.size();
        self.bytes -= bytes;
        self.parts -= parts;
        before
    }

    fn put(&mut self, place: usize, partial: Box<Partial>) {
        if partial.parts() > 0 {
            self.replace(place, Slot::Partial(partial));
        }
    }

    /// Makes room for one more part of `partial`, which is out of its place at present: gives up
    /// older messages of this peer, never newer ones or those of others.
    fn make_room(
        &mut self,
        config: &Config,
        most: usize,
        place: usize,
        partial: &Partial,
        datagram: &Datagram<'_>,
    ) -> Result<(), Refusal> {
        // The part that completes a message takes no memory: it gives that of the others back.
        if partial.parts() + 1 == usize::from(datagram.total) {
            return Ok(());
        }
        let bytes = partial.bytes() + partial.growth(datagram);
        let parts = partial.parts() + 1;
        if bytes > most || parts > config.peer_parts {
            return Err(Refusal::Full);
        }
        let mut older = 0..place;
        while self.bytes + bytes > most || self.parts + parts > config.peer_parts {
            let place = older.next().ok_or(Refusal::Full)?;
            if matches!(self.slots.get(place), Some(Slot::Partial(_))) {
                self.replace(place, Slot::Closed);
            }
        }
        Ok(())
    }

    /// Forgets partial messages that got no new part for too long, and says how many.
    pub(super) fn expire(&mut self, config: &Config, now_ms: u64) -> usize {
        let stale: Vec<usize> = (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.is_stale(config, now_ms))
            .map(|(place, _)| place)
            .collect();
        for &place in &stale {
            self.replace(place, Slot::Empty);
        }
        stale.len()
    }
}
