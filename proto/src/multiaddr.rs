//! Multiaddr.
