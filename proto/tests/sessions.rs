//! Captured TCP connections between reference nodes: every frame is found, read and written again.

mod common;

use common::{bytes, list, text, text_route, vectors};
use culvert_proto::frame::{self, Decoded};
use culvert_proto::message::{Layout, Message};
use serde_json::Value;
use std::collections::BTreeMap;

const SESSIONS: [&str; 15] = [
    "denied_private",
    "echo",
    "local_hop",
    "node_relay_plain",
    "portal_client_close",
    "portal_client_reset",
    "portal_half_close",
    "portal_server_first",
    "portal_skip_handshake",
    "portal_target_close",
    "portal_target_refused",
    "relay_ephemeral",
    "relay_static",
    "two_links",
    "unknown_worker",
];

/// One direction of one connection: its bytes, and what the capture says they are.
#[derive(Default)]
struct Direction<'a> {
    sent: Vec<u8>,
    decoded: Vec<&'a Value>,
}

/// The directions of all connections of a link.
fn directions(events: &[Value]) -> BTreeMap<(u64, &str), Direction<'_>> {
    let mut directions = BTreeMap::<_, Direction<'_>>::new();
    for event in events.iter().filter(|event| event["event"] == "data") {
        let key = (event["conn"].as_u64().unwrap(), text(event, "dir"));
        let direction = directions.entry(key).or_default();
        direction.sent.extend(bytes(event, "hex"));
        direction.decoded.extend(list(event, "decoded"));
    }
    directions
}

/// Checks one message and returns it encoded from its parts.
fn check_message(msg: &[u8], expected: &Value) -> Vec<u8> {
    let layout = Layout::parse(msg).unwrap();
    let message = Message::decode(msg).unwrap();
    assert_eq!(layout.end(), msg.len());
    assert_eq!(message.onward, text_route(&expected["onward_route"]));
    assert_eq!(message.return_route, text_route(&expected["return_route"]));
    assert_eq!(
        message.payload.len() as u64,
        expected["payload_len"].as_u64().unwrap()
    );
    assert_eq!(
        message.tracing.as_deref(),
        expected["tracing_context"].as_str()
    );
    // Long payloads are cut in the description.
    if let Ok(payload) = hex::decode(text(expected, "payload_hex")) {
        assert_eq!(message.payload, payload);
    }
    message.encode()
}

/// Checks every frame of one direction and returns how many there were. Some captures begin on a
/// connection that is already in use, after the version byte.
fn check_direction(direction: &Direction<'_>) -> usize {
    let mut again = Vec::new();
    let mut stream = direction.sent.as_slice();
    let mut frames = direction.decoded.as_slice();
    if let Some((Value::String(_), after)) = frames.split_first() {
        again.push(frame::VERSION);
        (stream, frames) = (&stream[1..], after);
    }
    for expected in frames {
        let Decoded::Frame(range) = frame::decode(stream).unwrap() else {
            panic!("a frame is cut off");
        };
        assert_eq!(range.len() as u64, expected["frame_len"].as_u64().unwrap());
        let end = range.end;
        let encoded = check_message(&stream[range], &expected["message"]);
        again.extend(frame::length_prefix(encoded.len()).unwrap());
        again.extend(encoded);
        stream = &stream[end..];
    }
    assert!(stream.is_empty());
    assert_eq!(hex::encode(again), hex::encode(&direction.sent));
    frames.len()
}

#[test]
fn every_captured_frame() {
    let mut frames = 0;
    for session in SESSIONS {
        let file = vectors(&format!("tcp_session_{session}.json"));
        for (link, events) in file["links"].as_object().unwrap() {
            for (key, direction) in directions(events.as_array().unwrap()) {
                println!("{session} {link} {key:?}");
                frames += check_direction(&direction);
            }
        }
    }
    assert_eq!(frames, 58);
}

/// Any split of the bytes gives the same frames.
#[test]
fn frames_arrive_in_pieces() {
    let file = vectors("tcp_session_two_links.json");
    for direction in directions(list(&file["links"], "link1")).values() {
        let stream = &direction.sent[1..];
        for end in 0..stream.len() {
            let mut at = 0;
            loop {
                match frame::decode(&stream[at..end]).unwrap() {
                    Decoded::Frame(range) => at += range.end,
                    Decoded::Need(needed) => {
                        assert!(at + needed > end);
                        break;
                    }
                }
            }
        }
    }
}
