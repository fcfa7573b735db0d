//! A program with an inlet inside: whatever speaks TCP to its port reaches a service on another node,
//! over a secure channel that comes back by itself when it is lost.
//!
//! ```sh
//! cargo run -p culvert-node --example embed_inlet
//! ```
#![allow(clippy::print_stdout, reason = "it is what the example does")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use culvert_node::SeenHistories;
use culvert_node::channel::{API, ChannelListener, Credentials};
use culvert_node::crypto::trust::Trust;
use culvert_node::identity::OwnIdentity;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::portal::{Inlet, Lanes, OUTLET, Outlet, Target};
use culvert_node::proto::portal::Config;
use culvert_node::reason::Refusal;
use culvert_node::session::{Event, Leg, PathPlan, Reporter, keep_path};
use culvert_node::shard::Shard;
use culvert_node::stop::Stop;

/// What is to be reached: answers each connection with what it was sent, in capitals.
fn serve(listener: TcpListener) {
    for mut client in listener.incoming().flatten() {
        let mut text = String::new();
        if client.read_to_string(&mut text).is_ok() {
            let _ = client.write_all(text.to_uppercase().as_bytes());
        }
    }
}

/// Adds an outlet to `service`, for whom the credentials trust.
fn offer(shard: &Shard, credentials: Credentials, service: SocketAddr) -> Result<(), Refusal> {
    let channels = ChannelListener::new(credentials, shard.accepted_channels_flow());
    let api = shard.add_named(API, Rc::new(channels))?;
    shard.open_to_all(api.key);
    let target = Target {
        host: service.ip().to_string(),
        port: service.port(),
    };
    let outlet = shard.add_named(OUTLET, Rc::new(Outlet::new(target, Config::default())))?;
    shard.open_to_channels(outlet.key);
    Ok(())
}

/// Starts an inlet on every shard of a node; gives its address.
fn start_inlet(
    node: &Node,
    credentials: impl Fn() -> Credentials + Clone + Send + 'static,
    plan: &PathPlan,
    reporter: &Reporter,
) -> Result<SocketAddr, Box<dyn Error>> {
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let (lanes, ends) = Lanes::new(node.shards());
    for (number, end) in ends.into_iter().enumerate() {
        let (plan, credentials, reporter) = (plan.clone(), credentials.clone(), reporter.clone());
        node.on_shard(number, move |shard| {
            let paths = end.start(shard, Config::default(), None, Stop::never());
            let (session, stop) = (shard.clone(), Stop::never());
            shard.spawn(keep_path(
                session,
                plan,
                credentials(),
                paths,
                reporter,
                stop,
            ));
        })?;
    }
    let inlet = node.run(0, async move |shard| {
        Inlet::start(&shard, socket, lanes, Stop::never())
    })??;
    Ok(inlet.address)
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let service = listener.local_addr()?;
    std::thread::spawn(move || serve(listener));
    let (near, far) = (OwnIdentity::temporary()?, OwnIdentity::temporary()?);

    // Normally another machine.
    let config = NodeConfig {
        shards: 1,
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..NodeConfig::default()
    };
    let (me, trust) = (far.clone(), Trust::only(near.identifier()));
    let there = Node::start(&config, move |shard| {
        let credentials = Credentials::new(me.clone(), trust.clone(), SeenHistories::default());
        if let Err(reason) = offer(shard, credentials, service) {
            println!("cannot offer the service: {reason}");
        }
    })?;
    let at = there.address().ok_or("the far node does not listen")?;

    let here = Node::start(&NodeConfig::default(), |_| {})?;
    let plan = PathPlan {
        host: at.ip().to_string(),
        port: at.port(),
        admission: None,
        legs: vec![Leg {
            hops: Vec::new(),
            listener: API.to_vec(),
            trust: Trust::only(far.identifier()),
        }],
        tail: vec![OUTLET.to_vec()],
        direct: None,
    };
    let credentials =
        move || Credentials::new(near.clone(), Trust::Anyone, SeenHistories::default());
    let (reporter, events) = Reporter::new();
    let address = start_inlet(&here, credentials, &plan, &reporter)?;
    loop {
        match events.recv_blocking()? {
            Event::Up { .. } => break println!("the inlet is up"),
            other => println!("not up yet: {other:?}"),
        }
    }

    let mut client = TcpStream::connect(address)?;
    client.write_all(b"hello through the portal")?;
    client.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    println!("the service answers: {answer}");
    let seen = here.inspect(Duration::from_secs(5))?;
    println!("secure channels in use: {}", seen.channels_total > 0);
    here.shutdown();
    there.shutdown();
    Ok(())
}
