//! One request, seen by the client and on both legs of the relay.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use culvert_proto::message::Layout;

use super::http::{Client, GREETING};
use super::stop::Stop;
use super::tap::{Direction, Message, Tap};
use crate::failure::Failure;

/// How long the request may take to pass both legs.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a service may take to answer that may not speak HTTP at all.
const ANSWER: Duration = Duration::from_secs(2);
/// Bytes that are shown.
pub const SHOWN: usize = 16;
/// What a channel adds to a request: number of the message and tag.
const SEALED: usize = 24;

/// What was seen.
pub struct Capture {
    /// First bytes of the request at the client.
    pub client: Vec<u8>,
    /// The same on the leg from the inlet to the relay.
    pub inlet_leg: Seen,
    /// The same on the leg from the relay to the outlet.
    pub outlet_leg: Seen,
    /// Length of the payload that carried the request, the same on both legs.
    pub payload_len: usize,
    /// Messages that passed the relay in all, both ways on both legs.
    pub messages: usize,
    /// Whether the service answered in HTTP.
    pub is_http: bool,
}

/// A message on one leg.
pub struct Seen {
    /// First bytes of its payload.
    pub payload: Vec<u8>,
    /// Where it goes, as it says.
    pub route: String,
}

/// Sends a request through the inlet and looks for it on both legs.
///
/// # Errors
///
/// When it does not arrive; and when the relay could have read any of it, which must not be.
pub fn capture(inlet: SocketAddr, taps: [&Tap; 2], stop: &Stop) -> Result<Capture, Failure> {
    let failed = |error| Failure::new(format!("the request through {inlet} failed: {error}"), "");
    let mark = hex::encode(culvert_node::random_bytes::<16>());
    let request = Client::request("/", &mark);
    let mut client = Client::connect(inlet, ANSWER).map_err(failed)?;
    client.send(&request).map_err(failed)?;
    let is_http = client.receive(|| true).is_ok();
    let end = Instant::now() + PATIENCE;
    let [inlet_tap, outlet_tap] = taps;
    loop {
        stop.check()?;
        let (near, far) = (inlet_tap.messages(), outlet_tap.messages());
        if let Some((sent, arrived)) = find(&near, &far, request.len() + SEALED) {
            let readable = [mark.as_str(), "HTTP/1.", GREETING];
            if near
                .iter()
                .chain(&far)
                .any(|message| holds(message, &readable))
            {
                return Err(Failure::new("a message on the way holds plaintext", ""));
            }
            return Ok(Capture {
                client: request.as_bytes()[..SHOWN].to_vec(),
                payload_len: payload(sent).len(),
                inlet_leg: seen(sent),
                outlet_leg: seen(arrived),
                messages: near.len() + far.len(),
                is_http,
            });
        }
        if Instant::now() > end {
            let hint = "the connection was made, but its data did not pass the relay";
            return Err(Failure::new("the request was not seen on both legs", hint));
        }
        stop.sleep();
    }
}

/// The first message of the channel to the relay that is large enough to carry the request, and
/// the message from the relay with the very same payload.
fn find<'a>(
    near: &'a [Message],
    far: &'a [Message],
    at_least: usize,
) -> Option<(&'a Message, &'a Message)> {
    near.iter()
        .filter(|message| message.direction == Direction::ToRelay)
        .filter(|message| is_sealed(payload(message)) && payload(message).len() >= at_least)
        .find_map(|sent| {
            let arrived = far.iter().find(|message| {
                message.direction == Direction::FromRelay && payload(message) == payload(sent)
            });
            Some((sent, arrived?))
        })
}

/// Whether a payload starts with the number of a message, and a small one: those of a handshake
/// start with keys.
fn is_sealed(payload: &[u8]) -> bool {
    payload.starts_with(&[0; 5])
}

fn payload(message: &Message) -> &[u8] {
    Layout::parse(&message.bytes).map_or(&[], |layout| layout.payload(&message.bytes))
}

fn seen(message: &Message) -> Seen {
    let payload = payload(message);
    Seen {
        payload: payload[..payload.len().min(SHOWN)].to_vec(),
        route: Layout::parse(&message.bytes).map_or_else(
            |error| error.to_string(),
            |layout| layout.onward(&message.bytes).to_owned().to_string(),
        ),
    }
}

fn holds(message: &Message, texts: &[&str]) -> bool {
    texts.iter().any(|text| {
        message
            .bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    })
}
