//! Segments of a direct path, at both ends of a network that does what the input says.

use std::collections::VecDeque;

use culvert_proto::limits::MAX_FRAME;
use culvert_proto::steady::{SEGMENT, Steady, SteadyError, WINDOW};

use crate::input::Input;

/// Most segments that are sent at once: all that may be under way, and an acknowledgement.
const MOST: usize = WINDOW + 1;

/// Whatever the network loses, repeats and reorders, messages arrive whole, once and in order, and all
/// of them once it works again; how much is under way is bounded. Whatever else arrives is refused or
/// makes messages within the limits, and never more of the peer's than were pushed.
///
/// ```text
/// events: kind, pause, then   push:   length u16
///                             pass:   which of those under way
///                             forged: length, that many bytes
/// ```
pub fn steady(data: &[u8]) {
    let mut honest = Network::default();
    let mut forged = Network::default();
    let (mut first, mut second) = (Input::new(data), Input::new(data));
    while !first.is_empty() {
        honest.event(&mut first, false);
    }
    honest.settle();
    while !second.is_empty() {
        forged.event(&mut second, true);
    }
}

#[derive(Default)]
struct End {
    steady: Steady,
    /// Messages pushed here that have not arrived at the other end.
    pushed: VecDeque<Vec<u8>>,
    /// Segments on the way to the other end.
    way: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Network {
    ends: [End; 2],
    now_ms: u64,
    messages: u64,
    is_forged: bool,
}

impl Network {
    fn event(&mut self, input: &mut Input<'_>, may_forge: bool) {
        let kind = input.byte();
        self.now_ms += u64::from(input.byte());
        let from = usize::from(kind & 1);
        match kind >> 1 & 7 {
            0 => {
                // Never empty, and each with other bytes.
                self.messages += 1;
                let len = 8 + usize::from(input.u16()) % (4 * SEGMENT);
                let mut message = self.messages.to_be_bytes().to_vec();
                message.resize(len, kind);
                let end = &mut self.ends[from];
                end.steady.push(message.clone()).expect("a short message");
                end.pushed.push_back(message);
            }
            1 => {
                let len = usize::from(input.byte());
                let segment = input.take(len).to_vec();
                if may_forge {
                    self.is_forged = true;
                    self.hear(1 - from, &segment);
                }
            }
            2 => drop(self.take(from, input.byte())),
            3 => {
                if let Some(segment) = self.take(from, input.byte()) {
                    self.hear(1 - from, &segment);
                    self.ends[from].way.push(segment);
                }
            }
            _ => {
                if let Some(segment) = self.take(from, input.byte()) {
                    self.hear(1 - from, &segment);
                }
            }
        }
        self.send();
    }

    fn take(&mut self, from: usize, which: u8) -> Option<Vec<u8>> {
        let way = &mut self.ends[from].way;
        let which = usize::from(which).checked_rem(way.len())?;
        Some(way.remove(which))
    }

    fn send(&mut self) {
        for end in &mut self.ends {
            let segments = std::iter::from_fn(|| end.steady.poll(self.now_ms));
            let segments: Vec<_> = segments.take(MOST + 1).collect();
            assert!(segments.len() <= MOST);
            end.way.extend(segments);
            if let Some(at) = end.steady.deadline_ms() {
                assert!(at > self.now_ms, "it was asked just now");
            }
        }
    }

    fn hear(&mut self, to: usize, segment: &[u8]) {
        let taken = self.ends[to].steady.on_segment(self.now_ms, segment);
        if !self.is_forged {
            assert_eq!(taken, Ok(()));
        }
        if let Err(SteadyError::TooLong) = taken {
            panic!("no message here is so long");
        }
        while let Some(message) = self.ends[to].steady.next_message() {
            assert!((1..=MAX_FRAME).contains(&message.len()));
            if !self.is_forged {
                assert_eq!(self.ends[1 - to].pushed.pop_front(), Some(message));
            }
        }
    }

    /// Everything arrives from now on.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            self.now_ms += 10;
            self.send();
            for from in [0, 1] {
                for segment in std::mem::take(&mut self.ends[from].way) {
                    self.hear(1 - from, &segment);
                }
            }
            if self.ends.iter().all(|end| end.steady.is_idle()) {
                let missing = self.ends.iter().any(|end| !end.pushed.is_empty());
                assert!(!missing, "a message was acknowledged and did not arrive");
                return;
            }
        }
        panic!("messages are left on the way");
    }
}
