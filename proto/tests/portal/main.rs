//! Portals against recordings of real nodes, against their state tables, and against each other.

mod ends;
mod pair;
mod random;
mod recorded;
mod support;
mod table;
mod vectors;
