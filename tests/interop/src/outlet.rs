//! The outlet.

use std::str::FromStr as _;

use clap::Args;
use ockam::identity::{Identifier, SecureChannelOptions};
use ockam::remote::RemoteRelayOptions;
use ockam::tcp::{TcpConnectionOptions, TcpOutletOptions, TcpTransportExtension};
use ockam::transport::HostnamePort;
use ockam::{Address, Node, Result, route};
use serde_json::json;

use crate::{Allow, event, services};

#[derive(Debug, Args)]
pub struct Options {
    /// Address of the relay.
    #[arg(long)]
    relay: String,
    /// Name to register.
    #[arg(long)]
    name: String,
    /// Address of the service.
    #[arg(long)]
    to: String,
    /// Register over plain TCP, not through a secure channel.
    #[arg(long)]
    plain_registration: bool,
    /// Identifier the relay must have; any when there is none.
    #[arg(long, value_name = "IDENTIFIER")]
    relay_identity: Vec<Identifier>,
    /// Start only after the inlet has sent: no Ping and Pong.
    #[arg(long)]
    skip_handshake: bool,
    /// Who may open a channel to the outlet.
    #[command(flatten)]
    allow: Allow,
}

/// Registers and starts it.
pub async fn run(node: &Node, me: &Identifier, options: Options) -> Result<()> {
    let tcp = node.create_tcp_transport()?;
    let connection_options = TcpConnectionOptions::new();
    let channel_options = SecureChannelOptions::new().with_trust_policy(
        Allow {
            identifiers: options.relay_identity,
        }
        .policy(),
    );
    let from_relay = [
        connection_options.flow_control_id(),
        channel_options.producer_flow_control_id(),
    ];
    let channels = services::start(node, me, &options.allow, &from_relay)?;
    tcp.create_outlet(
        "outlet",
        HostnamePort::from_str(&options.to)?,
        TcpOutletOptions::new()
            .as_consumer(&channels)
            .set_skip_handshake(options.skip_handshake),
    )?;

    let connection = tcp.connect(&options.relay, connection_options).await?;
    let way: Address = if options.plain_registration {
        connection.into()
    } else {
        let channel = node
            .create_secure_channel(me, route![connection, services::API], channel_options)
            .await?;
        channel.encryptor_address().clone()
    };
    let info = node
        .create_static_relay(way, options.name, RemoteRelayOptions::new())
        .await?;
    event::say(json!({
        "event": "registered",
        "address": info.remote_address(),
        "identifier": me.to_string(),
    }));
    Ok(())
}
