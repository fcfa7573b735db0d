//! The reference's messages, byte for byte both ways.

use crate::common::{bytes, list, text, text_route, vectors};
use culvert_proto::puncture::{
    Endpoint, PING, PONG, PunctureError, PunctureMessage, payload_len, put_payload,
};
use culvert_proto::route::Route;
use serde_json::Value;

fn check_payload(encoded: &[u8], fields: &Value) {
    let PunctureMessage::Payload(payload) = PunctureMessage::decode(encoded).unwrap() else {
        panic!("a Payload");
    };
    let onward = text_route(&fields["onward_route"]);
    let return_route = text_route(&fields["return_route"]);
    let data = bytes(fields, "payload_hex");
    assert_eq!(payload.onward.to_owned(), onward);
    assert_eq!(payload.return_route.to_owned(), return_route);
    assert_eq!(payload.data.to_vec(), data);
    let mut again = Vec::new();
    put_payload(&mut again, &onward, &return_route, &data);
    assert_eq!(again, encoded);
    assert_eq!(again.len(), payload_len(&onward, &return_route, &data));
}

fn check_endpoint(encoded: &[u8], fields: &Value, side: &str) {
    let public = text(fields, &format!("{side}_udp_public_address"));
    let worker = text(fields, &format!("{side}_remote_address"));
    let worker = worker.strip_suffix(" (UTF-8 bytes)").unwrap();
    let endpoint = Endpoint {
        public: public.parse().unwrap(),
        worker: worker.into(),
    };
    assert_eq!(Endpoint::decode(encoded), Ok(endpoint.clone()));
    assert_eq!(endpoint.encode(), encoded);
}

#[test]
fn vectors_both_ways() {
    let file = vectors("udp_messages.json");
    let mut checked = 0;
    for vector in list(&file, "vectors") {
        let Some(name) = text(vector, "name").strip_prefix("puncture_") else {
            continue;
        };
        let encoded = bytes(vector, "hex");
        let fields = &vector["fields"];
        match name {
            "ping" => {
                assert_eq!(PING[..], encoded);
                let decoded = PunctureMessage::decode(&encoded);
                assert!(matches!(decoded, Ok(PunctureMessage::Ping)));
            }
            "pong" => {
                assert_eq!(PONG[..], encoded);
                let decoded = PunctureMessage::decode(&encoded);
                assert!(matches!(decoded, Ok(PunctureMessage::Pong)));
            }
            "payload" => check_payload(&encoded, fields),
            "negotiation_initiate" => check_endpoint(&encoded, fields, "initiator"),
            "negotiation_acknowledge" => check_endpoint(&encoded, fields, "responder"),
            other => panic!("{other} is not checked"),
        }
        checked += 1;
    }
    assert_eq!(checked, 5);
}

#[test]
fn what_decoders_accept() {
    let kind = |message: &str| {
        let message = hex::decode(message.replace(' ', "")).unwrap();
        match PunctureMessage::decode(&message) {
            Ok(PunctureMessage::Ping) => "ping",
            Ok(PunctureMessage::Pong) => "pong",
            Ok(PunctureMessage::Payload(payload)) => match payload.data.to_vec()[..] {
                [1, 255] => "payload",
                _ => "other data",
            },
            Err(PunctureError::NotAnEnum) => "no enum",
            Err(PunctureError::Variant(_)) => "variant",
            Err(PunctureError::Missing) => "missing",
            Err(PunctureError::Route(_)) => "route",
            Ok(PunctureMessage::Segment(_)) => "segment",
            Err(_) => "error",
        }
    };
    for (message, expected) in [
        ("8200f6", "ping"),
        ("82180180 00", "pong"),
        ("8202 83 80 80 82 01 18ff", "payload"),
        ("82 1843 81 42 0102", "segment"),
        ("82 1843 80", "missing"),
        ("8202 84 80 80 9f 01 18ff ff 00 ff", "payload"),
        ("8202 9f 9fff 9fff 82 01 1900ff ff", "payload"),
        ("8202 83 80 80 42 01ff", "error"),
        ("8202 83 80 80 81 190100", "error"),
        ("8202 83 80 80", "error"),
        ("8202 82 80 80", "missing"),
        ("8202 83 40 80 80", "route"),
        ("8202 83 80 81 8100 80", "route"),
        ("820380", "variant"),
        ("9f0080ff", "no enum"),
        ("810080", "no enum"),
        ("8200", "error"),
        ("", "error"),
    ] {
        assert_eq!(kind(message), expected, "{message}");
    }
}

#[test]
fn only_addresses_that_something_can_be_sent_to() {
    let decode = |public: &str, worker: &[u8]| {
        let mut payload = vec![0x82];
        culvert_proto::cbor::put_text(&mut payload, public);
        culvert_proto::puncture::put_integers(&mut payload, worker);
        Endpoint::decode(&payload).map(|endpoint| endpoint.public.to_string())
    };
    for public in ["192.0.2.7:1", "[2001:db8::1]:65535", "127.0.0.1:9"] {
        assert_eq!(decode(public, b"w").as_deref(), Ok(public));
    }
    let mapped = decode("[::ffff:192.0.2.7]:1", b"w");
    assert_eq!(mapped.as_deref(), Ok("192.0.2.7:1"));
    for public in [
        "192.0.2.7:0",
        "0.0.0.0:1",
        "[::]:1",
        "255.255.255.255:1",
        "224.0.0.1:1",
        "[ff02::1]:1",
        "example.org:1",
        "192.0.2.7",
        "",
    ] {
        assert_eq!(
            decode(public, b"w"),
            Err(PunctureError::PublicAddress),
            "{public}"
        );
    }
    for length in [0, 513] {
        let refused = decode("192.0.2.7:1", &vec![b'w'; length]);
        assert_eq!(refused, Err(PunctureError::Worker(length)));
    }
    for (payload, error) in [
        ("80", PunctureError::Missing),
        ("816161", PunctureError::Missing),
    ] {
        let payload = hex::decode(payload).unwrap();
        assert_eq!(Endpoint::decode(&payload), Err(error));
    }
    // A byte string where the integers belong.
    let mut payload = vec![0x82];
    culvert_proto::cbor::put_text(&mut payload, "192.0.2.7:1");
    payload.extend([0x41, b'w']);
    assert!(matches!(
        Endpoint::decode(&payload),
        Err(PunctureError::Cbor(_))
    ));

    let wide: Route =
        core::iter::repeat_n(culvert_proto::address::Address::local("a"), 3).collect();
    assert_eq!(
        payload_len(&wide, &Route::new(), b"\x00\xff"),
        3 + 13 + 1 + 4
    );
}
