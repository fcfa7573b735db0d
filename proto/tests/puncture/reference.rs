//! An end that behaves as `protocol/01-transport.md` 5.2 and 5.3 describe the reference: it asks
//! once, pings once a second, answers where a Ping came from, and believes only what it was told.

use crate::support::{RENDEZVOUS, message, route, socket};
use core::net::SocketAddr;
use culvert_proto::message::Message;
use culvert_proto::puncture::{
    Endpoint, Output, PING, PONG, PunctureMessage, Transmit, put_payload,
};
use culvert_proto::rendezvous::{Request, Response};
use culvert_proto::route::Route;

pub(crate) struct Reference {
    is_responder: bool,
    name: &'static str,
    outputs: Vec<Output>,
    peer: Option<Endpoint>,
    public: Option<SocketAddr>,
    next_ping_ms: Option<u64>,
    heard_ping: bool,
    pong_ms: Option<u64>,
    is_closed: bool,
}

impl Reference {
    pub(crate) fn initiator(name: &'static str) -> Self {
        Self::new(name, None)
    }

    pub(crate) fn responder(name: &'static str, initiate: &[u8]) -> Self {
        Self::new(name, Some(Endpoint::decode(initiate).unwrap()))
    }

    fn new(name: &'static str, peer: Option<Endpoint>) -> Self {
        let reply_to = format!("{name}-reply");
        let query = Transmit {
            to: socket(RENDEZVOUS),
            message: message("rendezvous", &reply_to, &Request::GetMyAddress.encode()),
        };
        Self {
            is_responder: peer.is_some(),
            name,
            outputs: vec![Output::Datagrams(query)],
            peer,
            public: None,
            next_ping_ms: None,
            heard_ping: false,
            pong_ms: None,
            is_closed: false,
        }
    }

    fn worker(&self) -> String {
        format!("{}-worker", self.name)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.pong_ms.is_some() && !self.is_closed
    }

    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        self.next_ping_ms.filter(|_| !self.is_closed)
    }

    pub(crate) fn poll(&mut self, now_ms: u64) -> Option<Output> {
        if !self.outputs.is_empty() {
            return Some(self.outputs.remove(0));
        }
        if self.is_closed || self.next_ping_ms.is_none_or(|due_ms| now_ms < due_ms) {
            return None;
        }
        if self
            .pong_ms
            .is_some_and(|pong_ms| now_ms - pong_ms >= 10_000)
        {
            self.is_closed = true;
            return None;
        }
        self.next_ping_ms = Some(now_ms + 1_000);
        let peer = self.peer.as_ref()?;
        let onward = match self.is_responder && !self.heard_ping {
            true => Route::new(),
            false => route(str::from_utf8(&peer.worker).unwrap()),
        };
        Some(Output::Datagrams(Transmit {
            to: peer.public,
            message: sent(onward, &self.worker(), &PING),
        }))
    }

    pub(crate) fn on_acknowledge(&mut self, now_ms: u64, payload: &[u8]) {
        self.peer = Some(Endpoint::decode(payload).unwrap());
        self.next_ping_ms = Some(now_ms);
    }

    /// What to send back, and a payload that came.
    pub(crate) fn on_message(
        &mut self,
        now_ms: u64,
        from: SocketAddr,
        bytes: &[u8],
    ) -> (Option<Transmit>, Option<Vec<u8>>) {
        let message = Message::decode(bytes).unwrap();
        let first = message.onward.first();
        let first = first.and_then(|first| first.local_value().map(<[u8]>::to_vec));
        match first {
            Some(first) if first == format!("{}-reply", self.name).into_bytes() => {
                self.on_located(now_ms, &message.payload);
            }
            Some(first) if first == self.worker().into_bytes() && self.next_ping_ms.is_some() => {
                return self.on_peer(now_ms, from, &message);
            }
            _ => {}
        }
        (None, None)
    }

    fn on_located(&mut self, now_ms: u64, payload: &[u8]) {
        let Response::GetMyAddress(public) = Response::decode(payload).unwrap() else {
            panic!("an address was asked for");
        };
        if self.public.replace(public).is_some() {
            return;
        }
        let worker = self.worker().into_bytes();
        let ours = Endpoint { public, worker }.encode();
        self.outputs.push(Output::Negotiate(ours));
        self.next_ping_ms = self.is_responder.then_some(now_ms);
    }

    fn on_peer(
        &mut self,
        now_ms: u64,
        from: SocketAddr,
        message: &Message,
    ) -> (Option<Transmit>, Option<Vec<u8>>) {
        if self.is_closed {
            return (None, None);
        }
        match PunctureMessage::decode(&message.payload).unwrap() {
            PunctureMessage::Ping => {
                self.heard_ping = true;
                let pong = Transmit {
                    to: from,
                    message: sent(message.return_route.clone(), &self.worker(), &PONG),
                };
                (Some(pong), None)
            }
            PunctureMessage::Pong => {
                self.pong_ms = Some(now_ms);
                (None, None)
            }
            PunctureMessage::Payload(payload) => (None, Some(payload.data.to_vec())),
            PunctureMessage::Segment(_) => panic!("the reference knows no segments"),
        }
    }

    pub(crate) fn wrap(&self, onward: &Route, back: &Route, data: &[u8]) -> Option<Transmit> {
        let peer = self.peer.as_ref().filter(|_| self.is_open())?;
        let mut payload = Vec::new();
        put_payload(&mut payload, onward, back, data);
        Some(Transmit {
            to: peer.public,
            message: message(str::from_utf8(&peer.worker).unwrap(), "", &payload),
        })
    }
}

fn sent(onward: Route, from: &str, payload: &[u8]) -> Vec<u8> {
    let message = Message {
        onward,
        return_route: route(from),
        payload: payload.to_vec(),
        tracing: Some("{}".into()),
    };
    message.encode()
}
