//! The transport phase: messages sealed and opened in place.
//!
//! ```text
//! offset 0      8 bytes    nonce, big-endian
//! offset 8      N bytes    AES-256-GCM ciphertext, no additional data
//! offset 8+N    16 bytes   tag
//! ```
//!
//! Key number nonce / 32, each made from the one before by REKEY. Specification:
//! `protocol/13-secure-channel.md` 7.

use core::mem;
use core::ops::Range;

use thiserror::Error;

use crate::primitives::{Aead, AeadError, AeadKey, TAG};
use crate::secret::Secret;

/// Bytes in front of the ciphertext.
const NONCE: usize = 8;
/// Bytes a message is longer than its plaintext.
pub const OVERHEAD: usize = NONCE + TAG;
/// Messages per key.
pub const REKEY_INTERVAL: u64 = 32;
/// How far a message may be behind the newest one.
pub const MAX_BEHIND: u64 = 32;
/// How far a message may be ahead of the newest one.
///
/// A real node stops at 32, and a channel that lost more messages than that is dead for ever.
/// Accepting more is invisible to the sender. A forged nonce costs us at most
/// `MAX_AHEAD / REKEY_INTERVAL` = 32 rekeys (about 8 us) before the tag is found to be wrong; no
/// key is kept until a tag was right.
pub const MAX_AHEAD: u64 = 1024;

/// Why a message cannot be sealed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SealError {
    /// The buffer has no room for nonce and tag.
    #[error("the buffer is shorter than {OVERHEAD} bytes")]
    TooShort,
    /// 2^64-1 messages were sent.
    #[error("the channel is used up")]
    Exhausted,
    /// The AEAD failed; the channel has to be closed.
    #[error("encryption failed")]
    Failed,
}

impl From<AeadError> for SealError {
    fn from(_: AeadError) -> Self {
        Self::Failed
    }
}

/// Why a message is refused. The channel goes on; a real node drops such messages silently.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// Shorter than nonce and tag.
    #[error("the message is shorter than {OVERHEAD} bytes")]
    TooShort,
    /// A message with this nonce was accepted before.
    #[error("the message is a replay")]
    Replayed,
    /// More than [`MAX_AHEAD`] after the newest message.
    #[error("the message is too far ahead")]
    TooFarAhead,
    /// More than [`MAX_BEHIND`] before the newest message.
    #[error("the message is too old")]
    TooOld,
    /// The tag is wrong.
    #[error("the message is forged or damaged")]
    Forged,
}

impl From<AeadError> for OpenError {
    fn from(_: AeadError) -> Self {
        Self::Forged
    }
}

/// Seals the messages of one direction.
///
/// Owned by one side only: two sealers with the same key would use nonces twice.
pub struct Sealer<A = AeadKey>(Box<SealState<A>>);

struct SealState<A> {
    key: A,
    /// Number of `key`.
    epoch: u64,
    /// Nonce of the next message.
    next: u64,
}

impl<A: Aead> Sealer<A> {
    /// A sealer for a direction that has not sent anything yet. [`super::Established`] has the
    /// one of a channel; this is for tests and benchmarks.
    ///
    /// # Errors
    /// [`SealError::Failed`] when the AEAD has no memory for the key.
    pub fn new(key: &Secret<32>) -> Result<Self, SealError> {
        Ok(Self(Box::new(SealState {
            key: A::new(key.expose())?,
            epoch: 0,
            next: 0,
        })))
    }

    /// Seals in place. `buf` is 8 bytes of any content, the plaintext, and 16 bytes of any
    /// content; afterwards it is the message. Does not allocate.
    ///
    /// # Errors
    /// See [`SealError`]. Nothing was counted; after [`SealError::Failed`] the content of `buf`
    /// is unspecified.
    pub fn seal(&mut self, buf: &mut [u8]) -> Result<(), SealError> {
        if buf.len() < OVERHEAD {
            return Err(SealError::TooShort);
        }
        let state = &mut *self.0;
        // The last nonce is what REKEY uses.
        if state.next == u64::MAX {
            return Err(SealError::Exhausted);
        }
        if state.next / REKEY_INTERVAL != state.epoch {
            state.key = state.key.rekey()?;
            state.epoch += 1;
        }
        let (nonce, rest) = buf
            .split_first_chunk_mut::<NONCE>()
            .ok_or(SealError::TooShort)?;
        *nonce = state.next.to_be_bytes();
        state.key.seal(state.next, &[], rest)?;
        state.next += 1;
        Ok(())
    }

    /// Nonce of the next message, which is also the number of messages sealed.
    #[must_use]
    pub fn next_nonce(&self) -> u64 {
        self.0.next
    }
}

/// A message that was authentic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Its nonce.
    pub nonce: u64,
    /// Where in the buffer its plaintext is.
    pub plaintext: Range<usize>,
}

/// Opens the messages of one direction, each nonce once.
pub struct Opener<A = AeadKey>(Box<OpenState<A>>);

struct OpenState<A> {
    window: Window,
    /// Key of the newest message, number `window.highest / REKEY_INTERVAL`.
    current: A,
    /// The key before, for late messages.
    previous: Option<A>,
}

impl<A: Aead> Opener<A> {
    /// An opener for a direction nothing was received from yet. [`super::Established`] has the
    /// one of a channel; this is for tests and benchmarks.
    ///
    /// # Errors
    /// [`OpenError::Forged`] when the AEAD has no memory for the key.
    pub fn new(key: &Secret<32>) -> Result<Self, OpenError> {
        let current = A::new(key.expose())?;
        let window = Window {
            highest: 0,
            seen: 0,
        };
        Ok(Self(Box::new(OpenState {
            window,
            current,
            previous: None,
        })))
    }

    /// Opens in place: `buf` is a complete message. Does not allocate.
    ///
    /// # Errors
    /// See [`OpenError`]. A refused message changes nothing but may have destroyed `buf`.
    pub fn open(&mut self, buf: &mut [u8]) -> Result<Opened, OpenError> {
        if buf.len() < OVERHEAD {
            return Err(OpenError::TooShort);
        }
        let plaintext = NONCE..buf.len() - TAG;
        let (nonce, rest) = buf
            .split_first_chunk_mut::<NONCE>()
            .ok_or(OpenError::TooShort)?;
        let nonce = u64::from_be_bytes(*nonce);
        self.0.open(nonce, rest)?;
        Ok(Opened { nonce, plaintext })
    }

    /// The highest nonce accepted so far, 0 when there is none.
    #[must_use]
    pub fn highest_nonce(&self) -> u64 {
        self.0.window.highest
    }
}

impl<A: Aead> OpenState<A> {
    fn open(&mut self, nonce: u64, sealed: &mut [u8]) -> Result<(), OpenError> {
        let window = self.window.accept(nonce)?;
        let epoch = self.window.highest / REKEY_INTERVAL;
        let wanted = nonce / REKEY_INTERVAL;
        if wanted == epoch {
            self.current.open(nonce, &[], sealed)?;
        } else if wanted < epoch {
            // One epoch back is as far as MAX_BEHIND reaches.
            self.previous
                .as_ref()
                .ok_or(OpenError::TooOld)?
                .open(nonce, &[], sealed)?;
        } else {
            let (skipped, key) = self.walk(wanted - epoch)?;
            key.open(nonce, &[], sealed)?;
            let replaced = mem::replace(&mut self.current, key);
            self.previous = Some(skipped.unwrap_or(replaced));
        }
        self.window = window;
        Ok(())
    }

    /// The key `epochs` (at least 1) after the current one, and the one before it unless that is
    /// the current one.
    fn walk(&self, epochs: u64) -> Result<(Option<A>, A), OpenError> {
        let mut key = self.current.rekey()?;
        let mut before = None;
        for _ in 1..epochs {
            let next = key.rekey()?;
            before = Some(mem::replace(&mut key, next));
        }
        Ok((before, key))
    }
}

/// Which nonces were accepted.
#[derive(Clone, Copy)]
struct Window {
    /// Highest accepted nonce, 0 at the beginning.
    highest: u64,
    /// Bit i: nonce `highest - i` was accepted.
    seen: u64,
}

const _: () = assert!(MAX_BEHIND < 64 && MAX_BEHIND <= REKEY_INTERVAL);

impl Window {
    /// The window after accepting `nonce`.
    fn accept(self, nonce: u64) -> Result<Self, OpenError> {
        if nonce > self.highest {
            let ahead = nonce - self.highest;
            // The last nonce of all belongs to REKEY.
            if ahead > MAX_AHEAD || nonce == u64::MAX {
                return Err(OpenError::TooFarAhead);
            }
            let moved = if ahead < 64 { self.seen << ahead } else { 0 };
            return Ok(Self {
                highest: nonce,
                seen: moved | 1,
            });
        }
        let behind = self.highest - nonce;
        if behind > MAX_BEHIND {
            return Err(OpenError::TooOld);
        }
        if self.seen >> behind & 1 == 1 {
            return Err(OpenError::Replayed);
        }
        Ok(Self {
            highest: self.highest,
            seen: self.seen | 1 << behind,
        })
    }
}
