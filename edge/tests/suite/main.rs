//! Tests of the edge that need no relay: routes, files, the command line.

mod cli;
mod routes;
mod store;
