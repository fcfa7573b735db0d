//! Transport messages.
