//! Whatever a network does to the parts, a message arrives whole, once, or not at all.

use crate::support::{Receiver, pattern, split};
use culvert_proto::udp::{Config, Refusal};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeMap;

/// Something that happens to one datagram of those sent: it is dropped, repeated or moved.
#[derive(Clone, Debug)]
enum Fate {
    Drop(Index),
    Repeat(Index, Index),
    Move(Index, Index),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let two = || (any::<Index>(), any::<Index>());
    let fate = prop_oneof![
        1 => any::<Index>().prop_map(Fate::Drop),
        3 => two().prop_map(|(which, to)| Fate::Repeat(which, to)),
        6 => two().prop_map(|(which, to)| Fate::Move(which, to)),
    ];
    vec(fate, 0..80)
}

/// Lengths around multiples of the part size, and others.
fn lengths() -> impl Strategy<Value = usize> {
    let around = (1_usize..6, 0_usize..3).prop_map(|(parts, off)| parts * 40 + off - 1);
    prop_oneof![around, 1_usize..400]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Up to as many messages as the window holds, of one peer or two, shuffled, repeated, dropped.
    #[test]
    fn messages_arrive_whole_and_once(
        lengths in vec(lengths(), 1..12),
        peers in vec(1_u16..3, 12),
        first in any::<u16>(),
        fates in fates(),
    ) {
        let mut network = Vec::new();
        let mut messages = BTreeMap::new();
        for ((message, &length), &port) in (0_u16..).zip(&lengths).zip(&peers) {
            let bytes = pattern(length, message as u8);
            let number = first.wrapping_add(message);
            for datagram in split(number, 40 + 15, &bytes) {
                network.push((port, message, datagram));
            }
            messages.insert(message, bytes);
        }
        let parts = count(&network);
        for fate in fates {
            apply(&mut network, &fate);
        }
        let mut receiver = Receiver::new(Config::default());
        // The first datagram of a peer says what is old.
        let mut oldest = BTreeMap::new();
        let mut arrived = BTreeMap::new();
        for (port, message, datagram) in &network {
            let first = *oldest.entry(*port).or_insert(*message);
            match receiver.hear(*port, datagram) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    prop_assert_eq!(&bytes, &messages[message]);
                    prop_assert_eq!(arrived.insert(*message, ()), None, "twice");
                }
                Err(Refusal::Late) => prop_assert!(*message < first),
                Err(Refusal::Closed) => prop_assert!(arrived.contains_key(message)),
                Err(Refusal::Duplicate) => prop_assert!(!arrived.contains_key(message)),
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }
        for (message, parts) in parts {
            let port = peers[usize::from(message)];
            let in_time = oldest.get(&port).is_some_and(|first| message >= *first);
            let distinct = distinct(&network, message);
            prop_assert_eq!(
                arrived.contains_key(&message),
                in_time && distinct == parts,
                "message {} with {} of {} parts", message, distinct, parts
            );
        }
        receiver.now_ms = 1_000_000;
        receiver.reassembler.expire(receiver.now_ms);
        prop_assert_eq!((receiver.reassembler.bytes(), receiver.reassembler.peers()), (0, 0));
    }

    /// The parts are what the specification says: no empty one, all but the last alike.
    #[test]
    fn parts_have_the_right_lengths(length in 1_usize..5_000, longest in 16_usize..600) {
        let message = pattern(length, 0);
        let datagrams = split(9, longest, &message);
        let part = longest - 15;
        prop_assert_eq!(datagrams.len(), length.div_ceil(part));
        let mut together = Vec::new();
        for (index, encoded) in (0..).zip(&datagrams) {
            prop_assert!(encoded.len() <= longest);
            let datagram = culvert_proto::udp::Datagram::decode(encoded).unwrap();
            prop_assert_eq!(datagram.check(), Ok(()));
            prop_assert_eq!(datagram.index, index);
            prop_assert_eq!(usize::from(datagram.total), datagrams.len());
            prop_assert!(!datagram.part.is_empty());
            prop_assert!(datagram.is_last() || datagram.part.len() == part);
            together.extend_from_slice(datagram.part);
        }
        prop_assert_eq!(together, message);
    }

    /// Damaged datagrams neither panic nor cost more memory than they may.
    #[test]
    fn damage_is_survived(
        messages in vec((1_usize..300, any::<u16>()), 1..6),
        damages in vec((any::<Index>(), any::<Index>(), any::<u8>()), 0..40),
        cuts in vec((any::<Index>(), any::<Index>()), 0..5),
        window in select(vec![1_u16, 2, 5, 16]),
    ) {
        let mut network = Vec::new();
        for (length, number) in messages {
            network.extend(split(number, 40, &pattern(length, 1)));
        }
        for (which, at, pattern) in damages {
            let datagram = which.get_mut(&mut network);
            *at.get_mut(datagram) ^= pattern;
        }
        for (which, at) in cuts {
            let datagram = which.get_mut(&mut network);
            datagram.truncate(at.index(datagram.len()).max(1));
        }
        let config = Config {
            window,
            bytes: 600,
            peer_bytes: 400,
            peer_parts: 8,
            peers: 2,
            ..Config::default()
        };
        let mut receiver = Receiver::new(config);
        for (port, datagram) in (0..).zip(&network) {
            receiver.now_ms += 100;
            let result = receiver.hear(port % 3, datagram);
            if let Ok(Some(message)) = result {
                prop_assert!(!message.is_empty());
            }
            prop_assert!(receiver.reassembler.bytes() <= 600);
            prop_assert!(receiver.reassembler.peers() <= 2);
        }
    }
}

type Sent = (u16, u16, Vec<u8>);

fn apply(network: &mut Vec<Sent>, fate: &Fate) {
    if network.is_empty() {
        return;
    }
    match fate {
        Fate::Drop(which) => {
            network.remove(which.index(network.len()));
        }
        Fate::Repeat(which, to) => {
            let again = which.get(network).clone();
            network.insert(to.index(network.len() + 1), again);
        }
        Fate::Move(which, to) => {
            let moved = network.remove(which.index(network.len()));
            network.insert(to.index(network.len() + 1), moved);
        }
    }
}

fn count(network: &[Sent]) -> BTreeMap<u16, usize> {
    let mut parts = BTreeMap::new();
    for (_, message, _) in network {
        *parts.entry(*message).or_insert(0) += 1;
    }
    parts
}

fn distinct(network: &[Sent], message: u16) -> usize {
    let mut datagrams: Vec<&Vec<u8>> = network
        .iter()
        .filter(|(_, of, _)| *of == message)
        .map(|(_, _, datagram)| datagram)
        .collect();
    datagrams.sort();
    datagrams.dedup();
    datagrams.len()
}
