//! The reference's own datagrams, byte for byte both ways.

use crate::common::{bytes, list, text, text_route, vectors};
use crate::support::{Receiver, split};
use culvert_proto::limits::{UDP_DATAGRAM, UDP_HEADER};
use culvert_proto::message::Message;
use culvert_proto::udp::{Config, Datagram, DatagramError};
use serde_json::Value;

const SESSIONS: [&str; 5] = [
    "udp_session_echo.json",
    "udp_session_exact_multiple.json",
    "udp_session_fragmented.json",
    "udp_session_puncture.json",
    "udp_session_rendezvous.json",
];

fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {key} in {value}"))
}

/// Decodes a datagram, compares its fields with the vector's and encodes it again.
fn check_datagram<'a>(encoded: &'a [u8], fields: &Value) -> Datagram<'a> {
    let datagram = Datagram::decode(encoded).unwrap();
    assert_eq!(number(fields, "offset"), u64::from(datagram.index));
    for (key, field) in [
        ("version", u64::from(datagram.version)),
        ("routing_number", datagram.number.0.into()),
        ("total", datagram.total.into()),
        ("payload_len", datagram.part.len() as u64),
    ] {
        assert!(
            fields[key].is_null() || number(fields, key) == field,
            "{key}"
        );
    }
    let mut again = Vec::new();
    datagram.encode_into(&mut again);
    assert_eq!(again, encoded);
    assert_eq!(again.len(), datagram.encoded_len());
    datagram
}

#[test]
fn single_datagrams() {
    let file = vectors("udp_messages.json");
    let mut checked = 0;
    for vector in list(&file, "vectors") {
        let name = text(vector, "name");
        if !name.starts_with("udp_") || vector["fragments"].is_array() {
            continue;
        }
        let encoded = bytes(vector, "hex");
        let fields = &vector["fields"];
        let datagram = check_datagram(&encoded, fields);
        match name {
            "udp_datagram_single" => {
                assert_eq!(datagram.part, bytes(fields, "routing_message_hex"));
                assert_eq!(split(48_879, UDP_DATAGRAM, datagram.part), [encoded]);
            }
            "udp_datagram_tiny" => assert_eq!(datagram.part, bytes(fields, "payload_hex")),
            "udp_worst_case_header" => {
                assert_eq!(encoded.len() - datagram.part.len(), UDP_HEADER);
                let (index, total) = (65_535, 65_535);
                assert_eq!(datagram.check(), Err(DatagramError::Index { index, total }));
            }
            other => panic!("{other} is not checked"),
        }
        checked += 1;
    }
    assert_eq!(checked, 3);
}

#[test]
fn messages_in_parts() {
    let file = vectors("udp_messages.json");
    let mut checked = 0;
    for vector in list(&file, "vectors") {
        let Some(fragments) = vector["fragments"].as_array() else {
            continue;
        };
        let message = bytes(&vector["fields"], "routing_message_hex");
        let theirs: Vec<Vec<u8>> = fragments.iter().map(|f| bytes(f, "hex")).collect();
        for (datagram, fragment) in theirs.iter().zip(fragments) {
            check_datagram(datagram, fragment);
        }
        let ours = split(65_535, UDP_DATAGRAM, &message);
        if message.len().is_multiple_of(493) {
            // The reference adds an empty part, and says so in the number of parts of all.
            assert_eq!(ours.len() + 1, theirs.len());
        } else {
            assert_eq!(ours, theirs);
        }
        for datagrams in [&ours, &theirs] {
            let mut receiver = Receiver::new(Config::default());
            let (last, others) = datagrams.split_last().unwrap();
            for datagram in others {
                assert_eq!(receiver.hear(1, datagram), Ok(None));
            }
            assert_eq!(receiver.hear(1, last), Ok(Some(message.clone())));
            assert_eq!(receiver.reassembler.bytes(), 0);
        }
        checked += 1;
    }
    assert_eq!(checked, 4);
}

/// Everything that travelled between real nodes arrives, also what the reference loses.
#[test]
fn recorded_sessions() {
    for name in SESSIONS {
        let session = vectors(name);
        let mut receiver = Receiver::new(Config::default());
        let mut messages = 0;
        for record in list(&session, "datagrams") {
            let encoded = bytes(record, "hex");
            let decoded = &record["decoded"];
            check_datagram(&encoded, decoded);
            let port = number(record, "src_port") as u16;
            let Some(whole) = receiver.hear(port, &encoded).unwrap() else {
                continue;
            };
            check_message(&whole, &decoded["routing_message"]);
            messages += 1;
        }
        assert!(messages > 0, "{name}");
        assert_eq!(receiver.reassembler.bytes(), 0, "{name}");
    }
}

fn check_message(encoded: &[u8], expected: &Value) {
    let message = Message::decode(encoded).unwrap();
    assert_eq!(message.encode(), encoded);
    // Only messages of one part were written out.
    if !expected.is_null() {
        assert_eq!(message.onward, text_route(&expected["onward_route"]));
        assert_eq!(message.return_route, text_route(&expected["return_route"]));
        assert_eq!(message.payload, bytes(expected, "payload_hex"));
        assert_eq!(
            message.tracing.as_deref(),
            expected["tracing_context"].as_str()
        );
    }
}

#[test]
fn what_decoders_accept() {
    let tiny = "850105000143010203";
    for (datagram, expected) in [
        (tiny, true),
        // Version 9, indefinite, more elements, longer heads, bytes behind.
        ("850905000143010203", true),
        ("9f0105000143010203ff", true),
        ("8601050001430102038101", true),
        ("851801190005000158 03010203", true),
        ("850105000143010203ff", true),
        // Too few, too large, another type, a tag, chunks, cut off.
        ("8401050001", false),
        ("851901000500014301", false),
        ("85011a00010000000143010203", false),
        ("a10105", false),
        ("850105000163616263", false),
        ("c1850105000143010203", false),
        ("85010500015f43010203ff", false),
        ("8501050001430102", false),
        ("", false),
    ] {
        let bytes = hex::decode(datagram.replace(' ', "")).unwrap();
        let decoded = Datagram::decode(&bytes);
        assert_eq!(decoded.is_ok(), expected, "{datagram}");
        if let Ok(decoded) = decoded {
            assert_eq!((decoded.number.0, decoded.part), (5, &[1, 2, 3][..]));
        }
    }
    let missing = hex::decode("8401050001").unwrap();
    assert_eq!(Datagram::decode(&missing), Err(DatagramError::Missing));
}
