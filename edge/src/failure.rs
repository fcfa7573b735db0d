//! How a command fails: what happened, to what, and what to do next.

use std::fmt::Display;

use crate::store::StoreError;

/// Why a command ended without success. The process exits with 1 (2 for wrong usage).
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What happened, and to what.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
    /// Whether the command line was wrong.
    pub usage: bool,
}

impl Failure {
    /// A runtime error.
    pub fn new(message: impl Display, hint: impl Display) -> Self {
        Self {
            message: message.to_string(),
            hint: hint.to_string(),
            usage: false,
        }
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl Display, hint: impl Display) -> Self {
        Self {
            usage: true,
            ..Self::new(message, hint)
        }
    }

    /// Exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(&error, error.hint())
    }
}
