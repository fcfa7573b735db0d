//! TCP portals.
