//! Messages that others made, or changed.

use crate::support::{RENDEZVOUS, drain, located, message, setup, socket};
use culvert_proto::message::Message;
use culvert_proto::puncture::{
    Endpoint, PING, PONG, Phase, Puncture, PunctureError, Received, put_payload,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const PEER: &str = "198.51.100.2:2000";
const STRANGER: &str = "203.0.113.66:666";

fn initiate() -> Vec<u8> {
    let endpoint = Endpoint {
        public: socket(PEER),
        worker: b"i-worker".to_vec(),
    };
    endpoint.encode()
}

/// A responder as far as asked for: located, pinged, open.
fn responder(stage: usize) -> Puncture {
    let mut puncture = Puncture::responder(setup("r"), &initiate(), 0).unwrap();
    let ping = message("r-worker", "i-worker", &PING);
    let pong = message("r-worker", "i-worker", &PONG);
    let answer = located("r", "198.51.100.1:1000");
    let steps = [(RENDEZVOUS, answer), (PEER, ping), (PEER, pong)];
    for (from, message) in steps.iter().take(stage) {
        drain(&mut puncture, 0);
        puncture.on_message(0, socket(from), message).unwrap();
    }
    drain(&mut puncture, 0);
    puncture
}

/// Everything a node may be sent while it punctures.
fn messages() -> Vec<Vec<u8>> {
    let mut payload = Vec::new();
    let echo = "echo".parse().unwrap();
    put_payload(&mut payload, &echo, &echo, &[0, 23, 24, 255]);
    vec![
        located("r", "198.51.100.1:1000"),
        message("r-worker", "i-worker", &PING),
        message("r-worker", "i-worker", &PONG),
        message("r-worker", "", &payload),
        message("", "i-worker", &PING),
        message("r-worker", "", &PING),
    ]
}

#[test]
fn strangers_are_refused_and_change_nothing() {
    for stage in 0..=3 {
        let mut puncture = responder(stage);
        let before = format!("{puncture:?}");
        for (from, message, error) in [
            (
                STRANGER,
                located("r", STRANGER),
                PunctureError::NotTheRendezvous(socket(STRANGER)),
            ),
            (
                PEER,
                located("r", STRANGER),
                PunctureError::NotTheRendezvous(socket(PEER)),
            ),
            (
                PEER,
                message("other", "i-worker", &PING),
                PunctureError::OtherAddress,
            ),
            (
                RENDEZVOUS,
                message("rendezvous", "a", &PING),
                PunctureError::OtherAddress,
            ),
        ] {
            let refused = puncture.on_message(5, socket(from), &message).err();
            assert_eq!(refused, Some(error));
        }
        let nobodys = message("", "stranger", &PING);
        assert!(puncture.on_message(5, socket(STRANGER), &nobodys).is_ok());
        // A UDP address with our worker's value is not our worker.
        let mut other_type = message("r-worker", "i-worker", &PONG);
        other_type[3] = 2;
        let refused = puncture.on_message(5, socket(PEER), &other_type).err();
        assert_eq!(refused, Some(PunctureError::OtherAddress));
        assert_eq!(format!("{puncture:?}"), before);
    }
}

#[test]
fn nothing_of_the_peer_is_taken_before_its_time() {
    for message in &messages()[1..4] {
        let mut puncture = responder(0);
        let refused = puncture.on_message(1, socket(PEER), message).err();
        assert_eq!(refused, Some(PunctureError::Unexpected));
        assert_eq!(puncture.phase(), Phase::Locating);
    }
}

/// A Ping without a return route cannot be answered; one with a long route is answered along it.
#[test]
fn answers_go_where_they_were_asked_from() {
    let mut puncture = responder(1);
    let ping = message("r-worker", "", &PING);
    let received = puncture.on_message(1, socket(PEER), &ping).unwrap();
    assert!(matches!(received, Received::Nothing));
    let ping = Message {
        onward: "r-worker => ignored".parse().unwrap(),
        return_route: "a => b => c".parse().unwrap(),
        payload: PING.to_vec(),
        tracing: None,
    };
    let ping = ping.encode();
    let Ok(Received::Answer(pong)) = puncture.on_message(1, socket(STRANGER), &ping) else {
        panic!("an answer");
    };
    assert_eq!(pong.to, socket(STRANGER));
    let pong = Message::decode(&pong.message).unwrap();
    assert_eq!(pong.onward.to_string(), "0#a => 0#b => 0#c");
    assert_eq!(pong.payload, PONG);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever arrives, in whatever phase: no panic, no endless talk, and no more datagrams than
    /// come in and the clock allows.
    #[test]
    fn any_input_is_survived(
        stage in 0_usize..4,
        events in vec(
            (any::<Index>(), vec((any::<Index>(), any::<u8>()), 0..3), 0_u64..3_000, 0_u8..4),
            1..60,
        ),
    ) {
        let mut puncture = responder(stage);
        let messages = messages();
        let mut now_ms = 0;
        let mut talk = 0;
        let mut rounds = 0;
        for (which, damages, pause_ms, source) in &events {
            now_ms += pause_ms;
            let mut message = which.get(&messages).clone();
            for (at, pattern) in damages {
                *at.get_mut(&mut message) ^= pattern;
            }
            let from = [PEER, RENDEZVOUS, STRANGER, "[::1]:1"][usize::from(*source)];
            let (public, path) = (puncture.public(), puncture.path());
            let received = puncture.on_message(now_ms, socket(from), &message);
            if let Ok(Received::Answer(answer)) = received {
                prop_assert_eq!(answer.to, socket(from));
                prop_assert!(answer.message.len() <= message.len() + 40);
            }
            prop_assert!(public.is_none() || public == puncture.public());
            // A path leads where something just came from, or where it led.
            let leads = puncture.path();
            let is_new = leads.is_some() && path.is_some() && leads != path;
            prop_assert!(!is_new || leads == Some(socket(from)));
            talk += drain(&mut puncture, now_ms).len();
            rounds += 1;
            if let Some(deadline_ms) = puncture.deadline_ms() {
                prop_assert!(deadline_ms > now_ms);
            }
        }
        // A round is at most two Pings and the Acknowledge.
        prop_assert!(talk <= rounds * 2 + 1);
        drain(&mut puncture, u64::MAX);
        prop_assert!(matches!(puncture.phase(), Phase::Failed(_)));
    }

    /// Decoders of what comes through the relay.
    #[test]
    fn damaged_negotiation_is_refused_or_read(
        damages in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<Index>()),
        noise in vec(select(vec![0x80_u8, 0x82, 0x18, 0x9f, 0xff, 0x61, 0]), 0..30),
    ) {
        let mut payload = initiate();
        for (at, pattern) in damages {
            *at.get_mut(&mut payload) ^= pattern;
        }
        if let Some(cut) = cut {
            payload.truncate(cut.index(payload.len()));
        }
        for payload in [payload, noise] {
            if let Ok(endpoint) = Endpoint::decode(&payload) {
                prop_assert_eq!(Endpoint::decode(&endpoint.encode()), Ok(endpoint));
            }
            let _ = Puncture::responder(setup("r"), &payload, 0);
        }
    }
}
