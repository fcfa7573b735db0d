//! The sending direction: what is under way, what is lost, and how much may be.

use super::{LAST, PART, SEGMENT, SteadyError, WINDOW, segment};
use std::collections::VecDeque;

/// Segments that may be under way at first, and at least.
const FIRST: u32 = 10;
const LEAST: u32 = 4;
/// How many transmissions later something has to arrive for a segment to count as lost.
const REORDERING: u64 = 3;
/// Bounds of the time without an acknowledgement after which everything counts as lost.
const TIMEOUT_MS: [u64; 2] = [60, 2_000];
const FIRST_TIMEOUT_MS: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay,
    Lost,
    Arrived,
}

#[derive(Debug)]
struct Sent {
    segment: Vec<u8>,
    state: State,
    /// Number of its last transmission, of all of this path.
    transmission: u64,
    sent_ms: u64,
    is_again: bool,
}

/// Invariants: `sent` are the segments from `first` on, in order; `under_way` is how many of them have
/// that state.
#[derive(Debug)]
pub(super) struct Sender {
    queue: VecDeque<Vec<u8>>,
    /// Bytes of the first message in the queue that were sent.
    offset: usize,
    waiting: usize,
    first: u64,
    sent: VecDeque<Sent>,
    under_way: u32,
    transmissions: u64,
    sent_again: u64,
    /// How many segments may be under way.
    allowed: u32,
    /// Below this, `allowed` grows by one for each that arrives; above, for each round.
    threshold: u32,
    arrived_in_round: u32,
    /// Losses before this segment belong to one event.
    recovered_at: u64,
    smooth_ms: Option<(u64, u64)>,
    timeouts: u32,
}

impl Sender {
    pub(super) const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            offset: 0,
            waiting: 0,
            first: 0,
            sent: VecDeque::new(),
            under_way: 0,
            transmissions: 0,
            sent_again: 0,
            allowed: FIRST,
            threshold: WINDOW as u32,
            arrived_in_round: 0,
            recovered_at: 0,
            smooth_ms: None,
            timeouts: 0,
        }
    }

    pub(super) fn push(&mut self, message: Vec<u8>) {
        self.waiting += message.len();
        self.queue.push_back(message);
    }

    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.sent.is_empty()
    }

    pub(super) const fn sent_again(&self) -> u64 {
        self.sent_again
    }

    fn timeout_ms(&self) -> u64 {
        let [least, most] = TIMEOUT_MS;
        let base = match self.smooth_ms {
            None => FIRST_TIMEOUT_MS,
            Some((smooth, varies)) => smooth + 4 * varies + 10,
        };
        (base.clamp(least, most) << self.timeouts.min(5)).min(most)
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let oldest = self
            .sent
            .iter()
            .find(|sent| sent.state == State::UnderWay)?;
        Some(oldest.sent_ms.saturating_add(self.timeout_ms()))
    }

    pub(super) fn poll(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if self.deadline_ms().is_some_and(|at| now_ms >= at) {
            self.on_timeout();
        }
        if self.under_way >= self.allowed {
            return None;
        }
        let transmission = self.transmissions;
        let lost = self.sent.iter_mut().find(|sent| sent.state == State::Lost);
        let segment = match lost {
            Some(sent) => {
                sent.state = State::UnderWay;
                sent.transmission = transmission;
                sent.sent_ms = now_ms;
                sent.is_again = true;
                self.sent_again += 1;
                sent.segment.clone()
            }
            None => self.cut(now_ms)?,
        };
        self.under_way += 1;
        self.transmissions += 1;
        Some(segment)
    }

    /// The next part of what waits.
    fn cut(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if self.sent.len() >= WINDOW {
            return None;
        }
        let rest = self.queue.front()?.get(self.offset..)?;
        let part = rest.get(..SEGMENT).unwrap_or(rest);
        let is_last = part.len() == rest.len();
        let kind = if is_last { LAST } else { PART };
        let segment = segment(kind, self.first + self.sent.len() as u64, part);
        self.waiting -= part.len();
        self.offset += part.len();
        if is_last {
            self.queue.pop_front();
            self.offset = 0;
        }
        self.sent.push_back(Sent {
            segment: segment.clone(),
            state: State::UnderWay,
            transmission: self.transmissions,
            sent_ms: now_ms,
            is_again: false,
        });
        Some(segment)
    }

    /// Nothing was heard for too long: all that is under way counts as lost.
    fn on_timeout(&mut self) {
        for sent in &mut self.sent {
            if sent.state == State::UnderWay {
                sent.state = State::Lost;
            }
        }
        self.under_way = 0;
        self.timeouts = self.timeouts.saturating_add(1);
        self.threshold = (self.allowed / 2).max(LEAST);
        self.allowed = LEAST;
        self.recovered_at = self.first + self.sent.len() as u64;
    }

    pub(super) fn on_acknowledgement(
        &mut self,
        now_ms: u64,
        next: u64,
        bits: &[u8],
    ) -> Result<(), SteadyError> {
        let end = self.first + self.sent.len() as u64;
        if next > end {
            return Err(SteadyError::NotSent(next));
        }
        let mut newest: Option<(u64, Option<u64>)> = None;
        let mut arrived = 0;
        let mut note = |sent: &mut Sent, under_way: &mut u32| {
            if sent.state == State::UnderWay {
                *under_way -= 1;
            }
            if sent.state != State::Arrived {
                arrived += 1;
                let took = (!sent.is_again).then(|| now_ms.saturating_sub(sent.sent_ms));
                if newest.is_none_or(|(transmission, _)| sent.transmission > transmission) {
                    newest = Some((sent.transmission, took));
                }
                sent.state = State::Arrived;
            }
        };
        while self.first < next {
            let Some(mut sent) = self.sent.pop_front() else {
                break;
            };
            note(&mut sent, &mut self.under_way);
            self.first += 1;
        }
        // An old acknowledgement may say less than a newer one did.
        let skip = (next + 1).checked_sub(self.first);
        for (at, byte) in bits.iter().enumerate() {
            for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                let place = skip.map(|skip| skip as usize + 8 * at + bit);
                if let Some(sent) = place.and_then(|place| self.sent.get_mut(place)) {
                    note(sent, &mut self.under_way);
                }
            }
        }
        let Some((transmission, took)) = newest else {
            return Ok(());
        };
        self.timeouts = 0;
        if let Some(took) = took {
            self.measure(took);
        }
        self.grow(arrived);
        self.find_lost(transmission);
        Ok(())
    }

    /// RFC 6298, in milliseconds.
    fn measure(&mut self, took: u64) {
        self.smooth_ms = Some(match self.smooth_ms {
            None => (took, took / 2),
            Some((smooth, varies)) => {
                let off = smooth.abs_diff(took);
                ((7 * smooth + took) / 8, (3 * varies + off) / 4)
            }
        });
    }

    fn grow(&mut self, arrived: u32) {
        if self.allowed < self.threshold {
            self.allowed += arrived;
        } else {
            self.arrived_in_round += arrived;
            if self.arrived_in_round >= self.allowed {
                self.arrived_in_round = 0;
                self.allowed += 1;
            }
        }
        self.allowed = self.allowed.min(WINDOW as u32);
    }

    fn find_lost(&mut self, arrived: u64) {
        let mut is_news = false;
        for (number, sent) in (self.first..).zip(&mut self.sent) {
            if sent.state == State::UnderWay && sent.transmission + REORDERING <= arrived {
                sent.state = State::Lost;
                self.under_way -= 1;
                is_news |= number >= self.recovered_at;
            }
        }
        if is_news {
            self.threshold = (self.allowed / 2).max(LEAST);
            self.allowed = self.threshold;
            self.arrived_in_round = 0;
            self.recovered_at = self.first + self.sent.len() as u64;
        }
    }
}
