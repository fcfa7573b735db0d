//! Puncture and rendezvous messages, and either side of a puncture.

use core::net::SocketAddr;

use culvert_proto::address::Address;
use culvert_proto::message::Message;
use culvert_proto::puncture::{
    Config, Endpoint, Phase, Puncture, PunctureMessage, Received, Setup, put_payload,
};
use culvert_proto::rendezvous::{Request, Response, Service, asker};
use culvert_proto::route::Route;
use culvert_proto::steady::Steady;

use crate::input::Input;

/// Most Pings of one round, and the message through the relay.
const MAX_TALK: usize = 3;

/// Decoding is total and stable; a puncture says a bounded number of things at a time, wants to be
/// asked again later and not at once, and ends, whatever it is told, in any order.
///
/// ```text
/// role, then events: kind, pause, length, that many bytes
/// ```
pub fn puncture(data: &[u8]) {
    check_codecs(data);
    let mut input = Input::new(data);
    let mut puncture = start(input.byte());
    let mut now_ms = 0;
    while !input.is_empty() {
        let kind = input.byte();
        now_ms += u64::from(input.byte()) * 8;
        let len = usize::from(input.byte());
        let bytes = input.take(len);
        let before = puncture.phase();
        apply(&mut puncture, now_ms, kind, bytes);
        if matches!(before, Phase::Failed(_)) {
            assert_eq!(puncture.phase(), before, "it is over");
        }
        poll(&mut puncture, now_ms);
        assert_eq!(puncture.path().is_some(), puncture.phase() == Phase::Open);
    }
    poll(&mut puncture, u64::MAX);
    assert!(matches!(puncture.phase(), Phase::Failed(_)));
    assert_eq!((puncture.deadline_ms(), puncture.path()), (None, None));
}

fn host(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 1_000))
}

fn start(role: u8) -> Puncture {
    let setup = Setup {
        rendezvous: host(1),
        worker: b"w".to_vec(),
        reply_to: b"r".to_vec(),
        config: Config::default(),
    };
    let peer = Endpoint {
        public: host(2),
        worker: b"p".to_vec(),
    };
    let puncture = match role & 1 {
        0 => Puncture::initiator(setup, 0),
        _ => Puncture::responder(setup, &peer.encode(), 0),
    };
    puncture.expect("a setup that works")
}

fn apply(puncture: &mut Puncture, now_ms: u64, kind: u8, bytes: &[u8]) {
    let from = host(kind >> 5);
    let onward = match kind & 0x1f {
        // Anything at all.
        0 => return hear(puncture, now_ms, from, bytes),
        1 => {
            let was_negotiating = puncture.phase() == Phase::Negotiating;
            let taken = puncture.on_acknowledge(now_ms, bytes);
            assert!(taken.is_err() || was_negotiating);
            return;
        }
        2 => wrap(puncture, bytes),
        // A payload in a message to nobody, to the worker, as the answer of the rendezvous.
        3 => "",
        4 => "r",
        _ => "w",
    };
    let message = Message {
        onward: route(onward),
        return_route: route("p"),
        payload: bytes.to_vec(),
        tracing: None,
    };
    hear(puncture, now_ms, from, &message.encode());
}

fn route(value: &str) -> Route {
    match value {
        "" => Route::new(),
        value => [Address::local(value)].into_iter().collect(),
    }
}

fn wrap(puncture: &Puncture, bytes: &[u8]) -> &'static str {
    let wrapped = puncture.wrap(&route("a"), &route("b"), bytes);
    assert_eq!(wrapped.is_ok(), puncture.path().is_some());
    if let Ok(transmit) = wrapped {
        let message = Message::decode(&transmit.message).expect("our own");
        let Ok(PunctureMessage::Payload(payload)) = PunctureMessage::decode(&message.payload)
        else {
            panic!("not what was wrapped");
        };
        assert_eq!(payload.data.to_vec(), bytes);
    }
    "nobody"
}

fn hear(puncture: &mut Puncture, now_ms: u64, from: SocketAddr, message: &[u8]) {
    match puncture.on_message(now_ms, from, message) {
        Ok(Received::Answer(answer)) => {
            assert_eq!(answer.to, from);
            Message::decode(&answer.message).expect("our own");
        }
        Ok(Received::Payload(payload)) => {
            assert_eq!(payload.data.to_vec().len(), payload.data.len())
        }
        Ok(Received::Segment(segment)) => {
            let mut steady = Steady::new();
            let taken = steady.on_segment(now_ms, segment);
            // Whatever it was, there is no message but a whole one, and it is acknowledged.
            if let Some(message) = steady.next_message() {
                assert!(taken.is_ok() && !message.is_empty());
                assert!(steady.poll(now_ms).is_some());
            }
        }
        Ok(Received::Nothing) | Err(_) => {}
    }
}

fn poll(puncture: &mut Puncture, now_ms: u64) {
    let said = core::iter::from_fn(|| puncture.poll(now_ms)).take(MAX_TALK + 1);
    assert!(said.count() <= MAX_TALK);
    if let Some(deadline_ms) = puncture.deadline_ms() {
        assert!(deadline_ms > now_ms);
    }
}

fn check_codecs(data: &[u8]) {
    if let Ok(PunctureMessage::Payload(payload)) = PunctureMessage::decode(data) {
        let onward = payload.onward.to_owned();
        let return_route = payload.return_route.to_owned();
        let bytes = payload.data.to_vec();
        assert_eq!(bytes.len(), payload.data.len());
        let mut again = Vec::new();
        put_payload(&mut again, &onward, &return_route, &bytes);
        assert!(again.len() <= data.len());
        let Ok(PunctureMessage::Payload(payload)) = PunctureMessage::decode(&again) else {
            panic!("not what was encoded");
        };
        assert_eq!(payload.onward.to_owned(), onward);
        assert_eq!(payload.return_route.to_owned(), return_route);
        assert_eq!(payload.data.to_vec(), bytes);
    }
    if let Ok(endpoint) = Endpoint::decode(data) {
        assert_eq!(Endpoint::decode(&endpoint.encode()), Ok(endpoint));
    }
    if let Ok(response) = Response::decode(data) {
        assert_eq!(Response::decode(&response.encode()), Ok(response));
    }
    if let Ok(request) = Request::decode(data) {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
        let mut service = Service::new(Default::default());
        let from = asker(Route::new().view());
        let answered = service.on_request(0, from, data).is_ok();
        assert_eq!(answered, request == Request::Ping);
    }
}
