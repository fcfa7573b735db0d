//! The command line of the relay.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use culvert_node::authority::Authority;
use culvert_node::control::listen_address;
use culvert_node::failure::Failure;

/// Routes encrypted messages between edges that cannot reach each other.
///
/// Edges register a name over a secure channel; messages sent to that name are passed on
/// unread. Nothing listens on other interfaces unless asked to.
#[derive(Debug, Parser)]
#[command(
    name = "culvert-relay",
    version,
    after_help = "Exit status: 0 ended on request, 1 runtime error, 2 wrong usage or configuration, 3 denied, \
                  4 no such file, 5 address in use, 6 not running.\n\
                  SIGTERM and SIGINT end it in order, a second one at once; SIGHUP reads --config again."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: RunArgs,
}

/// What can be done beside running.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a configuration file; says what is wrong, and where.
    Check(CheckArgs),
    /// Show how a running relay is doing.
    Status(StatusArgs),
}

/// Checking a file.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The file.
    pub file: PathBuf,
}

/// Asking a relay.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Socket of the relay [default: relay.sock in the state directory]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// Running the relay.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// File with these options as keys, without the dashes; what is given here or in the environment counts
    /// before it. Read again on SIGHUP.
    #[arg(long, env = "CULVERT_RELAY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to accept edges on.
    #[arg(long, default_value = "127.0.0.1:4000", env = "CULVERT_RELAY_LISTEN")]
    #[arg(value_parser = listen_address)]
    pub listen: SocketAddr,
    /// State directory, with the relay's identity and its socket; a relay makes it when it is missing.
    #[arg(long, global = true, env = "CULVERT_HOME")]
    pub home: Option<PathBuf>,
    /// File with the passphrase of the vault with the identity's keys, if that is encrypted; or set
    /// CULVERT_PASSPHRASE. Without either it is asked for, at a terminal.
    #[arg(long, env = "CULVERT_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// File that the vault with the identity's keys is encrypted with.
    #[arg(long, env = "CULVERT_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Threads; 0 for one per core.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8))]
    pub shards: u8,
    /// Let nodes register names without a secure channel (they cannot prove who they are).
    #[arg(long)]
    pub allow_plain_registration: bool,
    /// Change history of an authority, or a file with it, in hexadecimal digits; may be repeated. Names are
    /// registered only by whom one of them gave a credential with the attribute ockam-relay=NAME or
    /// ockam-relay=*
    #[arg(long, value_name = "HISTORY", value_parser = Authority::parse)]
    pub authority: Vec<Authority>,
    /// Forward only for those who have a secure channel with the relay on the same connection; with
    /// --authority also a credential.
    #[arg(long)]
    pub require_authentication: bool,
    /// Names that may be registered at once; one that is held over several connections counts as often.
    #[arg(long, default_value_t = 100_000)]
    pub max_forwarders: usize,
    /// Names that one identity may register at once, and all plain registrations together.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_forwarders_per_identity: u64,
    /// Links open at once, in all.
    #[arg(long, default_value_t = 100_000)]
    pub max_links: u64,
    /// MiB that messages being received or waiting may take, at least 24 for each thread; above it
    /// connections that hold up most are closed [default: a quarter of the memory, at most 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(32..))]
    pub max_memory: Option<u32>,
    /// Seconds within which a begun frame must be complete.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub frame_timeout: u64,
    /// Seconds after which a peer that holds up others is closed.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub stall_timeout: u64,
    /// UDP address to run a rendezvous service on: anybody may ask it for the address they are seen
    /// from, which edges need for --direct [default: none]
    #[arg(long, value_parser = listen_address, value_name = "ADDRESS")]
    pub rendezvous: Option<SocketAddr>,
    /// Address to serve metrics on (Prometheus text at /metrics).
    #[arg(long, value_parser = listen_address)]
    pub metrics: Option<SocketAddr>,
    /// Where to serve the management API, the status page and metrics: the path of a Unix socket, or
    /// ADDRESS:PORT, which takes a token; may be repeated [default: relay.sock in the state directory]
    #[arg(long, value_name = "PLACE", value_parser = ManageAt::parse)]
    pub manage: Vec<ManageAt>,
    /// Serve no management API.
    #[arg(long, conflicts_with = "manage")]
    pub no_manage: bool,
    /// File with the token of management over TCP; made when missing [default: relay.token in the state
    /// directory]
    #[arg(long, value_name = "FILE")]
    pub manage_token_file: Option<PathBuf>,
    /// PEM file with the certificate for management over TCP, and with those that vouch for it.
    #[arg(long, value_name = "FILE", requires = "manage_tls_key")]
    pub manage_tls_certificate: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, value_name = "FILE", requires = "manage_tls_certificate")]
    pub manage_tls_key: Option<PathBuf>,
    /// Serve management without TLS to other machines all the same: something in front of it encrypts.
    #[arg(long)]
    pub manage_insecure: bool,
    /// Seconds that connections have to come to rest in once the relay is told to end.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub drain: u64,
    /// What is logged to stderr: off, error, warn, info, debug or trace, for all or for one target, separated
    /// by commas.
    #[arg(
        long,
        env = "CULVERT_LOG",
        // What is not UTF-8 is refused with the rest that makes no sense, and named.
        value_parser = OsStringValueParser::new().map(|text| text.to_string_lossy().into_owned()),
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log: String,
    /// Form of what is written to stdout, and of errors.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Why options for running make no sense where something else is to be done. What is in the environment
/// is meant for whatever is run.
pub(crate) fn misplaced(matches: &ArgMatches) -> Option<Failure> {
    let command = matches.subcommand_name()?;
    let of_all = ["home", "output"];
    let cli = Cli::command();
    let mut options = cli.get_arguments().filter(|option| {
        let given = matches.value_source(option.get_id().as_str());
        given == Some(ValueSource::CommandLine) && !of_all.contains(&option.get_id().as_str())
    });
    let option = options.next()?.get_long()?.to_owned();
    Some(Failure::usage(
        format!("'--{option}' is for running a relay: it makes no sense with '{command}'"),
        "leave it out; --home and --output are for all commands",
    ))
}

/// Where management is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ManageAt {
    /// On a Unix socket.
    Unix(PathBuf),
    /// Over TCP.
    Tcp(SocketAddr),
}

impl ManageAt {
    /// Reads either; a path has a slash in it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            "expected the path of a Unix socket, with a '/' in it, or an IP address and a port, for example \
             127.0.0.1:4001"
        })
    }
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
