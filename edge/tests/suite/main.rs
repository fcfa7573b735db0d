//! Tests of the edge that need no relay: routes, identities, vaults and the command line.

mod cli;
mod credential;
mod identities;
mod policy;
mod routes;
mod run;
mod vaults;
