//! Addresses, routes, messages and frames against the reference's own encodings, byte for byte.

mod common;

use common::{address, bytes, list, route, text, vectors};
use culvert_proto::address::AddressRef;
use culvert_proto::bare;
use culvert_proto::cbor::Cursor;
use culvert_proto::frame::{self, Decoded};
use culvert_proto::limits::MAX_FRAME;
use culvert_proto::message::{Layout, Message, TRACING_NONE, header_len, write_header};
use culvert_proto::route::{Route, RouteView};
use serde_json::Value;

fn check_address(vector: &Value) {
    let encoded = bytes(vector, "hex");
    let expected = address(&vector["fields"]);
    let mut cursor = Cursor::new(&encoded);
    let decoded = AddressRef::decode(&mut cursor).unwrap();
    assert!(cursor.is_at_end());
    assert_eq!(decoded.to_owned(), expected);
    assert_eq!(decoded.to_string(), text(&vector["fields"], "text_form"));
    let mut out = Vec::new();
    expected.encode_into(&mut out);
    assert_eq!(out, encoded);
    assert_eq!(out.len(), expected.encoded_len());
}

fn check_route(vector: &Value) {
    let encoded = bytes(vector, "hex");
    let expected = route(&vector["fields"]["hops"]);
    let mut cursor = Cursor::new(&encoded);
    let decoded = RouteView::decode(&mut cursor).unwrap();
    assert!(cursor.is_at_end());
    assert_eq!(decoded.to_owned(), expected);
    assert_eq!(decoded.elements(), expected.elements());
    let mut out = Vec::new();
    expected.encode_into(&mut out);
    assert_eq!(out, encoded);
}

fn check_message(vector: &Value) {
    let fields = &vector["fields"];
    let encoded = bytes(vector, "hex");
    let message = Message {
        onward: route(&fields["onward_route"]),
        return_route: route(&fields["return_route"]),
        payload: bytes(fields, "payload_hex"),
        tracing: fields["tracing_context"].as_str().map(str::to_owned),
    };
    assert_eq!(message.encode(), encoded);
    assert_eq!(Message::decode(&encoded), Ok(message.clone()));

    let layout = Layout::parse(&encoded).unwrap();
    assert_eq!(
        layout.onward(&encoded).elements(),
        message.onward.elements()
    );
    assert_eq!(
        layout.return_route(&encoded).elements(),
        message.return_route.elements()
    );
    assert_eq!(layout.payload(&encoded), message.payload);
    assert_eq!(layout.tracing(&encoded), message.tracing.as_deref());
    assert_eq!(layout.end(), encoded.len());
    let header = header_len(
        &message.onward,
        &message.return_route,
        message.payload.len(),
    );
    assert_eq!(
        layout.payload_range(),
        header..header + message.payload.len()
    );
    let base = 100;
    assert_eq!(layout.payload_range_at(base).start, base + header);

    let frame = bytes(vector, "frame_hex");
    assert_eq!(
        frame::decode(&frame),
        Ok(Decoded::Frame(frame::LEN..frame.len()))
    );
    assert_eq!(
        frame::length_prefix(encoded.len()).unwrap(),
        frame[..frame::LEN]
    );
    assert_eq!(frame[frame::LEN..], encoded);
}

/// The largest payload in the shape of `fields`: the limit of the frame, minus what is around it.
fn check_limits(fields: &Value) {
    assert_eq!(fields["max_message_bytes"].as_u64(), Some(MAX_FRAME as u64));
    let hop: Route = [AddressRef::local(&[b'a'; 32])].into_iter().collect();
    let largest = fields["resulting_max_payload"].as_u64().unwrap() as usize;
    let header = header_len(&hop, &hop, largest);
    assert_eq!(header + TRACING_NONE.len(), 83);
    assert_eq!(header + largest + TRACING_NONE.len(), MAX_FRAME);
    let mut encoded = vec![0; header];
    write_header(&mut encoded, 4, &hop, &hop, largest);
    encoded.resize(header + largest, 0);
    encoded.extend_from_slice(TRACING_NONE);
    assert_eq!(
        Layout::parse(&encoded).unwrap().payload_range(),
        header..header + largest
    );
}

#[test]
fn every_transport_vector() {
    let file = vectors("transport_messages.json");
    for vector in list(&file, "vectors") {
        let name = text(vector, "name");
        println!("{name}");
        match name.split('_').next().unwrap() {
            "address" => check_address(vector),
            "route" => check_route(vector),
            "tcp" if name == "tcp_limits" => check_limits(&vector["fields"]),
            "tcp" => check_message(vector),
            "bare" => check_bare(name, vector),
            _ => panic!("unknown vector {name}"),
        }
    }
}

#[test]
fn relay_messages_inside_transport_messages() {
    let file = vectors("relay_messages.json");
    let mut checked = 0;
    for vector in list(&file, "vectors")
        .iter()
        .filter(|v| v["frame_hex"].is_string())
    {
        check_message(vector);
        checked += 1;
    }
    assert_eq!(checked, 2);
}

// The legacy BARE forms do not travel any more and have no codec in the crate. Their vectors check
// the BARE primitives.

fn check_bare(name: &str, vector: &Value) {
    let fields = &vector["fields"];
    let encoded = bytes(vector, "hex");
    let mut out = Vec::new();
    match name {
        "bare_address_local_echo" => put_address(&mut out, 0, b"echo"),
        "bare_address_tcp" => put_address(&mut out, 1, b"127.0.0.1:4000"),
        "bare_address_250_bytes" => put_address(&mut out, 0, &[b'a'; 250]),
        "bare_route" => put_route(&mut out, &route(fields)),
        "bare_local_message" => put_local_message(&mut out, fields),
        _ if name.starts_with("bare_transport") => put_transport_message(&mut out, fields),
        _ if name.starts_with("bare_string") => return check_bare_string(fields, &encoded),
        _ => panic!("unknown vector {name}"),
    }
    assert_eq!(hex::encode(out), hex::encode(&encoded));
    if name.starts_with("bare_address") {
        let (value, rest) = bare::read_data(&encoded[1..]).unwrap();
        assert_eq!(value.len() as u64, fields["value_len"].as_u64().unwrap());
        assert!(rest.is_empty());
    }
}

fn check_bare_string(fields: &Value, encoded: &[u8]) {
    let (decoded, rest) = bare::read_string(encoded).unwrap();
    assert!(rest.is_empty());
    assert_eq!(decoded.len() as u64, fields["len_chars"].as_u64().unwrap());
    if let Some(expected) = fields["text"].as_str() {
        assert_eq!(decoded, expected);
    }
    assert_eq!(bare::string(decoded), encoded);
}

fn put_address(out: &mut Vec<u8>, transport: u8, value: &[u8]) {
    out.push(transport);
    bare::put_data(out, value);
}

fn put_route(out: &mut Vec<u8>, route: &Route) {
    bare::put_uleb128(out, route.hops() as u64);
    for hop in route.iter() {
        put_address(out, hop.transport, hop.value);
    }
}

fn put_transport_message(out: &mut Vec<u8>, fields: &Value) {
    out.push(fields["version"].as_u64().unwrap() as u8);
    put_route(out, &common::text_route(&fields["onward"]));
    put_route(out, &common::text_route(&fields["return"]));
    bare::put_data(out, &bytes(fields, "payload_hex"));
    match fields["tracing"].as_str() {
        None => out.push(0),
        Some(tracing) => {
            out.push(1);
            bare::put_string(out, tracing);
        }
    }
}

/// Routes, payload, number of local infos, number of tracing entries.
fn put_local_message(out: &mut Vec<u8>, fields: &Value) {
    put_route(out, &common::text_route(&fields["onward"]));
    put_route(out, &common::text_route(&fields["return"]));
    bare::put_data(out, &bytes(fields, "payload_hex"));
    bare::put_uleb128(out, list(fields, "local_info").len() as u64);
    bare::put_uleb128(
        out,
        fields["tracing_context"].as_object().unwrap().len() as u64,
    );
}
