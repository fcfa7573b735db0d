//! Portal messages and the stream machine.

use culvert_proto::portal::{
    Config, Control, Features, MAX_CONTROL, PortalMessage, Received, Stream,
};

use crate::input::Input;

/// Our window and largest payload: small, so that their ends are reached.
const WINDOW: usize = 64;
const MAX_PAYLOAD: usize = 16;

/// Decoding is total and stable; a stream keeps its limits whatever it is told, in any order.
///
/// ```text
/// constructor, then events: kind, length, that many bytes
/// ```
pub fn portal(data: &[u8]) {
    check_codec(data);
    let mut input = Input::new(data);
    let mut stream = start(input.byte());
    let mut said = Vec::new();
    say(&mut stream, &mut said);
    while !input.is_empty() {
        let event = input.byte();
        let len = usize::from(input.byte());
        let was_done = stream.is_done();
        apply(&mut stream, event, input.take(len));
        let before = said.len();
        say(&mut stream, &mut said);
        if was_done {
            assert!(
                stream.is_done() && said.len() == before,
                "a done stream says nothing"
            );
        }
        assert!(stream.can_read() <= MAX_PAYLOAD);
        assert!(!stream.is_done() || stream.can_read() == 0);
        assert!(!stream.is_done() || stream.deadline_ms().is_none());
    }
    said.retain(|control| !matches!(control, Control::Credit(_)));
    let order: Vec<u8> = said.iter().map(rank).collect();
    assert!(order.is_sorted_by(|a, b| a < b), "{said:?}");
    assert!(!order.ends_with(&[3, 4]), "one goodbye: {said:?}");
}

fn check_codec(data: &[u8]) {
    let Ok(decoded) = PortalMessage::decode(data) else {
        return;
    };
    let expected = match decoded {
        PortalMessage::Payload { data, .. } => PortalMessage::Payload {
            data,
            counter: None,
        },
        other => other,
    };
    let mut again = Vec::new();
    decoded.encode_into(&mut again);
    assert_eq!(PortalMessage::decode(&again), Ok(expected));
}

fn start(constructor: u8) -> Stream {
    let cfg = Config {
        window: WINDOW as u32,
        max_payload: MAX_PAYLOAD,
        skip_handshake: constructor == 1,
        extensions: constructor & 0x80 == 0,
        ..Config::default()
    };
    let ping: &[u8] = if constructor & 0x40 == 0 {
        b"\x00CVT1\x07\x20"
    } else {
        b"\x00"
    };
    let ping = PortalMessage::decode(ping).expect("a Ping");
    match constructor & 0x3f {
        0 | 1 => Stream::inlet(&cfg, 0),
        2 => Stream::outlet_skip_handshake(&cfg),
        _ => Stream::outlet(&cfg, &ping),
    }
}

fn say(stream: &mut Stream, said: &mut Vec<Control>) {
    while let Some(control) = stream.poll_send() {
        let mut space = [0; MAX_CONTROL];
        let len = control.encode(&mut space);
        let mut again = Vec::new();
        PortalMessage::decode(&space[..len])
            .expect("our own")
            .encode_into(&mut again);
        assert_eq!(again, space[..len]);
        said.push(control);
    }
}

fn apply(stream: &mut Stream, event: u8, bytes: &[u8]) {
    match event {
        0 => stream.connected(),
        1 => stream.refused(),
        2 => stream.on_read(stream.can_read().min(bytes.len())),
        3 => stream.on_written(bytes.len()),
        4 => stream.on_eof(),
        5 => stream.on_read_error(),
        6 => stream.on_write_error(),
        7 => stream.stop(),
        8 => stream.lost(),
        9 => {
            let expired = stream.on_timeout(u64::MAX);
            assert!(!expired || (stream.is_done() && stream.aborts()));
        }
        _ => hear(stream, bytes),
    }
}

fn hear(stream: &mut Stream, message: &[u8]) {
    let unwritten = stream.unwritten();
    let was_done = stream.is_done();
    match stream.on_message(message) {
        Ok(Received::Data(range)) => {
            assert!(!range.is_empty() && range.end <= message.len());
            assert_eq!(stream.unwritten(), unwritten + range.len());
        }
        Ok(Received::Close { abort }) => assert!(stream.is_done() && stream.aborts() == abort),
        Ok(received) => assert!(!was_done || received == Received::Ignored),
        Err(error) if error.is_fatal() => {
            assert!(!was_done && stream.can_read() == 0);
        }
        Err(_) => assert!(!was_done && !stream.is_done()),
    }
    if stream.features().contains(Features::CREDIT) {
        assert!(stream.unwritten() <= WINDOW);
    }
}

/// Position of a control message in the order that all streams keep.
fn rank(control: &Control) -> u8 {
    match control {
        Control::Ping(_) => 0,
        Control::Pong(_) => 1,
        Control::Eof => 2,
        Control::Reset => 3,
        Control::Disconnect => 4,
        Control::Credit(_) => 5,
    }
}
