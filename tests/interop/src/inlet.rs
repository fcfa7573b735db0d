//! The inlet.

use std::time::Duration;

use clap::Args;
use ockam::identity::{Identifier, SecureChannelOptions};
use ockam::tcp::{TcpConnectionOptions, TcpInletOptions, TcpTransportExtension};
use ockam::{Node, Result, Route, route};
use serde_json::json;

use crate::credential::{Presented, Vouched};
use crate::direct::Direct;
use crate::{Allow, event, services};

#[derive(Debug, Args)]
pub struct Options {
    /// Address of the relay, or of another node to connect to.
    #[arg(long)]
    relay: String,
    /// Hop on the way after that node; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    hop: Vec<String>,
    /// Name that the outlet registered with the relay, after those hops.
    #[arg(long)]
    via: Option<String>,
    /// Open no secure channel: speak to the outlet in clear.
    #[arg(long)]
    clear: bool,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    from: String,
    /// Start no services: like a program with the library, unlike a node of the command line.
    #[arg(long)]
    bare: bool,
    /// Seconds to wait for the channel.
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Send at once: no Ping and Pong.
    #[arg(long)]
    skip_handshake: bool,
    /// Who may be at the outlet.
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    credential: Vouched,
    /// Whether to leave the relay.
    #[command(flatten)]
    direct: Direct,
}

/// Opens the channel and listens.
pub async fn run(node: &Node, me: &Identifier, options: Options) -> Result<()> {
    let tcp = node.create_tcp_transport()?;
    let presented = Presented::start(node, me, options.credential).await?;
    let connection_options = TcpConnectionOptions::new();
    let channel_options = SecureChannelOptions::new()
        .with_trust_policy(options.allow.policy())
        .with_timeout(Duration::from_secs(options.timeout));
    let channel_options = presented.to_channel(channel_options)?;
    if !options.bare {
        let from_outside = [
            connection_options.flow_control_id(),
            channel_options.producer_flow_control_id(),
        ];
        services::start(node, me, &options.allow, &presented, &from_outside)?;
    }
    let connection = tcp.connect(&options.relay, connection_options).await?;
    let mut way: Route = route![connection];
    for hop in options.hop {
        way += hop.as_str();
    }
    if let Some(name) = options.via {
        way += format!("forward_to_{name}");
    }
    let mut peer = None;
    if !options.clear {
        let channel = node
            .create_secure_channel(me, way + services::API, channel_options)
            .await?;
        peer = Some(channel.their_identifier().to_string());
        way = route![channel.encryptor_address().clone()];
        let moved = options.direct.open(node, me, &way, &options.allow).await?;
        if let Some(channel) = moved {
            way = route![channel.encryptor_address().clone()];
            event::say(json!({ "event": "direct" }));
        }
    }
    let inlet = tcp
        .create_inlet(
            options.from,
            way + "outlet",
            TcpInletOptions::new().set_skip_handshake(options.skip_handshake),
        )
        .await?;
    event::say(json!({ "event": "listening", "address": inlet.socket_address().to_string() }));
    event::say(json!({ "event": "up", "peer": peer }));
    Ok(())
}
