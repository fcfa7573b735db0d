//! One message of which some parts have arrived.

use super::{Datagram, Refusal};
use crate::limits::MAX_FRAME;

/// Memory per part beside its bytes: its entry in the order of arrival.
const PER_PART: usize = size_of::<u16>();
/// Memory per 64 parts: their bits in the set of those that arrived.
const PER_WORD: usize = size_of::<u64>();

/// Parts in the order in which they arrived: no memory is taken for those that have not.
///
/// All parts but the last have the same length; the last may have any.
#[derive(Debug)]
pub(super) struct Partial {
    total: u16,
    /// Length of the parts that are not the last, once one has arrived.
    uniform: Option<usize>,
    /// Length of the last part, once it has arrived.
    last: Option<usize>,
    order: Vec<u16>,
    data: Vec<u8>,
    seen: Vec<u64>,
    touched_ms: u64,
}

impl Partial {
    pub(super) const fn new(total: u16) -> Self {
        Self {
            total,
            uniform: None,
            last: None,
            order: Vec::new(),
            data: Vec::new(),
            seen: Vec::new(),
            touched_ms: 0,
        }
    }

    /// Checks that the part belongs here and is missing. The datagram itself was checked before.
    pub(super) fn check(&self, datagram: &Datagram<'_>) -> Result<(), Refusal> {
        if datagram.total != self.total {
            return Err(Refusal::Total {
                announced: self.total,
                got: datagram.total,
            });
        }
        if self.has(datagram.index) {
            return Err(Refusal::Duplicate);
        }
        let length = datagram.part.len();
        let (uniform, last) = match datagram.is_last() {
            true => (self.uniform, Some(length)),
            false => (Some(length), self.last),
        };
        if let (Some(uniform), Some(expected)) = (uniform, self.uniform)
            && uniform != expected
        {
            return Err(Refusal::Length {
                expected,
                got: uniform,
            });
        }
        let others = usize::from(self.total) - 1;
        let whole = others
            .saturating_mul(uniform.unwrap_or(1))
            .saturating_add(last.unwrap_or(0));
        match whole > MAX_FRAME {
            true => Err(Refusal::TooLong),
            false => Ok(()),
        }
    }

    /// Bytes of memory that this part adds.
    pub(super) fn growth(&self, datagram: &Datagram<'_>) -> usize {
        let words = word(datagram.index) + 1;
        datagram.part.len() + PER_PART + words.saturating_sub(self.seen.len()) * PER_WORD
    }

    /// Bytes of memory of the parts here.
    pub(super) const fn bytes(&self) -> usize {
        self.data.len() + self.order.len() * PER_PART + self.seen.len() * PER_WORD
    }

    /// When the last new part arrived, in milliseconds.
    pub(super) const fn touched_ms(&self) -> u64 {
        self.touched_ms
    }

    /// Number of the parts here.
    pub(super) const fn parts(&self) -> usize {
        self.order.len()
    }

    /// Adds a part that was checked.
    pub(super) fn add(&mut self, datagram: &Datagram<'_>, now_ms: u64) {
        match datagram.is_last() {
            true => self.last = Some(datagram.part.len()),
            false => self.uniform = Some(datagram.part.len()),
        }
        let word = word(datagram.index);
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if let Some(bits) = self.seen.get_mut(word) {
            *bits |= bit(datagram.index);
        }
        self.order.push(datagram.index);
        self.data.extend_from_slice(datagram.part);
        self.touched_ms = now_ms;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.order.len() == usize::from(self.total)
    }

    /// The message, if it [is complete](Self::is_complete).
    pub(super) fn assemble(self) -> Vec<u8> {
        if self.order.is_sorted() {
            return self.data;
        }
        let mut starts = Vec::with_capacity(self.order.len());
        let mut start = 0;
        for &index in &self.order {
            let end = start + self.length_of(index);
            starts.push((index, start..end));
            start = end;
        }
        starts.sort_unstable_by_key(|(index, _)| *index);
        let mut message = Vec::with_capacity(self.data.len());
        for (_, range) in starts {
            message.extend_from_slice(self.data.get(range).unwrap_or_default());
        }
        message
    }

    fn length_of(&self, index: u16) -> usize {
        let length = match index + 1 == self.total {
            true => self.last,
            false => self.uniform,
        };
        length.unwrap_or(0)
    }

    fn has(&self, index: u16) -> bool {
        let bits = self.seen.get(word(index)).copied().unwrap_or(0);
        bits & bit(index) != 0
    }
}

const fn word(index: u16) -> usize {
    index as usize / 64
}

const fn bit(index: u16) -> u64 {
    1 << (index % 64)
}
