//! The flow control tables of `protocol/02-routing.md` 6, played on a node.

use culvert_proto::flow_control::{FlowControls, FlowError, FlowId};

/// Local addresses are handles; tests use names.
type Addr = &'static str;

#[test]
fn the_rule() {
    let mut flow = FlowControls::<Addr>::new();
    let (own, spawner, other) = (flow.fresh_id(), flow.fresh_id(), flow.fresh_id());
    flow.add_consumer(own, "reply").unwrap();
    flow.add_consumer(spawner, "echo").unwrap();
    flow.add_consumer(other, "secret").unwrap();
    for (producer, of, next, allowed) in [
        (own, None, "reply", true),
        (own, None, "echo", false),
        (own, Some(spawner), "reply", true),
        (own, Some(spawner), "echo", true),
        (own, Some(spawner), "secret", false),
        (own, Some(spawner), "nobody", false),
        (spawner, None, "echo", true),
        (other, Some(own), "secret", true),
        (other, Some(own), "echo", false),
    ] {
        assert_eq!(
            flow.allowed(producer, of, next),
            allowed,
            "{producer:?} {of:?} {next}"
        );
    }
}

#[test]
fn spawners_hand_their_id_to_what_they_make() {
    let mut flow = FlowControls::<Addr>::new();
    let listener = flow.fresh_id();
    flow.add_spawner("listener", listener).unwrap();
    flow.add_consumer(listener, "echo").unwrap();
    let accepted = accept(&mut flow, "receiver", "sender");
    assert_eq!(flow.spawner_id("listener"), Some(listener));
    assert_eq!(
        flow.producer_behind("receiver").unwrap().spawner,
        Some(listener)
    );
    assert_eq!(flow.id_behind("receiver"), Some(accepted));
    assert_eq!(flow.id_behind("sender"), Some(accepted));
    assert_eq!(flow.id_behind("echo"), None);
    assert!(flow.allowed(accepted, Some(listener), "echo"));
}

/// A connection accepted by "listener".
fn accept(flow: &mut FlowControls<Addr>, receiver: Addr, sender: Addr) -> FlowId {
    let id = flow.fresh_id();
    let spawner = flow.spawner_id("listener");
    flow.add_producer(receiver, id, spawner).unwrap();
    flow.add_producer_address(sender, receiver).unwrap();
    id
}

#[test]
fn removal() {
    let mut flow = FlowControls::<Addr>::new();
    let listener = flow.fresh_id();
    flow.add_spawner("listener", listener).unwrap();
    flow.add_consumer(listener, "echo").unwrap();
    let first = accept(&mut flow, "receiver1", "sender1");
    let second = accept(&mut flow, "receiver2", "sender2");
    flow.add_consumer(first, "reply").unwrap();
    flow.add_consumer(second, "reply").unwrap();

    // A stopped consumer is one nowhere.
    flow.remove("reply");
    assert!(!flow.is_consumer(first, "reply") && !flow.is_consumer(second, "reply"));

    // A removed producer takes its additional addresses and the consumers of its own id along, not
    // those of the spawner, which others use.
    flow.add_consumer(first, "reply").unwrap();
    flow.remove("receiver1");
    assert_eq!(
        (flow.id_behind("receiver1"), flow.id_behind("sender1")),
        (None, None)
    );
    assert!(!flow.is_consumer(first, "reply"));
    assert!(flow.is_consumer(listener, "echo"));

    // The listener stops: its connections go on.
    flow.remove("listener");
    assert!(flow.allowed(second, Some(listener), "echo"));
    flow.remove("receiver2");
    assert_eq!(flow.consumer_count(), 0);

    // Only an additional address stops: the producer stays.
    let third = accept(&mut flow, "receiver3", "sender3");
    flow.remove("sender3");
    assert_eq!(
        (flow.id_behind("receiver3"), flow.id_behind("sender3")),
        (Some(third), None)
    );
    let orphan = flow.add_producer_address("sender4", "nobody");
    assert_eq!(orphan, Err(FlowError::NoProducer));
}

#[test]
fn replacing_a_producer_releases_the_old_ids() {
    let mut flow = FlowControls::<Addr>::new();
    let (old, new) = (flow.fresh_id(), flow.fresh_id());
    flow.add_producer("receiver", old, None).unwrap();
    flow.add_producer_address("sender", "receiver").unwrap();
    flow.add_consumer(old, "reply").unwrap();
    flow.add_producer("receiver", new, None).unwrap();
    assert_eq!(flow.id_behind("sender"), Some(new));
    assert!(!flow.is_consumer(old, "reply"));
    // The same id again keeps its consumers.
    flow.add_consumer(new, "reply").unwrap();
    flow.add_producer("receiver", new, None).unwrap();
    assert!(flow.is_consumer(new, "reply"));
}

/// 6.4: what lets the target's replies pass straight to the source's connection.
#[test]
fn relay_side_effect() {
    let mut flow = FlowControls::<Addr>::new();
    let listener = flow.fresh_id();
    flow.add_spawner("listener", listener).unwrap();
    let alice = accept(&mut flow, "from_alice", "to_alice");
    let bob = accept(&mut flow, "from_bob", "to_bob");
    assert!(!flow.allowed(bob, Some(listener), "to_alice"));
    for _ in 0..3 {
        flow.grant("to_bob", "to_alice").unwrap();
        assert_eq!(flow.consumer_count(), 2);
    }
    assert!(flow.allowed(bob, Some(listener), "to_alice"));
    assert!(flow.allowed(alice, Some(listener), "to_bob"));
    // A target on the relay's own node is no producer: only one direction has an id.
    flow.grant("echo", "to_alice").unwrap();
    assert!(flow.allowed(alice, Some(listener), "echo"));
    assert_eq!(flow.consumer_count(), 3);
    // Alice's connection ends: nothing of it stays.
    for address in ["from_alice", "to_alice"] {
        flow.remove(address);
    }
    assert_eq!(flow.consumer_count(), 0);
}

/// A node as the CLI creates it, with one connection of every kind.
struct Node {
    flow: FlowControls<Addr>,
    /// A connection accepted by the TCP listener.
    plain: (FlowId, Option<FlowId>),
    /// A channel accepted by `api`.
    channel: (FlowId, Option<FlowId>),
    /// A connection this node opened.
    opened: (FlowId, Option<FlowId>),
}

/// Which consumers each id gets: 6.3 for the roles, 6.5 for the services.
fn node(authority: bool) -> Node {
    let mut flow = FlowControls::<Addr>::new();
    let (tcp, api) = (flow.fresh_id(), flow.fresh_id());
    flow.add_spawner("listener", tcp).unwrap();
    flow.add_spawner("api", api).unwrap();
    for service in ["echo", "uppercase", "api", "forwarding_service"] {
        flow.add_consumer(tcp, service).unwrap();
        flow.add_consumer(api, service).unwrap();
    }
    for service in ["_internal.nodemanager", "hop"] {
        flow.add_consumer(tcp, service).unwrap();
    }
    for service in ["udp", "control_api", "kafka_interceptor"] {
        flow.add_consumer(api, service).unwrap();
    }
    if !authority {
        flow.add_consumer(tcp, "outlet").unwrap();
    }
    flow.add_consumer(api, "outlet").unwrap();

    let plain = accept(&mut flow, "receiver", "sender");
    let channel = channel(&mut flow, api);
    let opened = flow.fresh_id();
    flow.add_producer("receiver_out", opened, None).unwrap();
    flow.add_producer_address("sender_out", "receiver_out")
        .unwrap();
    for service in [
        "echo",
        "uppercase",
        "api",
        "key_exchanger",
        "control_api",
        "hop",
    ] {
        flow.add_consumer(opened, service).unwrap();
    }
    let plain = (plain, Some(tcp));
    Node {
        flow,
        plain,
        channel: (channel, Some(api)),
        opened: (opened, None),
    }
}

/// A channel that `api` accepted: its remote address inherits the listener's consumers.
fn channel(flow: &mut FlowControls<Addr>, spawner: FlowId) -> FlowId {
    let id = flow.fresh_id();
    flow.add_producer("decryptor", id, Some(spawner)).unwrap();
    flow.add_producer_address("encryptor", "decryptor").unwrap();
    flow.add_consumer_like("channel_remote", "api").unwrap();
    id
}

#[test]
fn access_table() {
    for authority in [false, true] {
        let node = node(authority);
        let reaches = |(id, spawner), next| node.flow.allowed(id, spawner, next);
        for (service, plain, channel, opened) in [
            ("echo", true, true, true),
            ("uppercase", true, true, true),
            ("api", true, true, true),
            ("key_exchanger", false, false, true),
            ("forwarding_service", true, true, false),
            ("_internal.nodemanager", true, false, false),
            ("hop", true, false, true),
            ("outlet", !authority, true, false),
            ("udp", false, true, false),
            ("control_api", false, true, true),
            ("kafka_interceptor", false, true, false),
            ("kafka_bootstrap", false, false, false),
            ("app", false, false, false),
            // The responder's remote address: as its listener when the channel was accepted, before
            // this node opened a connection.
            ("channel_remote", true, true, false),
        ] {
            assert_eq!(
                reaches(node.plain, service),
                plain,
                "{service} over plain TCP"
            );
            assert_eq!(
                reaches(node.channel, service),
                channel,
                "{service} through a channel"
            );
            assert_eq!(
                reaches(node.opened, service),
                opened,
                "{service} from an opened one"
            );
        }
    }
}

/// 6.3, the rows about things made for one exchange.
#[test]
fn dynamic_grants() {
    let Node {
        mut flow,
        plain,
        channel,
        opened,
    } = node(false);
    // Temporary reply address, inlet worker, relay client, initiator channel: the id behind the
    // first hop of the route used.
    let first_hop = flow.id_behind("sender_out").unwrap();
    flow.add_consumer(first_hop, "temporary").unwrap();
    assert!(flow.allowed(opened.0, opened.1, "temporary"));
    assert!(!flow.allowed(plain.0, plain.1, "temporary"));
    // Outlet worker: the own id of the producer that delivered the Ping, not its spawner's.
    flow.add_consumer(flow.id_behind("decryptor").unwrap(), "outlet_worker")
        .unwrap();
    assert!(flow.allowed(channel.0, channel.1, "outlet_worker"));
    flow.remove("decryptor");
    let other = self::channel(&mut flow, channel.1.unwrap());
    assert!(!flow.allowed(other, channel.1, "outlet_worker"));
    // Relay client: its internal address is a producer with the id of the connection.
    flow.add_producer("relay_client", first_hop, None).unwrap();
    flow.remove("receiver_out");
    assert!(
        flow.allowed(first_hop, None, "temporary"),
        "the relay client still uses the id"
    );
    flow.remove("relay_client");
    assert!(!flow.allowed(first_hop, None, "temporary"));
}
