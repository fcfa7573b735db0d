//! What a real node made of hand made sequences of datagrams, beside what we make of them.

use crate::common::vectors;
use crate::support::{Receiver, part, pattern};
use culvert_proto::udp::Config;

/// One message: its parts, each a datagram.
fn message(number: u16, length: usize, part_length: usize) -> Vec<Vec<u8>> {
    let bytes = pattern(length, 0);
    let parts: Vec<&[u8]> = bytes.chunks(part_length).collect();
    (0..)
        .zip(&parts)
        .map(|(index, bytes)| part(number, index, parts.len() as u16, bytes))
        .collect()
}

/// Messages delivered out of these datagrams.
fn delivered(datagrams: &[Vec<u8>]) -> u64 {
    let window_of_the_reference = Config {
        window: 5,
        ..Config::default()
    };
    let counts = [window_of_the_reference, Config::default()].map(|config| {
        let mut receiver = Receiver::new(config);
        let heard = datagrams.iter().map(|d| receiver.hear(1, d));
        heard.filter(|result| matches!(result, Ok(Some(_)))).count() as u64
    });
    assert_eq!(counts[0], counts[1]);
    counts[0]
}

#[test]
fn sequences_that_a_real_node_was_sent() {
    let file = vectors("udp_reassembly_behaviour.json");
    let recorded = file["reply_datagrams"].as_object().unwrap();
    // A reply to the long message is two datagrams, to the short ones a single one.
    let ours: Vec<(&str, u64, u64)> = sequences()
        .into_iter()
        .map(|(name, datagrams, per_reply)| (name, delivered(&datagrams), per_reply))
        .collect();
    let mut checked = 0;
    for (name, replies) in recorded {
        let replies = replies.as_u64().unwrap();
        if name.starts_with("datagram of") {
            // The reference's receive buffer ends at 508 bytes. Ours is as long as datagrams get.
            continue;
        }
        let (_, delivered, per_reply) = ours.iter().find(|(ours, ..)| ours == name).unwrap();
        let expected = match name.as_str() {
            // Where the reference loses or repeats messages, we deliver each once.
            "duplicate first fragment (a,a,b)" => 1,
            name if name.starts_with("same single-part message") => 1,
            _ => replies / per_reply,
        };
        assert_eq!(*delivered, expected, "{name}");
        checked += 1;
    }
    assert_eq!(checked, ours.len());
}

fn sequences() -> Vec<(&'static str, Vec<Vec<u8>>, u64)> {
    let long = message(10, 600, 493);
    let [a, b] = [&long[0], &long[1]].map(Clone::clone);
    let short = |number| message(number, 3, 493).remove(0);
    let shorts = |numbers: &[u16]| numbers.iter().map(|&number| short(number)).collect();
    let mut other_version = long.clone();
    for datagram in &mut other_version {
        datagram[1] = 9;
    }
    vec![
        ("in order", long, 2),
        ("reversed", vec![b.clone(), a.clone()], 2),
        (
            "duplicate first fragment (a,a,b)",
            vec![a.clone(), a.clone(), b.clone()],
            2,
        ),
        ("a,a,b,a", vec![a.clone(), a.clone(), b, a], 2),
        ("version 9", other_version, 2),
        ("other fragment size (300)", message(10, 600, 300), 2),
        (
            "older routing number after newer (10 then 9)",
            shorts(&[10, 9]),
            1,
        ),
        ("numbers 10, 14, 15, 11", shorts(&[10, 14, 15, 11]), 1),
        (
            "numbers 10, 15, 10 (late, outside window)",
            shorts(&[10, 15, 10]),
            1,
        ),
        ("wrap 65535 then 0", shorts(&[65_535, 0]), 1),
        ("same single-part message sent 1 times", shorts(&[3; 1]), 1),
        ("same single-part message sent 2 times", shorts(&[3; 2]), 1),
        ("same single-part message sent 3 times", shorts(&[3; 3]), 1),
        ("same single-part message sent 4 times", shorts(&[3; 4]), 1),
        ("same single-part message sent 5 times", shorts(&[3; 5]), 1),
    ]
}
