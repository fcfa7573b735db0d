//! Bytes that must not leak: wiped when dropped, never printed, compared in constant time.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes the bytes over. The caller wipes its own copy.
    #[must_use]
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a computation or for storing them protected. Never for a log.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> From<[u8; N]> for Secret<N> {
    fn from(bytes: [u8; N]) -> Self {
        Self(bytes)
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn content_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new([7; 32])), "Secret<32>(..)");
        assert!(Secret::new([1, 2]) == Secret::new([1, 2]));
        assert!(Secret::new([1, 2]) != Secret::new([1, 3]));
    }
}
