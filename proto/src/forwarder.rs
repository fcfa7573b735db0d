//! Relay registration.
