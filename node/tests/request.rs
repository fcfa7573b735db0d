//! Asking a service on another node of this process.

mod common;

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use culvert_crypto::channel::Endpoint;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::KeyType;
use culvert_node::channel::{API, ChannelListener};
use culvert_node::key::LocalAddress;
use culvert_node::node::Node;
use culvert_node::packet::Packet;
use culvert_node::session::request::{Answer, AskError, Place, Question, ask};
use culvert_node::shard::Shard;
use culvert_node::worker::{Outcome, Worker};
use culvert_proto::request::{ErrorBody, Method, Request, Response, Status};

use common::{config, credentials, endpoint};

/// Answers as the path says.
struct Service;

impl Worker for Service {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        let request = Request::decode(packet.payload()).unwrap();
        let caller = packet.identity.expect("a channel");
        let refusal = ErrorBody::message("not today").encode();
        let answer = match request.path {
            "/who" => Response::new(7, request.id, Status::Ok, Some(&caller.0)).encode(),
            "/body" => Response::new(7, 0, Status::Ok, request.body).encode(),
            "/no" => Response::new(7, request.id, Status::Forbidden, Some(&refusal)).encode(),
            "/other" => Response::new(7, request.id ^ 1, Status::Ok, None).encode(),
            "/junk" => b"\xff\xff\xff".to_vec(),
            _ => return Outcome::Done,
        };
        let route = packet.return_route();
        shard.send(&route, &Shard::named_route(b"service"), &answer)
    }
}

fn service(me: &Endpoint, allowed: Trust) -> Node {
    let me = me.clone();
    Node::start(&config(true), move |shard| {
        let flow = shard.accepted_channels_flow();
        let listener = ChannelListener::new(credentials(&me, allowed.clone()), flow);
        let api = shard.add_named(API, Rc::new(listener)).unwrap();
        shard.open_to_all(api.key);
        let service = shard.add_named(b"service", Rc::new(Service)).unwrap();
        shard.open_to_channels(service.key);
    })
    .unwrap()
}

struct Asker {
    node: Node,
    me: Endpoint,
    trust: Trust,
    place: Place,
}

impl Asker {
    fn ask(&self, service: &'static str, path: &'static str) -> Result<Answer, AskError> {
        let (sender, receiver) = mpsc::channel();
        let (me, trust, place) = (self.me.clone(), self.trust.clone(), self.place.clone());
        let limit = match path {
            "/never" => Duration::from_millis(300),
            _ => Duration::from_secs(20),
        };
        let start = move |shard: &Shard| {
            let asking = shard.clone();
            shard.spawn(async move {
                let question = Question {
                    service,
                    method: Method::Post,
                    path,
                    body: Some(b"hello"),
                };
                let credentials = credentials(&me, trust);
                let answer = ask(&asking, &credentials, &place, &question, limit).await;
                let _ = sender.send(answer);
            });
        };
        self.node.on_shard(0, start).unwrap();
        receiver.recv_timeout(Duration::from_secs(30)).unwrap()
    }
}

/// A service, and somebody who may ask it.
fn pair() -> (Node, Asker) {
    let (near, far) = (endpoint(KeyType::Ed25519), endpoint(KeyType::P256));
    let service = service(&far, Trust::only(near.identifier()));
    let asker = Asker {
        node: Node::start(&config(false), |_| ()).unwrap(),
        trust: Trust::only(far.identifier()),
        me: near,
        place: Place {
            host: "127.0.0.1".into(),
            port: service.address().unwrap().port(),
            hops: vec![API.to_vec()],
        },
    };
    (service, asker)
}

#[test]
fn answers_and_refusals_arrive() {
    let (service, asker) = pair();
    let who = asker.ask("service", "/who").unwrap();
    assert!(who.is_ok());
    assert_eq!(who.body.as_deref(), Some(&asker.me.identifier().0[..]));
    // The id of the question may be missing.
    let body = asker.ask("service", "/body").unwrap();
    assert_eq!(body.body.as_deref(), Some(&b"hello"[..]));
    let no = asker.ask("service", "/no").unwrap();
    assert_eq!(
        (no.status, no.message()),
        (Some(Status::Forbidden), "not today")
    );
    assert!(!no.is_ok() && no.body.is_none());
    asker.node.shutdown();
    service.shutdown();
}

#[test]
fn whatever_is_no_answer_has_its_own_error() {
    let (service, mut asker) = pair();
    let refused = |service, path| asker.ask(service, path).unwrap_err();
    assert!(matches!(
        refused("service", "/other"),
        AskError::OtherQuestion(_)
    ));
    assert!(matches!(
        refused("service", "/junk"),
        AskError::Response { .. }
    ));
    assert!(matches!(
        refused("service", "/never"),
        AskError::Timeout { .. }
    ));
    assert!(matches!(
        refused("nobody", "/never"),
        AskError::Timeout { .. }
    ));

    asker.trust = Trust::only(asker.me.identifier());
    let stranger = asker.ask("service", "/who").unwrap_err();
    assert!(matches!(stranger, AskError::Channel { .. }), "{stranger}");
    // Bound and gone: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    asker.place.port = free.local_addr().unwrap().port();
    drop(free);
    let nobody = asker.ask("service", "/who").unwrap_err();
    assert!(matches!(nobody, AskError::Connect { .. }), "{nobody}");
    asker.node.shutdown();
    service.shutdown();
}
