//! The envelope of API services and the bodies about relays, against the reference.

mod common;

use common::{bytes, list, text, vectors};
use culvert_proto::bare;
use culvert_proto::forwarder::{
    Extension, Registration, Reply, Request as Register, check_confirmation, worker_name,
};
use culvert_proto::multiaddr::MultiAddr;
use culvert_proto::request::{
    ConnectionStatus, CreateRelay, ErrorBody, FlowControlId, Method, RelayInfo, RelayList, Request,
    Response, ReturnTiming, ServiceList, ServiceStatus, StartService, Status,
};
use culvert_proto::route::Route;
use serde_json::Value;
use std::fmt::Debug;

/// `cbor` decodes to `expected`, which encodes to `cbor`.
fn check_body<T>(cbor: &[u8], expected: T)
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + PartialEq + Debug,
{
    assert_eq!(
        hex::encode(minicbor::to_vec(&expected).unwrap()),
        hex::encode(cbor)
    );
    assert_eq!(minicbor::decode::<T>(cbor).unwrap(), expected);
}

fn with_length(cbor: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    bare::put_data(&mut payload, cbor);
    payload
}

fn check_request(name: &str, payload: &[u8], fields: &Value) {
    let request = Request::decode(payload).unwrap();
    assert_eq!(
        hex::encode(request.encode()),
        hex::encode(payload),
        "{name}"
    );
    if let Some(id) = fields["id"].as_u64() {
        assert_eq!(u64::from(request.id), id, "{name}");
    }
    if let Some(method) = fields["method"].as_str() {
        assert_eq!(request.method.unwrap().name(), method, "{name}");
    }
    match fields["path"].as_str() {
        Some("/ + 200 x p") => assert_eq!(request.path, format!("/{}", "p".repeat(200))),
        Some(path) => assert_eq!(request.path, path, "{name}"),
        None => {}
    }
    if let Some(has_body) = fields["has_body"].as_bool() {
        assert_eq!(request.body.is_some(), has_body, "{name}");
    }
    match name {
        "request_post_string_body" => assert_eq!(request.body, Some(&bare::string("hi")[..])),
        "request_put_raw_body" => assert_eq!(request.body, Some(&bytes(fields, "body_hex")[..])),
        "request_post_unit_body" => assert_eq!(request.body, Some(&[][..])),
        _ => {}
    }
}

fn check_response(name: &str, payload: &[u8], fields: &Value) {
    let response = Response::decode(payload).unwrap();
    assert_eq!(
        hex::encode(response.encode()),
        hex::encode(payload),
        "{name}"
    );
    let status = response.status.unwrap();
    assert_eq!(
        u64::from(status.number()),
        fields["status"].as_u64().unwrap(),
        "{name}"
    );
    assert_eq!(
        Some(response.has_body),
        fields["has_body"].as_bool(),
        "{name}"
    );
    let again = Response::new(
        response.id,
        response.re,
        status,
        response.has_body.then_some(response.rest),
    );
    assert_eq!(again, response);
    let error = response.error();
    match name {
        "response_ok_body" => assert_eq!(response.body(), Some(&bytes(fields, "body_hex")[..])),
        "response_error_with_request" => {
            let error = error.unwrap();
            assert_eq!(error.path.as_deref(), Some("/node/relay"));
            assert_eq!(error.method, Some(Method::Post));
            assert_eq!(error.message.as_deref(), Some("unknown path"));
            assert_eq!(error.encode(), response.rest);
        }
        "response_error_without_request" => {
            assert_eq!(error.unwrap(), ErrorBody::message("oops"));
        }
        _ if status == Status::Ok => assert_eq!((response.body(), error), (None, None)),
        _ => assert_eq!(error.unwrap(), ErrorBody::default()),
    }
}

fn check_error_body(name: &str, body: &[u8]) {
    let expected = match name {
        "error_body_empty" => ErrorBody::default(),
        _ => ErrorBody {
            path: Some("/p".into()),
            method: Some(Method::Get),
            message: Some("m".into()),
            cause: Some(Box::new(ErrorBody::message("c"))),
        },
    };
    assert_eq!(ErrorBody::decode(body), Ok(expected.clone()));
    assert_eq!(hex::encode(expected.encode()), hex::encode(body));
}

fn check_decode_request(name: &str, payload: &[u8], decoded: &Value) {
    if decoded.is_string() {
        Request::decode(payload).expect_err(name);
        return;
    }
    let request = Request::decode(payload).unwrap();
    assert_eq!(
        Some(u64::from(request.id)),
        decoded["id"].as_u64(),
        "{name}"
    );
    assert_eq!(request.path, text(decoded, "path"), "{name}");
    assert_eq!(
        request.method.map(Method::name),
        decoded["method"].as_str(),
        "{name}"
    );
    assert_eq!(
        request.body.map(hex::encode).as_deref(),
        decoded["body_hex"].as_str(),
        "{name}"
    );
}

fn check_decode_response(name: &str, payload: &[u8], decoded: &Value) {
    if decoded.is_string() {
        Response::decode(payload).expect_err(name);
        return;
    }
    let response = Response::decode(payload).unwrap();
    assert_eq!(
        Some(u64::from(response.id)),
        decoded["id"].as_u64(),
        "{name}"
    );
    assert_eq!(
        Some(u64::from(response.re)),
        decoded["re"].as_u64(),
        "{name}"
    );
    assert_eq!(
        Some(response.has_body),
        decoded["has_body"].as_bool(),
        "{name}"
    );
    let status = decoded["status"].as_str().map(|status| &status[..3]);
    assert_eq!(
        response.status.map(|s| s.number().to_string()).as_deref(),
        status,
        "{name}"
    );
    let message = text(&decoded["body"], "error").strip_prefix("message: ");
    assert_eq!(
        response.error().unwrap().message.as_deref(),
        message,
        "{name}"
    );
}

#[test]
fn every_request_vector() {
    let file = vectors("requests.json");
    for vector in list(&file, "vectors") {
        let (name, fields) = (text(vector, "name"), &vector["fields"]);
        println!("{name}");
        if let Some(payload) = vector["payload_hex"].as_str() {
            let payload = hex::decode(payload).unwrap();
            assert_eq!(with_length(&bytes(vector, "cbor_hex")), payload);
            let check = if name.starts_with("request") {
                check_request
            } else {
                check_response
            };
            check(name, &payload, fields);
        } else if name.starts_with("error_body") {
            check_error_body(name, &bytes(vector, "hex"));
        } else {
            let payload = with_length(&bytes(vector, "cbor_hex"));
            let request = name.starts_with("decode request");
            let check = if request {
                check_decode_request
            } else {
                check_decode_response
            };
            check(name, &payload, &vector["decoded"]);
        }
    }
}

fn relay_info_from(fields: &Value) -> RelayInfo {
    let optional = |key: &str| fields[key].as_str().map(str::to_owned);
    RelayInfo {
        forwarding_route: optional("1"),
        remote_address: optional("2"),
        worker_address: optional("3"),
        flow_control_id: fields["4"]["1"]
            .as_str()
            .map(|id| FlowControlId { id: id.into() }),
        connection_status: match fields["5"][0].as_u64() {
            Some(1) => ConnectionStatus::Up,
            _ => ConnectionStatus::Down,
        },
        destination: MultiAddr::decode(&bytes(fields, "6")).unwrap(),
        name: text(fields, "7").into(),
        last_failure: optional("8"),
    }
}

/// The body of a success, by request.
fn check_exchange_body(name: &str, body: &[u8], expected: &Value) {
    match name {
        "GET /node/services" => {
            let services = expected[0]
                .as_array()
                .unwrap()
                .iter()
                .map(|service| ServiceStatus {
                    address: text(service, "2").into(),
                    kind: text(service, "3").into(),
                });
            check_body(
                body,
                ServiceList {
                    services: services.collect(),
                },
            );
        }
        _ if expected.is_array() => {
            let relays = expected[0]
                .as_array()
                .unwrap()
                .iter()
                .map(relay_info_from)
                .collect();
            check_body(body, RelayList { relays });
        }
        _ => check_body(body, relay_info_from(expected)),
    }
}

#[test]
fn every_node_api_exchange() {
    let file = vectors("node_api_relay_exchanges.json");
    for exchange in list(&file, "exchanges") {
        let name = text(exchange, "name");
        println!("{name}");
        let payload = bytes(exchange, "request_payload_hex");
        let request = Request::decode(&payload).unwrap();
        assert_eq!(hex::encode(request.encode()), hex::encode(&payload));
        assert_eq!(Some(request.method.unwrap().name()), name.split(' ').next());
        assert_eq!(Some(request.path), name.split(' ').nth(1));
        if let Some(body) = request.body {
            check_body(body, minicbor::decode::<CreateRelay>(body).unwrap());
        }
        // One response is not in the capture.
        let Ok(payload) = hex::decode(text(exchange, "response_payload_hex")) else {
            continue;
        };
        let response = Response::decode(&payload).unwrap();
        assert_eq!(hex::encode(response.encode()), hex::encode(&payload));
        let (header, body) = (&exchange["response_header"], &exchange["response_body"]);
        assert_eq!(header["1"].as_u64(), Some(response.id.into()));
        assert_eq!(header["2"].as_u64(), Some(request.id.into()));
        assert_eq!(response.re, request.id);
        assert_eq!(
            header["3"].as_u64(),
            response.status.map(|status| status.number().into())
        );
        match response.body() {
            Some(bytes) => check_exchange_body(name, bytes, body),
            None => {
                let error = response.error().unwrap();
                assert_eq!(error.path.as_deref(), body["1"].as_str());
                assert_eq!(error.method.map(|m| m.number().into()), body["2"].as_u64());
                assert_eq!(error.message.as_deref(), body["3"].as_str());
                assert_eq!(error.encode(), response.rest);
            }
        }
    }
}

fn check_multiaddr(vector: &Value) {
    let binary = bytes(&vector["fields"], "binary_hex");
    let written = text(&vector["fields"], "text");
    let parsed: MultiAddr = written.parse().unwrap();
    assert_eq!(parsed.to_string(), written);
    assert_eq!(hex::encode(parsed.encode()), hex::encode(&binary));
    assert_eq!(MultiAddr::decode(&binary), Ok(parsed.clone()));
    check_body(&bytes(vector, "hex"), parsed);
}

fn relay_info(fields: &Value) -> RelayInfo {
    let optional = |key: &str| fields[key].as_str().map(str::to_owned);
    RelayInfo {
        forwarding_route: optional("1 forwarding_route"),
        remote_address: optional("2 remote_address"),
        worker_address: optional("3 worker_address"),
        flow_control_id: optional("4 flow_control_id").map(|id| FlowControlId { id }),
        connection_status: match text(fields, "5 connection_status") {
            "Up" => ConnectionStatus::Up,
            _ => ConnectionStatus::Down,
        },
        destination: text(fields, "6 destination_address").parse().unwrap(),
        name: text(fields, "7 name").into(),
        last_failure: optional("8 last_failure"),
    }
}

fn create_relay(fields: &Value) -> CreateRelay {
    CreateRelay {
        address: text(fields, "1 address").parse().unwrap(),
        name: text(fields, "2 name").into(),
        authorized: fields["3 authorized"]
            .is_string()
            .then_some([0xab; 32].into()),
        relay_address: fields["4 relay_address"].as_str().map(str::to_owned),
        return_timing: match text(fields, "5 return_timing") {
            "AfterConnection" => ReturnTiming::AfterConnection,
            _ => ReturnTiming::Immediately,
        },
    }
}

/// The payloads of a registration.
fn check_registration(name: &str, payload: &[u8], text: &str) {
    let request = match name {
        "relay_register_request_static" => Registration::Named(text),
        "relay_register_request_ephemeral" => Registration::Ephemeral,
        _ => {
            let reply = Reply::Confirmed {
                text,
                extension: None,
            };
            assert_eq!(Reply::decode(payload), Ok(reply));
            assert_eq!(reply.encode(), payload);
            assert_eq!(text, worker_name("bob"));
            return;
        }
    };
    let request = Register {
        registration: request,
        extension: None,
    };
    assert_eq!(Register::decode(payload), Ok(request));
    assert_eq!(request.encode().unwrap(), payload);
}

#[test]
fn every_relay_vector() {
    let file = vectors("relay_messages.json");
    for vector in list(&file, "vectors") {
        let (name, fields, encoded) = (
            text(vector, "name"),
            &vector["fields"],
            bytes(vector, "hex"),
        );
        println!("{name}");
        match name {
            // Whole messages and pings are checked with the transport's.
            _ if vector["frame_hex"].is_string() || name.starts_with("session_ping") => {}
            _ if name.starts_with("relay_register") => {
                check_registration(name, &encoded, text(fields, "text"));
            }
            _ if name.starts_with("multiaddr") => check_multiaddr(vector),
            _ if name.starts_with("create_relay") => check_body(&encoded, create_relay(fields)),
            "relay_info_up" | "relay_info_down" => check_body(&encoded, relay_info(fields)),
            "relay_info_list_empty" => check_body(&encoded, RelayList { relays: Vec::new() }),
            "relay_info_list" => {
                let down = list(&file, "vectors")
                    .iter()
                    .find(|v| v["name"] == "relay_info_down");
                let relays = vec![relay_info(&down.unwrap()["fields"])];
                check_body(&encoded, RelayList { relays });
            }
            "start_service_request" => {
                check_body(
                    &encoded,
                    StartService {
                        address: text(fields, "1 addr").into(),
                    },
                );
            }
            "service_status" => {
                let (address, kind) =
                    (text(fields, "2 addr").into(), text(fields, "3 type").into());
                check_body(&encoded, ServiceStatus { address, kind });
            }
            _ => panic!("unknown vector {name}"),
        }
    }
}

/// Both ways in which relays were checked against the reference's client confirm a name.
#[test]
fn confirmations_of_independent_relays() {
    let file = vectors("independent_peer_checks.json");
    let route: Route = "forward_to_bob".parse().unwrap();
    let checks = list(&file, "checks")
        .iter()
        .map(|check| text(check, "peer"));
    let texts: Vec<_> = checks
        .filter_map(|peer| peer.split_once("confirmation "))
        .collect();
    assert_eq!(texts.len(), 2);
    for (_, text) in texts {
        for extension in [None, Some(Extension::default())] {
            let payload = Reply::Confirmed { text, extension }.encode();
            // A decoder of the reference sees the string alone.
            assert_eq!(bare::read_string(&payload).unwrap().0, text);
            let worker = check_confirmation(Registration::Named("bob"), text, route.view());
            assert_eq!(worker, Ok(&b"forward_to_bob"[..]));
        }
    }
}
