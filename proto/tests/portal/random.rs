//! Any order of events delivers exactly the bytes sent, and no input does harm.

use culvert_proto::portal::{
    Config, Control, Features, PortalError, PortalMessage, Received, Stream,
};
use proptest::prelude::*;

use crate::pair::{End, Pair, pattern};
use crate::support::drain;

/// Something that can happen next; what cannot happen at the moment does nothing.
#[derive(Debug, Clone, Copy)]
enum Step {
    Read { inlet: bool, limit: usize },
    Write { inlet: bool, limit: usize },
    Deliver { to_outlet: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (any::<bool>(), 0_usize..5_000).prop_map(|(inlet, limit)| Step::Read { inlet, limit }),
        (any::<bool>(), 0_usize..5_000).prop_map(|(inlet, limit)| Step::Write { inlet, limit }),
        any::<bool>().prop_map(|to_outlet| Step::Deliver { to_outlet }),
    ];
    prop::collection::vec(step, 0..200)
}

fn config() -> impl Strategy<Value = Config> {
    (1_u32..20_000, 1_usize..6_000).prop_map(|(window, max_payload)| Config {
        window,
        max_payload,
        ..Config::default()
    })
}

fn play(pair: &mut Pair, steps: &[Step]) {
    for &step in steps {
        match step {
            Step::Read { inlet: true, limit } => pair.inlet.read(limit),
            Step::Read {
                inlet: false,
                limit,
            } => pair.outlet.read(limit),
            Step::Write { inlet: true, limit } => pair.inlet.write(limit),
            Step::Write {
                inlet: false,
                limit,
            } => pair.outlet.write(limit),
            Step::Deliver { to_outlet } => pair.deliver(to_outlet),
        };
    }
}

proptest! {
    /// Culvert at both ends: each direction ends by itself, nothing is lost.
    #[test]
    fn both_directions_arrive_complete(
        (inlet, outlet) in (config(), config()),
        (up, down) in (0_usize..40_000, 0_usize..40_000),
        steps in steps(),
        (inlet_takes, outlet_takes) in (1_usize..9_000, 1_usize..9_000),
    ) {
        let (up, down) = (pattern(up, 1), pattern(down, 2));
        let mut pair = Pair::open(&inlet, &outlet);
        pair.inlet.socket.input.extend(&up);
        pair.inlet.socket.input_ended = true;
        pair.outlet.socket.input.extend(&down);
        pair.outlet.socket.input_ended = true;

        play(&mut pair, &steps);
        pair.run_with(inlet_takes, outlet_takes);

        prop_assert_eq!(&pair.outlet.socket.output, &up);
        prop_assert_eq!(&pair.inlet.socket.output, &down);
        for (end, cfg) in [(&pair.inlet, &inlet), (&pair.outlet, &outlet)] {
            prop_assert!(end.stream.is_done() && !end.stream.aborts());
            prop_assert!(end.most_held() <= cfg.window as usize);
            prop_assert_eq!(&end.errors, &[]);
        }
    }

    /// One end without the extension: the end that closes has its data delivered completely, and
    /// what arrives the other way is a prefix of what was sent.
    #[test]
    fn with_an_ockam_end_the_closer_is_heard_to_the_end(
        (inlet, outlet) in (config(), config()),
        ockam_inlet in any::<bool>(),
        (up, down) in (0_usize..40_000, 0_usize..40_000),
        steps in steps(),
    ) {
        let inlet = Config { extensions: !ockam_inlet, ..inlet };
        let outlet = Config { extensions: ockam_inlet, ..outlet };
        let (up, down) = (pattern(up, 1), pattern(down, 2));
        let mut pair = Pair::open(&inlet, &outlet);
        pair.inlet.socket.input.extend(&up);
        pair.inlet.socket.input_ended = true;
        pair.outlet.socket.input.extend(&down);

        play(&mut pair, &steps);
        pair.run();

        prop_assert_eq!(&pair.outlet.socket.output, &up);
        prop_assert!(down.starts_with(&pair.inlet.socket.output));
        for end in [&pair.inlet, &pair.outlet] {
            prop_assert!(end.stream.is_done() && !end.stream.aborts());
            prop_assert_eq!(&end.errors, &[]);
        }
    }

    /// Whatever arrives and whatever the socket does: no panic, and the limits hold.
    #[test]
    fn no_input_breaks_a_stream(
        start in 0_u8..5,
        inputs in prop::collection::vec((0_u8..12, message()), 0..60),
    ) {
        let cfg = Config { window: 64, max_payload: 16, ..Config::default() };
        let mut stream = start_of(start, &cfg);
        let mut said = drain(&mut stream);
        for (event, message) in inputs {
            let was_done = stream.is_done();
            if let Ok(Received::Data(range)) = apply(&mut stream, event, &message) {
                prop_assert!(!range.is_empty() && range.end <= message.len());
            }
            prop_assert!(stream.can_read() <= 16);
            prop_assert!(!stream.features().contains(Features::CREDIT) || stream.unwritten() <= 64);
            let news = drain(&mut stream);
            prop_assert!(!(was_done && (!news.is_empty() || !stream.is_done())));
            said.extend(news);
        }
        said.retain(|control| !matches!(control, Control::Credit(_)));
        let order: Vec<u8> = said.iter().map(rank).collect();
        prop_assert!(order.is_sorted_by(|a, b| a < b), "{said:?}");
        prop_assert!(!order.ends_with(&[4, 5]), "one goodbye: {said:?}");
    }

    /// Decoding is total, and what it yields is encoded so that it decodes to the same.
    #[test]
    fn decoding_is_total(message in message()) {
        if let Ok(decoded) = PortalMessage::decode(&message) {
            let mut again = Vec::new();
            decoded.encode_into(&mut again);
            let expected = match decoded {
                PortalMessage::Payload { data, .. } => {
                    PortalMessage::Payload { data, counter: None }
                }
                other => other,
            };
            prop_assert_eq!(PortalMessage::decode(&again), Ok(expected));
        }
    }
}

/// Messages that are likely to be understood, and some that are not.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        bytes.clone(),
        (0_u8..8, bytes.clone()).prop_map(|(kind, rest)| [&[kind], &rest[..]].concat()),
        (0_u8..2, bytes.clone()).prop_map(|(kind, rest)| [&[kind], &b"CVT1"[..], &rest].concat()),
        (0_u8..2, 1_u8..100).prop_map(|(kind, n)| [&[kind], &b"CVT1\x07"[..], &[n]].concat()),
        (bytes, any::<Option<u16>>()).prop_map(|(data, counter)| {
            let mut message = vec![3, data.len() as u8];
            message.extend(data);
            if let Some(counter) = counter {
                message.push(1);
                message.extend(counter.to_le_bytes());
            }
            message
        }),
        (0_u8..30).prop_map(|n| vec![4, n]),
    ]
}

fn start_of(start: u8, cfg: &Config) -> Stream {
    match start {
        0 => Stream::inlet(cfg, 0),
        1 => Stream::inlet(
            &Config {
                skip_handshake: true,
                ..*cfg
            },
            0,
        ),
        2 => Stream::outlet_skip_handshake(cfg),
        3 => Stream::outlet(
            cfg,
            &PortalMessage::decode(b"\x00CVT1\x07\x20").expect("a Ping"),
        ),
        _ => {
            let mut end = End::new(Stream::inlet(cfg, 0));
            end.hear(b"\x01CVT1\x07\x20");
            end.stream
        }
    }
}

/// Does what `event` stands for, within what the contract allows the caller.
fn apply(stream: &mut Stream, event: u8, message: &[u8]) -> Result<Received, PortalError> {
    match event {
        0 => stream.connected(),
        1 => stream.on_read(stream.can_read().min(message.len())),
        2 => stream.on_written(message.len()),
        3 if message.len() < 3 => stream.on_eof(),
        4 if message.len() < 3 => stream.on_read_error(),
        5 if message.len() < 3 => stream.on_write_error(),
        6 if message.len() < 3 => stream.stop(),
        7 if message.len() < 3 => stream.refused(),
        8 if message.len() < 2 => {
            stream.on_timeout(u64::MAX);
        }
        _ => return stream.on_message(message),
    }
    Ok(Received::Ignored)
}

/// Position of a control message in the order that all streams keep.
fn rank(control: &Control) -> u8 {
    match control {
        Control::Ping(_) => 0,
        Control::Pong(_) => 1,
        Control::Credit(_) => 2,
        Control::Eof => 3,
        Control::Reset => 4,
        Control::Disconnect => 5,
    }
}
