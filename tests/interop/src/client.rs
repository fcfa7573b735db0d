//! A client of `echo`, at the end of any route.

use std::time::Instant;

use clap::Args;
use ockam::errcode::{Kind, Origin};
use ockam::identity::{Identifier, SecureChannelOptions};
use ockam::tcp::{TcpConnectionOptions, TcpTransportExtension};
use ockam::{Error, Node, Result, Route, route};
use serde_json::json;

use crate::{Allow, event, services};

#[derive(Debug, Args)]
pub struct Options {
    /// Address of the node to connect to.
    #[arg(long)]
    connect: String,
    /// Hop on the way after that node; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    hop: Vec<String>,
    /// Open a secure channel to `api` at the end of the way, and speak through it.
    #[arg(long)]
    secure: bool,
    /// Messages to send, each after the answer to the one before.
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Length of each, in bytes.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Who may be at the other end of the channel.
    #[command(flatten)]
    allow: Allow,
}

/// Sends, compares, and says how it went.
pub async fn run(node: &Node, me: &Identifier, options: Options) -> Result<()> {
    let tcp = node.create_tcp_transport()?;
    let connection = tcp
        .connect(&options.connect, TcpConnectionOptions::new())
        .await?;
    let mut way: Route = route![connection];
    for hop in options.hop {
        way += hop.as_str();
    }
    let mut peer = None;
    if options.secure {
        let channel = node
            .create_secure_channel(
                me,
                way + services::API,
                SecureChannelOptions::new().with_trust_policy(options.allow.policy()),
            )
            .await?;
        peer = Some(channel.their_identifier().to_string());
        way = route![channel.encryptor_address().clone()];
    }
    let way = way + services::ECHO;
    let began = Instant::now();
    for n in 0..options.count {
        let text: String = format!("{n} ").chars().cycle().take(options.size).collect();
        let back: String = node.send_and_receive(way.clone(), text.clone()).await?;
        if back != text {
            return Err(Error::new(
                Origin::Application,
                Kind::Invalid,
                "another text came back",
            ));
        }
    }
    event::say(json!({
        "event": "echoed",
        "count": options.count,
        "peer": peer,
        "milliseconds": began.elapsed().as_millis() as u64,
    }));
    Ok(())
}
