//! The command line of `culvert-edge authority`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use culvert_crypto::Identifier;
use culvert_node::control::listen_address;
use culvert_proto::authority::{ENROLLER, MemberAttributes, RELAY, ROLE, check_attributes};
use culvert_proto::multiaddr::MultiAddr;
use culvert_proto::ticket;

use crate::duration;
use crate::endpoint::HostPort;
use crate::failure::Failure;

/// Name of the identity of an authority unless another one is asked for.
pub const IDENTITY: &str = "authority";

const CREATE_EXAMPLE: &str = "\
Example, on a machine that all edges can reach:
  culvert-edge authority create --listen 0.0.0.0:4001 --public authority.example:4001 \\
      --relay relay.example:4000
and in another terminal a ticket for the first edge:
  culvert-edge authority ticket create --attribute component=web

With --output json there is one object on stdout: {\"event\":\"listening\"} with what others need.

Exit status: 0 ended on request, 1 runtime error, 2 wrong usage.";

/// Run the authority of a project and manage its members.
#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// Run an authority: it makes members of those who have a ticket, and gives members credentials.
    /// Its identity is made when missing; members and tickets are kept.
    #[command(visible_alias = "start", after_help = CREATE_EXAMPLE)]
    Create(Box<CreateArgs>),
    /// Add, list, show and delete members, on the authority's machine.
    #[command(subcommand)]
    Member(MemberCommand),
    /// Create, list and revoke tickets, on the authority's machine.
    #[command(subcommand)]
    Ticket(TicketCommand),
}

/// Arguments of `authority create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Address to listen on; port 0 picks a free one.
    #[arg(
        long,
        short = 't',
        value_name = "ADDRESS",
        default_value = "127.0.0.1:4001"
    )]
    #[arg(value_parser = listen_address, visible_alias = "tcp-listener-address")]
    pub listen: SocketAddr,
    /// Where edges reach it, as tickets say [default: the address it listens on]
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse_remote)]
    pub public: Option<HostPort>,
    /// Name of the project.
    #[arg(long, value_name = "NAME", value_parser = project_name)]
    pub project: Option<String>,
    /// The project's relay, which has to run when this is said for the first time [default: none,
    /// the project's node is the authority]
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse_remote)]
    pub relay: Option<HostPort>,
    /// Identifier the relay must have [default: any, noted in tickets from then on]
    #[arg(long, value_name = "IDENTIFIER", requires = "relay")]
    pub relay_identity: Option<Identifier>,
    /// Multiaddr of the relay's channel listener, when it is more than its address; the first service
    /// in it is the project's id.
    #[arg(long, value_name = "MULTIADDR", requires = "relay")]
    pub project_route: Option<MultiAddr>,
    /// Members that do not need a ticket, as JSON or a file with it: {"I…": {"ockam-role": "enroller"}}
    #[arg(long, value_name = "JSON|FILE")]
    pub trusted_identities: Option<String>,
    /// How long credentials are valid.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30d",
        env = "CREDENTIAL_TTL_SECS"
    )]
    #[arg(value_parser = duration::parse_whole)]
    pub credential_ttl: Duration,
    /// Only enrollers of --trusted-identities may make, replace and remove enrollers.
    #[arg(long)]
    pub enforce_admin_checks: bool,
    /// Let enrollers add members with tickets only.
    #[arg(long)]
    pub no_direct_authentication: bool,
    /// Make and take no tickets over the network.
    #[arg(long)]
    pub no_token_enrollment: bool,
    /// Leave the project's id out of credentials.
    #[arg(long)]
    pub disable_trust_context_id: bool,
    /// Name of the identity to use; made when missing.
    #[arg(long, value_name = "NAME", default_value = IDENTITY)]
    pub identity: String,
    /// Address to serve metrics on (Prometheus text at /metrics).
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    pub metrics: Option<SocketAddr>,
}

/// Which authority of this machine.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// Name of the authority's identity.
    #[arg(long, value_name = "NAME", default_value = IDENTITY)]
    pub identity: String,
}

/// What a member's credentials say.
#[derive(Debug, Args)]
pub struct AttributeArgs {
    /// Something the member's credentials say; may be repeated.
    #[arg(long = "attribute", short, value_name = "NAME=VALUE", value_parser = pair)]
    pub attributes: Vec<(String, String)>,
    /// What the member may do at the authority: 'enroller' may add members and issue tickets.
    #[arg(long, value_name = "ROLE", value_parser = [ENROLLER])]
    pub role: Option<String>,
    /// The same as --role enroller.
    #[arg(long, conflicts_with = "role")]
    pub enroller: bool,
    /// The name the member may register with the relay, or '*' for any.
    #[arg(long, value_name = "NAME")]
    pub relay: Option<String>,
}

impl AttributeArgs {
    /// All of them together.
    ///
    /// # Errors
    ///
    /// Wrong usage: a name that is said twice, or that no attribute may have.
    pub fn attributes(&self) -> Result<MemberAttributes, Failure> {
        let enroller = self.enroller.then(|| ENROLLER.to_owned());
        let role = self.role.clone().or(enroller);
        let own = [(ROLE, &role), (RELAY, &self.relay)];
        let own = own
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        let mut all = MemberAttributes::new();
        for (name, value) in self.attributes.iter().cloned().chain(own) {
            if let Some(before) = all.insert(name.clone(), value) {
                let message = format!("the attribute '{name}' is there twice, first as '{before}'");
                return Err(Failure::usage(message, "leave one of them out"));
            }
        }
        check_attributes(&all)
            .map_err(|error| Failure::usage(error, "choose another attribute"))?;
        Ok(all)
    }
}

/// What a ticket is good for.
#[derive(Debug, Args)]
pub struct TicketArgs {
    /// What the credentials of those who redeem it say.
    #[command(flatten)]
    pub attributes: AttributeArgs,
    /// How long it can be redeemed.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::parse_whole)]
    pub expires_in: Duration,
    /// How often it can be redeemed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub usage_count: u64,
}

/// Add, list, show and delete members.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Add a member, or replace what its credentials say.
    Add {
        /// Its identifier.
        identifier: Identifier,
        /// What its credentials say.
        #[command(flatten)]
        attributes: AttributeArgs,
        /// Of which authority.
        #[command(flatten)]
        which: WhichArgs,
    },
    /// List all members.
    List {
        /// Of which authority.
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Show a member.
    Show {
        /// Its identifier.
        identifier: Identifier,
        /// Of which authority.
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Delete a member: it gets no more credentials; those it has stay valid until they end.
    Delete {
        /// Its identifier.
        identifier: Identifier,
        /// Of which authority.
        #[command(flatten)]
        which: WhichArgs,
    },
}

/// Create, list and revoke tickets.
#[derive(Debug, Subcommand)]
pub enum TicketCommand {
    /// Create a ticket and print it. Whoever has it can enroll.
    Create {
        /// What it is good for.
        #[command(flatten)]
        ticket: TicketArgs,
        /// Of which authority.
        #[command(flatten)]
        which: WhichArgs,
    },
    /// List tickets by their references, those that ended lately too.
    List {
        /// Of which authority.
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Take a ticket back, so that nobody can redeem it any more.
    Revoke {
        /// What `ticket list` calls it.
        reference: String,
        /// Of which authority.
        #[command(flatten)]
        which: WhichArgs,
    },
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, for example component=web".into()),
    }
}

/// A name of a project.
///
/// # Errors
///
/// What is wrong with it, for people.
pub fn project_name(text: &str) -> Result<String, String> {
    ticket::check_name(text)
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}
