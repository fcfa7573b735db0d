//! The inlet.

use std::time::Duration;

use clap::Args;
use ockam::identity::{Identifier, SecureChannelOptions};
use ockam::tcp::{TcpConnectionOptions, TcpInletOptions, TcpTransportExtension};
use ockam::{Node, Result, route};
use serde_json::json;

use crate::{Allow, event, services};

#[derive(Debug, Args)]
pub struct Options {
    /// Address of the relay.
    #[arg(long)]
    relay: String,
    /// Name that the outlet registered.
    #[arg(long)]
    via: String,
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
}

/// Opens the channel and listens.
pub async fn run(node: &Node, me: &Identifier, options: Options) -> Result<()> {
    let tcp = node.create_tcp_transport()?;
    let connection_options = TcpConnectionOptions::new();
    let channel_options = SecureChannelOptions::new()
        .with_trust_policy(options.allow.policy())
        .with_timeout(Duration::from_secs(options.timeout));
    if !options.bare {
        let from_outside = [
            connection_options.flow_control_id(),
            channel_options.producer_flow_control_id(),
        ];
        services::start(node, me, &options.allow, &from_outside)?;
    }
    let connection = tcp.connect(&options.relay, connection_options).await?;
    let worker = format!("forward_to_{}", options.via);
    let channel = node
        .create_secure_channel(
            me,
            route![connection, worker, services::API],
            channel_options,
        )
        .await?;
    let inlet = tcp
        .create_inlet(
            options.from,
            route![channel.encryptor_address().clone(), "outlet"],
            TcpInletOptions::new().set_skip_handshake(options.skip_handshake),
        )
        .await?;
    event::say(json!({ "event": "listening", "address": inlet.socket_address().to_string() }));
    event::say(json!({ "event": "up", "peer": channel.their_identifier().to_string() }));
    Ok(())
}
