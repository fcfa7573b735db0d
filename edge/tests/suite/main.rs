//! Tests of the edge that need no relay: routes and the command line.

mod cli;
mod credential;
mod policy;
mod routes;
