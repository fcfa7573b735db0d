//! Bad input to a TCP listener: the decisions of this crate, put together as a node would, give what
//! the reference was seen to do.

mod common;

use common::{bytes, list, text, vectors};
use culvert_proto::address::{Address, LOCAL};
use culvert_proto::bare;
use culvert_proto::frame::{self, Decoded};
use culvert_proto::message::{Layout, Message};
use culvert_proto::route::Route;

/// What the listener sent, and whether it keeps the connection.
struct Reaction {
    sent: Vec<u8>,
    open: bool,
}

/// A listener with the workers `echo` and `uppercase`. Others do not exist or may not be reached,
/// which a peer cannot tell apart.
fn listener(input: &[u8]) -> Reaction {
    let mut reaction = Reaction {
        sent: vec![frame::VERSION],
        open: true,
    };
    let Some((version, mut stream)) = input.split_first() else {
        return reaction;
    };
    reaction.open = *version == frame::VERSION;
    while reaction.open {
        match frame::decode(stream) {
            Ok(Decoded::Need(_)) => break,
            Ok(Decoded::Frame(range)) => {
                let end = range.end;
                reaction.open = receive(&stream[range], &mut reaction.sent);
                stream = &stream[end..];
            }
            Err(_) => reaction.open = false,
        }
    }
    reaction
}

/// Handles one message. Returns false when the connection must be closed.
fn receive(msg: &[u8], sent: &mut Vec<u8>) -> bool {
    let Ok(layout) = Layout::parse(msg) else {
        return false;
    };
    let Some(first) = layout.onward(msg).first() else {
        return true;
    };
    let payload = layout.payload(msg);
    let accepted = match (first.transport, first.value) {
        (LOCAL, b"echo") => true,
        (LOCAL, b"uppercase") => bare::read_string(payload).is_ok(),
        _ => false,
    };
    if accepted {
        let reply = Message {
            onward: layout.return_route(msg).to_owned(),
            return_route: [first].into_iter().collect(),
            payload: payload.to_vec(),
            tracing: Some("{}".into()),
        };
        let encoded = reply.encode();
        sent.extend(frame::length_prefix(encoded.len()).unwrap());
        sent.extend(encoded);
    }
    true
}

#[test]
fn every_case() {
    let file = vectors("tcp_bad_input.json");
    for case in list(&file, "cases") {
        let name = text(case, "name");
        println!("{name}");
        if case["sent_hex"].is_null() {
            let expected = case["echoed_bytes"].as_u64().unwrap() as usize;
            check_largest(expected - 1 - frame::LEN, expected);
            continue;
        }
        let reaction = listener(&bytes(case, "sent_hex"));
        assert_eq!(reaction.open, text(case, "connection_after") == "open");
        // The reference closes asynchronously after a bad version: in this capture it still handled
        // the frame behind it. Culvert never does.
        let expected = match name {
            "version 02" => "01",
            _ => text(case, "server_sent_hex"),
        };
        assert_eq!(hex::encode(&reaction.sent), expected);
    }
}

/// A message of `length` bytes is echoed.
fn check_largest(length: usize, echoed: usize) {
    let route = |name| [Address::local(name)].iter().collect::<Route>();
    let message = |payload| Message {
        onward: route("echo"),
        return_route: route("c"),
        payload,
        tracing: Some("{}".into()),
    };
    let around = message(vec![0; 1 << 17]).encode().len() - (1 << 17);
    let encoded = message(vec![0; length - around]).encode();
    assert_eq!(encoded.len(), length);
    let mut input = vec![frame::VERSION];
    input.extend(frame::length_prefix(length).unwrap());
    input.extend(encoded);
    let reaction = listener(&input);
    assert!(reaction.open);
    assert_eq!(reaction.sent.len(), echoed);
}
