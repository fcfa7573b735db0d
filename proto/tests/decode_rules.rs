//! What the reference accepts and rejects, and so do we.

mod common;

use common::{bytes, list, text, vectors};
use culvert_proto::bare::{self, BareError};
use culvert_proto::cbor::{self, CborError, Cursor};
use culvert_proto::message::Message;
use culvert_proto::request::{Request, RequestError};
use serde_json::Value;

/// An enum without fields: an array of exactly two, the variant number and any one item.
fn unit_enum(input: &[u8]) -> Result<u64, CborError> {
    let mut cursor = Cursor::new(input);
    if cursor.array()? != Some(2) {
        return Err(CborError::Type(input[0]));
    }
    let variant = cursor.u64()?;
    cursor.skip()?;
    Ok(variant)
}

fn is_error(decoded: &Value) -> bool {
    decoded
        .as_str()
        .is_some_and(|text| text.starts_with("error"))
}

fn check_message(name: &str, input: &[u8], decoded: &Value) {
    let result = Message::decode(input);
    if is_error(decoded) {
        result.expect_err(name);
        return;
    }
    let message = result.unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(
        message.onward.to_string(),
        text(decoded, "onward"),
        "{name}"
    );
    assert_eq!(
        message.return_route.to_string(),
        text(decoded, "return"),
        "{name}"
    );
    assert_eq!(
        hex::encode(&message.payload),
        text(decoded, "payload_hex"),
        "{name}"
    );
    assert_eq!(
        message.tracing.as_deref(),
        decoded["tracing"].as_str(),
        "{name}"
    );
}

fn check_enum(name: &str, input: &[u8], decoded: &Value) {
    match unit_enum(input) {
        Ok(1) => assert_eq!(decoded.as_str(), Some("GetMyAddress"), "{name}"),
        other => assert!(is_error(decoded), "{name}: {other:?}"),
    }
}

fn check_string(name: &str, input: &[u8], decoded: &Value) {
    match bare::read_string(input) {
        Ok((value, _)) => assert_eq!(decoded.as_str(), Some(value), "{name}"),
        Err(error) => {
            let expected = match decoded.as_str().unwrap() {
                "error: unexpected end of input" => BareError::End,
                "error: invalid utf-8 in string" => BareError::Utf8,
                _ => BareError::Overflow,
            };
            assert_eq!(error, expected, "{name}");
        }
    }
}

fn check_request(name: &str, input: &[u8], decoded: &Value) {
    match Request::decode(input) {
        Ok(request) => {
            assert_eq!(request.path, text(decoded, "path"), "{name}");
            assert_eq!(
                Some(request.body.is_some()),
                decoded["has_body"].as_bool(),
                "{name}"
            );
        }
        Err(error) => {
            assert!(is_error(decoded), "{name}: {error}");
            assert_eq!(error, RequestError::Bare(BareError::End), "{name}");
        }
    }
}

#[test]
fn every_decode_rule() {
    let file = vectors("decode_rules.json");
    let vectors = list(&file, "vectors");
    assert_eq!(vectors.len(), 41);
    for vector in vectors {
        let (name, input, decoded) = (
            text(vector, "name"),
            bytes(vector, "hex"),
            &vector["decoded"],
        );
        let check = match name.split(':').next().unwrap() {
            "enum" => check_enum,
            "BARE string" => check_string,
            "request envelope" => check_request,
            _ => check_message,
        };
        check(name, &input, decoded);
    }
}

#[test]
fn session_pings_are_bare_integers() {
    let file = vectors("relay_messages.json");
    let pings = list(&file, "vectors")
        .iter()
        .filter(|v| text(v, "name").starts_with("session_ping"));
    let mut checked = 0;
    for vector in pings {
        let hex = text(&vector["fields"], "value").strip_prefix("0x").unwrap();
        let number = u64::from_str_radix(hex, 16).unwrap();
        let mut out = Vec::new();
        cbor::put_unsigned(&mut out, number);
        assert_eq!(out, bytes(vector, "hex"));
        assert_eq!(Cursor::new(&out).u64(), Ok(number));
        checked += 1;
    }
    assert_eq!(checked, 6);
}
