//! Channel messages: opening what nobody sealed.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use culvert_crypto::channel::inner::{self, Inner};
use culvert_crypto::channel::{MAX_AHEAD, MAX_BEHIND, OVERHEAD, OpenError, Opener, Sealer};
use culvert_crypto::secret::Secret;

use crate::input::Input;

const KEY: [u8; 32] = [7; 32];
/// Messages sealed once; enough to leave the window of accepted nonces.
const MESSAGES: usize = 2500;
/// Most messages opened in one run.
const MAX_EVENTS: usize = 400;

/// An opener accepts exactly the authentic messages inside its window, each once, whatever order,
/// damage and repetition they arrive in; and the parser of plaintexts stays inside them.
///
/// ```text
/// events: kind, number (2 bytes), and for damage: offset, pattern
/// ```
pub fn transport(data: &[u8]) {
    check_inner(data);
    let mut input = Input::new(data);
    let mut opener = Opener::new(&Secret::new(KEY)).expect("an opener");
    let mut model = Model::default();
    let mut next = 0;
    for _ in 0..MAX_EVENTS {
        if input.is_empty() {
            break;
        }
        let kind = input.byte();
        let number = usize::from(input.u16());
        let index = match kind % 4 {
            0 => next,
            1 => next + number % 1200,
            2 => next.saturating_sub(number % 80),
            _ => number,
        }
        .min(MESSAGES - 1);
        if kind % 4 < 2 {
            next = index + 1;
        }
        let mut message = messages()[index].clone();
        if kind >= 0xc0 {
            damage(&mut message, input.byte(), input.byte());
        }
        let authentic = message == messages()[index];
        model.check(&mut opener, &mut message, index as u64, authentic);
    }
}

fn messages() -> &'static [Vec<u8>] {
    static MESSAGES_SEALED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    MESSAGES_SEALED.get_or_init(|| {
        let mut sealer: Sealer = Sealer::new(&Secret::new(KEY)).expect("a sealer");
        let seal = |n: usize| {
            let mut message = vec![0; 8];
            message.extend((n as u16).to_be_bytes());
            message.extend([0; OVERHEAD - 8]);
            sealer.seal(&mut message).expect("it has room");
            message
        };
        (0..MESSAGES).map(seal).collect()
    })
}

/// Changes one byte, or cuts the message short.
fn damage(message: &mut Vec<u8>, offset: u8, pattern: u8) {
    match message.get_mut(usize::from(offset)) {
        Some(byte) => *byte ^= pattern,
        None => message.truncate(usize::from(pattern)),
    }
}

/// What an opener must do, in other words.
#[derive(Default)]
struct Model {
    accepted: BTreeSet<u64>,
}

impl Model {
    fn highest(&self) -> u64 {
        self.accepted.last().copied().unwrap_or(0)
    }

    /// Why this nonce is refused, authentic or not.
    fn refusal(&self, nonce: u64) -> Option<OpenError> {
        let highest = self.highest();
        if nonce == u64::MAX || nonce.saturating_sub(highest) > MAX_AHEAD {
            return Some(OpenError::TooFarAhead);
        }
        if highest.saturating_sub(nonce) > MAX_BEHIND {
            return Some(OpenError::TooOld);
        }
        self.accepted
            .contains(&nonce)
            .then_some(OpenError::Replayed)
    }

    fn check(&mut self, opener: &mut Opener, message: &mut [u8], index: u64, authentic: bool) {
        let expected = match message.first_chunk() {
            Some(nonce) if message.len() >= OVERHEAD => self.refusal(u64::from_be_bytes(*nonce)),
            _ => Some(OpenError::TooShort),
        };
        match (opener.open(message), expected) {
            (Ok(opened), None) => {
                assert!(authentic, "a damaged message was accepted");
                assert_eq!(opened.nonce, index);
                assert_eq!(message[opened.plaintext], (index as u16).to_be_bytes());
                self.accepted.insert(index);
            }
            (Err(OpenError::Forged), None) => assert!(!authentic, "message {index} refused"),
            (result, expected) => assert_eq!(result.err(), expected),
        }
        assert_eq!(opener.highest_nonce(), self.highest());
    }
}

fn check_inner(data: &[u8]) {
    match inner::parse(data) {
        Ok(Inner::Payload { message: range } | Inner::Refresh { content: range }) => {
            assert!(!range.is_empty() && range.end < data.len());
        }
        Ok(Inner::Close) | Err(_) => {}
    }
}
