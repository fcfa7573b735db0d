//! The rendezvous of a node, which tells others where they are seen from.

use clap::Args;
use ockam::udp::{RendezvousService, UdpBindArguments, UdpBindOptions, UdpTransportExtension};
use ockam::{Node, Result};
use serde_json::json;

use crate::event;

/// Address of the worker.
const RENDEZVOUS: &str = "rendezvous";

#[derive(Debug, Args)]
pub struct Options {
    /// UDP address to answer on; this transport of Ockam's knows IPv4 only.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
}

/// Starts it.
pub async fn run(node: &Node, options: Options) -> Result<()> {
    let udp = node.create_udp_transport().await?;
    RendezvousService::start(node.context(), RENDEZVOUS)?;
    let at = UdpBindArguments::new().with_bind_address(options.listen)?;
    let bind = udp.bind(at, UdpBindOptions::new()).await?;
    let controls = node.flow_controls();
    controls.add_consumer(&RENDEZVOUS.into(), bind.flow_control_id());
    event::say(json!({ "event": "listening", "address": bind.bind_address().to_string() }));
    Ok(())
}
