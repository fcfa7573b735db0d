//! The rendezvous: messages against the reference's, and what the service answers, limits and
//! forgets.

mod common;

use common::{bytes, list, text, vectors};
use core::net::SocketAddr;
use culvert_proto::message::Message;
use culvert_proto::rendezvous::{
    Config, Refusal, RendezvousError, Request, Response, SERVICE, Service, asker,
};
use culvert_proto::route::Route;
use culvert_proto::udp::{Config as UdpConfig, Reassembler, Received, peer_address};

const PING: [u8; 3] = [0x82, 0, 0x80];
const GET: [u8; 3] = [0x82, 1, 0x80];

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn vectors_both_ways() {
    let file = vectors("udp_messages.json");
    let mut checked = 0;
    for vector in list(&file, "vectors") {
        let name = text(vector, "name");
        let response = match name {
            "rendezvous_request_ping" | "rendezvous_request_get_my_address" => None,
            "rendezvous_response_pong" => Some(Response::Pong),
            "rendezvous_response_get_my_address" => {
                let address = text(&vector["fields"], "GetMyAddress");
                Some(Response::GetMyAddress(socket(address)))
            }
            _ => continue,
        };
        let encoded = bytes(vector, "hex");
        if let Some(response) = response {
            assert_eq!(Response::decode(&encoded), Ok(response));
            assert_eq!(response.encode(), encoded);
        } else {
            let request = Request::decode(&encoded).unwrap();
            assert_eq!(format!("{request:?}"), text(vector, "fields"));
            assert_eq!(request.encode()[..], encoded);
        }
        checked += 1;
    }
    assert_eq!(checked, 4);
}

/// The recorded requests, answered as the recorded service did: the same bytes come out.
#[test]
fn recorded_sessions() {
    for (session, answers) in [
        ("udp_session_rendezvous.json", 2),
        ("udp_session_puncture.json", 2),
    ] {
        let file = vectors(session);
        let mut service = Service::new(Config::default());
        let mut reassembler = Reassembler::new(UdpConfig::default());
        let mut expected = Vec::new();
        let mut checked = 0;
        for record in list(&file, "datagrams") {
            let port = record["src_port"].as_u64().unwrap() as u16;
            let from = SocketAddr::from(([127, 0, 0, 1], port));
            let datagram = bytes(record, "hex");
            let Ok(Received::Message(message)) = reassembler.receive(0, from, &datagram) else {
                panic!("one part each");
            };
            let message = Message::decode(&message).unwrap();
            let local = |route: &Route| {
                route
                    .first()
                    .and_then(|a| a.local_value().map(<[u8]>::to_vec))
            };
            if local(&message.onward).as_deref() == Some(SERVICE.as_bytes()) {
                let mut return_route = message.return_route.clone();
                return_route.push_front(peer_address(from).as_ref());
                let asker = asker(return_route.view());
                assert_eq!(asker, Some(from));
                let response = service.on_request(0, asker, &message.payload).unwrap();
                expected.push((message.return_route, response.encode()));
            } else if local(&message.return_route).as_deref() == Some(SERVICE.as_bytes()) {
                assert_eq!((message.onward, message.payload), expected.remove(0));
                checked += 1;
            }
        }
        assert_eq!((checked, expected.len()), (answers, 0));
    }
}

#[test]
fn what_decoders_accept() {
    for (payload, expected) in [
        ("820080", Ok(Request::Ping)),
        ("820180", Ok(Request::GetMyAddress)),
        // Any item as the fields, a long head, bytes behind.
        ("8200f6", Ok(Request::Ping)),
        ("82180180ff", Ok(Request::GetMyAddress)),
        ("9f0080ff", Err(RendezvousError::NotAnEnum)),
        ("83008080", Err(RendezvousError::NotAnEnum)),
        ("820280", Err(RendezvousError::Variant(2))),
    ] {
        assert_eq!(Request::decode(&hex::decode(payload).unwrap()), expected);
    }
    for payload in ["", "82", "8200", "822080", "a10080", "8200ff", "c1820080"] {
        let payload = hex::decode(payload).unwrap();
        assert!(matches!(
            Request::decode(&payload),
            Err(RendezvousError::Cbor(_))
        ));
    }
    let address = |text: &str| {
        let mut payload = vec![0x82, 1, 0x81];
        culvert_proto::cbor::put_text(&mut payload, text);
        Response::decode(&payload)
    };
    let v6 = socket("[2001:db8::1]:9");
    assert_eq!(address("[2001:db8::1]:9"), Ok(Response::GetMyAddress(v6)));
    for text in ["", "example.org:1", "192.0.2.7", "192.0.2.7:1 "] {
        assert_eq!(address(text), Err(RendezvousError::Address), "{text}");
    }
    assert_eq!(address(&"1".repeat(10_000)), Err(RendezvousError::Address));
    assert_eq!(Response::decode(&GET), Err(RendezvousError::Missing));
}

#[test]
fn only_what_came_over_udp_has_an_address() {
    let route: Route = "0#s => 2#192.0.2.7:9 => 2#192.0.2.8:9 => 0#a"
        .parse()
        .unwrap();
    assert_eq!(asker(route.view()), Some(socket("192.0.2.7:9")));
    for route in ["", "0#s => 1#192.0.2.7:9", "2#somewhere:9 => 2#192.0.2.7:9"] {
        let route: Route = route.parse().unwrap();
        assert_eq!(asker(route.view()), None);
    }
    let mut service = Service::new(Config::default());
    assert_eq!(service.on_request(0, None, &PING), Ok(Response::Pong));
    assert_eq!(service.on_request(0, None, &GET), Err(Refusal::NoAddress));
    let mapped = socket("[::ffff:192.0.2.7]:9");
    let answer = Response::GetMyAddress(socket("192.0.2.7:9"));
    assert_eq!(service.on_request(0, Some(mapped), &GET), Ok(answer));
}

#[test]
fn a_host_is_answered_so_often_and_no_more() {
    let config = Config {
        answers_per_second: 4,
        ..Config::default()
    };
    let mut service = Service::new(config);
    let mut answers = |now_ms, host: [u8; 4]| {
        (0..10_u16)
            // Other ports of a host are that host.
            .map(|port| SocketAddr::from((host, port + 1)))
            .filter(|from| service.on_request(now_ms, Some(*from), &GET).is_ok())
            .count()
    };
    assert_eq!(answers(0, [192, 0, 2, 1]), 4);
    assert_eq!(answers(0, [192, 0, 2, 2]), 4);
    assert_eq!(answers(249, [192, 0, 2, 1]), 0);
    assert_eq!(answers(250, [192, 0, 2, 1]), 1);
    assert_eq!(answers(1_000_000, [192, 0, 2, 1]), 4);
    let seen: Vec<_> = service
        .seen()
        .map(|seen| (seen.address, seen.first_ms, seen.last_ms, seen.answers))
        .collect();
    assert_eq!(
        seen,
        [
            (socket("192.0.2.1:10"), 0, 1_000_000, 9),
            (socket("192.0.2.2:10"), 0, 0, 4)
        ]
    );
    let mut silent = Service::new(Config {
        answers_per_second: 0,
        ..config
    });
    let from = Some(socket("192.0.2.7:9"));
    assert_eq!(silent.on_request(0, from, &GET), Err(Refusal::TooOften));
}

/// Whoever has one IPv6 address has 2^64 of them.
#[test]
fn a_network_of_ipv6_is_one_host() {
    let config = Config {
        hosts: 2,
        answers_per_second: 4,
        ..Config::default()
    };
    let mut service = Service::new(config);
    let mut answers = |network: &str| {
        (0..100_u16)
            .map(|host| socket(&format!("[2001:db8:0:{network}:{host:x}::1]:9")))
            .filter(|from| service.on_request(0, Some(*from), &GET).is_ok())
            .count()
    };
    assert_eq!((answers("1"), answers("2")), (4, 4));
    // There was room for both of them.
    assert_eq!(answers("1"), 0);
    assert_eq!(service.seen().len(), 2);
}

#[test]
fn the_table_is_bounded_and_expires() {
    let config = Config {
        hosts: 2,
        answers_per_second: 3,
        idle_ms: 60_000,
    };
    let mut service = Service::new(config);
    let from = |host| Some(SocketAddr::from(([192, 0, 2, host], 9)));
    for host in [1, 2] {
        assert!(service.on_request(0, from(host), &GET).is_ok());
    }
    // All others share what one host may have.
    let answered = (3..100).filter(|host| service.on_request(0, from(*host), &GET).is_ok());
    assert_eq!(answered.count(), 3);
    assert!(service.on_request(0, from(1), &GET).is_ok());
    assert_eq!(service.seen().len(), 2);

    assert!(service.on_request(30_000, from(1), &GET).is_ok());
    assert_eq!(service.expire(59_999), 0);
    assert_eq!(service.expire(60_000), 1);
    // A full table looks by itself who is gone.
    assert!(service.on_request(60_000, from(3), &GET).is_ok());
    assert!(service.on_request(90_000, from(4), &GET).is_ok());
    let seen: Vec<_> = service
        .seen()
        .map(|seen| seen.address.to_string())
        .collect();
    assert_eq!(seen, ["192.0.2.3:9", "192.0.2.4:9"]);
}
