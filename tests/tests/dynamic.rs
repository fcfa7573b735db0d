//! Names at a relay that come and go while their node runs.

use std::net::SocketAddr;
use std::sync::mpsc;

use culvert_crypto::channel::Endpoint;
use culvert_crypto::identity::Identity;
use culvert_crypto::primitives::curve25519::x25519_public_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningVault, SoftwareVault};
use culvert_node::channel::Credentials;
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::session::{Event, Lanes, RegistrationPlan, Reporter, keep_registered};
use culvert_node::shard::Shard;
use culvert_node::stop::Stopper;
use culvert_node::{SeenHistories, random_bytes};
use culvert_proto::credential::PurposePublicKey;
use culvert_tests::PATIENCE;
use culvert_tests::chain::{NAME, Relay};
use culvert_tests::metrics::scrape;

fn endpoint() -> Endpoint {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let mut vault = SoftwareVault::new();
    let key = vault
        .generate(KeyType::Ed25519, &Secret::new(random_bytes()))
        .expect("a key");
    let identity = Identity::create(&vault, &key, now - 10, now + 1_000_000).expect("identity");
    let secret = Secret::new(random_bytes());
    let public = PurposePublicKey::SecureChannel(x25519_public_key(&secret));
    let attestation = culvert_crypto::purpose_key::attest(&vault, &identity, &public, now);
    let attestation = attestation.expect("attested");
    Endpoint::new(&identity, secret, attestation, Vec::new()).expect("endpoint")
}

/// A node that registers with an identity of its own, over a lane on each of two shards.
struct Owner {
    node: Node,
    me: Endpoint,
}

struct Registration {
    stopper: Stopper,
    events: mpsc::Receiver<Event>,
}

impl Owner {
    fn new() -> Self {
        let config = NodeConfig {
            shards: 2,
            listen: None,
            limits: Limits::default(),
        };
        let node = Node::start(&config, |_| ()).expect("a node");
        let me = endpoint();
        Self { node, me }
    }

    fn register(&self, relay: SocketAddr) -> Registration {
        let (stopper, stop) = Stopper::new();
        let (reporter, told) = Reporter::new();
        let lanes = Lanes::default();
        for shard in 0..self.node.shards() {
            let plan = RegistrationPlan {
                host: relay.ip().to_string(),
                port: relay.port(),
                name: NAME.to_owned(),
                trust: Some(Trust::Anyone),
                lanes: lanes.clone(),
            };
            let (me, reporter, stop) = (self.me.clone(), reporter.clone(), stop.clone());
            let start = move |shard: &Shard| {
                let seen = SeenHistories::default();
                let credentials = Credentials::new(me, Trust::OneOf(Vec::new()), seen);
                let kept = keep_registered(shard.clone(), plan, credentials, reporter, stop);
                shard.spawn(kept);
            };
            self.node.on_shard(shard, start).expect("started");
        }
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok(event) = told.recv_blocking() {
                let _ = sender.send(event);
            }
        });
        Registration { stopper, events }
    }
}

impl Registration {
    fn end(self) {
        self.stopper.stop();
        assert!(self.stopper.wait(PATIENCE), "it goes on");
    }
}

/// Two identities take turns with one name. The relay has let go of it by the time that stopping is
/// done, so that neither is ever refused.
#[test]
fn a_name_that_is_given_up_is_free_at_once() {
    let relay = Relay::start(&[]);
    let owners = [Owner::new(), Owner::new()];
    for round in 0..100 {
        let registration = owners[round % 2].register(relay.address);
        match registration.events.recv_timeout(PATIENCE).expect("in time") {
            Event::Registered { .. } => {}
            event => panic!("round {round}: {event:?}"),
        }
        registration.end();
    }
    let samples = scrape(relay.metrics);
    assert_eq!(samples.count("relay_name_taken"), 0.0);
    for owner in owners {
        owner.node.shutdown();
    }
}
