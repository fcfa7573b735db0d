//! A node that is asked through a secure channel.

use std::time::{Duration, Instant};

use culvert_crypto::trust::Trust;
use culvert_node::SeenHistories;
use culvert_node::channel::{API, Credentials};
use culvert_node::session::request::{Answer, AskError, Connection, Place, Question};
use culvert_node::shard::Shard;
use culvert_proto::identity::{decode_exact, encode};
use culvert_proto::multiaddr::MultiAddr;
use culvert_proto::request::node_info::{NodeStatus, ProcessStatus};
use culvert_proto::request::node_portals::{InletStatus, List};
use culvert_proto::request::{ConnectionStatus, Method, NODE_MANAGER, RelayInfo, Status};
use tempfile::TempDir;

use crate::authority::client::Client;
use crate::commands::now_s;
use crate::daemon::{Manager, NodeLock};
use crate::model::{ListenerSpec, NodeSpec, PolicySpec};
use crate::store::{DEFAULT_NAME, Store};

/// How long something that works may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct Asked {
    manager: Manager,
    port: u16,
    client: Store,
    _homes: [TempDir; 2],
}

impl Asked {
    fn node() -> Self {
        let homes = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let [store, client] =
            [0, 1].map(|at: usize| Store::open(Some(homes[at].path().into())).expect("a store"));
        let lock = NodeLock::take(&store, "one").expect("the lock");
        let manager = Manager::start(&store, NodeSpec::named("one"), lock).expect("a node");
        let address = "127.0.0.1:0".to_owned();
        let (_, listener) = manager
            .create_listener(ListenerSpec { address })
            .expect("a port");
        let port = listener.spec.address.rsplit(':').next().expect("a port");
        Self {
            port: port.parse().expect("a port"),
            manager,
            client,
            _homes: homes,
        }
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
        limit: Duration,
    ) -> Result<Answer, AskError> {
        let stored = self
            .client
            .load_or_create(DEFAULT_NAME, now_s())
            .expect("an identity");
        let endpoint = stored.endpoint().expect("an endpoint");
        let place = Place {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            hops: vec![API.to_vec()],
        };
        let (path, body) = (
            path.to_owned(),
            body.map(|hex| hex::decode(hex).expect("hex")),
        );
        let client = Client::start().expect("a node");
        let answer = client.run(async move |shard: &Shard| {
            let credentials = Credentials::new(endpoint, Trust::Anyone, SeenHistories::default());
            let connection = Connection::open(shard, &credentials, &place, PATIENCE).await?;
            let question = Question {
                service: NODE_MANAGER,
                method,
                path: &path,
                body: body.as_deref(),
            };
            connection.ask(&question, limit).await
        });
        client.end();
        answer.expect("the node lives")
    }

    /// Asks as somebody who is let in.
    fn told(&self, method: Method, path: &str, body: Option<&str>) -> (Status, Vec<u8>, String) {
        let answer = self.ask(method, path, body, PATIENCE).expect("an answer");
        let message = answer.message().to_owned();
        (
            answer.status.expect("a status"),
            answer.body.unwrap_or_default(),
            message,
        )
    }

    /// Lets the client in, and waits until that counts.
    fn let_in(&self) {
        let stored = self
            .client
            .load_or_create(DEFAULT_NAME, now_s())
            .expect("an identity");
        let policy = PolicySpec {
            resource: Some("node-manager".to_owned()),
            resource_type: None,
            allow: format!("(= subject.identifier \"{}\")", stored.identifier()),
        };
        self.manager.set_policy(&policy).expect("a policy");
        let until = Instant::now() + PATIENCE;
        while self
            .ask(Method::Get, "node", None, Duration::from_secs(1))
            .is_err()
        {
            assert!(Instant::now() < until, "the policy does not count");
        }
    }
}

#[test]
fn strangers_get_no_answer() {
    let asked = Asked::node();
    let answer = asked.ask(Method::Get, "node", None, Duration::from_millis(500));
    assert!(
        matches!(answer, Err(AskError::Timeout { .. })),
        "{answer:?}"
    );
    assert!(asked.manager.inlets().is_empty());
}

#[test]
fn who_is_let_in_manages_the_node() {
    let asked = Asked::node();
    asked.let_in();
    let (status, body, _) = asked.told(Method::Get, "node", None);
    let node: NodeStatus = decode_exact(&body).expect("a node");
    assert_eq!((status, node.name.as_str()), (Status::Ok, "one"));
    assert_eq!(node.process, ProcessStatus::Running(std::process::id()));
    assert_eq!(node.identifier.to_string(), asked.manager.view().identifier);

    // { 1: ["127.0.0.1", 0], 2: /ip4/127.0.0.1/tcp/9/secure/api/service/outlet, 3: "db", 4: somebody }
    let route = "/ip4/127.0.0.1/tcp/9/secure/api/service/outlet";
    let route: MultiAddr = route.parse().expect("a route");
    let mut body = hex::decode("a40182693132372e302e302e310002").expect("hex");
    body.extend(encode(&route));
    body.extend(hex::decode("03626462045820").expect("hex"));
    body.extend([7; 32]);
    let inlet = hex::encode(body);
    let (status, body, message) = asked.told(Method::Post, "/node/inlet", Some(&inlet));
    assert_eq!(status, Status::Ok, "{message}");
    let made: InletStatus = decode_exact(&body).expect("an inlet");
    assert_eq!(
        (made.alias.as_str(), made.status),
        ("db", ConnectionStatus::Down)
    );
    assert_eq!(asked.manager.inlets().len(), 1);
    let (_, body, _) = asked.told(Method::Get, "/node/inlet", None);
    let list: List<InletStatus> = decode_exact(&body).expect("a list");
    assert_eq!(list.all.len(), 1);
    assert_eq!(
        asked.told(Method::Delete, "/node/inlet/db", None).0,
        Status::Ok
    );
    assert_eq!(
        asked.told(Method::Get, "/node/inlet/db", None).0,
        Status::NotFound
    );
    assert!(asked.manager.inlets().is_empty());
}

/// As the reference does, to the byte, in what is recorded of it.
#[test]
fn answers_about_relays_are_those_of_the_reference() {
    let asked = Asked::node();
    asked.let_in();
    let (status, body, _) = asked.told(Method::Get, "/node/relay", None);
    assert_eq!((status, hex::encode(body)), (Status::Ok, "8180".to_owned()));
    let (status, _, message) = asked.told(Method::Get, "/node/relay/nosuch", None);
    let expected = "Relay with alias nosuch not found.";
    assert_eq!((status, message.as_str()), (Status::NotFound, expected));
    let (status, _, message) = asked.told(Method::Delete, "/node/relay/zzz", None);
    let expected = "Relay with address zzz not found.";
    assert_eq!((status, message.as_str()), (Status::NotFound, expected));
    let (status, _, message) = asked.told(Method::Get, "/nonsense", None);
    let expected = "Invalid endpoint: GET /nonsense";
    assert_eq!((status, message.as_str()), (Status::BadRequest, expected));
    // The body that is recorded; nobody listens there.
    let body = "a40148047f00000106000902 63626f620463626f6205820280".replace(' ', "");
    let (status, body, message) = asked.told(Method::Post, "/node/relay", Some(&body));
    assert_eq!(status, Status::Ok, "{message}");
    let relay: RelayInfo = decode_exact(&body).expect("a relay");
    assert_eq!(
        (relay.name.as_str(), relay.connection_status),
        ("bob", ConnectionStatus::Down)
    );
    assert_eq!(relay.destination.to_string(), "/ip4/127.0.0.1/tcp/9");
    assert!(relay.last_failure.is_some());
}

#[test]
fn requests_that_end_other_nodes_do_not_end_this_one() {
    let asked = Asked::node();
    asked.let_in();
    let (status, _, message) = asked.told(Method::Delete, "node/portal", None);
    assert_eq!(status, Status::NotImplemented, "{message}");
    for path in ["node/outlet/a#b", "node/outlet/%00", "node/inlet/a/b/c/d"] {
        let (status, _, _) = asked.told(Method::Get, path, None);
        assert!(
            matches!(status, Status::NotFound | Status::BadRequest),
            "{path}"
        );
    }
    for body in ["", "a0", "ff", "9f9f9f9f", "a1018201"] {
        let (status, _, _) = asked.told(Method::Post, "node/inlet", Some(body));
        assert_eq!(status, Status::BadRequest, "{body}");
    }
    assert_eq!(asked.told(Method::Get, "node", None).0, Status::Ok);
}
