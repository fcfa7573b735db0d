//! TCP framing.
