//! A worker of one's own that is reached through a relay. The node it runs on opens no port, and the
//! relay can read nothing of what it is asked.
//!
//! ```sh
//! culvert-relay --listen 127.0.0.1:4000
//! cargo run -p culvert-node --example custom_worker_behind_relay -- 127.0.0.1:4000
//! ```
#![allow(clippy::print_stdout, reason = "it is what the example does")]

use std::cell::Cell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use culvert_node::SeenHistories;
use culvert_node::channel::{API, ChannelListener, Credentials};
use culvert_node::crypto::trust::Trust;
use culvert_node::identity::OwnIdentity;
use culvert_node::key::LocalAddress;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::packet::Packet;
use culvert_node::reason::Refusal;
use culvert_node::session::{
    Event, Leg, PathPlan, Recipient, RegistrationPlan, Reporter, keep_registered, send_message,
};
use culvert_node::shard::Shard;
use culvert_node::stop::Stop;
use culvert_node::worker::{Outcome, Worker};

/// Address of the worker on its node, and the name of that node at the relay.
const COUNTER: &str = "counter";

/// Counts what it is asked, and answers with the number and who asked.
#[derive(Default)]
struct Counter {
    asked: Cell<u64>,
}

impl Worker for Counter {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        // What a peer sends is input: every message is answered, refused by name, or left out.
        let Ok(question) = str::from_utf8(packet.payload()) else {
            return Outcome::Refused(Refusal::BadPayload);
        };
        let Some(who) = packet.identity else {
            return Outcome::Refused(Refusal::NotAuthenticated);
        };
        self.asked.set(self.asked.get() + 1);
        let answer = format!("question {} is '{question}', of {who}", self.asked.get());
        let own = Shard::named_route(COUNTER.as_bytes());
        shard.send(&packet.return_route(), &own, answer.as_bytes())
    }
}

/// Adds the worker, reachable through secure channels only, and registers the node with the relay.
fn offer(
    shard: &Shard,
    credentials: Credentials,
    relay: SocketAddr,
    reporter: Reporter,
) -> Result<(), Refusal> {
    let channels = ChannelListener::new(credentials.clone(), shard.accepted_channels_flow());
    let api = shard.add_named(API, Rc::new(channels))?;
    shard.open_to_all(api.key);
    let counter = shard.add_named(COUNTER.as_bytes(), Rc::new(Counter::default()))?;
    shard.open_to_channels(counter.key);
    let plan = RegistrationPlan {
        host: relay.ip().to_string(),
        port: relay.port(),
        name: COUNTER.into(),
        trust: Some(Trust::Anyone),
        lanes: Default::default(),
    };
    let stop = Stop::never();
    shard.spawn(keep_registered(
        shard.clone(),
        plan,
        credentials,
        reporter,
        stop,
    ));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let relay = std::env::args().nth(1);
    let relay: SocketAddr = relay.ok_or("pass the address of a relay")?.parse()?;
    let (me, asker) = (OwnIdentity::temporary()?, OwnIdentity::temporary()?);
    let config = NodeConfig {
        shards: 1,
        ..NodeConfig::default()
    };

    let (reporter, events) = Reporter::new();
    let (own, trust) = (me.clone(), Trust::only(asker.identifier()));
    let offering = Node::start(&config, move |shard| {
        let credentials = Credentials::new(own.clone(), trust.clone(), SeenHistories::default());
        if let Err(reason) = offer(shard, credentials, relay, reporter.clone()) {
            println!("cannot offer the counter: {reason}");
        }
    })?;
    let address = loop {
        match events.recv_blocking()? {
            Event::Registered { address, .. } => break address,
            other => println!("not registered yet: {other:?}"),
        }
    };
    println!("registered as {address}");

    let plan = PathPlan {
        host: relay.ip().to_string(),
        port: relay.port(),
        admission: None,
        legs: vec![Leg {
            hops: vec![address.into_bytes()],
            listener: API.to_vec(),
            trust: Trust::only(me.identifier()),
        }],
        tail: vec![COUNTER.into()],
        direct: None,
    };
    println!("asking as {}", asker.identifier());
    let asking = Node::start(&config, |_| {})?;
    for question in ["how many?", "and now?"] {
        let (to, asker) = (Recipient::Away(Box::new(plan.clone())), asker.clone());
        let answer = asking.run(0, async move |shard| {
            let credentials = Credentials::new(asker, Trust::Anyone, SeenHistories::default());
            let patience = Duration::from_secs(10);
            send_message(&shard, &credentials, &to, question.as_bytes(), patience).await
        })??;
        println!("answer: {}", String::from_utf8(answer)?);
    }
    asking.shutdown();
    offering.shutdown();
    Ok(())
}
