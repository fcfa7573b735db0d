//! Vectors, and short ways to say what a stream did.

use culvert_proto::portal::{Config, Control, PortalMessage, Stream};
use serde_json::Value;

/// A vector file by name, without `.json`.
pub(crate) fn load(name: &str) -> Value {
    let path = format!(
        "{}/../tests/vectors/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The bytes of a member that holds hexadecimal text.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("text")).expect("hexadecimal")
}

/// A message as bytes.
pub(crate) fn encode(message: &PortalMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode_into(&mut out);
    out
}

/// A Payload as bytes.
pub(crate) fn payload(data: &[u8]) -> Vec<u8> {
    encode(&PortalMessage::Payload {
        data,
        counter: None,
    })
}

/// Everything a stream has in line.
pub(crate) fn drain(stream: &mut Stream) -> Vec<Control> {
    std::iter::from_fn(|| stream.poll_send()).collect()
}

/// Everything a stream has in line, as bytes.
pub(crate) fn drain_bytes(stream: &mut Stream) -> Vec<Vec<u8>> {
    drain(stream).iter().map(control).collect()
}

/// A control message as bytes.
pub(crate) fn control(message: &Control) -> Vec<u8> {
    let mut space = [0; 32];
    let len = message.encode(&mut space);
    space[..len].to_vec()
}

/// Behaves on the wire as an Ockam node does.
pub(crate) fn plain() -> Config {
    Config {
        extensions: false,
        ..Config::default()
    }
}

/// Small enough for tests to reach the limits.
pub(crate) fn small() -> Config {
    Config {
        window: 1000,
        max_payload: 100,
        pong_timeout_ms: 5_000,
        ..Config::default()
    }
}

/// An outlet that got this Ping, connected and sent its Pong.
pub(crate) fn open_outlet(cfg: &Config, ping: &[u8]) -> Stream {
    let mut outlet = Stream::outlet(cfg, &PortalMessage::decode(ping).expect("a Ping"));
    outlet.connected();
    assert_eq!(drain(&mut outlet).len(), 1);
    outlet
}

/// An inlet that sent its Ping and got this Pong.
pub(crate) fn open_inlet(cfg: &Config, pong: &[u8]) -> Stream {
    let mut inlet = Stream::inlet(cfg, 0);
    assert_eq!(drain(&mut inlet).len(), 1);
    inlet.on_message(pong).expect("a Pong");
    inlet
}

/// Two streams that opened towards each other.
pub(crate) fn open_pair(inlet: &Config, outlet: &Config) -> (Stream, Stream) {
    let mut inlet = Stream::inlet(inlet, 0);
    let ping = drain_bytes(&mut inlet).remove(0);
    let mut outlet = Stream::outlet(outlet, &PortalMessage::decode(&ping).expect("a Ping"));
    outlet.connected();
    let pong = drain_bytes(&mut outlet).remove(0);
    inlet.on_message(&pong).expect("a Pong");
    (inlet, outlet)
}
