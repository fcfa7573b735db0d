//! BARE.
