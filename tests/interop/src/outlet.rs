//! The outlet.

use std::str::FromStr as _;

use clap::Args;
use ockam::identity::{Identifier, SecureChannelOptions};
use ockam::remote::RemoteRelayOptions;
use ockam::tcp::{
    TcpConnectionOptions, TcpListenerOptions, TcpOutletOptions, TcpTransportExtension,
};
use ockam::transport::HostnamePort;
use ockam::{Address, Node, Result, route};
use serde_json::json;

use crate::credential::{Presented, Vouched};
use crate::direct::Direct;
use crate::{Allow, event, services};

#[derive(Debug, Args)]
pub struct Options {
    /// Address of the relay.
    #[arg(long, requires = "name", required_unless_present = "listen")]
    relay: Option<String>,
    /// Name to register.
    #[arg(long)]
    name: Option<String>,
    /// Accept nodes at this address in place of registering, and let them reach the outlet without
    /// a secure channel.
    #[arg(long, conflicts_with = "relay")]
    listen: Option<String>,
    /// Address of the service.
    #[arg(long)]
    to: String,
    /// Register over plain TCP, not through a secure channel.
    #[arg(long)]
    plain_registration: bool,
    /// Identifier the relay must have; any when there is none.
    #[arg(long, value_name = "IDENTIFIER")]
    relay_identity: Vec<Identifier>,
    /// Seconds to wait for the channel to the relay.
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Start only after the inlet has sent: no Ping and Pong.
    #[arg(long)]
    skip_handshake: bool,
    /// Who may open a channel to the outlet.
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    credential: Vouched,
    /// Whether to offer to leave the relay.
    #[command(flatten)]
    direct: Direct,
}

/// Registers and starts it.
pub async fn run(node: &Node, me: &Identifier, options: Options) -> Result<()> {
    let tcp = node.create_tcp_transport()?;
    let presented = Presented::start(node, me, options.credential).await?;
    let connection_options = TcpConnectionOptions::new();
    let listener_options = TcpListenerOptions::new();
    let links = listener_options.spawner_flow_control_id();
    let relays = Allow {
        identifiers: options.relay_identity,
    };
    let channel_options = SecureChannelOptions::new()
        .with_timeout(std::time::Duration::from_secs(options.timeout))
        .with_trust_policy(relays.policy());
    let channel_options = presented.to_channel(channel_options)?;
    let from_outside = [
        connection_options.flow_control_id(),
        channel_options.producer_flow_control_id(),
        links.clone(),
    ];
    let channels = services::start(node, me, &options.allow, &presented, &from_outside)?;
    options.direct.offer(node, &channels).await?;
    let mut outlet = TcpOutletOptions::new()
        .as_consumer(&channels)
        .set_skip_handshake(options.skip_handshake);
    if options.listen.is_some() {
        outlet = outlet.as_consumer(&links);
    }
    tcp.create_outlet("outlet", HostnamePort::from_str(&options.to)?, outlet)?;

    if let Some(address) = options.listen {
        let listener = tcp.listen(&address, listener_options).await?;
        event::say(json!({ "event": "listening", "address": listener.socket_string() }));
    }
    let (Some(relay), Some(name)) = (options.relay, options.name) else {
        return Ok(());
    };
    let connection = tcp.connect(&relay, connection_options).await?;
    let way: Address = if options.plain_registration {
        connection.into()
    } else {
        let channel = node
            .create_secure_channel(me, route![connection, services::API], channel_options)
            .await?;
        channel.encryptor_address().clone()
    };
    let info = node
        .create_static_relay(way, name, RemoteRelayOptions::new())
        .await?;
    event::say(json!({
        "event": "registered",
        "address": info.remote_address(),
        "identifier": me.to_string(),
    }));
    Ok(())
}
