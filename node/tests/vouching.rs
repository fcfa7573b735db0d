//! A link counts as one whose peer is known for as long as one of its channels lives, and no longer.

mod common;

use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use culvert_crypto::trust::Trust;
use culvert_crypto::vault::KeyType;
use culvert_node::channel::{API, Channel, ChannelListener};
use culvert_node::key::LocalAddress;
use culvert_node::node::Node;
use culvert_node::packet::Packet;
use culvert_node::reason::CloseReason;
use culvert_node::session::connect_link;
use culvert_node::shard::Shard;
use culvert_node::worker::{Outcome, Worker};
use culvert_proto::route::Route;

use common::{config, credentials, endpoint};

const LIMIT: Duration = Duration::from_secs(20);

/// Says that a message has come.
struct Bell(Sender<&'static str>, &'static str);

impl Worker for Bell {
    fn handle(&self, _: &Shard, _: LocalAddress, _: Packet) -> Outcome {
        let _ = self.0.send(self.1);
        Outcome::Done
    }
}

/// `public` may be reached by all links, `private` by those whose peer is known.
fn node_with_bells() -> (Node, Receiver<&'static str>) {
    let (bell, bells) = mpsc::channel();
    let me = endpoint(KeyType::Ed25519);
    let node = Node::start(&config(true), move |shard| {
        let flow = shard.accepted_channels_flow();
        let listener = ChannelListener::new(credentials(&me, Trust::Anyone), flow);
        let api = shard.add_named(API, Rc::new(listener)).unwrap();
        shard.open_to_all(api.key);
        shard.open_to_channels(api.key);
        let public = Bell(bell.clone(), "public");
        let public = shard.add_named(b"public", Rc::new(public)).unwrap();
        shard.open_to_all(public.key);
        let private = Bell(bell.clone(), "private");
        let private = shard.add_named(b"private", Rc::new(private)).unwrap();
        shard.open_to_authenticated(private.key);
    })
    .unwrap();
    (node, bells)
}

fn behind(first: LocalAddress, name: &[u8]) -> Route {
    let mut route = Shard::route_to(first);
    route.push_back(Shard::named_route(name).first().unwrap());
    route
}

#[test]
fn a_channel_inside_another_does_not_vouch_for_the_link_after_both() {
    let (far, bells) = node_with_bells();
    let near = Node::start(&config(false), |_| ()).unwrap();
    let port = far.address().unwrap().port();
    let (step, mut steps) = (mpsc::channel::<()>(), Vec::new());
    let (go, gone) = step;
    let me = endpoint(KeyType::Ed25519);
    let start = move |shard: &Shard| {
        let shard = shard.clone();
        shard.clone().spawn(async move {
            let mine = credentials(&me, Trust::Anyone);
            let link = connect_link(&shard, "127.0.0.1", port).await.unwrap();
            let knock = |name: &[u8]| {
                let onward = behind(link.address, name);
                drop(shard.send(&onward, &Shard::named_route(b"me"), b"knock"));
            };
            let outer = Channel::initiate(&shard, &mine, &behind(link.address, API)).unwrap();
            outer.wait_up(&shard, 10_000).await.unwrap();
            let inner = Channel::initiate(&shard, &mine, &behind(outer.encryptor, API)).unwrap();
            inner.wait_up(&shard, 10_000).await.unwrap();
            knock(b"private");
            outer.close(&shard, CloseReason::Local);
            inner.wait_end().await;
            knock(b"public");
            // Lets the far node come to rest between the two.
            shard.sleep(Duration::from_millis(200)).await;
            knock(b"private");
            knock(b"public");
            let _ = go.send(());
            shard.sleep(LIMIT).await;
        });
    };
    near.on_shard(0, start).unwrap();
    gone.recv_timeout(LIMIT).unwrap();
    for _ in 0..3 {
        steps.push(bells.recv_timeout(LIMIT).unwrap());
    }
    assert_eq!(steps, ["private", "public", "public"]);
    near.shutdown();
    far.shutdown();
}
