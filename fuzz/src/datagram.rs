//! UDP datagrams, and messages put together from them.

use std::collections::BTreeMap;

use culvert_proto::udp::{
    Config, Datagram, Reassembler, Received, Refusal, RoutingNumber, Splitter, VERSION,
};

use crate::input::Input;

/// Small, so that every limit is reached.
const CONFIG: Config = Config {
    window: 4,
    peers: 3,
    peer_parts: 12,
    peer_bytes: 600,
    bytes: 1_000,
    stale_ms: 1_000,
    idle_ms: 5_000,
};

/// Parts accepted of each message, by peer, number and index.
type Accepted = BTreeMap<(u8, u16), BTreeMap<u16, Vec<u8>>>;

/// Decoding is total and stable; a message put together consists of parts that were accepted, in
/// order; memory stays within its limits and is given back.
///
/// ```text
/// events: kind, pause, then   parts: number, index, total, length
///                             raw:   length, that many bytes
/// ```
pub fn datagram(data: &[u8]) {
    check_codec(data);
    check_split(data);
    let mut input = Input::new(data);
    let mut reassembler = Reassembler::new(CONFIG);
    let mut accepted = Accepted::new();
    let mut now_ms = 0;
    while !input.is_empty() {
        let kind = input.byte();
        now_ms += u64::from(input.byte()) * 10;
        let datagram = match kind & 0x0c {
            0x0c => {
                let len = input.byte();
                input.take(len.into()).to_vec()
            }
            _ => part(&mut input),
        };
        hear(&mut reassembler, &mut accepted, now_ms, kind & 3, &datagram);
        if kind & 0x10 != 0 {
            reassembler.expire(now_ms);
        }
        assert!(reassembler.bytes() <= CONFIG.bytes && reassembler.peers() <= CONFIG.peers);
    }
    reassembler.expire(u64::MAX);
    assert_eq!((reassembler.bytes(), reassembler.peers()), (0, 0));
}

fn part(input: &mut Input<'_>) -> Vec<u8> {
    let number = RoutingNumber(65_530).plus(input.byte().into());
    let (index, total) = (input.byte() & 0x0f, input.byte() & 0x0f);
    let len = usize::from(input.byte());
    let mut out = Vec::new();
    let datagram = Datagram {
        version: VERSION,
        number,
        index: index.into(),
        total: total.into(),
        // Parts that are mixed up are told apart.
        part: &vec![number.0 as u8 ^ index << 4; len],
    };
    datagram.encode_into(&mut out);
    out
}

fn hear(
    reassembler: &mut Reassembler<u8>,
    accepted: &mut Accepted,
    now_ms: u64,
    peer: u8,
    bytes: &[u8],
) {
    let before = reassembler.bytes();
    let received = match reassembler.receive(now_ms, peer, bytes) {
        Ok(received) => received,
        Err(Refusal::Datagram(_)) => {
            assert_eq!(reassembler.bytes(), before);
            return;
        }
        Err(_) => return,
    };
    let datagram = Datagram::decode(bytes).expect("it was accepted");
    assert_eq!(datagram.check(), Ok(()));
    let parts = accepted.entry((peer, datagram.number.0)).or_default();
    parts.insert(datagram.index, datagram.part.to_vec());
    if let Received::Message(message) = received {
        // What is left of messages that were given up has been overwritten by now.
        let expected: Vec<u8> = (0..datagram.total)
            .flat_map(|index| parts.get(&index).expect("every part came").clone())
            .collect();
        assert_eq!(message, expected);
        assert!(!message.is_empty());
    }
}

fn check_codec(data: &[u8]) {
    let Ok(decoded) = Datagram::decode(data) else {
        return;
    };
    let mut again = Vec::new();
    decoded.encode_into(&mut again);
    assert_eq!(again.len(), decoded.encoded_len());
    assert_eq!(Datagram::decode(&again), Ok(decoded));
}

/// Any message arrives, in any order, if nothing is lost.
fn check_split(data: &[u8]) {
    let Some((longest, message)) = data.split_first() else {
        return;
    };
    let mut splitter = Splitter::new(RoutingNumber(0)).with_longest_datagram((*longest).into());
    let Ok(parts) = splitter.split(message) else {
        return;
    };
    let mut datagrams: Vec<Vec<u8>> = parts
        .map(|datagram| {
            let mut out = Vec::new();
            datagram.encode_into(&mut out);
            out
        })
        .collect();
    let turn = message.len() % datagrams.len();
    datagrams.rotate_left(turn);
    let mut reassembler = Reassembler::new(Config::default());
    let last = datagrams.pop().expect("at least one");
    for datagram in &datagrams {
        assert_eq!(reassembler.receive(0, 0, datagram), Ok(Received::Stored));
    }
    let whole = Received::Message(message.into());
    assert_eq!(reassembler.receive(0, 0, &last), Ok(whole));
}
