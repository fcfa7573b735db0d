//! How a stream opens, what the two ends agree on, and how it ends.

use culvert_proto::portal::{
    Config, Control, Extension, Features, Kind, MAX_WINDOW, PortalError, PortalMessage, Received,
    Stream,
};

use crate::support::{
    control, drain, drain_bytes, open_inlet, open_outlet, open_pair, payload, plain, small,
};

fn ext(features: u64, window: u32) -> Extension {
    Extension {
        features: Features::from_bits(features),
        window,
    }
}

#[test]
fn the_extension_has_its_documented_bytes() {
    let ping = Control::Ping(Some(ext(7, 1 << 20)));
    assert_eq!(control(&ping), b"\x00CVT1\x07\x80\x80\x40");
    let pong = Control::Pong(Some(ext(1, 1)));
    assert_eq!(control(&pong), b"\x01CVT1\x01\x01");
    assert_eq!(control(&Control::Credit(300)), [4, 0xac, 2]);
    assert_eq!(control(&Control::Eof), [5]);
    assert_eq!(control(&Control::Reset), [6]);
    let longest = Control::Ping(Some(ext(u64::MAX, u32::MAX)));
    assert_eq!(control(&longest).len(), 1 + 4 + 10 + 5);
}

#[test]
fn the_extension_is_read_with_care() {
    let read = |rest: &[u8]| match PortalMessage::decode(&[&[0], rest].concat()) {
        Ok(PortalMessage::Ping { ext }) => ext,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(b""), None);
    assert_eq!(read(b"CVT2\x07\x01"), None);
    assert_eq!(read(b"CVT"), None);
    assert_eq!(read(b"CVT1\x07\x00"), None, "a window of zero is no offer");
    assert_eq!(read(b"CVT1\x07\x01 and more"), Some(ext(7, 1)));
    assert_eq!(read(b"CVT1\xff\x01\x81\x00"), Some(ext(255, 1)));
    let huge = [b"CVT1\x07", &[0xff; 9][..], &[1]].concat();
    assert_eq!(read(&huge), Some(ext(7, MAX_WINDOW)));
}

#[test]
fn each_end_gets_the_window_the_other_grants() {
    let inlet = Config {
        window: 50,
        ..small()
    };
    let outlet = Config {
        window: 70,
        ..small()
    };
    let (inlet, outlet) = open_pair(&inlet, &outlet);
    assert_eq!(inlet.can_read(), 70);
    assert_eq!(outlet.can_read(), 50);
}

#[test]
fn only_what_both_named_is_agreed_on() {
    // Half-close alone: no credit, so no limit but the largest payload.
    let mut outlet = open_outlet(&small(), b"\x00CVT1\x02\x01");
    assert!(outlet.peer_is_culvert());
    assert_eq!(outlet.can_read(), 100);
    outlet.on_read(100);
    assert_eq!(outlet.can_read(), 100);
    assert_eq!(outlet.on_message(&[4, 1]), Err(PortalError::UnknownKind(4)));
    assert_eq!(outlet.on_message(&[6]), Err(PortalError::UnknownKind(6)));
    assert_eq!(outlet.on_message(&[5]), Ok(Received::Finish));

    // The Pong names the intersection, whatever else the Ping offers.
    let ping = PortalMessage::decode(b"\x00CVT1\xfd\x01\x01").expect("a Ping");
    let mut outlet = Stream::outlet(&small(), &ping);
    outlet.connected();
    assert_eq!(drain(&mut outlet), [Control::Pong(Some(ext(0b101, 1000)))]);

    // An inlet does not let itself be talked into more than it offered.
    let inlet = open_inlet(&plain(), b"\x01CVT1\x07\x01");
    assert!(!inlet.peer_is_culvert());
    assert_eq!(inlet.can_read(), 131_072);
}

#[test]
fn strange_configurations_are_brought_into_range() {
    let cfg = Config {
        window: u32::MAX,
        max_payload: usize::MAX,
        ..small()
    };
    let mut inlet = Stream::inlet(&cfg, 0);
    assert_eq!(drain(&mut inlet), [Control::Ping(Some(ext(7, MAX_WINDOW)))]);
    assert_eq!(inlet.on_message(&[1]), Ok(Received::Opened));
    assert_eq!(inlet.can_read(), 131_072);

    let cfg = Config {
        window: 0,
        max_payload: 0,
        ..small()
    };
    let mut inlet = Stream::inlet(&cfg, 0);
    assert_eq!(drain(&mut inlet), [Control::Ping(None)]);
    assert_eq!(inlet.on_message(&[1]), Ok(Received::Opened));
    assert_eq!(inlet.can_read(), 1);

    // A window of zero that never went over a wire.
    let ping = PortalMessage::Ping {
        ext: Some(ext(7, 0)),
    };
    assert!(!Stream::outlet(&small(), &ping).peer_is_culvert());
}

#[test]
fn nothing_is_read_before_ping_and_pong_are_out() {
    let mut inlet = Stream::inlet(&small(), 0);
    assert_eq!(inlet.can_read(), 0);
    drain(&mut inlet);
    assert_eq!(inlet.can_read(), 0);

    let mut outlet = Stream::outlet(&small(), &PortalMessage::Ping { ext: None });
    assert_eq!(outlet.can_read(), 0);
    assert_eq!(drain(&mut outlet), [], "Pong waits for the target");
    outlet.connected();
    assert_eq!(outlet.can_read(), 0);
    assert_eq!(drain(&mut outlet), [Control::Pong(None)]);
    assert_eq!(outlet.can_read(), 100);
    outlet.connected();
    outlet.refused();
    assert_eq!(drain(&mut outlet), [], "once");
}

#[test]
fn a_skip_handshake_inlet_reads_at_once() {
    let cfg = Config {
        skip_handshake: true,
        ..small()
    };
    let mut inlet = Stream::inlet(&cfg, 0);
    assert_eq!(inlet.deadline_ms(), None);
    assert_eq!(inlet.can_read(), 0, "the Ping goes first");
    assert_eq!(drain(&mut inlet), [Control::Ping(None)]);
    assert_eq!(inlet.can_read(), 100);
    assert_eq!(inlet.on_message(b"\x01CVT1\x07\x01"), Ok(Received::Ignored));
    assert!(!inlet.peer_is_culvert());
    assert_eq!(inlet.on_message(&payload(b"x")), Ok(Received::Data(2..3)));
}

#[test]
fn a_skip_handshake_outlet_takes_data_before_it_is_connected() {
    let mut outlet = Stream::outlet_skip_handshake(&small());
    assert_eq!(
        outlet.on_message(b"\x00CVT1\x07\x01"),
        Ok(Received::Ignored)
    );
    assert_eq!(
        outlet.on_message(&payload(b"early")),
        Ok(Received::Data(2..7))
    );
    assert_eq!(outlet.unwritten(), 5);
    assert_eq!(outlet.can_read(), 0);
    outlet.connected();
    assert_eq!(drain(&mut outlet), [], "no Pong");
    assert_eq!(outlet.can_read(), 100);

    let mut refused = Stream::outlet_skip_handshake(&small());
    refused.refused();
    assert_eq!(drain(&mut refused), [Control::Disconnect]);
    assert!(refused.is_done());
}

#[test]
fn counters_are_checked_and_wrap() {
    let mut outlet = open_outlet(&plain(), &[0]);
    let mut message = vec![3, 1, b'x', 1, 0, 0];
    for counter in (0..=u16::MAX).chain(0..3) {
        message[4..].copy_from_slice(&counter.to_le_bytes());
        assert_eq!(outlet.on_message(&message), Ok(Received::Data(2..3)));
    }
    let error = PortalError::WrongCounter {
        expected: 3,
        got: 2,
    };
    assert_eq!(outlet.on_message(&message), Err(error));
    assert!(error.is_fatal());
    assert_eq!(drain(&mut outlet), [Control::Disconnect]);
    assert!(outlet.is_done() && !outlet.aborts());
}

#[test]
fn no_pong_in_time() {
    let mut inlet = Stream::inlet(&small(), 1_000);
    drain(&mut inlet);
    assert_eq!(inlet.deadline_ms(), Some(6_000));
    assert!(!inlet.on_timeout(5_999));
    assert!(inlet.on_timeout(6_000));
    assert!(inlet.is_done() && inlet.aborts());
    assert_eq!(drain(&mut inlet), []);
    assert_eq!(inlet.on_message(&[1]), Ok(Received::Ignored));
    assert!(!inlet.on_timeout(7_000));

    let mut in_time = Stream::inlet(&small(), u64::MAX);
    assert_eq!(in_time.deadline_ms(), Some(u64::MAX));
    assert_eq!(in_time.on_message(&[1]), Ok(Received::Opened));
    assert_eq!(in_time.deadline_ms(), None);
    assert!(!in_time.on_timeout(u64::MAX));

    let patient = Stream::inlet(
        &Config {
            pong_timeout_ms: 0,
            ..small()
        },
        0,
    );
    assert_eq!(patient.deadline_ms(), None);
}

/// The client goes while its inlet waits: the outlet hears of it as soon as it can.
#[test]
fn an_end_before_the_pong_is_told_after_it() {
    type End = fn(&mut Stream);
    let culvert = b"\x01CVT1\x07\x10";
    for (end, pong, told) in [
        (Stream::on_eof as End, &[1][..], Control::Disconnect),
        (Stream::on_eof, culvert, Control::Eof),
        (Stream::on_read_error, &[1], Control::Disconnect),
        (Stream::on_read_error, culvert, Control::Reset),
        (Stream::stop, &[1], Control::Disconnect),
        (Stream::stop, culvert, Control::Disconnect),
    ] {
        let mut inlet = Stream::inlet(&small(), 0);
        drain(&mut inlet);
        end(&mut inlet);
        assert_eq!(drain(&mut inlet), []);
        assert!(!inlet.is_done());
        assert!(inlet.deadline_ms().is_some());
        assert_eq!(inlet.on_message(pong), Ok(Received::Opened));
        assert_eq!(inlet.can_read(), 0);
        assert_eq!(drain(&mut inlet), [told]);
        assert_eq!(inlet.is_done(), told != Control::Eof);
    }
}

#[test]
fn an_outlet_that_ends_while_connecting_refuses() {
    for end in [
        Stream::refused,
        Stream::stop,
        Stream::on_eof,
        Stream::on_write_error,
    ] {
        let mut outlet = Stream::outlet(&plain(), &PortalMessage::Ping { ext: None });
        end(&mut outlet);
        assert!(!outlet.is_done());
        assert_eq!(
            drain(&mut outlet),
            [Control::Pong(None), Control::Disconnect]
        );
        assert!(outlet.is_done());
    }
}

#[test]
fn ends_are_told_as_precisely_as_the_peer_understands() {
    type End = fn(&mut Stream);
    let ockam = || open_outlet(&small(), &[0]);
    let culvert = || open_outlet(&small(), b"\x00CVT1\x07\x10");
    for (mut stream, end, told, done) in [
        (ockam(), Stream::on_eof as End, Control::Disconnect, true),
        (culvert(), Stream::on_eof, Control::Eof, false),
        (ockam(), Stream::on_read_error, Control::Disconnect, true),
        (culvert(), Stream::on_read_error, Control::Reset, true),
        (ockam(), Stream::on_write_error, Control::Disconnect, true),
        (culvert(), Stream::on_write_error, Control::Reset, true),
        (ockam(), Stream::stop, Control::Disconnect, true),
        (culvert(), Stream::stop, Control::Disconnect, true),
    ] {
        end(&mut stream);
        assert!(!stream.is_done());
        assert_eq!(stream.can_read(), 0);
        end(&mut stream);
        assert_eq!(drain(&mut stream), [told]);
        assert_eq!(stream.is_done(), done);
    }
}

#[test]
fn both_ends_of_data_make_a_done_stream() {
    let (mut inlet, mut outlet) = open_pair(&small(), &small());
    inlet.on_eof();
    assert_eq!(
        outlet.on_message(&drain_bytes(&mut inlet)[0]),
        Ok(Received::Finish)
    );
    assert!(!inlet.is_done() && !outlet.is_done());
    outlet.on_eof();
    assert!(!outlet.is_done(), "its Eof is still in line");
    assert_eq!(
        inlet.on_message(&drain_bytes(&mut outlet)[0]),
        Ok(Received::Finish)
    );
    assert!(inlet.is_done() && outlet.is_done());
    assert!(!inlet.aborts() && !outlet.aborts());
}

#[test]
fn nothing_may_follow_the_end_of_data() {
    for (message, kind) in [(payload(b""), Kind::Payload), (vec![5], Kind::Eof)] {
        let (mut inlet, _) = open_pair(&small(), &small());
        assert_eq!(inlet.on_message(&[5]), Ok(Received::Finish));
        assert_eq!(inlet.on_message(&message), Err(PortalError::AfterEnd(kind)));
        assert_eq!(drain(&mut inlet), [Control::Reset]);
        assert!(inlet.is_done() && inlet.aborts());
    }
}

#[test]
fn credit_is_enforced_to_the_byte() {
    let cfg = Config {
        window: 10,
        max_payload: 4,
        ..small()
    };
    let (_, mut outlet) = open_pair(&cfg, &cfg);
    assert_eq!(
        outlet.on_message(&payload(&[0; 10])),
        Ok(Received::Data(2..12))
    );
    let error = PortalError::CreditExceeded { allowed: 0, got: 1 };
    assert_eq!(outlet.on_message(&payload(&[0])), Err(error));
    assert_eq!(drain(&mut outlet), [Control::Reset]);
    assert!(outlet.is_done() && outlet.aborts());

    let (mut inlet, _) = open_pair(&cfg, &cfg);
    inlet.on_read(3);
    assert_eq!(inlet.on_message(&[4, 4]), Err(PortalError::CreditOverflow));
    assert_eq!(drain(&mut inlet), [Control::Reset]);
    assert!(inlet.is_done() && inlet.aborts());
}

/// Without credit nothing limits what the peer sends, as between Ockam nodes.
#[test]
fn an_ockam_peer_has_no_window() {
    let mut outlet = open_outlet(&small(), &[0]);
    for _ in 0..100 {
        let message = payload(&[0; 100]);
        assert!(matches!(outlet.on_message(&message), Ok(Received::Data(_))));
    }
    assert_eq!(outlet.unwritten(), 10_000);
    outlet.on_written(usize::MAX);
    assert_eq!(outlet.unwritten(), 0);
    assert_eq!(drain(&mut outlet), []);
}

#[test]
fn disconnect_overrides_what_is_in_line() {
    let (mut inlet, _) = open_pair(&small(), &small());
    assert!(inlet.on_message(&payload(&[0; 900])).is_ok());
    inlet.on_written(900);
    inlet.on_eof();
    assert_eq!(inlet.on_message(&[2]), Ok(Received::Close { abort: false }));
    assert_eq!(drain(&mut inlet), []);
    assert!(inlet.is_done());
}
