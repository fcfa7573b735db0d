//! The command line of `culvert-edge project`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::authority::args::{TicketArgs, project_name};
use crate::duration;
use crate::store::DEFAULT_NAME;

const ENROLL_HELP: &str = "\
A ticket comes from `culvert-edge authority ticket create`, `culvert-edge project ticket` or an Ockam
project. Who is a member already just gets a new credential.

Exit status: 0 enrolled, 1 not enrolled, 2 wrong usage or not a ticket, 3 the authority refused,
5 another project has this name here, 6 the authority is not reached or does not answer. With
--output json an error has a 'reason': ticket_undecodable, ticket_forged, ticket_unknown,
ticket_expired, ticket_used, ticket_revoked, authority_unreachable, authority_other, authority_replaced, authority_silent,
authority_busy, clock, credential_refused, project_taken or refused.";

/// Become a member of projects, and let others in.
#[derive(Debug, Subcommand)]
pub enum ProjectCommand {
    /// Become a member of a project by a ticket, and get a credential.
    #[command(after_help = ENROLL_HELP)]
    Enroll(EnrollArgs),
    /// Take over a project from JSON, as `project information` prints it. It makes nobody a member.
    Import {
        /// File with the JSON.
        #[arg(value_name = "FILE", required_unless_present = "project_file")]
        file: Option<PathBuf>,
        /// The same.
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        project_file: Option<PathBuf>,
        /// Name of the identity to be with this project; the default one is made when missing.
        #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
        identity: String,
    },
    /// Print a project as JSON, for `project import` on another machine.
    Information {
        /// Its name [default: the only one there is]
        name: Option<String>,
    },
    /// Make a ticket for somebody else. Only enrollers can; the authority is asked.
    Ticket(Box<TicketCommandArgs>),
    /// List the projects that this machine is enrolled with.
    List,
    /// Show a project and what its authority says about this machine.
    Show {
        /// Its name [default: the only one there is]
        name: Option<String>,
    },
    /// Forget a project and its credential. The authority still counts this machine as a member.
    Delete {
        /// Its name.
        name: String,
    },
}

/// Arguments of `enroll`.
#[derive(Debug, Args)]
pub struct EnrollHereArgs {
    /// The ticket, a file with it, or - for standard input.
    #[arg(env = "ENROLLMENT_TICKET", hide_env_values = true)]
    pub ticket: Option<String>,
    /// Name of the identity that becomes a member; the default one is made when missing.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub identity: String,
    /// How long the authority may take.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_whole)]
    pub timeout: Duration,
}

/// Arguments of `project enroll`.
#[derive(Debug, Args)]
pub struct EnrollArgs {
    /// The ticket, a file with it, or - for standard input.
    #[arg(env = "ENROLLMENT_TICKET", hide_env_values = true)]
    pub ticket: String,
    /// Name of the identity that becomes a member; the default one is made when missing.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub identity: String,
    /// What to call the project on this machine [default: what the ticket calls it]
    #[arg(long, value_name = "NAME", value_parser = project_name)]
    pub name: Option<String>,
    /// How long the authority may take.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_whole)]
    pub timeout: Duration,
}

/// Arguments of `project ticket`.
#[derive(Debug, Args)]
pub struct TicketCommandArgs {
    /// What the ticket is good for.
    #[command(flatten)]
    pub ticket: TicketArgs,
    /// For which project [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// How long the authority may take.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_whole)]
    pub timeout: Duration,
}
