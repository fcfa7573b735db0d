//! Streams take the place of the real nodes of a recording, one end after the other.

use culvert_proto::portal::{Config, Control, PortalMessage, Received, Stream};
use serde_json::Value;

use crate::support::{bytes, drain, drain_bytes, load, plain};

/// `(from the inlet, portal message)` in the order of the recording.
fn conversation(name: &str) -> Vec<(bool, Vec<u8>)> {
    let file = load(name);
    let mut messages = Vec::new();
    for event in file["links"]["link"].as_array().expect("events") {
        let from_inlet = event["dir"] == "client->server";
        for frame in event["decoded"].as_array().into_iter().flatten() {
            if let Some(payload) = frame.get("message").map(|m| &m["payload_hex"]) {
                messages.push((from_inlet, bytes(payload)));
            }
        }
    }
    messages
}

/// Makes `stream` do what the recorded end did, and checks that it says the same bytes.
fn repeat(stream: &mut Stream, recorded: &[u8], end: fn(&mut Stream)) {
    match PortalMessage::decode(recorded).expect("recorded") {
        PortalMessage::Payload { data, .. } => {
            assert_eq!(drain(stream), [], "nothing overtakes data");
            assert!(stream.can_read() >= data.len());
            stream.on_read(data.len());
        }
        PortalMessage::Disconnect => {
            end(stream);
            assert_eq!(drain_bytes(stream), [recorded]);
            assert!(stream.is_done());
        }
        _ => assert_eq!(drain_bytes(stream), [recorded]),
    }
}

/// Feeds `stream` what the other end said.
fn hear(stream: &mut Stream, recorded: &[u8]) {
    let received = stream.on_message(recorded).expect("recorded");
    match PortalMessage::decode(recorded).expect("recorded") {
        PortalMessage::Ping { .. } => assert_eq!(received, Received::Ignored),
        PortalMessage::Pong { .. } => assert_eq!(received, Received::Opened),
        PortalMessage::Payload { data, .. } => {
            let Received::Data(range) = received else {
                panic!("{received:?}");
            };
            assert_eq!(&recorded[range], data);
            stream.on_written(data.len());
        }
        _ => {
            assert_eq!(received, Received::Close { abort: false });
            assert!(stream.is_done());
        }
    }
}

/// Plays both parts of a recording; `end` is what made the closing side close.
fn replay(name: &str, cfg: &Config, end: fn(&mut Stream)) {
    let mut inlet = Stream::inlet(cfg, 0);
    let mut outlet: Option<Stream> = None;
    for (from_inlet, message) in conversation(name) {
        if from_inlet {
            repeat(&mut inlet, &message, end);
            match &mut outlet {
                Some(outlet) => hear(outlet, &message),
                None => outlet = Some(outlet_for(cfg, &message)),
            }
        } else {
            let outlet = outlet.as_mut().expect("Ping comes first");
            repeat(outlet, &message, end);
            hear(&mut inlet, &message);
        }
    }
    assert_eq!(drain(&mut inlet), []);
    assert!(inlet.is_done(), "{name}");
    assert!(outlet.is_some_and(|outlet| outlet.is_done()), "{name}");
}

fn outlet_for(cfg: &Config, first: &[u8]) -> Stream {
    let mut outlet = if cfg.skip_handshake {
        let mut outlet = Stream::outlet_skip_handshake(cfg);
        hear(&mut outlet, first);
        outlet
    } else {
        Stream::outlet(cfg, &PortalMessage::decode(first).expect("a Ping"))
    };
    outlet.connected();
    outlet
}

#[test]
fn client_closes() {
    replay("tcp_session_portal_client_close", &plain(), Stream::on_eof);
}

#[test]
fn target_closes() {
    replay("tcp_session_portal_target_close", &plain(), Stream::on_eof);
}

#[test]
fn target_speaks_first() {
    replay("tcp_session_portal_server_first", &plain(), Stream::on_eof);
}

#[test]
fn half_close_with_ockam_is_a_close() {
    replay("tcp_session_portal_half_close", &plain(), Stream::on_eof);
}

#[test]
fn client_resets_and_a_write_fails() {
    replay(
        "tcp_session_portal_client_reset",
        &plain(),
        Stream::on_write_error,
    );
}

#[test]
fn skip_handshake() {
    let cfg = Config {
        skip_handshake: true,
        ..Config::default()
    };
    replay("tcp_session_portal_skip_handshake", &cfg, Stream::on_eof);
}

/// The reference then says nothing, for ever. We say what closes a real inlet at once.
#[test]
fn target_refused() {
    let recorded = conversation("tcp_session_portal_target_refused");
    let [(true, ping)] = &recorded[..] else {
        panic!("one Ping");
    };
    let mut outlet = Stream::outlet(&plain(), &PortalMessage::decode(ping).expect("a Ping"));
    outlet.refused();
    assert_eq!(
        drain(&mut outlet),
        [Control::Pong(None), Control::Disconnect]
    );
    assert!(outlet.is_done());
}

/// An offer of the extension leaves a recorded conversation as it is.
#[test]
fn an_ockam_outlet_overlooks_the_offer() {
    let mut inlet = Stream::inlet(&Config::default(), 0);
    let [Control::Ping(Some(_))] = drain(&mut inlet)[..] else {
        panic!("a Ping with an offer");
    };
    for (from_inlet, message) in conversation("tcp_session_portal_client_close").split_off(1) {
        if from_inlet {
            repeat(&mut inlet, &message, Stream::on_eof);
        } else {
            hear(&mut inlet, &message);
        }
    }
    assert!(!inlet.peer_is_culvert());
    assert!(inlet.is_done());
}

/// Cases about the routed message around the portal message; the stream never sees those.
const ROUTING: [&str; 2] = [
    "extra hop after the outlet worker address: dropped",
    "payload sent to the outlet listener address instead of the worker",
];

#[test]
fn the_outlet_behaves_as_recorded() {
    let file = load("portal_outlet_behaviour");
    let mut checked = 0;
    for case in file["cases"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("name");
        let Some(sent) = case.get("messages_sent_hex") else {
            continue;
        };
        if ROUTING.contains(&name) {
            continue;
        }
        let (replies, target) = run_case(sent);
        let expected: Vec<_> = case["messages_received_hex"]
            .as_array()
            .expect("messages")
            .iter()
            .map(bytes)
            .collect();
        assert_eq!(replies, expected, "{name}");
        assert_eq!(
            &target,
            case["target_log"].as_array().expect("log"),
            "{name}"
        );
        checked += 1;
    }
    assert_eq!(checked, 12);
}

/// What an outlet answers to the messages, and what its target sees.
fn run_case(sent: &Value) -> (Vec<Vec<u8>>, Vec<Value>) {
    let mut outlet = Stream::outlet(&plain(), &PortalMessage::Ping { ext: None });
    outlet.connected();
    assert_eq!(drain(&mut outlet), [Control::Pong(None)]);
    let mut replies = Vec::new();
    let mut target = vec![serde_json::json!(["accept"])];
    for message in sent.as_array().expect("messages") {
        let message = bytes(message);
        if let Ok(Received::Data(range)) = outlet.on_message(&message) {
            let text = String::from_utf8_lossy(&message[range]);
            target.push(serde_json::json!(["data", text]));
        }
        replies.extend(drain_bytes(&mut outlet));
    }
    if outlet.is_done() {
        assert!(!outlet.aborts());
        target.push(serde_json::json!(["fin"]));
    }
    (replies, target)
}

/// The last case of the file: the reference keeps the target connection for ever.
#[test]
fn a_lost_route_ends_the_stream() {
    let mut outlet = Stream::outlet(&plain(), &PortalMessage::Ping { ext: None });
    outlet.connected();
    outlet.lost();
    assert_eq!(drain(&mut outlet), []);
    assert!(outlet.is_done() && outlet.aborts());
}
