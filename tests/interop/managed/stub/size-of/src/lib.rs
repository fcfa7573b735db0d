//! Stands in for `size-of` 0.1.5, which rustc 1.95 refuses because it names calling conventions that
//! the target does not have. What needs it is the terminal editor among Ockam's dependencies, to show
//! sizes.

pub use size_of_derive::SizeOf;

/// What something takes; here always nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct TotalSize;

impl TotalSize {
    /// The same in bytes.
    pub fn total_bytes(&self) -> usize {
        0
    }
}

/// Everything has a size.
pub trait SizeOf {
    /// How large it is.
    fn size_of(&self) -> TotalSize {
        TotalSize
    }
}

impl<T: ?Sized> SizeOf for T {}
