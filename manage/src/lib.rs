//! What operators meet of a Culvert node, shared by the relay and the edge.
//!
//! | module | what |
//! |---|---|
//! | [`problem`] | why a request was not carried out: for HTTP, for the command line |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod problem;
