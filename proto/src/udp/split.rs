//! Cutting messages into datagrams.

use super::{Datagram, RoutingNumber, VERSION};
use crate::limits::{MAX_FRAME, MAX_UDP_DATAGRAM, UDP_DATAGRAM, UDP_HEADER};

/// Why a message cannot be sent over UDP. It is the sender's doing: nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A message without bytes.
    #[error("empty message")]
    Empty,
    /// Longer than [`MAX_FRAME`], or more parts than can be numbered. In bytes.
    #[error("message of {0} bytes is too long for UDP")]
    TooLong(usize),
}

/// Numbers the messages of one socket, whatever peers they go to, and cuts them into datagrams.
#[derive(Clone, Debug)]
pub struct Splitter {
    next: RoutingNumber,
    part: usize,
}

impl Splitter {
    /// A splitter whose first message gets the number `first`, which should be random. Datagrams
    /// are at most [`UDP_DATAGRAM`] bytes long.
    #[must_use]
    pub const fn new(first: RoutingNumber) -> Self {
        Self {
            next: first,
            part: UDP_DATAGRAM - UDP_HEADER,
        }
    }

    /// The same with datagrams of at most `longest` bytes, for peers known to take them. At least
    /// one byte of the message goes into each, and none is longer than [`MAX_UDP_DATAGRAM`].
    #[must_use]
    pub fn with_longest_datagram(self, longest: usize) -> Self {
        let part = longest
            .min(MAX_UDP_DATAGRAM)
            .saturating_sub(UDP_HEADER)
            .max(1);
        Self { part, ..self }
    }

    /// Cuts one message into as few parts as possible, none of them empty, all but the last of the
    /// same length.
    ///
    /// # Errors
    /// [`SplitError`] when it has no or too many bytes. Then no number is used up.
    pub fn split<'a>(&mut self, message: &'a [u8]) -> Result<Parts<'a>, SplitError> {
        if message.is_empty() {
            return Err(SplitError::Empty);
        }
        let too_long = SplitError::TooLong(message.len());
        if message.len() > MAX_FRAME {
            return Err(too_long);
        }
        let total = u16::try_from(message.len().div_ceil(self.part)).map_err(|_| too_long)?;
        let number = self.next;
        self.next = number.next();
        Ok(Parts {
            number,
            index: 0,
            total,
            part: self.part,
            rest: message,
        })
    }
}

/// The datagrams of one message, in order.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    number: RoutingNumber,
    index: u16,
    total: u16,
    part: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Parts<'a> {
    type Item = Datagram<'a>;

    fn next(&mut self) -> Option<Datagram<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (part, rest) = self.rest.split_at(self.part.min(self.rest.len()));
        let datagram = Datagram {
            version: VERSION,
            number: self.number,
            index: self.index,
            total: self.total,
            part,
        };
        self.rest = rest;
        self.index = self.index.wrapping_add(1);
        Some(datagram)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.total.wrapping_sub(self.index));
        (left, Some(left))
    }
}

impl ExactSizeIterator for Parts<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let mut splitter = Splitter::new(RoutingNumber(7));
        assert_eq!(splitter.split(&[]).err(), Some(SplitError::Empty));
        let message = vec![0; MAX_FRAME + 1];
        let error = SplitError::TooLong(message.len());
        assert_eq!(splitter.split(&message).err(), Some(error));
        let longest = splitter.split(&message[1..]).unwrap();
        assert_eq!((longest.len(), longest.number.0), (34_031, 7));
        assert_eq!(longest.last().unwrap().part.len(), 426);

        let mut bytewise = splitter.with_longest_datagram(0);
        assert_eq!(bytewise.split(&message[..65_535]).unwrap().len(), 65_535);
        let error = SplitError::TooLong(65_536);
        assert_eq!(bytewise.split(&message[..65_536]).err(), Some(error));
    }
}
