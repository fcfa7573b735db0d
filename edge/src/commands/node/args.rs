//! The command line of `culvert-edge node`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use culvert_node::control::listen_address;

use super::super::resource::ConfirmArgs;
use crate::config::source::VariableArgs;
use crate::duration;
use crate::node::NodeArgs;

const CREATE_HELP: &str = "\
Examples:
  culvert-edge node create
  culvert-edge node create db --http 127.0.0.1:9000
  culvert-edge node create edge.yaml --variable DB=postgres:5432

A node is a process in the background. It belongs to this user, keeps what it is told to have, and has
it again after `culvert-edge node start`. What it runs as is the identity of its project, which this
machine is enrolled with first: `culvert-edge project enroll TICKET`.";

/// Run nodes; or services for other nodes in the foreground.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(arg_required_else_help = true)]
pub struct NodeNoun {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<NodeCommand>,
    /// Services to run in the foreground.
    #[command(flatten)]
    pub services: NodeArgs,
}

/// Create, list, show, start, stop and delete the nodes of this machine.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Make a node and start it in the background.
    #[command(after_help = CREATE_HELP)]
    Create(Box<CreateArgs>),
    /// List the nodes of this machine.
    List,
    /// Show a node and everything it has.
    Show(WhichArgs),
    /// Start a node in the background; it has all it had before.
    Start(WhichArgs),
    /// End the process of a node. What it has is kept for the next start.
    Stop(StopArgs),
    /// Say where the log of a node is, or print its last lines.
    Logs(LogsArgs),
    /// Show or set the node that is meant where none is named.
    Default(WhichArgs),
    /// Stop a node and forget it and everything it had.
    Delete(DeleteArgs),
}

/// Which node.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// Its name [default: the default node]
    pub name: Option<String>,
}

/// Arguments of `node create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What to call it, or a configuration file that describes it [default: default]
    #[arg(value_name = "NAME|FILE")]
    pub name: Option<String>,
    /// Configuration of the node and everything it is to have: YAML, or a file with it.
    #[arg(long, value_name = "YAML|FILE", visible_alias = "node-config")]
    pub configuration: Option<String>,
    /// Variables of the configuration.
    #[command(flatten)]
    pub variables: VariableArgs,
    /// Become a member of a project by this ticket first: the ticket, or a file with it.
    #[arg(
        long,
        value_name = "TICKET",
        env = "ENROLLMENT_TICKET",
        hide_env_values = true
    )]
    pub enrollment_ticket: Option<String>,
    /// Stay in the foreground and log to standard error, as service managers want it.
    #[arg(long, short)]
    pub foreground: bool,
    /// Name of the identity that it runs as [default: that of its project, else default]
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,
    /// Project that it is a member of [default: the only one this machine is enrolled with]
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Change history of a further authority to believe, in hexadecimal digits, or a file with it; may
    /// be repeated.
    #[arg(long, value_name = "HISTORY", visible_alias = "authority-identity")]
    pub authority: Vec<String>,
    /// Accept other nodes at this address.
    #[arg(long, short, value_name = "ADDRESS", value_parser = listen_address)]
    pub tcp_listener_address: Option<SocketAddr>,
    /// Serve the management API, the status page and metrics at this address, too.
    #[arg(long, value_name = "ADDRESS", visible_alias = "status-endpoint")]
    #[arg(value_parser = listen_address)]
    pub http: Option<SocketAddr>,
    /// File with the bearer token of --http; made when missing [default: `token` in the node's directory]
    #[arg(long, value_name = "FILE", requires = "http")]
    pub token_file: Option<PathBuf>,
    /// PEM file with the certificate chain of --http, which is HTTPS then.
    #[arg(long, value_name = "FILE", requires = "http", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with the private key of --tls-certificate.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Threads; 0 for one per core.
    #[arg(long, value_name = "N")]
    pub shards: Option<u8>,
    /// MiB that messages under way may take [default: a quarter of the memory, at most 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(32..))]
    pub max_memory: Option<u32>,
    /// Log when each connection opens and ends, with a trace id that is the same at both ends of a portal
    /// if both have this. The id travels in clear, in the form of W3C traceparent.
    #[arg(long)]
    pub trace: bool,
    /// How long streams have to end in once the node is told to stop [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub drain: Option<Duration>,
}

/// Arguments of `node stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Its name [default: the default node]
    pub name: Option<String>,
    /// Break off what is under way.
    #[arg(long, short)]
    pub force: bool,
    /// How long streams have to end in [default: what the node was made with]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with = "force")]
    pub drain: Option<Duration>,
}

/// Arguments of `node logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Its name [default: the default node]
    pub name: Option<String>,
    /// Print this many lines of the end of the log, in place of its path.
    #[arg(long, short = 'n', value_name = "N")]
    pub lines: Option<usize>,
    /// Print the last lines (10 unless -n says otherwise), then what is added, until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
}

/// Arguments of `node delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Its name [default: the default node]
    #[arg(conflicts_with = "all")]
    pub name: Option<String>,
    /// Delete all nodes of this machine.
    #[arg(long)]
    pub all: bool,
    /// Do not ask, and break off what is under way.
    #[arg(long, short)]
    pub force: bool,
    /// Whether to ask first.
    #[command(flatten)]
    pub confirm: ConfirmArgs,
}
