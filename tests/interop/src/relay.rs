//! The relay.

use clap::Args;
use ockam::identity::Identifier;
use ockam::tcp::{TcpListenerOptions, TcpTransportExtension};
use ockam::{Node, RelayService, RelayServiceOptions, Result};
use serde_json::json;

use crate::credential::{Presented, Vouched};
use crate::{Allow, event, services};

#[derive(Debug, Args)]
pub struct Options {
    /// Address to accept nodes on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Who may open a channel to the relay.
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    credential: Vouched,
}

/// Starts it: what a node of the command line starts, with the same names.
pub async fn run(node: &Node, me: &Identifier, options: Options) -> Result<()> {
    let tcp = node.create_tcp_transport()?;
    let listener_options = TcpListenerOptions::new();
    let links = listener_options.spawner_flow_control_id();
    let presented = Presented::start(node, me, options.credential).await?;
    let from_links = std::slice::from_ref(&links);
    let channels = services::start(node, me, &options.allow, &presented, from_links)?;
    let mut service = RelayServiceOptions::new()
        .prefix("forward_to_")
        .alias("static_forwarding_service");
    for id in [&links, &channels] {
        service = service.service_as_consumer(id).relay_as_consumer(id);
    }
    RelayService::create(node.context(), "forwarding_service", service)?;
    let listener = tcp.listen(&options.listen, listener_options).await?;
    event::say(json!({
        "event": "listening",
        "address": listener.socket_string(),
        "identifier": me.to_string(),
    }));
    Ok(())
}
