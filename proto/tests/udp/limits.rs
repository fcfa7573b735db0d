//! What reassembly refuses, forgets and gives up, and what that costs others: nothing.

use crate::support::{Receiver, part, pattern, split};
use culvert_proto::limits::MAX_FRAME;
use culvert_proto::udp::{Config, DatagramError, Expired, Refusal};

fn small() -> Config {
    Config {
        window: 4,
        peers: 3,
        peer_parts: 8,
        peer_bytes: 1_000,
        bytes: 1_500,
        stale_ms: 5_000,
        idle_ms: 60_000,
    }
}

#[test]
fn parts_that_do_not_belong_are_dropped_alone() {
    let mut receiver = Receiver::new(Config::default());
    let mut hear = |index, total, bytes: &[u8]| receiver.hear(1, &part(7, index, total, bytes));
    assert_eq!(hear(0, 4, b"aa"), Ok(None));
    for ((index, total, bytes), refusal) in [
        ((0, 4, &b"aa"[..]), Refusal::Duplicate),
        // Other bytes in its place: the first that came stays.
        ((0, 4, b"xx"), Refusal::Duplicate),
        (
            (1, 4, b"b"),
            Refusal::Length {
                expected: 2,
                got: 1,
            },
        ),
        (
            (1, 5, b"bb"),
            Refusal::Total {
                announced: 4,
                got: 5,
            },
        ),
        (
            (0, 1, b"bb"),
            Refusal::Total {
                announced: 4,
                got: 1,
            },
        ),
        ((1, 4, b""), DatagramError::Empty.into()),
        ((1, 0, b"bb"), DatagramError::NoParts.into()),
        (
            (4, 4, b"bb"),
            DatagramError::Index { index: 4, total: 4 }.into(),
        ),
    ] {
        assert_eq!(hear(index, total, bytes), Err(refusal));
    }
    assert_eq!(hear(3, 4, b"a longer last part"), Ok(None));
    assert_eq!(hear(2, 4, b"cc"), Ok(None));
    let whole = b"aabbcca longer last part".to_vec();
    assert_eq!(hear(1, 4, b"bb"), Ok(Some(whole)));
    assert_eq!(hear(1, 4, b"bb"), Err(Refusal::Closed));
    assert_eq!(hear(0, 1, b"bb"), Err(Refusal::Closed));
}

#[test]
fn nothing_longer_than_a_message_is_collected() {
    let long = vec![0; 65_000];
    let mut receiver = Receiver::new(Config::default());
    // 300 parts of 65000 bytes are more than 16 MiB, as the first of them shows.
    let refused = receiver.hear(1, &part(1, 0, 300, &long));
    assert_eq!(refused, Err(Refusal::TooLong));
    // A last part alone does not say how long the others are; the next one does.
    assert_eq!(receiver.hear(1, &part(2, 299, 300, b"z")), Ok(None));
    let refused = receiver.hear(1, &part(2, 0, 300, &long));
    assert_eq!(refused, Err(Refusal::TooLong));

    let message = pattern(MAX_FRAME, 3);
    let mut datagrams = split(3, 508, &message);
    datagrams.rotate_left(10_000);
    let last = datagrams.pop().unwrap();
    for datagram in &datagrams {
        assert_eq!(receiver.hear(1, datagram), Ok(None));
    }
    assert_eq!(receiver.hear(1, &last), Ok(Some(message)));
}

#[test]
fn memory_is_that_of_what_arrived() {
    let mut receiver = Receiver::new(Config::default());
    assert_eq!(receiver.hear(1, &part(1, 65_533, 65_535, b"x")), Ok(None));
    assert!(receiver.reassembler.bytes() < 10_000);
    assert_eq!(receiver.hear(1, &part(2, 0, 65_535, b"x")), Ok(None));
    assert!(receiver.reassembler.bytes() < 10_100);
}

#[test]
fn messages_without_their_missing_part_expire() {
    let mut receiver = Receiver::new(small());
    assert_eq!(receiver.hear(1, &part(1, 0, 3, b"a")), Ok(None));
    receiver.now_ms = 4_000;
    assert_eq!(receiver.hear(1, &part(1, 1, 3, b"b")), Ok(None));
    receiver.now_ms = 8_999;
    assert_eq!(receiver.reassembler.expire(8_999), Expired::default());
    let expired = Expired {
        messages: 1,
        peers: 0,
    };
    assert_eq!(receiver.reassembler.expire(9_000), expired);
    assert_eq!(receiver.reassembler.bytes(), 0);
    // What comes now is a part of a message of which nothing else is known, and nobody has to ask
    // for what is too old to be forgotten.
    receiver.now_ms = 9_000;
    assert_eq!(receiver.hear(1, &part(1, 2, 3, b"c")), Ok(None));
    receiver.now_ms = 14_000;
    assert_eq!(receiver.hear(1, &part(1, 2, 3, b"C")), Ok(None));
    assert_eq!(receiver.hear(1, &part(1, 0, 3, b"A")), Ok(None));
    assert_eq!(
        receiver.hear(1, &part(1, 1, 3, b"B")),
        Ok(Some(b"ABC".to_vec()))
    );
}

#[test]
fn a_peer_that_starts_again_is_heard_after_a_while() {
    let mut receiver = Receiver::new(small());
    assert!(receiver.hear(1, &part(5_000, 0, 1, b"a")).is_ok());
    receiver.now_ms = 59_999;
    let again = part(4_000, 0, 1, b"b");
    assert_eq!(receiver.hear(1, &again), Err(Refusal::Late));
    // Being refused is not being heard.
    receiver.now_ms = 60_000;
    assert_eq!(receiver.hear(1, &again), Ok(Some(b"b".to_vec())));
    let expired = Expired {
        messages: 0,
        peers: 1,
    };
    assert_eq!(receiver.reassembler.expire(120_000), expired);
    assert_eq!(receiver.reassembler.peers(), 0);
}

#[test]
fn the_window_moves_no_further_than_it_has_to() {
    let mut receiver = Receiver::new(small());
    for number in [65_534, 65_535, 0, 1] {
        assert_eq!(receiver.hear(1, &part(number, 0, 2, b"a")), Ok(None));
    }
    assert_eq!(receiver.hear(1, &part(2, 0, 2, b"a")), Ok(None));
    assert_eq!(
        receiver.hear(1, &part(65_534, 1, 2, b"b")),
        Err(Refusal::Late)
    );
    for number in [65_535, 0, 1, 2] {
        let whole = receiver.hear(1, &part(number, 1, 2, b"b"));
        assert_eq!(whole, Ok(Some(b"ab".to_vec())));
    }
    // A jump clears all, a jump by half the circle is the past.
    assert!(receiver.hear(1, &part(30_000, 0, 1, b"a")).is_ok());
    let opposite = 29_997_u16.wrapping_add(0x8000);
    let refused = receiver.hear(1, &part(opposite, 0, 1, b"a"));
    assert_eq!(refused, Err(Refusal::Late));
    assert!(receiver.hear(1, &part(opposite - 1, 0, 1, b"a")).is_ok());
}

#[test]
fn newer_messages_push_out_older_ones_of_the_same_peer() {
    let mut receiver = Receiver::new(small());
    let bytes = [7; 300];
    // Three parts of 300 bytes are what a peer may have, and a little.
    for number in 1..=3 {
        assert_eq!(receiver.hear(1, &part(number, 0, 3, &bytes)), Ok(None));
    }
    assert_eq!(receiver.hear(1, &part(4, 0, 3, &bytes)), Ok(None));
    assert_eq!(
        receiver.hear(1, &part(1, 1, 3, &bytes)),
        Err(Refusal::Closed)
    );
    // An older one gets nothing from newer ones.
    assert_eq!(receiver.hear(1, &part(2, 1, 3, &bytes)), Err(Refusal::Full));
    assert_eq!(receiver.hear(1, &part(4, 1, 3, &bytes)), Ok(None));
    assert_eq!(
        receiver.hear(1, &part(2, 2, 3, &bytes)),
        Err(Refusal::Closed)
    );
    let whole = receiver.hear(1, &part(4, 2, 3, &bytes));
    assert_eq!(whole, Ok(Some(vec![7; 900])));

    // And so for the number of parts.
    let mut receiver = Receiver::new(small());
    for index in 0..8 {
        assert_eq!(receiver.hear(1, &part(1, index, 20, b"a")), Ok(None));
    }
    assert_eq!(receiver.hear(1, &part(1, 8, 20, b"a")), Err(Refusal::Full));
    assert_eq!(receiver.hear(1, &part(2, 0, 2, b"a")), Ok(None));
    assert_eq!(
        receiver.hear(1, &part(1, 8, 20, b"a")),
        Err(Refusal::Closed)
    );
}

#[test]
fn one_peer_does_not_cost_another_its_messages() {
    let mut receiver = Receiver::new(small());
    let bytes = [7; 400];
    for (port, number) in [(1, 1), (1, 2), (2, 1)] {
        assert_eq!(receiver.hear(port, &part(number, 0, 2, &bytes)), Ok(None));
    }
    // 1500 bytes in all: peer 2 has to do with what peer 1 leaves.
    assert_eq!(receiver.hear(2, &part(2, 0, 2, &bytes)), Ok(None));
    assert_eq!(
        receiver.hear(2, &part(1, 1, 2, &bytes)),
        Err(Refusal::Closed)
    );
    for number in [1, 2] {
        let whole = receiver.hear(1, &part(number, 1, 2, &bytes));
        assert_eq!(whole, Ok(Some(vec![7; 800])));
    }
}

#[test]
fn strangers_do_not_shut_out_short_messages() {
    let mut receiver = Receiver::new(small());
    for port in 1..=3 {
        assert!(receiver.hear(port, &part(1, 0, 1, b"a")).is_ok());
    }
    assert_eq!(
        receiver.hear(4, &part(1, 0, 1, b"a")),
        Ok(Some(b"a".to_vec()))
    );
    assert_eq!(
        receiver.hear(4, &part(1, 0, 2, b"a")),
        Err(Refusal::TooManyPeers)
    );
    assert_eq!(receiver.reassembler.peers(), 3);
    // Those that went away make room by themselves.
    receiver.now_ms = 60_000;
    assert_eq!(receiver.hear(4, &part(1, 0, 2, b"a")), Ok(None));
    assert_eq!(receiver.reassembler.peers(), 1);
}
