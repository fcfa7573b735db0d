//! UDP datagrams against recordings of real nodes, and messages put together from what a network
//! makes of their parts.

#[path = "../common/mod.rs"]
mod common;
mod limits;
mod random;
mod recorded;
mod support;
mod vectors;
