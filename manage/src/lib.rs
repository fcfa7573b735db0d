//! What operators meet of a Culvert node, shared by the relay and the edge.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | configuration files: what they say, or what is wrong with them and where |
//! | [`problem`] | why a request was not carried out: for HTTP, for the command line |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod config;
pub mod problem;
