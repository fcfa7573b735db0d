//! One message along a route, and its reply.

mod common;

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use culvert_crypto::channel::Endpoint;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::KeyType;
use culvert_node::channel::API;
use culvert_node::node::Node;
use culvert_node::session::{
    LONGEST_MESSAGE, Leg, MessageError, PathPlan, Recipient, send_message,
};
use culvert_node::worker::{ECHO, Echo, UPPERCASE, Uppercase};
use culvert_proto::bare;

use common::{config, credentials, endpoint, outlet_node};

/// Sends from the first shard of `node`.
fn send(
    node: &Node,
    me: &Endpoint,
    to: Recipient,
    payload: Vec<u8>,
    limit: Duration,
) -> Result<Vec<u8>, MessageError> {
    let (answer, answers) = mpsc::channel();
    let me = me.clone();
    node.on_shard(0, move |shard| {
        let asking = shard.clone();
        shard.spawn(async move {
            let credentials = credentials(&me, Trust::Anyone);
            let reply = send_message(&asking, &credentials, &to, &payload, limit).await;
            let _ = answer.send(reply);
        });
    })
    .unwrap();
    answers.recv_timeout(Duration::from_secs(30)).unwrap()
}

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_worker_of_this_node_replies() {
    let node = Node::start(&config(false), |shard| {
        shard.add_named(UPPERCASE, Rc::new(Uppercase)).unwrap();
    })
    .unwrap();
    let me = endpoint(KeyType::Ed25519);
    let here = |name: &[u8]| Recipient::Here(vec![name.to_vec()]);
    let reply = send(&node, &me, here(UPPERCASE), bare::string("hello"), LIMIT);
    assert_eq!(reply.unwrap(), bare::string("HELLO"));
    let nobody = send(&node, &me, here(b"nobody"), vec![1], LIMIT);
    assert!(
        matches!(nobody, Err(MessageError::Send { .. })),
        "{nobody:?}"
    );
    let empty = send(&node, &me, Recipient::Here(Vec::new()), vec![1], LIMIT);
    assert!(matches!(empty, Err(MessageError::NoRoute)), "{empty:?}");
    let long = vec![0; LONGEST_MESSAGE + 1];
    let long = send(&node, &me, here(UPPERCASE), long, LIMIT);
    assert!(
        matches!(long, Err(MessageError::TooLong { .. })),
        "{long:?}"
    );
    node.shutdown();
}

#[test]
fn a_worker_behind_a_channel_replies_and_nothing_stays_open() {
    let (near, far) = (endpoint(KeyType::Ed25519), endpoint(KeyType::Ed25519));
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let there = outlet_node(&far, Trust::only(near.identifier()), unused);
    let node = Node::start(&config(false), |shard| {
        shard.add_named(ECHO, Rc::new(Echo)).unwrap();
    })
    .unwrap();
    let plan = |port: u16, trust: Trust, worker: &[u8]| {
        Recipient::Away(Box::new(PathPlan {
            host: "127.0.0.1".into(),
            port,
            admission: None,
            legs: vec![Leg {
                hops: Vec::new(),
                listener: API.to_vec(),
                trust,
            }],
            tail: vec![worker.to_vec()],
            direct: None,
        }))
    };
    let port = there.address().unwrap().port();
    let only = || Trust::only(far.identifier());
    let payload = vec![7; LONGEST_MESSAGE];
    let reply = send(
        &node,
        &near,
        plan(port, only(), ECHO),
        payload.clone(),
        LIMIT,
    );
    assert!(reply.unwrap() == payload);

    // In clear: the node answers strangers too, on this address.
    let mut clear = plan(port, only(), ECHO);
    if let Recipient::Away(plan) = &mut clear {
        plan.legs.clear();
    }
    assert_eq!(
        send(&node, &near, clear, vec![1, 2], LIMIT).unwrap(),
        [1, 2]
    );

    let short = Duration::from_millis(300);
    let silent = send(&node, &near, plan(port, only(), b"nobody"), vec![1], short);
    assert!(
        matches!(silent, Err(MessageError::Timeout(300))),
        "{silent:?}"
    );
    let other = Trust::only(near.identifier());
    let other = send(&node, &near, plan(port, other, ECHO), vec![1], LIMIT);
    assert!(
        matches!(other, Err(MessageError::Channel { .. })),
        "{other:?}"
    );
    let closed = plan(unused.port(), only(), ECHO);
    let closed = send(&node, &near, closed, vec![1], LIMIT);
    assert!(
        matches!(closed, Err(MessageError::Connect { .. })),
        "{closed:?}"
    );

    let end = std::time::Instant::now() + LIMIT;
    loop {
        let seen = there.inspect(LIMIT).unwrap();
        if (seen.links_total, seen.channels_total) == (0, 0) {
            break;
        }
        assert!(std::time::Instant::now() < end, "{seen:?}");
        std::thread::yield_now();
    }
    node.shutdown();
    there.shutdown();
}
