//! The command line.

mod keys;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use culvert_crypto::Identifier;
use culvert_crypto::trust::Trust;
use culvert_node::control::listen_address;
use culvert_node::udp::RendezvousAt;

use crate::authority::args::AuthorityCommand;
use crate::commands::at::AtArgs;
use crate::commands::bench::BenchCommand;
use crate::commands::completion::{CompletionArgs, ManpagesArgs};
use crate::commands::doctor::DoctorArgs;
use crate::commands::message::MessageCommand;
use crate::commands::node::{LogsArgs, NodeNoun, StopArgs, WhichArgs};
use crate::commands::project_member::MemberCommand;
use crate::commands::relay::RelayCommand;
use crate::commands::resource::ConfirmArgs;
use crate::commands::secure_channel::ChannelCommand;
use crate::commands::service::{ChannelListenerCommand, ServiceCommand, WorkerCommand};
use crate::commands::state::{BackupArgs, RestoreArgs};
use crate::commands::status::EventsArgs;
use crate::commands::tcp_connection::ConnectionCommand;
use crate::commands::tcp_inlet::InletCommand;
use crate::commands::tcp_listener::ListenerCommand;
use crate::commands::tcp_outlet::OutletCommand;
use crate::config::command::CheckArgs;
use crate::credential::CredentialCommand;
use crate::endpoint::HostPort;
use crate::failure::Failure;
use crate::node;
use crate::output::Output;
use crate::policy::PolicyCommand;
use crate::project::args::{EnrollHereArgs, ProjectCommand};
use crate::route;
use crate::store::DEFAULT_NAME;
use crate::trust::TrustArgs;

pub use keys::{
    CreateVaultArgs, IdentityCommand, KeyKind, MoveArgs, NameArgs, Protect, UnlockArgs,
    VaultCommand,
};

const COMMON: &str = "Options of all commands";

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 could not be done, 2 wrong usage, 3 denied, 4 no such thing, 5 there already or
taken, 6 not running, unreachable or too late.
Results and events go to stdout, logs and errors to stderr. CULVERT_LOG sets what is logged (for
example 'debug'); NO_COLOR switches colours off.";

const VAULT_HELP: &str = "\
Programs that use an encrypted vault need its passphrase when they start: --passphrase-file (a file of
mode 0600, for example a credential of systemd), CULVERT_PASSPHRASE, or a terminal. What is in the
environment can be read by other processes of the same user; a file can be taken away after the start.

Exit status: 0 done, 1 runtime error, 2 wrong usage.";

const DOCTOR_HELP: &str = "\
Exit status: 0 all is well, 1 something is wrong. A notice is not wrong.";

const OUTLET_EXAMPLE: &str = "\
Example, beside the database:
  culvert-edge outlet --relay relay.example:4000 --name db --to 127.0.0.1:5432 --allow I4b1d…

With --output json there is one object a line on stdout: {\"event\":\"starting\"}, then
{\"event\":\"registered\"} each time the relay has confirmed the name, and {\"event\":\"down\"} with a
reason each time that ended. With --direct there are {\"event\":\"direct\"} each time an inlet leaves the
relay, and {\"event\":\"relayed\"} with a reason each time the last direct path ended.

Exit status: 0 ended on request, 1 runtime error, 2 wrong usage.";

const INLET_EXAMPLE: &str = "\
Example, beside the client:
  culvert-edge inlet --relay relay.example:4000 --via db --from 127.0.0.1:15432 --allow I07cc…
  psql -h 127.0.0.1 -p 15432

With --output json there is one object a line on stdout: {\"event\":\"starting\"},
{\"event\":\"listening\"}, then {\"event\":\"up\"} with the peer each time the secure channel is up, and
{\"event\":\"down\"} with a reason each time it is not. With --direct there are {\"event\":\"direct\"}
each time new streams leave the relay, and {\"event\":\"relayed\"} with a reason each time they do not.

Exit status: 0 ended on request, 1 runtime error, 2 wrong usage.";

/// The sidecar: carries TCP connections to and from services that open no port, through a relay
/// that cannot read them.
///
/// An outlet runs beside a service, an inlet beside its clients. Each has an identity; they accept
/// each other by identifier and talk through a secure channel from end to end.
#[derive(Debug, Parser)]
#[command(name = "culvert-edge", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// Directory for identities and vaults [default: $XDG_STATE_HOME/culvert or ~/.local/state/culvert]
    #[arg(long, global = true, env = "CULVERT_HOME", value_name = "DIR", help_heading = COMMON)]
    pub home: Option<PathBuf>,
    /// What opens encrypted vaults.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// Form of what is printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, help_heading = COMMON)]
    pub output: Output,
    /// Say errors only: no notes, no warnings, no sign of waiting.
    #[arg(long, short, global = true, help_heading = COMMON)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node from a configuration file in the foreground, as service managers and containers do.
    #[command(after_help = crate::config::start::AFTER_HELP)]
    Run(crate::config::start::RunArgs),
    /// Say what applying a configuration file to a running node would change.
    #[command(after_help = AFTER_HELP)]
    Diff(crate::config::start::DiffArgs),
    /// Say what is wrong with a configuration file, without using it.
    #[command(after_help = crate::config::command::AFTER_HELP)]
    Check(CheckArgs),
    /// Make, show, renew and compare identities.
    #[command(subcommand, after_help = AFTER_HELP)]
    Identity(IdentityCommand),
    /// Say who may use a resource, and see what that decides.
    #[command(subcommand, after_help = crate::policy::AFTER_HELP)]
    Policy(PolicyCommand),
    /// Issue, show and verify credentials: an identity's statements about another one.
    #[command(subcommand, after_help = AFTER_HELP)]
    Credential(CredentialCommand),
    /// Make, show, move and delete vaults, where secret keys are.
    #[command(subcommand, after_help = VAULT_HELP)]
    Vault(VaultCommand),
    /// Let allowed edges reach a TCP service on this side.
    #[command(after_help = OUTLET_EXAMPLE)]
    Outlet(OutletArgs),
    /// Open a local TCP port that leads to an outlet.
    #[command(after_help = INLET_EXAMPLE)]
    Inlet(InletArgs),
    /// Become a member of a project, and let others in.
    #[command(subcommand, after_help = AFTER_HELP)]
    Project(ProjectCommand),
    /// Become a member of a project by a ticket: the same as `project enroll`.
    #[command(after_help = AFTER_HELP)]
    Enroll(EnrollHereArgs),
    /// Run the authority of a project, and manage its members and tickets.
    #[command(subcommand, after_help = AFTER_HELP)]
    Authority(AuthorityCommand),
    /// Make, show, start and stop nodes; or run services for other nodes in the foreground.
    #[command(after_help = node::EXAMPLE)]
    Node(Box<NodeNoun>),
    /// Start a node in the background: the same as `node start`.
    Start(WhichArgs),
    /// Stop a node: the same as `node stop`.
    Stop(StopArgs),
    /// Say where the log of a node is, or print its end: the same as `node logs`.
    Logs(LogsArgs),
    /// Show how everything on this machine is doing.
    Status,
    /// Print what happens to a running node, as it happens.
    Events(EventsArgs),
    /// Have a running node read its configuration again, and apply what differs.
    Reload(AtArgs),
    /// Let others reach TCP services through a running node.
    #[command(subcommand, after_help = AFTER_HELP)]
    TcpOutlet(OutletCommand),
    /// Open local TCP ports that lead to outlets, in a running node.
    #[command(subcommand, after_help = AFTER_HELP)]
    TcpInlet(InletCommand),
    /// Register names with relays, so that others reach a running node by them.
    #[command(subcommand, after_help = AFTER_HELP)]
    Relay(RelayCommand),
    /// Keep secure channels from a running node to others up.
    #[command(subcommand, after_help = AFTER_HELP)]
    SecureChannel(ChannelCommand),
    /// See where a running node accepts secure channels.
    #[command(subcommand, after_help = AFTER_HELP)]
    SecureChannelListener(ChannelListenerCommand),
    /// Open addresses at which other nodes can connect to a running node.
    #[command(subcommand, after_help = AFTER_HELP)]
    TcpListener(ListenerCommand),
    /// Keep TCP connections from a running node to others up.
    #[command(subcommand, after_help = AFTER_HELP)]
    TcpConnection(ConnectionCommand),
    /// Send a message to a service and print its answer.
    #[command(subcommand, after_help = AFTER_HELP)]
    Message(MessageCommand),
    /// See the services of a running node.
    #[command(subcommand, after_help = AFTER_HELP)]
    Service(ServiceCommand),
    /// See the workers of a running node.
    #[command(subcommand, after_help = AFTER_HELP)]
    Worker(WorkerCommand),
    /// Add, list and delete members of a project, as one of its enrollers.
    #[command(subcommand, after_help = AFTER_HELP)]
    ProjectMember(MemberCommand),
    /// Save identities, keys, database: everything that has to be kept.
    Backup(BackupArgs),
    /// Put what `backup` saved back.
    Restore(RestoreArgs),
    /// Delete all identities, keys and nodes of this machine.
    Reset(ConfirmArgs),
    /// Find out what is wrong on this machine, and what to do about it.
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArgs),
    /// Measure what a portal carries, and how fast.
    #[command(subcommand, after_help = AFTER_HELP)]
    Bench(BenchCommand),
    /// Print what makes a shell complete commands.
    Completion(CompletionArgs),
    /// Write man pages.
    Manpages(ManpagesArgs),
    /// List the variables that are read, with their values.
    Environment,
    /// See it work: relay, outlet and inlet on this machine, real requests, measured.
    #[command(after_help = AFTER_HELP)]
    Demo(DemoArgs),
    /// Is a node that was started in the background.
    #[command(hide = true, name = crate::daemon::background::CHILD)]
    NodeChild {
        /// Its name.
        name: String,
    },
    /// Runs a program that ends together with the process that asked for it.
    #[command(hide = true)]
    DemoChild(DemoChildArgs),
}

/// Who may be at the other end.
#[derive(Debug, Args)]
pub struct AllowArgs {
    /// Identifier of a peer that may be at the other end; may be repeated.
    #[arg(long, value_name = "IDENTIFIER", value_parser = identifier)]
    #[arg(conflicts_with = "allow_any")]
    pub allow: Vec<Identifier>,
    /// Let anybody be at the other end who can reach the relay.
    #[arg(long)]
    pub allow_any: bool,
}

impl AllowArgs {
    /// The decision about peers. There is none by default.
    ///
    /// # Errors
    ///
    /// Wrong usage when nothing was said.
    pub fn trust(&self) -> Result<Trust, Failure> {
        match (self.allow_any, self.allow.as_slice()) {
            (true, _) => Ok(Trust::Anyone),
            (false, []) => Err(Failure::usage(
                "nobody is allowed at the other end: --allow is missing",
                "pass --allow and the identifier that `culvert-edge identity show` prints at the \
                 other end, or --allow-any to let anybody in",
            )),
            (false, allowed) => Ok(Trust::OneOf(allowed.to_vec())),
        }
    }
}

/// Whether to leave the relay.
#[derive(Debug, Args)]
pub struct DirectArgs {
    /// Carry streams over UDP straight to the far side where the networks allow it; both ends must be
    /// started with it. The relay is needed to begin, and used while there is no direct path.
    #[arg(long)]
    pub direct: bool,
    /// The rendezvous service that says how this side is seen from outside [default: the relay's
    /// host and port, over UDP]
    #[arg(long, value_name = "HOST:PORT", requires = "direct", value_parser = HostPort::parse_remote)]
    pub rendezvous: Option<HostPort>,
}

impl DirectArgs {
    /// The rendezvous to use, if direct paths are wanted.
    pub fn rendezvous(&self, relay: (&str, u16)) -> Option<RendezvousAt> {
        let (host, port) = match &self.rendezvous {
            Some(at) => (at.host.as_str(), at.port),
            None => relay,
        };
        let host = host.to_owned();
        self.direct.then_some(RendezvousAt { host, port })
    }
}

/// How to run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Name of the identity to use; the default one is made when missing.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub identity: String,
    /// Threads; 0 for one per core. A portal has a connection and a secure channel on each, an outlet
    /// on at most 16.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub shards: u8,
    /// Address to serve metrics on (Prometheus text at /metrics).
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    pub metrics: Option<SocketAddr>,
    /// MiB that messages being received or waiting may take, at least 24 for each thread; above it
    /// what holds up most is closed [default: a quarter of the memory, at most 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(32..))]
    pub max_memory: Option<u32>,
    /// Bytes that the far side may send ahead on each stream.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(4096..=1 << 26))]
    pub portal_window: u32,
    /// Speak to the far side as to an Ockam node: no flow control per stream, no half-close.
    #[arg(long)]
    pub no_extensions: bool,
    /// Open streams without waiting for an answer. Both ends must be started with it, Ockam's too, and
    /// a service that refuses shows as a connection that ends.
    #[arg(long)]
    pub skip_handshake: bool,
    /// Log when each connection opens and ends, with a trace id that is the same at both ends if both
    /// have this. The id travels in clear, in the form of W3C traceparent.
    #[arg(long)]
    pub trace: bool,
}

/// Arguments of `outlet`.
#[derive(Debug, Args)]
pub struct OutletArgs {
    /// The relay.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse_remote)]
    pub relay: HostPort,
    /// Name to register with the relay; inlets use it with --via.
    #[arg(long, value_parser = relay_name)]
    pub name: String,
    /// The service; its name is resolved for each connection.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse_remote)]
    pub to: HostPort,
    /// Who may use the outlet.
    #[command(flatten)]
    pub allow: AllowArgs,
    /// Attributes and policies.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Identifier the relay must have; may be repeated [default: any]
    #[arg(long, value_name = "IDENTIFIER", value_parser = identifier)]
    #[arg(conflicts_with = "plain_registration")]
    pub relay_identity: Vec<Identifier>,
    /// Register without a secure channel to the relay: it cannot tell who holds the name.
    #[arg(long)]
    pub plain_registration: bool,
    /// Whether to leave the relay.
    #[command(flatten)]
    pub direct: DirectArgs,
    /// How to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `inlet`.
#[derive(Debug, Args)]
pub struct InletArgs {
    /// The relay.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse_remote)]
    #[arg(required_unless_present = "route", requires = "via")]
    pub relay: Option<HostPort>,
    /// Name that the outlet registered with the relay.
    #[arg(long, value_name = "NAME", value_parser = relay_name)]
    #[arg(required_unless_present = "route", requires = "relay")]
    pub via: Option<String>,
    /// Multiaddr of the outlet, for anything --relay and --via cannot say:
    /// /dnsaddr/HOST/tcp/PORT/service/forward_to_db/secure/api/service/outlet
    #[arg(long, value_name = "MULTIADDR", conflicts_with_all = ["relay", "via"])]
    pub route: Option<String>,
    /// With --route: accept one without a secure channel. Everybody between can read and change
    /// the data. Some Ockam outlets can be reached so; Culvert's cannot.
    #[arg(long, requires = "route")]
    pub insecure: bool,
    /// Where to listen: HOST:PORT, or a port on 127.0.0.1. Port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse_local)]
    pub from: HostPort,
    /// Who may be at the other end.
    #[command(flatten)]
    pub allow: AllowArgs,
    /// Attributes and policies.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Prove to the relay who this side is before anything is sent by way of it: relays that were started
    /// with --require-authentication forward for nobody else.
    #[arg(long)]
    pub authenticate: bool,
    /// With --authenticate: identifier the relay must have; may be repeated [default: any]
    #[arg(long, value_name = "IDENTIFIER", value_parser = identifier, requires = "authenticate")]
    pub relay_identity: Vec<Identifier>,
    /// Whether to leave the relay.
    #[command(flatten)]
    pub direct: DirectArgs,
    /// How to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// A real TCP service to put behind the outlet in place of the built-in HTTP service.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse_remote)]
    pub to: Option<HostPort>,
    /// End after the measurement.
    #[arg(long)]
    pub once: bool,
    /// The relay's program [default: culvert-relay beside this program, else in PATH]
    #[arg(long, value_name = "PATH")]
    pub relay_binary: Option<PathBuf>,
}

/// Arguments of the hidden `demo-child`.
#[derive(Debug, Args)]
pub struct DemoChildArgs {
    /// Process that must be the parent.
    pub parent: u32,
    /// Program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// Reads an identifier.
///
/// # Errors
///
/// What one looks like.
pub fn identifier(text: &str) -> Result<Identifier, String> {
    text.parse()
        .map_err(|_| "an identifier is I and 64 hexadecimal digits, see `identity show`".into())
}

pub(crate) fn relay_name(text: &str) -> Result<String, String> {
    route::check_relay_name(text).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
