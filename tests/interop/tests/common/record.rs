//! Recorded conversations: what is random in them replaced by numbers, then compared field by field.

use std::fmt::{self, Write as _};
use std::fs;

use culvert_proto::address::Address;
use culvert_proto::cbor;
use culvert_proto::forwarder::{self, Registration, Reply, Request};
use culvert_proto::frame::{self, Decoded};
use culvert_proto::message::Message;
use culvert_proto::portal::PortalMessage;
use culvert_proto::route::Route;
use culvert_tests::bins;
use culvert_tests::tap::{Direction, Frame, Tap};
use serde_json::Value;

/// Addresses that have a meaning; all others are random ones of a node.
const NAMES: [&str; 11] = [
    "api",
    "echo",
    "echoer",
    "forward_to_bob",
    "forwarding_service",
    "hop",
    "key_exchanger",
    "outlet",
    "pyclient",
    "static_forwarding_service",
    "uppercase",
];

/// One message of a conversation.
#[derive(Clone, Debug)]
pub struct Said {
    /// `Up` is from whoever connected.
    pub direction: Direction,
    /// As it was read.
    pub message: Message,
}

/// Reads a message and makes sure that writing it gives the same bytes: no other encoding of the
/// same fields passes for equal.
pub fn read(bytes: &[u8]) -> Message {
    let message =
        Message::decode(bytes).unwrap_or_else(|error| panic!("{error}, {} bytes", bytes.len()));
    assert_eq!(hex::encode(message.encode()), hex::encode(bytes));
    message
}

/// What passed a tap on one of its connections.
pub fn tapped(tap: &Tap, connection: usize) -> Vec<Said> {
    let of_connection = |frame: &Frame| frame.connection == connection;
    let frames = tap.recorded().into_iter().filter(of_connection);
    let said = frames.map(|frame| Said {
        direction: frame.direction,
        message: read(&frame.message),
    });
    said.collect()
}

/// A session that was captured between Ockam nodes, from `tests/vectors`. The bytes are read, not
/// the description beside them.
pub fn captured(session: &str, link: &str) -> Vec<Said> {
    let path = bins::project_root().join(format!("tests/vectors/tcp_session_{session}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let file: Value = serde_json::from_str(&text).expect("JSON of a session");
    let mut said = Vec::new();
    let events = file["links"][link].as_array().expect("events of a link");
    for event in events.iter().filter(|event| event["event"] == "data") {
        let direction = match event["dir"].as_str() {
            Some("client->server") => Direction::Up,
            _ => Direction::Down,
        };
        let bytes = hex::decode(event["hex"].as_str().expect("hex")).expect("hex");
        let mut rest = bytes.as_slice();
        // Some captures begin on a connection that is already in use.
        if event["decoded"][0].is_string() {
            assert_eq!(rest[0], frame::VERSION);
            rest = &rest[1..];
        }
        while !rest.is_empty() {
            let Decoded::Frame(range) = frame::decode(rest).expect("a frame") else {
                panic!("a captured frame is cut off");
            };
            let end = range.end;
            said.push(Said {
                direction,
                message: read(&rest[range]),
            });
            rest = &rest[end..];
        }
    }
    said
}

/// A message with its random addresses numbered in the order in which they were first seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    pub from: &'static str,
    pub onward: String,
    pub return_route: String,
    pub payload: String,
    pub tracing: Option<String>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            onward,
            return_route,
            payload,
            tracing,
        } = self;
        write!(
            f,
            "{from}: [{onward}] back [{return_route}] {payload} {tracing:?}"
        )
    }
}

/// How a payload is compared.
pub type Shown = fn(&[u8]) -> String;

/// Byte by byte.
pub fn bytes(payload: &[u8]) -> String {
    hex::encode(payload)
}

/// A message of a secure channel, from outside: of the handshake the length, afterwards the nonce.
pub fn sealed(payload: &[u8]) -> String {
    let nonce = payload
        .first_chunk()
        .map(|&first| u64::from_be_bytes(first));
    match nonce {
        Some(nonce) if nonce < 1 << 32 => format!("sealed, nonce {nonce}"),
        _ => format!("handshake, {} bytes", payload.len()),
    }
}

/// The captured channel whose initiator had a P-256 key, seen from outside: the handshake, a message
/// each way, and its end.
pub fn captured_channel() -> Vec<Said> {
    let path = bins::project_root().join("tests/vectors/secure_channel_handshake.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let file: Value = serde_json::from_str(&text).expect("JSON of transcripts");
    let all = file["transcripts"].as_array().expect("transcripts");
    let one = all
        .iter()
        .find(|one| one["name"] == "p256_initiator_no_credentials");
    let list = |name: &str| {
        one.expect("the transcript")[name]
            .as_array()
            .expect("messages")
            .iter()
    };
    let transport = list("transport_messages");
    let (first, last) = (
        transport.clone().take(2),
        transport
            .skip(2)
            .filter(|message| message["decoded"]["type"] == "Close"),
    );
    list("handshake_messages")
        .chain(first)
        .chain(last)
        .map(captured_sealed)
        .collect()
}

fn captured_sealed(message: &Value) -> Said {
    let hops = |name: &str| -> Route {
        let hops = message[name].as_array().expect("a route").iter();
        let hops = hops.map(|hop| hop.as_str().expect("an address"));
        hops.filter_map(
            |hop| match hop.strip_prefix("0#").expect("a local address") {
                // Only where it was captured.
                hop if hop.starts_with("tap_") => None,
                hop if hop.starts_with("listener_") => Some(Address::local("api")),
                hop => Some(Address::local(hop)),
            },
        )
        .collect()
    };
    let payload = message["wire_payload"].as_str().expect("hex");
    Said {
        direction: match message["direction"].as_str() {
            Some("initiator_to_responder") => Direction::Up,
            _ => Direction::Down,
        },
        message: Message {
            onward: hops("outer_onward_route_at_tap"),
            return_route: hops("outer_return_route_at_tap"),
            payload: hex::decode(payload).expect("hex"),
            tracing: Some("{}".to_owned()),
        },
    }
}

/// Replaces what is random.
pub fn lines(said: &[Said], shown: Shown) -> Vec<Line> {
    let mut known = Vec::new();
    let lines = said.iter().map(|said| Line {
        from: match said.direction {
            Direction::Up => "near",
            Direction::Down => "far",
        },
        onward: route(&said.message.onward, &mut known),
        return_route: route(&said.message.return_route, &mut known),
        payload: shown(&said.message.payload),
        tracing: said.message.tracing.clone(),
    });
    lines.collect()
}

fn route(route: &Route, known: &mut Vec<Vec<u8>>) -> String {
    let mut text = String::new();
    for address in route.iter() {
        let value = address.local_value().expect("a local address");
        if let Some(name) = NAMES.iter().find(|name| name.as_bytes() == value) {
            let _ = write!(text, " {name}");
            continue;
        }
        // Ockam's are 32 hexadecimal digits, Culvert's 20 characters of base64url.
        let hexadecimal = value.len() == 32 && value.iter().all(u8::is_ascii_hexdigit);
        let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        assert!(
            hexadecimal || (value.len() == 20 && value.iter().all(base64)),
            "an address of neither kind: {:?}",
            String::from_utf8_lossy(value)
        );
        let number = known.iter().position(|known| known == value);
        let number = number.unwrap_or_else(|| {
            known.push(value.to_owned());
            known.len() - 1
        });
        let _ = write!(text, " {number}");
    }
    text.trim_start().to_owned()
}

/// What Culvert adds to what Ockam would say in its place. There is one other difference: Culvert's
/// own messages have no tracing context where Ockam always writes `{}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marker {
    /// Behind the name in a registration: that messages may be forwarded over the link, and with a
    /// channel which of several links this is.
    Registration,
    /// Behind the address in a confirmation; only in answer to the same.
    Confirmation,
    /// Behind a Ping.
    Ping,
}

/// The places of the messages that one side said: of those that have no tracing context when that
/// side is Culvert.
pub fn said_by(lines: &[Line], side: &str) -> Vec<usize> {
    let all = lines.iter().enumerate();
    let of_side = all.filter(|(_, line)| line.from == side);
    of_side.map(|(index, _)| index).collect()
}

/// Compares what was recorded with what is expected. `untraced` are the places of messages that
/// Culvert itself made.
///
/// # Panics
/// When they differ in any way not allowed, or not in one of those that are.
pub fn compare(
    what: &str,
    expected: &[Line],
    recorded: &[Line],
    allowed: &[Marker],
    untraced: &[usize],
) {
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for index in 0..expected.len().max(recorded.len()) {
        let (Some(expected), Some(got)) = (expected.get(index), recorded.get(index)) else {
            wrong.push(format!("message {index}: there on one side only"));
            continue;
        };
        let mut field = |name: &str, expected: &str, got: &str| {
            if expected != got {
                wrong.push(format!("message {index}, {name}: {got}, not {expected}"));
            }
        };
        field("from", expected.from, got.from);
        field("onward route", &expected.onward, &got.onward);
        field("return route", &expected.return_route, &got.return_route);
        if let Some(marker) = marked(&expected.payload, &got.payload)
            && allowed.contains(&marker)
        {
            seen.push(marker);
        } else {
            field("payload", &expected.payload, &got.payload);
        }
        let tracing = match untraced.contains(&index) {
            true => None,
            false => expected.tracing.clone(),
        };
        field(
            "tracing",
            &format!("{tracing:?}"),
            &format!("{:?}", got.tracing),
        );
    }
    for allowed in allowed {
        if !seen.contains(allowed) {
            wrong.push(format!("{allowed:?} is allowed and does not occur"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{what}:\n{}\nexpected {expected:#?}\nrecorded {recorded:#?}",
        wrong.join("\n")
    );
    println!(
        "{what}: {} messages, but for {seen:?} the same",
        recorded.len()
    );
}

/// Which of Culvert's markers follows the expected bytes, if one does and nothing else.
fn marked(expected: &str, got: &str) -> Option<Marker> {
    let (expected, got) = (hex::decode(expected).ok()?, hex::decode(got).ok()?);
    let rest = got.strip_prefix(expected.as_slice())?;
    if !rest.starts_with(forwarder::MARKER) {
        return None;
    }
    if let Ok(PortalMessage::Ping { ext: Some(_) }) = PortalMessage::decode(&got) {
        return Some(Marker::Ping);
    }
    if let Ok(request) = Request::decode(&got)
        && request.registration == Registration::Named("bob")
        && request.encode().is_ok_and(|encoded| encoded == got)
    {
        return Some(Marker::Registration);
    }
    let confirmed = Reply::decode(&got).ok()?;
    (confirmed.encode() == got).then_some(Marker::Confirmation)
}

/// As inside of a channel, where messages have no tracing context.
pub fn inside(said: Vec<Said>) -> Vec<Said> {
    let without = |said: Said| Said {
        message: Message {
            tracing: None,
            ..said.message
        },
        ..said
    };
    said.into_iter().map(without).collect()
}

/// Takes out the questions of sessions and their answers: a number to `echo` and back. Returns how
/// many exchanges there were.
pub fn without_questions(said: Vec<Said>) -> (Vec<Said>, usize) {
    let before = said.len();
    let is_question = |said: &Said| {
        let message = &said.message;
        let to_or_from = [message.onward.first(), message.return_route.first()];
        let mut cursor = cbor::Cursor::new(&message.payload);
        cursor.u64().is_ok()
            && cursor.is_at_end()
            && message.payload.len() == 9
            && to_or_from
                .iter()
                .flatten()
                .any(|address| address.value == b"echo")
    };
    let rest: Vec<Said> = said.into_iter().filter(|said| !is_question(said)).collect();
    let questions = (before - rest.len()) / 2;
    (rest, questions)
}
