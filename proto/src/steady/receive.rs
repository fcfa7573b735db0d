//! The receiving direction: order, gaps and acknowledgements.

use super::{ACK, SteadyError, WINDOW, segment};
use crate::limits::MAX_FRAME;
use std::collections::{BTreeMap, VecDeque};

/// Segments in order after which one acknowledgement is due.
const EVERY: u32 = 2;

#[derive(Debug)]
pub(super) struct Receiver {
    /// The segment that comes next.
    next: u64,
    /// Those behind a gap, and whether they end a message. All are within [`WINDOW`] of `next`.
    ahead: BTreeMap<u64, (bool, Vec<u8>)>,
    partial: Vec<u8>,
    messages: VecDeque<Vec<u8>>,
    /// Taken since the last acknowledgement.
    since: u32,
    owes: bool,
}

impl Receiver {
    pub(super) const fn new() -> Self {
        Self {
            next: 0,
            ahead: BTreeMap::new(),
            partial: Vec::new(),
            messages: VecDeque::new(),
            since: 0,
            owes: false,
        }
    }

    pub(super) fn on_part(
        &mut self,
        number: u64,
        is_last: bool,
        bytes: &[u8],
    ) -> Result<(), SteadyError> {
        if number.saturating_sub(self.next) >= WINDOW as u64 {
            return Err(SteadyError::TooFar(number));
        }
        // Something that came before means that the other end does not know: it is told at once.
        if number != self.next {
            self.owes = true;
            if number > self.next {
                let ahead = || (is_last, bytes.to_vec());
                self.ahead.entry(number).or_insert_with(ahead);
            }
            return Ok(());
        }
        self.take(is_last, bytes)?;
        while let Some((is_last, bytes)) = self.ahead.remove(&self.next) {
            self.take(is_last, &bytes)?;
            self.owes = true;
        }
        self.since += 1;
        self.owes |= is_last || !self.ahead.is_empty() || self.since >= EVERY;
        Ok(())
    }

    fn take(&mut self, is_last: bool, bytes: &[u8]) -> Result<(), SteadyError> {
        if self.partial.len() + bytes.len() > MAX_FRAME {
            return Err(SteadyError::TooLong);
        }
        self.next += 1;
        self.partial.extend_from_slice(bytes);
        if is_last {
            self.messages.push_back(core::mem::take(&mut self.partial));
        }
        Ok(())
    }

    pub(super) fn next_message(&mut self) -> Option<Vec<u8>> {
        self.messages.pop_front()
    }

    /// The acknowledgement that is due.
    pub(super) fn acknowledgement(&mut self) -> Option<Vec<u8>> {
        if !core::mem::take(&mut self.owes) {
            return None;
        }
        self.since = 0;
        let mut bits = Vec::new();
        for number in self.ahead.keys() {
            let bit = (number - self.next - 1) as usize;
            bits.resize(bits.len().max(bit / 8 + 1), 0);
            if let Some(byte) = bits.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
        Some(segment(ACK, self.next, &bits))
    }
}
