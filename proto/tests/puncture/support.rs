//! Setups and messages of single punctures.

use core::net::SocketAddr;
use culvert_proto::address::Address;
use culvert_proto::message::Message;
use culvert_proto::puncture::{Config, Output, Puncture, Setup, Transmit};
use culvert_proto::rendezvous::Response;
use culvert_proto::route::Route;

/// Where the rendezvous of all tests is.
pub(crate) const RENDEZVOUS: &str = "203.0.113.1:4000";

pub(crate) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A setup with addresses that start with `name`.
pub(crate) fn setup(name: &str) -> Setup {
    Setup {
        rendezvous: socket(RENDEZVOUS),
        worker: format!("{name}-worker").into(),
        reply_to: format!("{name}-reply").into(),
        config: Config::default(),
    }
}

/// A route of one local address, or of none.
pub(crate) fn route(value: &str) -> Route {
    match value {
        "" => Route::new(),
        value => [Address::local(value)].into_iter().collect(),
    }
}

/// A message as a real node writes it.
pub(crate) fn message(onward: &str, return_route: &str, payload: &[u8]) -> Vec<u8> {
    let message = Message {
        onward: route(onward),
        return_route: route(return_route),
        payload: payload.to_vec(),
        tracing: Some("{}".into()),
    };
    message.encode()
}

/// The rendezvous' answer to the setup of that name.
pub(crate) fn located(name: &str, public: &str) -> Vec<u8> {
    let response = Response::GetMyAddress(socket(public));
    message(&format!("{name}-reply"), "rendezvous", &response.encode())
}

/// Everything the puncture says at `now_ms`.
pub(crate) fn drain(puncture: &mut Puncture, now_ms: u64) -> Vec<Output> {
    let said: Vec<Output> = core::iter::from_fn(|| puncture.poll(now_ms))
        .take(100)
        .collect();
    assert!(said.len() < 100, "it never ends");
    assert_eq!(puncture.poll(now_ms), None);
    said
}

/// Sent over the socket: where to, and the message.
pub(crate) fn sent(outputs: &[Output]) -> Vec<(SocketAddr, Message)> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Datagrams(Transmit { to, message }) => {
            Some((*to, Message::decode(message).unwrap()))
        }
        Output::Negotiate(_) => None,
    });
    sent.collect()
}

/// Sent through the relay.
pub(crate) fn negotiated(outputs: &[Output]) -> Vec<Vec<u8>> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Datagrams(_) => None,
        Output::Negotiate(payload) => Some(payload.clone()),
    });
    sent.collect()
}
