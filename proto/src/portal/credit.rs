//! Counting bytes against a window, one type per direction.

use super::PortalError;

/// What this end may still send.
///
/// Invariant: `left <= window`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SendCredit {
    left: u32,
    window: u32,
}

impl SendCredit {
    pub(super) fn new(window: u32) -> Self {
        Self {
            left: window,
            window,
        }
    }

    pub(super) fn left(&self) -> u32 {
        self.left
    }

    /// `n` payload bytes are on their way.
    pub(super) fn spend(&mut self, n: usize) {
        self.left = self
            .left
            .saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
    }

    /// The peer returned credit. It can only return what was spent.
    pub(super) fn grant(&mut self, bytes: u32) -> Result<(), PortalError> {
        if bytes > self.window - self.left {
            return Err(PortalError::CreditOverflow);
        }
        self.left += bytes;
        Ok(())
    }
}

/// What the peer may still send.
///
/// Invariant: `open + (delivered and not yet written) + unreturned == window`, so that the bytes
/// held for a slow socket never exceed the window.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceiveCredit {
    open: u32,
    unreturned: u32,
    window: u32,
    /// Below this much open credit the peer cannot fill a message.
    quantum: u32,
}

impl ReceiveCredit {
    pub(super) fn new(window: u32, max_payload: usize) -> Self {
        Self {
            open: window,
            unreturned: 0,
            window,
            quantum: u32::try_from(max_payload).unwrap_or(u32::MAX).min(window),
        }
    }

    /// A payload of `n` bytes arrived.
    pub(super) fn accept(&mut self, n: usize) -> Result<(), PortalError> {
        match u32::try_from(n) {
            Ok(bytes) if bytes <= self.open => {
                self.open -= bytes;
                Ok(())
            }
            _ => Err(PortalError::CreditExceeded {
                allowed: self.open,
                got: n,
            }),
        }
    }

    /// `n` of the bytes accepted before left to the socket.
    pub(super) fn written(&mut self, n: usize) {
        let room = self.window - self.open - self.unreturned;
        self.unreturned += u32::try_from(n).unwrap_or(u32::MAX).min(room);
    }

    /// Credit to return now, in batches of at least half a window.
    ///
    /// A peer that cannot fill a message gets it earlier: when the socket has taken everything
    /// (`drained`), or at a quarter of a message, so that a socket which takes byte by byte does
    /// not cause a message per byte.
    pub(super) fn take_due(&mut self, drained: bool) -> Option<u32> {
        let starving = self.open < self.quantum;
        let batch = self.unreturned >= self.window.div_ceil(2)
            || (starving && (drained || self.unreturned >= self.quantum.div_ceil(4)));
        if self.unreturned == 0 || !batch {
            return None;
        }
        let due = core::mem::take(&mut self.unreturned);
        self.open += due;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sender_stops_at_the_window() {
        let mut credit = SendCredit::new(10);
        credit.spend(7);
        assert_eq!(credit.left(), 3);
        assert_eq!(credit.grant(8), Err(PortalError::CreditOverflow));
        assert_eq!(credit.grant(7), Ok(()));
        credit.spend(usize::MAX);
        assert_eq!(credit.left(), 0);
    }

    #[test]
    fn credit_returns_in_half_windows() {
        let mut credit = ReceiveCredit::new(100, 10);
        assert_eq!(credit.accept(60), Ok(()));
        credit.written(49);
        assert_eq!(credit.take_due(false), None);
        credit.written(1);
        assert_eq!(credit.take_due(false), Some(50));
        assert_eq!(credit.take_due(false), None);
        assert_eq!(
            credit.accept(91),
            Err(PortalError::CreditExceeded {
                allowed: 90,
                got: 91
            })
        );
    }

    #[test]
    fn a_starving_peer_gets_credit_early() {
        let mut credit = ReceiveCredit::new(100, 40);
        assert_eq!(credit.accept(100), Ok(()));
        credit.written(9);
        assert_eq!(credit.take_due(false), None);
        credit.written(1);
        assert_eq!(credit.take_due(false), Some(10));
        credit.written(1);
        assert_eq!(credit.take_due(true), Some(1));
    }

    #[test]
    fn every_window_opens_again_once_drained() {
        for window in 1..64 {
            for max_payload in 1..64 {
                let mut credit = ReceiveCredit::new(window, max_payload);
                for used in 1..=window {
                    let used = used.min(credit.open);
                    assert_eq!(credit.accept(used as usize), Ok(()));
                    credit.written(used as usize);
                    credit.take_due(true);
                    assert!(credit.open > 0, "window {window} after {used}");
                }
            }
        }
    }

    #[test]
    fn written_is_bounded_by_what_was_delivered() {
        let mut credit = ReceiveCredit::new(8, 8);
        credit.written(5);
        assert_eq!(credit.take_due(true), None);
        assert_eq!(credit.accept(3), Ok(()));
        credit.written(usize::MAX);
        assert_eq!(credit.take_due(true), Some(3));
    }
}
