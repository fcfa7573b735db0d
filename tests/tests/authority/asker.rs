//! Asking an authority by hand.

use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use culvert_crypto::channel::Endpoint;
use culvert_crypto::identity::Identity;
use culvert_crypto::primitives::curve25519::x25519_public_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningVault, SoftwareVault};
use culvert_node::channel::{API, Credentials};
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::session::request::{Answer, AskError, Connection, Place, Question};
use culvert_node::shard::Shard;
use culvert_node::{SeenHistories, random_bytes};
use culvert_proto::authority::Service;
use culvert_proto::credential::PurposePublicKey;
use culvert_proto::request::Method;
use culvert_tests::PATIENCE;

use crate::support::Authority;

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// A new identity whose channel key was attested at this time.
pub(crate) fn endpoint(attested_at: u64) -> Endpoint {
    let mut vault = SoftwareVault::new();
    let key = vault
        .generate(KeyType::Ed25519, &Secret::new(random_bytes()))
        .expect("a key");
    let created = now() - 10;
    let identity = Identity::create(&vault, &key, created, created + 1_000_000).expect("identity");
    let secret = Secret::new(random_bytes());
    let public = PurposePublicKey::SecureChannel(x25519_public_key(&secret));
    let attestation = culvert_crypto::purpose_key::attest(&vault, &identity, &public, attested_at);
    Endpoint::new(
        &identity,
        secret,
        attestation.expect("attested"),
        Vec::new(),
    )
    .expect("endpoint")
}

/// Somebody who asks an authority by hand.
pub(crate) struct Asker {
    pub(crate) node: Node,
    pub(crate) place: Place,
    pub(crate) trust: Trust,
}

impl Asker {
    pub(crate) fn new(authority: &Authority) -> Self {
        let config = NodeConfig {
            shards: 1,
            listen: None,
            limits: Limits::default(),
        };
        Self {
            node: Node::start(&config, |_| ()).expect("a node"),
            place: Place {
                host: authority.address.ip().to_string(),
                port: authority.address.port(),
                hops: vec![API.to_vec()],
            },
            trust: Trust::only(authority.identifier),
        }
    }

    /// Begins to ask; the answer comes later.
    pub(crate) fn begin(
        &self,
        me: &Endpoint,
        question: (Service, Method, &'static str, Option<Vec<u8>>),
        limit: Duration,
    ) -> mpsc::Receiver<Result<Answer, AskError>> {
        let (sender, receiver) = mpsc::channel();
        let (me, trust, place) = (me.clone(), self.trust.clone(), self.place.clone());
        let (service, method, path, body) = question;
        let start = move |shard: &Shard| {
            let asking = shard.clone();
            shard.spawn(async move {
                let question = Question {
                    service: service.address(),
                    method,
                    path,
                    body: body.as_deref(),
                };
                let credentials = Credentials::new(me, trust, SeenHistories::default());
                let answer = match Connection::open(&asking, &credentials, &place, PATIENCE).await {
                    Ok(connection) => connection.ask(&question, limit).await,
                    Err(error) => Err(error),
                };
                let _ = sender.send(answer);
            });
        };
        self.node.on_shard(0, start).expect("started");
        receiver
    }

    pub(crate) fn ask(
        &self,
        me: &Endpoint,
        service: Service,
        method: Method,
        path: &'static str,
        body: Option<&[u8]>,
    ) -> Answer {
        let question = (service, method, path, body.map(<[u8]>::to_vec));
        let answer = self
            .begin(me, question, PATIENCE)
            .recv_timeout(2 * PATIENCE);
        answer.expect("in time").expect("an answer")
    }
}
