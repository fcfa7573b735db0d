//! What operators meet of a Culvert node, shared by the relay and the edge.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | configuration files: what they say, or what is wrong with them and where |
//! | [`problem`] | why a request was not carried out: for HTTP, for the command line |
//! | [`http`] | the management listeners: a Unix socket, TCP with a token and TLS |
//! | [`client`] | what the command line talks to them with |
//! | [`events`] | what happens in a node, for everybody who listens |
//! | [`observe`] | metrics, probes, what happened lately |
//! | [`page`] | the status page |
//! | [`service`] | one process at a time; readiness and watchdog for the service manager |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod client;
pub mod config;
pub mod events;
pub mod http;
pub mod observe;
pub mod page;
pub mod problem;
pub mod service;
