//! A client of `echo` or `uppercase`, at the end of any route.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ockam::errcode::{Kind, Origin};
use ockam::identity::{Identifier, SecureChannelOptions};
use ockam::tcp::{TcpConnectionOptions, TcpTransportExtension};
use ockam::{Error, Node, Result, Route, route};
use serde_json::json;

use crate::credential::{Presented, Vouched};
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
    /// Only exchange keys with `key_exchanger` at the end of the way, and send nothing.
    #[arg(long, conflicts_with = "secure")]
    exchange_keys: bool,
    /// Whom to speak to.
    #[arg(long, value_enum, default_value_t = Service::Echo)]
    service: Service,
    /// Messages to send, each after the answer to the one before.
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Milliseconds between them.
    #[arg(long, default_value_t = 0)]
    pause: u64,
    /// Length of each, in bytes.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Seconds to wait for the channel.
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Close the channel after that, and stay until told to end: a process that ends takes what its
    /// transport has not sent yet with it, the word that the channel is closed, too.
    #[arg(long, requires = "secure")]
    close: bool,
    /// Who may be at the other end of the channel.
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    credential: Vouched,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Service {
    Echo,
    Uppercase,
}

impl Service {
    fn address(self) -> &'static str {
        match self {
            Self::Echo => services::ECHO,
            Self::Uppercase => services::UPPERCASE,
        }
    }

    fn expected(self, sent: &str) -> String {
        match self {
            Self::Echo => sent.to_owned(),
            Self::Uppercase => sent.to_uppercase(),
        }
    }
}

/// Sends, compares, and says how it went.
pub async fn run(node: &Node, me: &Identifier, options: Options) -> Result<()> {
    let tcp = node.create_tcp_transport()?;
    let presented = Presented::start(node, me, options.credential).await?;
    let connection = tcp
        .connect(&options.connect, TcpConnectionOptions::new())
        .await?;
    let mut way: Route = route![connection];
    for hop in options.hop {
        way += hop.as_str();
    }
    let channel_options = SecureChannelOptions::new()
        .with_timeout(Duration::from_secs(options.timeout))
        .with_trust_policy(options.allow.policy());
    let channel_options = presented.to_channel(channel_options)?;
    if options.exchange_keys {
        let channel = node
            .create_secure_channel(
                me,
                way + services::KEY_EXCHANGER,
                channel_options.key_exchange_only(),
            )
            .await?;
        let peer = channel.their_identifier().to_string();
        event::say(json!({ "event": "exchanged", "peer": peer }));
        return Ok(());
    }
    let (mut peer, mut opened) = (None, None);
    if options.secure {
        let channel = node
            .create_secure_channel(me, way + services::API, channel_options)
            .await?;
        peer = Some(channel.their_identifier().to_string());
        way = route![channel.encryptor_address().clone()];
        opened = Some(channel);
    }
    let way = way + options.service.address();
    let began = Instant::now();
    for n in 0..options.count {
        let text: String = format!("n{n} ")
            .chars()
            .cycle()
            .take(options.size)
            .collect();
        let back: String = node.send_and_receive(way.clone(), text.clone()).await?;
        if back != options.service.expected(&text) {
            return Err(Error::new(
                Origin::Application,
                Kind::Invalid,
                "another text came back",
            ));
        }
        tokio::time::sleep(Duration::from_millis(options.pause)).await;
    }
    event::say(json!({
        "event": "echoed",
        "count": options.count,
        "peer": peer,
        "milliseconds": began.elapsed().as_millis() as u64,
    }));
    if let Some(channel) = opened.filter(|_| options.close) {
        let channels = node.secure_channels();
        channels.stop_secure_channel(node.context(), channel.encryptor_address())?;
        event::until_told_to_end().await;
    }
    Ok(())
}
