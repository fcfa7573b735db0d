//! API envelope.
