//! Requests to the node API: those of the reference, and any others.

mod common;

use common::{bytes, list, text, vectors};
use culvert_proto::multiaddr::MultiAddr;
use culvert_proto::request::node_command::{NodeCommand, NodeCommandError};
use culvert_proto::request::{CreateRelay, Method, Request, ReturnTiming};
use proptest::prelude::*;

#[test]
fn requests_of_the_reference_are_understood() {
    let vectors = vectors("node_api_relay_exchanges.json");
    for exchange in list(&vectors, "exchanges") {
        let (name, payload) = (
            text(exchange, "name"),
            bytes(exchange, "request_payload_hex"),
        );
        let request = Request::decode(&payload).expect(name);
        let command = NodeCommand::parse(&request);
        match name {
            "GET /node/services" => assert_eq!(command, Ok(NodeCommand::Services)),
            "GET /node/relay" | "GET /node/relay (empty)" => {
                assert_eq!(command, Ok(NodeCommand::Relays));
            }
            "GET /node/relay/bob" => assert_eq!(command, Ok(NodeCommand::Relay("bob".into()))),
            "GET /node/relay/nosuch" => {
                assert_eq!(command, Ok(NodeCommand::Relay("nosuch".into())));
            }
            _ if name.starts_with("DELETE") => {
                assert_eq!(command, Ok(NodeCommand::DeleteRelay("zzz".into())));
            }
            _ if name.starts_with("POST") => {
                let address: MultiAddr = "/ip4/127.0.0.1/tcp/35373".parse().expect("a multiaddr");
                let expected = CreateRelay {
                    address,
                    name: "bob".into(),
                    authorized: None,
                    relay_address: Some("bob".into()),
                    return_timing: ReturnTiming::AfterConnection,
                };
                assert_eq!(command, Ok(NodeCommand::CreateRelay(expected)));
            }
            // Its text is that of the reference.
            "GET /nonsense" => {
                let error = command.expect_err(name).to_string();
                assert_eq!(error, text(&exchange["response_body"], "3"));
            }
            _ => panic!("an exchange that nobody looks at: {name}"),
        }
    }
}

#[test]
fn a_request_without_a_method_is_refused() {
    // This one ends a node of the reference.
    let payload = hex::decode("0ca3010702652f6e6f646504f4").expect("hex");
    let request = Request::decode(&payload).expect("an envelope");
    assert_eq!(
        NodeCommand::parse(&request),
        Err(NodeCommandError::NoMethod)
    );
}

fn with_body(method: Method, path: &str, body: &str) -> Result<NodeCommand, NodeCommandError> {
    let body = hex::decode(body).expect("hex");
    NodeCommand::parse(&Request {
        id: 1,
        path,
        method: Some(method),
        body: Some(&body),
    })
}

#[test]
fn bodies_about_portals() {
    // { 1: ["127.0.0.1", 0], 2: /service/outlet, 3: "db", 7: false, 9: true, 12: false }
    let inlet = "a60182693132372e302e302e3100024abee803066f75746c65740362646207f409f50cf4";
    let Ok(NodeCommand::CreateInlet(inlet)) = with_body(Method::Post, "/node/inlet", inlet) else {
        panic!("{:?}", with_body(Method::Post, "/node/inlet", inlet));
    };
    assert_eq!((inlet.alias.as_str(), inlet.udp_puncture), ("db", true));
    assert_eq!(inlet.to.to_string(), "/service/outlet");
    // { 1: ["db", 5432], 2: false, 3: [0, 'pg'], 4: true }
    let outlet = "a40182626462191538".to_owned() + "02f4" + "038200427067" + "04f5";
    let Ok(NodeCommand::CreateOutlet(outlet)) = with_body(Method::Post, "node/outlet", &outlet)
    else {
        panic!("an outlet");
    };
    assert_eq!(outlet.address.map(|a| a.value), Some(b"pg".to_vec()));
    for (path, body) in [
        ("/node/inlet", ""),
        ("/node/inlet", "a0"),
        ("/node/outlet", "a1018201"),
        ("/node/relay", "80"),
    ] {
        let refused = with_body(Method::Post, path, body);
        assert!(
            matches!(refused, Err(NodeCommandError::Body(_))),
            "{path} {body}"
        );
    }
}

#[test]
fn what_only_the_reference_has_is_said_to_be_missing() {
    for (method, path) in [
        (Method::Delete, "node/portal"),
        (Method::Post, "node/services/kafka_inlet"),
        (Method::Post, "node/influxdb_outlet"),
    ] {
        let refused = with_body(method, path, "a0");
        assert!(
            matches!(refused, Err(NodeCommandError::NotOffered(..))),
            "{path}"
        );
    }
    for (method, path) in [
        (Method::Put, "node"),
        (Method::Post, "policy"),
        (Method::Get, ""),
    ] {
        let refused = with_body(method, path, "a0");
        assert!(
            matches!(refused, Err(NodeCommandError::Endpoint(..))),
            "{path}"
        );
    }
}

const PATHS: [&str; 12] = [
    "node/tcp/connection",
    "node/tcp/listener",
    "node/secure_channel",
    "node/show_secure_channel",
    "node/relay",
    "node/inlet",
    "node/outlet",
    "policy",
    "policy/handle_message",
    "v0/message",
    "node/services",
    "node",
];

proptest! {
    /// Whatever the body is, there is an answer, in bounded time and stack.
    #[test]
    fn any_body_is_read_or_refused(
        path in 0..PATHS.len(),
        method in 0..5_u8,
        body in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        let methods = [Method::Get, Method::Post, Method::Put, Method::Delete, Method::Patch];
        let _ = NodeCommand::parse(&Request {
            id: 1,
            path: PATHS[path],
            method: Some(methods[usize::from(method)]),
            body: Some(&body),
        });
    }
}
