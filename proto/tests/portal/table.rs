//! Which state accepts what (`protocol/03-portals.md` 2 rule 7), for both kinds of peer.

use culvert_proto::portal::{Kind, PortalError, PortalMessage, Received, Stream};

use crate::support::{drain, open_inlet, open_outlet, open_pair, payload, plain, small};

const PING: &[u8] = &[0];
const PONG: &[u8] = &[1];
const DISCONNECT: &[u8] = &[2];
const CREDIT: &[u8] = &[4, 1];
const EOF: &[u8] = &[5];
const RESET: &[u8] = &[6];

/// Messages no decoder accepts, with the reason.
fn garbage() -> Vec<(Vec<u8>, PortalError)> {
    vec![
        (vec![], PortalError::Empty),
        (vec![7], PortalError::UnknownKind(7)),
        (vec![0xff, 0xff], PortalError::UnknownKind(0xff)),
        (vec![3], PortalError::Truncated),
        (vec![3, 0x80], PortalError::Truncated),
        (vec![3, 5, b'a', b'b'], PortalError::Truncated),
        (vec![3; 1], PortalError::Truncated),
        (
            [&[3][..], &[0xff; 9], &[1]].concat(),
            PortalError::Truncated,
        ),
        (
            [&[3][..], &[0xff; 9], &[2]].concat(),
            PortalError::OutOfRange,
        ),
        ([&[3][..], &[0xff; 11]].concat(), PortalError::OutOfRange),
        (vec![4], PortalError::Truncated),
        (vec![4, 0x81, 0x80, 0x80, 0x20], PortalError::OutOfRange),
        (b"\x00CVT1".to_vec(), PortalError::Truncated),
        (b"\x00CVT1\x07".to_vec(), PortalError::Truncated),
        (b"\x01CVT1\x07\x80".to_vec(), PortalError::Truncated),
        (
            [b"\x01CVT1\x07", &[0xff; 10][..]].concat(),
            PortalError::OutOfRange,
        ),
    ]
}

#[test]
fn the_outlet_listener_takes_pings_only() {
    for other in [PONG, DISCONNECT, CREDIT, EOF, RESET, &payload(b"x")[..]] {
        let message = PortalMessage::decode(other).expect("a message");
        let mut outlet = Stream::outlet(&small(), &message);
        assert!(outlet.is_done());
        outlet.connected();
        outlet.refused();
        assert_eq!(drain(&mut outlet), []);
        assert_eq!(outlet.can_read(), 0);
    }
    let outlet = Stream::outlet(&small(), &PortalMessage::decode(PING).expect("a message"));
    assert!(!outlet.is_done());
}

#[test]
fn an_inlet_waiting_takes_the_pong_only() {
    for (message, error) in [
        (PING, PortalError::Unexpected(Kind::Ping)),
        (DISCONNECT, PortalError::Unexpected(Kind::Disconnect)),
        (&payload(b"x")[..], PortalError::Unexpected(Kind::Payload)),
        (CREDIT, PortalError::UnknownKind(4)),
        (EOF, PortalError::UnknownKind(5)),
        (RESET, PortalError::UnknownKind(6)),
    ] {
        let mut inlet = Stream::inlet(&small(), 0);
        drain(&mut inlet);
        assert_eq!(inlet.on_message(message), Err(error));
        assert_eq!(inlet.can_read(), 0);
        assert_eq!(drain(&mut inlet), []);
        assert_eq!(
            inlet.on_message(PONG),
            Ok(Received::Opened),
            "the stream goes on"
        );
        assert!(inlet.can_read() > 0);
    }
}

/// Nobody knows the worker's address yet, so nothing can arrive; and nothing does harm.
#[test]
fn an_outlet_connecting_takes_nothing_but_a_disconnect() {
    let ping = PortalMessage::Ping { ext: None };
    for (message, outcome) in [
        (PING, Err(PortalError::Unexpected(Kind::Ping))),
        (PONG, Err(PortalError::Unexpected(Kind::Pong))),
        (
            &payload(b"x")[..],
            Err(PortalError::Unexpected(Kind::Payload)),
        ),
        (CREDIT, Err(PortalError::UnknownKind(4))),
        (DISCONNECT, Ok(Received::Close { abort: false })),
    ] {
        let mut outlet = Stream::outlet(&small(), &ping);
        assert_eq!(outlet.on_message(message), outcome);
        assert_eq!(outlet.is_done(), outcome.is_ok());
    }
}

#[test]
fn a_connected_stream_ignores_ping_and_pong() {
    for mut stream in connected_to_ockam() {
        assert_eq!(stream.on_message(PING), Ok(Received::Ignored));
        assert_eq!(stream.on_message(PONG), Ok(Received::Ignored));
        assert_eq!(
            stream.on_message(b"\x01CVT1\x07\x10"),
            Ok(Received::Ignored)
        );
        assert!(!stream.peer_is_culvert(), "nothing is agreed on later");
        assert_eq!(stream.on_message(&payload(b"x")), Ok(Received::Data(2..3)));
        assert_eq!(stream.on_message(&payload(b"")), Ok(Received::Ignored));
        assert_eq!(drain(&mut stream), []);
        assert_eq!(
            stream.on_message(DISCONNECT),
            Ok(Received::Close { abort: false })
        );
        assert!(stream.is_done() && !stream.aborts());
        assert_eq!(drain(&mut stream), [], "Disconnect is not answered");
    }
}

#[test]
fn extension_messages_are_unknown_to_those_who_did_not_agree() {
    for mut stream in connected_to_ockam() {
        for message in [CREDIT, EOF, RESET] {
            let error = PortalError::UnknownKind(message[0]);
            assert_eq!(stream.on_message(message), Err(error));
            assert!(!stream.is_done());
        }
    }
}

#[test]
fn garbage_is_dropped_in_every_state() {
    let waiting_inlet = || Stream::inlet(&small(), 0);
    let waiting_outlet = || Stream::outlet(&small(), &PortalMessage::Ping { ext: None });
    let silent_outlet = || Stream::outlet_skip_handshake(&small());
    let (culvert_inlet, culvert_outlet) = open_pair(&small(), &small());
    let mut streams = vec![
        waiting_inlet(),
        waiting_outlet(),
        silent_outlet(),
        culvert_inlet,
        culvert_outlet,
    ];
    streams.extend(connected_to_ockam());
    for stream in &mut streams {
        drain(stream);
        for (message, error) in garbage() {
            assert_eq!(
                stream.on_message(&message),
                Err(error),
                "{message:?} to {stream:?}"
            );
            assert!(!error.is_fatal());
        }
        assert!(!stream.is_done());
        assert_eq!(drain(stream), []);
    }
}

#[test]
fn a_closing_stream_ignores_everything() {
    for mut stream in connected_to_ockam() {
        stream.on_eof();
        for drained in [false, true] {
            if drained {
                assert_eq!(drain(&mut stream).len(), 1);
            }
            for message in [
                PING,
                PONG,
                DISCONNECT,
                CREDIT,
                EOF,
                RESET,
                &payload(b"x")[..],
            ] {
                assert_eq!(stream.on_message(message), Ok(Received::Ignored));
            }
            for (message, _) in garbage() {
                assert_eq!(stream.on_message(&message), Ok(Received::Ignored));
            }
            assert_eq!(stream.is_done(), drained);
        }
    }
}

#[test]
fn extension_messages_pass_between_culvert_ends() {
    let (inlet, outlet) = open_pair(&small(), &small());
    for mut stream in [inlet, outlet] {
        assert!(stream.peer_is_culvert());
        assert_eq!(stream.can_read(), 100);
        stream.on_read(100);
        assert_eq!(stream.on_message(&[4, 100]), Ok(Received::Credit));
        assert_eq!(stream.on_message(EOF), Ok(Received::Finish));
        assert_eq!(stream.can_read(), 100, "the other direction goes on");
        assert_eq!(
            stream.on_message(RESET),
            Ok(Received::Close { abort: true })
        );
        assert!(stream.is_done() && stream.aborts());
        assert_eq!(drain(&mut stream), []);
    }
}

/// An inlet and an outlet that are connected, each with an Ockam node at the other end.
fn connected_to_ockam() -> [Stream; 2] {
    let streams = [open_inlet(&small(), PONG), open_outlet(&small(), PING)];
    assert!(streams.iter().all(|stream| !stream.peer_is_culvert()));
    streams
}

#[test]
fn without_extensions_an_offer_is_overlooked() {
    let ping = b"\x00CVT1\x07\x80\x80\x40";
    let mut outlet = Stream::outlet(&plain(), &PortalMessage::decode(ping).expect("a Ping"));
    outlet.connected();
    assert_eq!(crate::support::drain_bytes(&mut outlet), [PONG]);
    let inlet = open_inlet(&plain(), b"\x01CVT1\x07\x80\x80\x40");
    assert!(!inlet.peer_is_culvert() && !outlet.peer_is_culvert());
}
