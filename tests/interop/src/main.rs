//! A real Ockam node as a program, made with the `ockam` library: relay, outlet, inlet, a hop
//! between nodes and a client of `echo`. It says what happens in JSON lines on standard output, as Culvert's programs do; its
//! logs (`OCKAM_LOG`) go to standard error.

mod client;
mod credential;
mod direct;
mod event;
mod hop;
mod identity;
mod inlet;
mod outlet;
mod relay;
mod rendezvous;
mod services;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ockam::identity::{Identifier, TrustEveryonePolicy, TrustMultiIdentifiersPolicy, TrustPolicy};
use ockam::{Context, NodeBuilder, Result};
use serde_json::json;
use tracing_subscriber::EnvFilter;

/// A node made with the Ockam library.
#[derive(Debug, Parser)]
#[command(name = "ockam-node")]
struct Cli {
    /// Directory with the identity and its keys; one is made in it when there is none.
    #[arg(long)]
    home: PathBuf,
    /// Type of the primary key when an identity is made.
    #[arg(long = "type", value_enum, default_value_t = KeyType::Ed25519)]
    key_type: KeyType,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KeyType {
    Ed25519,
    P256,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the identity, and ends.
    Identity,
    /// Replaces its key by a new one, and ends: the history then has one change more.
    Rotate,
    /// Passes messages on to nodes that register with it.
    Relay(relay::Options),
    /// Registers with a relay and carries connections to a TCP service.
    Outlet(outlet::Options),
    /// Listens on a TCP port that leads to an outlet.
    Inlet(inlet::Options),
    /// Passes messages between nodes that name it in their routes.
    Hop(hop::Options),
    /// Tells nodes where they are seen from, over UDP.
    Rendezvous(rendezvous::Options),
    /// Sends messages to a service that echoes, and ends.
    Echo(client::Options),
}

/// Who may be at the other end of a channel.
#[derive(Clone, Debug, Args)]
struct Allow {
    /// Identifier of a peer that may be at the other end; anybody when there is none.
    #[arg(long = "allow", value_name = "IDENTIFIER")]
    identifiers: Vec<Identifier>,
}

impl Allow {
    fn policy(&self) -> std::sync::Arc<dyn TrustPolicy> {
        if self.identifiers.is_empty() {
            std::sync::Arc::new(TrustEveryonePolicy)
        } else {
            std::sync::Arc::new(TrustMultiIdentifiersPolicy::new(self.identifiers.clone()))
        }
    }
}

fn main() {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("OCKAM_LOG").unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .init();
    let (ctx, mut executor) = NodeBuilder::new().no_logging().build();
    let ended = executor.execute(async move {
        let result = run(&ctx, cli).await;
        if let Err(error) = &result {
            event::say(json!({ "event": "failed", "error": error.to_string() }));
        }
        ctx.shutdown_node().await?;
        result
    });
    if !matches!(ended, Ok(Ok(()))) {
        std::process::exit(1);
    }
}

async fn run(ctx: &Context, cli: Cli) -> Result<()> {
    let (node, me) = identity::open(ctx, &cli.home, cli.key_type).await?;
    match cli.command {
        Command::Identity => {
            event::say(json!({ "event": "identity", "identifier": me.to_string() }));
            return Ok(());
        }
        Command::Rotate => {
            node.identities_creation().rotate_identity(&me).await?;
            event::say(json!({ "event": "rotated", "identifier": me.to_string() }));
            return Ok(());
        }
        Command::Echo(options) => return client::run(&node, &me, options).await,
        Command::Hop(options) => hop::run(&node, options).await?,
        Command::Rendezvous(options) => rendezvous::run(&node, options).await?,
        Command::Relay(options) => relay::run(&node, &me, options).await?,
        Command::Outlet(options) => outlet::run(&node, &me, options).await?,
        Command::Inlet(options) => inlet::run(&node, &me, options).await?,
    }
    event::until_told_to_end().await;
    Ok(())
}
