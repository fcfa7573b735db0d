//! Every message of `portal_messages.json`, byte for byte.

use culvert_proto::message::Layout;
use culvert_proto::portal::{Control, PortalMessage, payload_header};
use serde_json::Value;

use crate::support::{bytes, control, encode, load};

/// Vectors of the same file that are no portal messages: packets of privileged portals, and the
/// requests around certificates and target names (`protocol/03-portals.md` 8 and 12).
const ELSEWHERE: [&str; 6] = [
    "privileged_portal_packet",
    "tls_certificate",
    "certificate_request",
    "certificate_response_not_ready",
    "certificate_response_ready",
    "hostname_port",
];

#[test]
fn messages_are_encoded_and_decoded_as_recorded() {
    let file = load("portal_messages");
    let mut checked = 0;
    for vector in file["vectors"].as_array().expect("vectors") {
        let name = vector["name"].as_str().expect("name");
        if ELSEWHERE.contains(&name) {
            continue;
        }
        if let Some(expected) = vector.get("decoded") {
            check_decoded(name, &bytes(&vector["hex"]), expected);
        } else if vector.get("head_hex").is_some() {
            check_head(vector);
        } else if name.starts_with("full_") {
            check_routed(name, vector);
        } else {
            check_both_ways(name, vector);
        }
        checked += 1;
    }
    assert_eq!(checked, 30);
}

/// Decoder acceptance: counters in every form, trailing bytes, broken messages.
fn check_decoded(name: &str, input: &[u8], expected: &Value) {
    let decoded = PortalMessage::decode(input);
    match expected {
        Value::String(text) if text == "Ping" => {
            assert_eq!(decoded, Ok(PortalMessage::Ping { ext: None }), "{name}");
        }
        Value::String(text) if text == "Disconnect" => {
            assert_eq!(decoded, Ok(PortalMessage::Disconnect), "{name}");
        }
        Value::String(_) => assert!(decoded.is_err(), "{name}"),
        _ => {
            let data = bytes(&expected["Payload"]);
            let counter = expected["counter"].as_u64().map(|n| n as u16);
            assert_eq!(
                decoded,
                Ok(PortalMessage::Payload {
                    data: &data,
                    counter
                }),
                "{name}"
            );
            // What we write back has no counter, whatever came in.
            let again = encode(&decoded.expect("checked"));
            assert_eq!(
                PortalMessage::decode(&again),
                Ok(PortalMessage::Payload {
                    data: &data,
                    counter: None
                }),
                "{name}"
            );
        }
    }
}

/// Large payloads are recorded by their first bytes and their length.
fn check_head(vector: &Value) {
    let n = vector["fields"]["payload_len"].as_u64().expect("length") as usize;
    let (head, len) = payload_header(n);
    assert!(
        bytes(&vector["head_hex"]).starts_with(&head[..len]),
        "{vector}"
    );
    assert_eq!(vector["len"].as_u64().expect("length") as usize, len + n);
}

/// A whole transport message around a portal message.
fn check_routed(name: &str, vector: &Value) {
    let message = bytes(&vector["hex"]);
    let layout = Layout::parse(&message).expect(name);
    let portal = layout.payload(&message);
    assert_eq!(portal, bytes(&vector["fields"]["payload_hex"]), "{name}");
    let decoded = PortalMessage::decode(portal).expect(name);
    assert_eq!(encode(&decoded), portal, "{name}");
}

fn check_both_ways(name: &str, vector: &Value) {
    let recorded = bytes(&vector["hex"]);
    let data: Vec<u8>;
    let message = match name {
        "portal_ping" => PortalMessage::Ping { ext: None },
        "portal_pong" => PortalMessage::Pong { ext: None },
        "portal_disconnect" => PortalMessage::Disconnect,
        _ => {
            let n = vector["fields"]["payload_len"].as_u64().expect(name) as usize;
            data = (0..n).map(|i| (i % 251) as u8).collect();
            PortalMessage::Payload {
                data: &data,
                counter: None,
            }
        }
    };
    assert_eq!(encode(&message), recorded, "{name}");
    assert_eq!(PortalMessage::decode(&recorded), Ok(message), "{name}");
}

#[test]
fn a_full_payload_has_the_recorded_size() {
    let file = load("tcp_session_portal_big_sizes");
    let sizes = file["routed_payload_sizes"]["client->server"]
        .as_array()
        .expect("sizes");
    let largest = sizes.iter().filter_map(Value::as_u64).max().expect("sizes");
    assert_eq!(largest as usize, payload_header(131_072).1 + 131_072);
}

#[test]
fn control_messages_are_messages() {
    let file = load("portal_messages");
    let recorded = |name: &str| {
        let vectors = file["vectors"].as_array().expect("vectors");
        bytes(&vectors.iter().find(|v| v["name"] == name).expect(name)["hex"])
    };
    assert_eq!(control(&Control::Ping(None)), recorded("portal_ping"));
    assert_eq!(control(&Control::Pong(None)), recorded("portal_pong"));
    assert_eq!(control(&Control::Disconnect), recorded("portal_disconnect"));
}
