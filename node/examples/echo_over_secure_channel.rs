//! A message to a worker of another node, over a secure channel: both ends prove who they are, and
//! nobody between can read it.
//!
//! ```sh
//! cargo run -p culvert-node --example echo_over_secure_channel
//! ```
#![allow(clippy::print_stdout, reason = "it is what the example does")]

use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use culvert_node::channel::{API, ChannelListener, Credentials};
use culvert_node::crypto::trust::Trust;
use culvert_node::identity::OwnIdentity;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::reason::Refusal;
use culvert_node::session::{Leg, MessageError, PathPlan, Recipient, send_message};
use culvert_node::shard::Shard;
use culvert_node::worker::{ECHO, Echo};
use culvert_node::{Identifier, SeenHistories};

/// Adds what a shard of the far node offers: channels to strangers, the echo to those who came
/// through one.
fn offer(shard: &Shard, credentials: Credentials) -> Result<(), Refusal> {
    let channels = ChannelListener::new(credentials, shard.accepted_channels_flow());
    let api = shard.add_named(API, Rc::new(channels))?;
    shard.open_to_all(api.key);
    let echo = shard.add_named(ECHO, Rc::new(Echo))?;
    shard.open_to_channels(echo.key);
    Ok(())
}

/// Sends `hello` as `me` to the echo of the node at an address, where nobody but `far` may answer.
fn say_hello(
    node: &Node,
    me: &OwnIdentity,
    far: Identifier,
    at: SocketAddr,
    patience: Duration,
) -> Result<String, Box<dyn Error>> {
    let plan = PathPlan {
        host: at.ip().to_string(),
        port: at.port(),
        admission: None,
        legs: vec![Leg {
            hops: Vec::new(),
            listener: API.to_vec(),
            trust: Trust::only(far),
        }],
        tail: vec![ECHO.to_vec()],
        direct: None,
    };
    let me = me.clone();
    let reply: Result<Vec<u8>, MessageError> = node.run(0, async move |shard| {
        let credentials = Credentials::new(me, Trust::only(far), SeenHistories::default());
        let to = Recipient::Away(Box::new(plan));
        send_message(&shard, &credentials, &to, b"hello", patience).await
    })?;
    Ok(String::from_utf8(reply?)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let alice = OwnIdentity::temporary()?;
    let bob = OwnIdentity::temporary()?;
    let mallory = OwnIdentity::temporary()?;

    // Bob lets nobody in but Alice.
    let config = NodeConfig {
        shards: 1,
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..NodeConfig::default()
    };
    let (me, trust) = (bob.clone(), Trust::only(alice.identifier()));
    let far = Node::start(&config, move |shard| {
        let credentials = Credentials::new(me.clone(), trust.clone(), SeenHistories::default());
        if let Err(reason) = offer(shard, credentials) {
            println!("cannot offer the echo: {reason}");
        }
    })?;
    let at = far.address().ok_or("bob does not listen")?;

    let config = NodeConfig {
        shards: 1,
        ..NodeConfig::default()
    };
    let near = Node::start(&config, |_| {})?;
    let there = bob.identifier();
    let reply = say_hello(&near, &alice, there, at, Duration::from_secs(10))?;
    println!("bob answers alice: {reply}");
    match say_hello(&near, &mallory, there, at, Duration::from_millis(500)) {
        Ok(reply) => println!("bob answers mallory: {reply}"),
        Err(error) => println!("bob does not answer mallory: {error}"),
    }
    near.shutdown();
    far.shutdown();
    Ok(())
}
