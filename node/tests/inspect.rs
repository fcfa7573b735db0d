//! What a running node tells about itself.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use culvert_crypto::trust::Trust;
use culvert_crypto::vault::KeyType;
use culvert_node::channel::{API, ChannelListener};
use culvert_node::inspect::Inspection;
use culvert_node::metrics::Snapshot;
use culvert_node::node::Node;
use culvert_node::policy::{DENIALS, Guard, Otherwise, Policies};
use culvert_node::portal::{OUTLET, Outlet, Role, Target};
use culvert_node::session::Event;
use culvert_proto::policy::ResourceType;
use culvert_proto::portal;

use common::{config, credentials, endpoint, inlet_node, outlet_node, wait_for};

const LIMIT: Duration = Duration::from_secs(20);

/// Looks until `is_so`: what the far side does is seen a little later here.
fn inspect_until(node: &Node, is_so: impl Fn(&Inspection) -> bool) -> Inspection {
    let end = Instant::now() + LIMIT;
    loop {
        let seen = node.inspect(LIMIT).unwrap();
        if is_so(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "{seen:?}");
        std::thread::yield_now();
    }
}

#[test]
fn links_channels_and_streams_are_shown_with_their_bytes() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let (near, far) = (endpoint(KeyType::Ed25519), endpoint(KeyType::Ed25519));
    let target = service.local_addr().unwrap();
    let outlet = outlet_node(&far, Trust::only(near.identifier()), target);
    let inlet = inlet_node(&near, outlet.address().unwrap(), far.identifier());
    wait_for(&inlet.events, |event| matches!(event, Event::Up { .. }));
    let mut client = TcpStream::connect(inlet.address).unwrap();
    client.write_all(&[7; 1000]).unwrap();
    let (mut server, _) = service.accept().unwrap();
    server.read_exact(&mut [0; 1000]).unwrap();
    server.write_all(&[9; 300]).unwrap();
    client.read_exact(&mut [0; 300]).unwrap();

    let seen = inspect_until(&inlet.node, |seen| {
        seen.streams.first().is_some_and(|one| one.bytes_in == 300)
    });
    assert_eq!(
        (seen.links_total, seen.channels_total, seen.streams_total),
        (1, 1, 1)
    );
    let stream = &seen.streams[0];
    assert_eq!((stream.role, stream.bytes_out), (Role::Inlet, 1000));
    assert_eq!(stream.peer, Some(far.identifier()));
    let channel = &seen.channels[0];
    assert!(!channel.accepted && channel.peer == Some(far.identifier()));
    let link = &seen.links[0];
    assert!(!link.accepted && link.bytes_out > 1000 && link.bytes_in > 300);
    assert_eq!(Some(link.peer), outlet.address());

    let seen = inspect_until(&outlet, |seen| {
        seen.streams.first().is_some_and(|one| one.bytes_out == 300)
    });
    let stream = &seen.streams[0];
    assert_eq!((stream.role, stream.bytes_in), (Role::Outlet, 1000));
    assert!(seen.links[0].accepted && seen.channels[0].accepted);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let age = now.as_millis() as u64 - stream.since_ms;
    assert!(u128::from(age) < LIMIT.as_millis(), "{age} ms old");
    let json = serde_json::to_value(&seen).unwrap();
    assert_eq!(json["streams"][0]["role"], "outlet");
    assert_eq!(json["channels"][0]["peer"], near.identifier().to_string());

    drop((client, server));
    inspect_until(&inlet.node, |seen| seen.streams_total == 0);
    let inspector = outlet.inspector();
    outlet.shutdown();
    assert!(inspector.inspect(Duration::from_millis(10)).is_err());
    inlet.node.shutdown();
}

#[test]
fn the_last_denials_are_kept_and_all_are_counted() {
    let (near, far) = (endpoint(KeyType::Ed25519), endpoint(KeyType::Ed25519));
    let policies = Policies::default();
    let kind = ResourceType::TcpOutlet;
    let guard = Guard::new(&policies, "db", kind, Otherwise::Nobody);
    let me = far.clone();
    let outlet = Node::start(&config(true), move |shard| {
        let flow = shard.accepted_channels_flow();
        let listener = ChannelListener::new(credentials(&me, Trust::Anyone), flow);
        let api = shard.add_named(API, Rc::new(listener)).unwrap();
        shard.open_to_all(api.key);
        let target = Target {
            host: "127.0.0.1".into(),
            port: 1,
        };
        let outlet = Outlet::new(target, portal::Config::default()).guarded(guard.clone());
        let outlet = shard.add_named(OUTLET, Rc::new(outlet)).unwrap();
        shard.open_to_channels(outlet.key);
    })
    .unwrap();
    let inlet = inlet_node(&near, outlet.address().unwrap(), far.identifier());
    wait_for(&inlet.events, |event| matches!(event, Event::Up { .. }));
    for _ in 0..DENIALS + 5 {
        let mut client = TcpStream::connect(inlet.address).unwrap();
        // The far side refuses it, which ends the client's connection.
        let _ = client.read(&mut [0]);
    }
    let end = Instant::now() + LIMIT;
    let metric = format!(
        "culvert_policy_denials_total{{resource_type=\"tcp-outlet\"}} {}",
        DENIALS + 5
    );
    while !Snapshot::sum(&outlet.counters())
        .prometheus()
        .lines()
        .any(|line| line == metric)
    {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    let denials = policies.denials();
    assert_eq!(denials.len(), DENIALS);
    assert!(denials[0].at_ms >= denials[DENIALS - 1].at_ms);
    let last = serde_json::to_value(&denials[0]).unwrap();
    assert_eq!(last["subject"], near.identifier().to_string());
    assert_eq!(
        (&last["resource"], &last["resource-type"]),
        (&"db".into(), &"tcp-outlet".into())
    );
    inlet.node.shutdown();
    outlet.shutdown();
}
