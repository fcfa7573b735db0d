//! A node as Ockam's command starts it, and what `ockam relay create` and `ockam tcp-inlet create` send
//! to it. State is where `OCKAM_HOME` says. It says what happens in JSON lines on standard output.

#![recursion_limit = "512"]

mod authority;

use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use miette::{IntoDiagnostic as _, Result, miette};
use ockam::identity::Identifier;
use ockam::tcp::{TcpListenerOptions, TcpTransport};
use ockam::transport::HostnamePort;
use ockam::{Context, NodeBuilder, Route, TryClone as _};
use ockam_api::CliState;
use ockam_api::nodes::models::portal::OutletAccessControl;
use ockam_api::nodes::models::relay::ReturnTiming;
use ockam_api::nodes::service::relay::Relays as _;
use ockam_api::nodes::service::tcp_inlets::Inlets as _;
use ockam_api::nodes::service::{
    NodeManagerCredentialRetrieverOptions, NodeManagerGeneralOptions, NodeManagerTransportOptions,
    NodeManagerTrustOptions,
};
use ockam_api::nodes::{BackgroundNodeClient, InMemoryNode, NODEMANAGER_ADDR, NodeManagerWorker};
use serde_json::{Value, json};

/// Name of the node.
const NAME: &str = "node";

/// A managed Ockam node, and its client.
#[derive(Debug, Parser)]
#[command(name = "managed-node")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the node.
    Node {
        /// Address of a service for its outlet.
        #[arg(long)]
        outlet_to: Option<HostnamePort>,
    },
    /// Asks the node for a relay, and ends.
    RelayCreate {
        /// Multiaddr of the relay.
        #[arg(long)]
        at: String,
        /// Name to register.
        #[arg(long)]
        name: String,
    },
    /// Asks the node for an inlet, and ends.
    InletCreate {
        /// Multiaddr of the outlet.
        #[arg(long)]
        to: String,
        /// Who must be there.
        #[arg(long)]
        allow: Identifier,
    },
    /// Runs an authority.
    Authority {
        /// TCP port on loopback.
        #[arg(long)]
        port: u16,
    },
    /// Enrolls with an authority, and ends.
    Enroll {
        /// The ticket.
        ticket: String,
        /// Make a ticket for somebody else afterwards.
        #[arg(long)]
        issue: bool,
    },
}

fn main() {
    let cli = Cli::parse();
    let (ctx, mut executor) = NodeBuilder::new().no_logging().build();
    let ended = executor.execute(async move {
        let result = run(&ctx, cli).await;
        if let Err(error) = &result {
            say(&json!({ "event": "failed", "error": format!("{error:?}") }));
        }
        ctx.shutdown_node().await?;
        Ok::<_, ockam::Error>(result.is_ok())
    });
    if !matches!(ended, Ok(Ok(true))) {
        std::process::exit(1);
    }
}

fn say(event: &Value) {
    println!("{event}");
}

async fn run(ctx: &Context, cli: Cli) -> Result<()> {
    let state = CliState::new(false).await?;
    let client = || BackgroundNodeClient::create_to_node(ctx, &state, NAME);
    match cli.command {
        Command::Node { outlet_to } => {
            start(ctx, &state, outlet_to).await?;
            tokio::signal::ctrl_c().await.into_diagnostic()
        }
        Command::RelayCreate { at, name } => {
            let info = client()?
                .create_relay(
                    ctx,
                    &at.parse().into_diagnostic()?,
                    name.clone(),
                    None,
                    Some(name),
                    ReturnTiming::AfterConnection,
                )
                .await?;
            let status = format!("{:?}", info.connection_status);
            say(&json!({ "event": "relay", "address": info.remote_address, "status": status }));
            Ok(())
        }
        Command::InletCreate { to, allow } => {
            let status = create_inlet(ctx, &client()?, &to, allow).await?;
            say(&status);
            Ok(())
        }
        Command::Authority { port } => authority::run(ctx, &state, port).await,
        Command::Enroll { ticket, issue } => authority::enroll(ctx, &state, &ticket, issue).await,
    }
}

/// What the command starts with `ockam node create`, without a project.
async fn start(ctx: &Context, state: &CliState, outlet_to: Option<HostnamePort>) -> Result<()> {
    let tcp = TcpTransport::get_or_create(ctx).into_diagnostic()?;
    let listener = tcp
        .listen("127.0.0.1:0", TcpListenerOptions::new())
        .await
        .into_diagnostic()?;
    let info = state
        .start_node_with_optional_values(NAME, &None, Some(&listener))
        .await?;
    let nobody = || NodeManagerCredentialRetrieverOptions::None;
    let links = listener.flow_control_id().clone();
    let node = InMemoryNode::new(
        ctx,
        NodeManagerGeneralOptions::new(state.clone(), NAME.to_owned(), true, None, true),
        NodeManagerTransportOptions::new_tcp(links, tcp.try_clone().into_diagnostic()?),
        NodeManagerTrustOptions::new(nobody(), nobody(), None, nobody()),
    )
    .await
    .into_diagnostic()?;
    if let Some(to) = outlet_to {
        let everybody = OutletAccessControl::WithPolicyExpression(None);
        let address = Some("outlet".into());
        node.create_outlet(
            ctx, to, false, address, true, everybody, false, false, false,
        )
        .await
        .into_diagnostic()?;
    }
    ctx.flow_controls()
        .add_consumer(&NODEMANAGER_ADDR.into(), listener.flow_control_id());
    ctx.start_worker(NODEMANAGER_ADDR, NodeManagerWorker::new(Arc::new(node)))
        .into_diagnostic()?;
    say(&json!({
        "event": "listening",
        "address": listener.socket_string(),
        "identifier": info.identifier().to_string(),
    }));
    Ok(())
}

async fn create_inlet(
    ctx: &Context,
    client: &BackgroundNodeClient,
    to: &str,
    allow: Identifier,
) -> Result<Value> {
    let anywhere: HostnamePort = "127.0.0.1:0".parse().map_err(|error| miette!("{error}"))?;
    let status = client
        .create_inlet(
            ctx,
            &anywhere,
            &to.parse().into_diagnostic()?,
            "inlet",
            &Some(allow),
            &None,
            Duration::from_secs(10),
            true,
            &None,
            false,
            false,
            false,
            &None,
            false,
            false,
            Route::default(),
        )
        .await?
        .success()?;
    let up = format!("{:?}", status.status);
    Ok(json!({ "event": "inlet", "address": status.bind_addr, "status": up }))
}
