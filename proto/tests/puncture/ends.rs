//! One end, step by step.

use crate::support::{RENDEZVOUS, drain, located, message, negotiated, route, sent, setup, socket};
use culvert_proto::limits::MAX_FRAME;
use culvert_proto::puncture::{
    Endpoint, Failure, Output, PING, PONG, Phase, Puncture, PunctureError, Received, Role, Setup,
    Transmit, put_payload,
};

const OURS: &str = "198.51.100.1:1000";
const THEIRS: &str = "198.51.100.2:2000";
const ELSEWHERE: &str = "198.51.100.2:3000";

fn endpoint(name: &str, public: &str) -> Endpoint {
    Endpoint {
        public: socket(public),
        worker: format!("{name}-worker").into(),
    }
}

/// An initiator that sent its first Ping at 0.
fn probing_initiator() -> Puncture {
    let mut puncture = Puncture::initiator(setup("i"), 0).unwrap();
    drain(&mut puncture, 0);
    puncture
        .on_message(0, socket(RENDEZVOUS), &located("i", OURS))
        .unwrap();
    drain(&mut puncture, 0);
    puncture
        .on_acknowledge(0, &endpoint("r", THEIRS).encode())
        .unwrap();
    drain(&mut puncture, 0);
    assert_eq!(puncture.phase(), Phase::Probing);
    puncture
}

fn hear<'a>(puncture: &mut Puncture, now_ms: u64, from: &str, msg: &'a [u8]) -> Received<'a> {
    puncture.on_message(now_ms, socket(from), msg).unwrap()
}

fn nothing(puncture: &mut Puncture, now_ms: u64, from: &str, msg: &[u8]) {
    let received = hear(puncture, now_ms, from, msg);
    assert!(matches!(received, Received::Nothing));
}

/// An initiator whose path is open since 0.
fn open_initiator() -> Puncture {
    let mut puncture = probing_initiator();
    let ping = message("i-worker", "r-worker", &PING);
    hear(&mut puncture, 0, THEIRS, &ping);
    drain(&mut puncture, 0);
    nothing(
        &mut puncture,
        0,
        THEIRS,
        &message("i-worker", "r-worker", &PONG),
    );
    assert_eq!(puncture.path(), Some(socket(THEIRS)));
    puncture
}

/// Where the Pings of this moment go.
fn pinged(puncture: &mut Puncture, now_ms: u64) -> Vec<String> {
    let outputs = drain(puncture, now_ms);
    let sent = sent(&outputs);
    assert!(sent.iter().all(|(_, message)| message.payload == PING));
    sent.iter().map(|(to, _)| to.to_string()).collect()
}

#[test]
fn an_initiator_from_start_to_end() {
    let mut puncture = Puncture::initiator(setup("i"), 1_000).unwrap();
    assert_eq!(puncture.role(), Role::Initiator);
    assert_eq!(puncture.deadline_ms(), Some(1_000));
    let query = sent(&drain(&mut puncture, 1_000));
    assert_eq!(query[0].0, socket(RENDEZVOUS));
    assert_eq!(query[0].1.onward, route("rendezvous"));
    assert_eq!(puncture.deadline_ms(), Some(1_250));
    assert_eq!(sent(&drain(&mut puncture, 1_250)), query, "again");

    let answer = located("i", OURS);
    nothing(&mut puncture, 1_300, RENDEZVOUS, &answer);
    assert_eq!(
        (puncture.phase(), puncture.public()),
        (Phase::Negotiating, Some(socket(OURS)))
    );
    assert_eq!(
        puncture.on_acknowledge(1_300, &endpoint("r", THEIRS).encode()),
        Err(PunctureError::Unexpected),
        "to a question that was not asked"
    );
    let initiate = [endpoint("i", OURS).encode()];
    assert_eq!(negotiated(&drain(&mut puncture, 1_300)), initiate);
    assert_eq!(puncture.deadline_ms(), Some(11_300));
    // The second answer, to the second question.
    assert!(matches!(
        hear(&mut puncture, 1_350, RENDEZVOUS, &answer),
        Received::Nothing
    ));

    puncture
        .on_acknowledge(1_400, &endpoint("r", THEIRS).encode())
        .unwrap();
    assert_eq!(puncture.phase(), Phase::Probing);
    let refused = puncture.wrap(&route("echo"), &route("a"), b"x");
    assert_eq!(refused, Err(PunctureError::NotOpen));
    let ping = sent(&drain(&mut puncture, 1_400));
    assert_eq!(ping.len(), 1);
    assert_eq!(ping[0].0, socket(THEIRS));
    assert_eq!(
        (&ping[0].1.onward, &ping[0].1.return_route),
        (&route("r-worker"), &route("i-worker"))
    );

    let pong = message("i-worker", "r-worker", &PONG);
    nothing(&mut puncture, 1_450, THEIRS, &pong);
    assert_eq!(puncture.phase(), Phase::Probing, "the peer may not hear us");
    let ping = message("i-worker", "r-worker", &PING);
    let answer = hear(&mut puncture, 1_460, THEIRS, &ping);
    assert!(matches!(answer, Received::Answer(_)));
    assert_eq!(
        (puncture.phase(), puncture.path()),
        (Phase::Open, Some(socket(THEIRS)))
    );
    let wrapped = puncture
        .wrap(&route("echo"), &route("a"), b"\x17\x18")
        .unwrap();
    let mut payload = hex::decode("820283818200446563686f818200416182171818").unwrap();
    assert_eq!(wrapped.message, message("r-worker", "", &payload));
    payload.clear();

    // The next round, a Ping a second, and the end ten seconds after the last Pong.
    let mut pings = 0;
    let mut now_ms = 1_450;
    while let Some(deadline_ms) = puncture.deadline_ms() {
        assert!(deadline_ms > now_ms);
        now_ms = deadline_ms;
        pings += drain(&mut puncture, now_ms).len();
    }
    assert_eq!((now_ms, pings), (11_450, 10));
    assert_eq!(puncture.phase(), Phase::Failed(Failure::Silent));
    assert_eq!(puncture.path(), None);
    let refused = puncture.on_message(now_ms, socket(THEIRS), &pong);
    assert!(matches!(refused, Err(PunctureError::Unexpected)));
}

#[test]
fn a_responder_pings_nobody_until_it_was_pinged() {
    let initiate = endpoint("i", THEIRS).encode();
    let mut puncture = Puncture::responder(setup("r"), &initiate, 0).unwrap();
    assert_eq!(puncture.role(), Role::Responder);
    assert_eq!(sent(&drain(&mut puncture, 0)).len(), 1);
    hear(&mut puncture, 10, RENDEZVOUS, &located("r", OURS));
    // The way is open before the peer is told.
    let outputs = drain(&mut puncture, 10);
    assert!(matches!(
        outputs[..],
        [Output::Datagrams(_), Output::Negotiate(_)]
    ));
    let first = &sent(&outputs)[0];
    assert_eq!(first.0, socket(THEIRS));
    assert_eq!(
        (&first.1.onward, &first.1.return_route),
        (&route(""), &route("r-worker"))
    );
    assert_eq!(negotiated(&outputs), [endpoint("r", OURS).encode()]);
    let second = sent(&drain(&mut puncture, 260));
    assert_eq!(second, core::slice::from_ref(first));

    let ping = message("r-worker", "i-worker", &PING);
    let Received::Answer(Transmit { to, message: pong }) = hear(&mut puncture, 300, THEIRS, &ping)
    else {
        panic!("an answer");
    };
    assert_eq!(to, socket(THEIRS));
    assert_eq!(pong, message("i-worker", "r-worker", &PONG));
    // Its own question does not wait for the next round.
    let second = &sent(&drain(&mut puncture, 300))[0];
    assert_eq!(second.1.onward, route("i-worker"));
    assert_eq!(
        puncture.phase(),
        Phase::Probing,
        "a Ping proves one direction"
    );
    let pong = message("r-worker", "i-worker", &PONG);
    nothing(&mut puncture, 310, THEIRS, &pong);
    assert_eq!(puncture.path(), Some(socket(THEIRS)));
}

#[test]
fn pongs_from_places_that_were_not_pinged_prove_nothing() {
    let mut puncture = probing_initiator();
    let ping = message("i-worker", "r-worker", &PING);
    let pong = message("i-worker", "r-worker", &PONG);
    hear(&mut puncture, 5, THEIRS, &ping);
    nothing(&mut puncture, 10, ELSEWHERE, &pong);
    nothing(&mut puncture, 10, ELSEWHERE, &pong);
    assert_eq!(puncture.phase(), Phase::Probing);
    // But they make the place worth a Ping, at once.
    assert_eq!(pinged(&mut puncture, 10), [THEIRS, ELSEWHERE]);
    nothing(&mut puncture, 20, ELSEWHERE, &pong);
    assert_eq!(puncture.path(), Some(socket(ELSEWHERE)));
    let again = pinged(&mut puncture, 1_020);
    assert_eq!(again, [ELSEWHERE], "and no longer the other");
}

#[test]
fn other_places_are_tried_so_often_and_only_the_last() {
    let mut puncture = open_initiator();
    let ping = message("i-worker", "r-worker", &PING);
    let pong = message("i-worker", "r-worker", &PONG);
    for port in 1..1_000 {
        let from = format!("198.51.100.9:{port}");
        // Answered where it came from, as by the reference; but not more.
        let answer = hear(&mut puncture, 1, &from, &ping);
        assert!(matches!(answer, Received::Answer(answer) if answer.to == socket(&from)));
        assert_eq!(drain(&mut puncture, 1), []);
    }
    let mut tries = 0;
    for second in 1..60 {
        let now_ms = second * 1_000;
        let pinged = pinged(&mut puncture, now_ms);
        assert_eq!(pinged[0], THEIRS);
        assert!(pinged.len() == 1 || pinged[1..] == ["198.51.100.9:999"]);
        tries += pinged.len() - 1;
        nothing(&mut puncture, now_ms, THEIRS, &pong);
        // Whoever does not know the peer's worker is nobody.
        let nobodys = message("", "x", &PING);
        nothing(&mut puncture, now_ms, "198.51.100.9:500", &nobodys);
    }
    assert_eq!(tries, 20);
    assert_eq!(puncture.path(), Some(socket(THEIRS)));
}

#[test]
fn an_open_path_is_left_only_when_it_is_silent() {
    let mut puncture = open_initiator();
    let pong = message("i-worker", "r-worker", &PONG);
    let mut payload = Vec::new();
    put_payload(&mut payload, &route("echo"), &route(""), b"x");
    // A message with data says where its sender is, too.
    let payload = message("i-worker", "", &payload);
    let received = hear(&mut puncture, 10, ELSEWHERE, &payload);
    assert!(matches!(received, Received::Payload(_)));
    assert_eq!(pinged(&mut puncture, 1_000), [THEIRS, ELSEWHERE]);
    nothing(&mut puncture, 1_999, ELSEWHERE, &pong);
    assert_eq!(puncture.path(), Some(socket(THEIRS)));
    nothing(&mut puncture, 2_000, ELSEWHERE, &pong);
    assert_eq!(puncture.path(), Some(socket(ELSEWHERE)));
}

#[test]
fn a_message_to_nobody_shows_where_the_peer_is() {
    let mut puncture = probing_initiator();
    for (nobodys, expected) in [
        (message("", "stranger", &PING), vec![THEIRS]),
        (message("", "", &PING), vec![THEIRS]),
        (message("", "r-worker", &PING), vec![THEIRS, ELSEWHERE]),
    ] {
        assert!(matches!(
            hear(&mut puncture, 250, ELSEWHERE, &nobodys),
            Received::Nothing
        ));
        let now_ms = puncture.deadline_ms().unwrap();
        assert_eq!(pinged(&mut puncture, now_ms), expected);
    }
}

#[test]
fn setups_that_cannot_work() {
    let fails = |change: fn(&mut Setup)| {
        let mut setup = setup("i");
        change(&mut setup);
        Puncture::initiator(setup, 0).err()
    };
    assert_eq!(
        fails(|setup| setup.worker.clear()),
        Some(PunctureError::Worker(0))
    );
    let long = |setup: &mut Setup| setup.reply_to = vec![0; 513];
    assert_eq!(fails(long), Some(PunctureError::Worker(513)));
    let same = |setup: &mut Setup| setup.reply_to.clone_from(&setup.worker);
    assert_eq!(fails(same), Some(PunctureError::SameAddress));
    let nowhere = |setup: &mut Setup| setup.rendezvous = socket("0.0.0.0:1");
    assert_eq!(fails(nowhere), Some(PunctureError::PublicAddress));
    let refused = Puncture::responder(setup("r"), b"\x80", 0).err();
    assert_eq!(refused, Some(PunctureError::Missing));
}

#[test]
fn answers_that_cannot_be_used() {
    let locate = |puncture: &mut Puncture, public: &str| {
        drain(puncture, 0);
        let answer = located("i", public);
        let received = puncture.on_message(0, socket(RENDEZVOUS), &answer);
        received.map(|_| ())
    };
    // An address to which nothing can be sent is no answer; the next may be.
    let mut puncture = Puncture::initiator(setup("i"), 0).unwrap();
    assert_eq!(
        locate(&mut puncture, "0.0.0.0:9"),
        Err(PunctureError::PublicAddress)
    );
    assert_eq!(puncture.phase(), Phase::Locating);
    assert_eq!(locate(&mut puncture, OURS), Ok(()));
    drain(&mut puncture, 0);
    let family = puncture.on_acknowledge(0, &endpoint("r", "[2001:db8::1]:9").encode());
    assert!(matches!(family, Err(PunctureError::Family { .. })));
    assert_eq!(puncture.phase(), Phase::Failed(Failure::Family));
    assert_eq!(
        (puncture.deadline_ms(), drain(&mut puncture, 0)),
        (None, vec![])
    );

    let mut puncture = Puncture::initiator(setup("i"), 0).unwrap();
    locate(&mut puncture, OURS).unwrap();
    drain(&mut puncture, 0);
    assert!(puncture.on_acknowledge(0, b"\xff").is_err());
    assert_eq!(puncture.phase(), Phase::Failed(Failure::BadAcknowledge));
    let again = puncture.on_acknowledge(0, &endpoint("r", THEIRS).encode());
    assert_eq!(again, Err(PunctureError::Unexpected));

    let initiate = endpoint("i", "[2001:db8::1]:9").encode();
    let mut puncture = Puncture::responder(setup("r"), &initiate, 0).unwrap();
    drain(&mut puncture, 0);
    let answer = located("r", OURS);
    let family = puncture.on_message(0, socket(RENDEZVOUS), &answer);
    assert!(matches!(family, Err(PunctureError::Family { .. })));
    assert_eq!(drain(&mut puncture, 0), []);
}

#[test]
fn messages_that_are_too_long_once_written_as_integers() {
    let puncture = open_initiator();
    let data = vec![0xff; MAX_FRAME / 2];
    let refused = puncture.wrap(&route("echo"), &route("a"), &data);
    assert!(matches!(refused, Err(PunctureError::TooLong(length)) if length > MAX_FRAME));
    let wrapped = puncture
        .wrap(&route("echo"), &route("a"), &data[100..])
        .unwrap();
    assert!(wrapped.message.len() <= MAX_FRAME);
    // The wrapping around a payload that just fits can be what is too much.
    let refused = puncture.wrap(&route("echo"), &route("a"), &data[20..]);
    assert!(matches!(refused, Err(PunctureError::TooLong(length)) if length > MAX_FRAME));
}
