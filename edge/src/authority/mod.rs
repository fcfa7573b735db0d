//! The authority of a project: it knows the members, makes tickets, and issues the credentials that
//! say what members are.
//!
//! ```text
//! caller -> channel -> service -> queue -> thread: rules, database, credential key
//! ```

pub mod args;
pub mod client;
mod desk;
mod issuer;
pub mod local;
mod refused;
mod rules;
mod run;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use issuer::Callers;

use culvert_proto::multiaddr::MultiAddr;
use culvert_proto::ticket;

use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;
use args::AuthorityCommand;

/// Runs a command about authorities.
///
/// # Errors
///
/// What the command says.
pub fn run(store: &Store, command: &AuthorityCommand, output: Output) -> Result<(), Failure> {
    match command {
        AuthorityCommand::Create(args) => run::create(store, args, output),
        AuthorityCommand::Member(command) => local::member(store, command, output),
        AuthorityCommand::Ticket(command) => local::ticket(store, command, output),
    }
}

/// The id of the project behind a route that was stored; empty if there is none.
fn project_id(route: &str) -> String {
    let route: MultiAddr = route.parse().unwrap_or_default();
    ticket::project_id(&route).unwrap_or_default().to_owned()
}
