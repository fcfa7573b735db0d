//! Two streams joined by queues, with sockets made of buffers and a clock that is a number.

use std::collections::VecDeque;

use culvert_proto::portal::{
    Config, MAX_CONTROL, PortalError, PortalMessage, Received, Stream, payload_header,
};

use crate::support::{payload, plain, small};

/// What the program at the far side of a TCP connection did and saw.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    /// Bytes the program wrote and nobody read yet.
    pub(crate) input: VecDeque<u8>,
    /// Whether the program shut down its write side behind `input`.
    pub(crate) input_ended: bool,
    /// Delivered by the stream, not taken by the socket yet.
    held: VecDeque<u8>,
    /// Most bytes ever held.
    most_held: usize,
    /// What the program received.
    pub(crate) output: Vec<u8>,
    /// Our write side is to be shut down behind `held`.
    finish: bool,
    /// What the program sees at the end.
    pub(crate) seen: Option<Seen>,
}

/// How a TCP connection ends for the program that uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// End of file behind `output`; it may still write.
    Eof,
    /// The connection is closed behind `output`.
    Closed,
    /// The connection is reset.
    Reset,
}

/// One end: what a worker around a stream does, without the routing.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) stream: Stream,
    pub(crate) socket: Socket,
    /// Messages on their way to the peer.
    pub(crate) sent: VecDeque<Vec<u8>>,
    pub(crate) errors: Vec<PortalError>,
}

impl End {
    pub(crate) fn new(stream: Stream) -> Self {
        let (socket, sent, errors) = Default::default();
        let mut end = Self {
            stream,
            socket,
            sent,
            errors,
        };
        end.settle();
        end
    }

    /// Steps 2 and 3 of the contract of [`Stream`].
    pub(crate) fn settle(&mut self) {
        while let Some(control) = self.stream.poll_send() {
            let mut space = [0; MAX_CONTROL];
            let len = control.encode(&mut space);
            self.sent.push_back(space[..len].to_vec());
        }
        if self.stream.is_done() && self.stream.aborts() {
            self.socket.held.clear();
            self.socket.seen = Some(Seen::Reset);
        }
        self.show_end();
    }

    fn show_end(&mut self) {
        if self.socket.held.is_empty() && self.socket.seen != Some(Seen::Reset) {
            if self.stream.is_done() {
                self.socket.seen = Some(Seen::Closed);
            } else if self.socket.finish {
                self.socket.seen = Some(Seen::Eof);
            }
        }
    }

    /// Step 4: reads at most `limit` bytes. Says whether anything happened.
    pub(crate) fn read(&mut self, limit: usize) -> bool {
        let n = self
            .stream
            .can_read()
            .min(limit)
            .min(self.socket.input.len());
        if n > 0 {
            let data: Vec<u8> = self.socket.input.drain(..n).collect();
            self.stream.on_read(n);
            let (head, len) = payload_header(n);
            self.sent.push_back([&head[..len], &data].concat());
        } else if self.at_eof() {
            // Once only: a real socket is not polled again after its end.
            self.socket.input_ended = false;
            self.stream.on_eof();
        } else {
            return false;
        }
        self.settle();
        true
    }

    fn at_eof(&self) -> bool {
        self.stream.can_read() > 0 && self.socket.input.is_empty() && self.socket.input_ended
    }

    /// The socket takes at most `limit` of the bytes held for it.
    pub(crate) fn write(&mut self, limit: usize) -> bool {
        let n = self.socket.held.len().min(limit);
        if n == 0 {
            return false;
        }
        self.socket.output.extend(self.socket.held.drain(..n));
        self.stream.on_written(n);
        self.settle();
        true
    }

    /// Most bytes that ever waited for the socket.
    pub(crate) fn most_held(&self) -> usize {
        self.socket.most_held
    }

    /// One message arrives.
    pub(crate) fn hear(&mut self, message: &[u8]) {
        match self.stream.on_message(message) {
            Ok(Received::Data(range)) => {
                self.socket.held.extend(&message[range]);
                self.socket.most_held = self.socket.most_held.max(self.socket.held.len());
                assert_eq!(self.stream.unwritten(), self.socket.held.len());
            }
            Ok(Received::Finish) => self.socket.finish = true,
            Ok(Received::Close { abort }) => assert_eq!(abort, self.stream.aborts()),
            Ok(Received::Ignored | Received::Opened | Received::Credit) => {}
            Err(error) => {
                assert_eq!(
                    error.is_fatal(),
                    self.stream.is_done() || self.stream.aborts()
                );
                self.errors.push(error);
            }
        }
        self.settle();
    }
}

/// An inlet and, once its Ping arrived and the target answered, an outlet.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) inlet: End,
    pub(crate) outlet: End,
}

impl Pair {
    /// Opens completely: Ping and Pong have passed.
    pub(crate) fn open(inlet: &Config, outlet: &Config) -> Self {
        let mut inlet = End::new(Stream::inlet(inlet, 0));
        let mut outlet = outlet_of(&mut inlet, outlet);
        outlet.stream.connected();
        outlet.settle();
        let mut pair = Self { inlet, outlet };
        assert!(pair.deliver(false));
        pair
    }

    /// Passes one message on, towards the outlet or towards the inlet.
    pub(crate) fn deliver(&mut self, to_outlet: bool) -> bool {
        let (from, to) = if to_outlet {
            (&mut self.inlet, &mut self.outlet)
        } else {
            (&mut self.outlet, &mut self.inlet)
        };
        let Some(message) = from.sent.pop_front() else {
            return false;
        };
        to.hear(&message);
        true
    }

    /// Lets everything happen that can, with sockets that take all.
    pub(crate) fn run(&mut self) {
        self.run_with(usize::MAX, usize::MAX);
    }

    /// The same with sockets that take at most so many bytes at a time.
    pub(crate) fn run_with(&mut self, inlet_takes: usize, outlet_takes: usize) {
        loop {
            let moved = [
                self.inlet.read(usize::MAX),
                self.outlet.read(usize::MAX),
                self.deliver(true),
                self.deliver(false),
                self.inlet.write(inlet_takes),
                self.outlet.write(outlet_takes),
            ];
            if !moved.contains(&true) {
                return;
            }
        }
    }
}

/// Takes the Ping of an inlet to an outlet listener.
fn outlet_of(inlet: &mut End, cfg: &Config) -> End {
    let ping = inlet.sent.pop_front().expect("a Ping");
    End::new(Stream::outlet(
        cfg,
        &PortalMessage::decode(&ping).expect("a Ping"),
    ))
}

/// Bytes that show where they come from.
pub(crate) fn pattern(n: usize, seed: u8) -> Vec<u8> {
    (0..n)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

fn feed(end: &mut End, data: &[u8]) {
    end.socket.input.extend(data);
}

#[test]
fn data_passes_both_ways_and_both_ends_finish() {
    let (up, down) = (pattern(10_000, 1), pattern(33_333, 2));
    let mut pair = Pair::open(&small(), &small());
    feed(&mut pair.inlet, &up);
    feed(&mut pair.outlet, &down);
    pair.run();
    assert_eq!(pair.outlet.socket.output, up);
    assert_eq!(pair.inlet.socket.output, down);
    assert_eq!(
        (pair.inlet.socket.seen, pair.outlet.socket.seen),
        (None, None)
    );

    pair.inlet.socket.input_ended = true;
    pair.outlet.socket.input_ended = true;
    pair.run();
    assert!(pair.inlet.stream.is_done() && pair.outlet.stream.is_done());
    assert_eq!(pair.inlet.socket.seen, Some(Seen::Closed));
    assert_eq!(pair.outlet.socket.seen, Some(Seen::Closed));
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let (question, answer) = (pattern(5_000, 3), pattern(9_000, 4));
    let mut pair = Pair::open(&small(), &small());
    feed(&mut pair.inlet, &question);
    pair.inlet.socket.input_ended = true;
    pair.run();
    assert_eq!(pair.outlet.socket.output, question);
    assert_eq!(
        pair.outlet.socket.seen,
        Some(Seen::Eof),
        "the target sees the end"
    );
    assert!(!pair.inlet.stream.is_done() && !pair.outlet.stream.is_done());

    feed(&mut pair.outlet, &answer);
    pair.outlet.socket.input_ended = true;
    pair.run();
    assert_eq!(pair.inlet.socket.output, answer);
    assert_eq!(pair.inlet.socket.seen, Some(Seen::Closed));
    assert!(pair.inlet.stream.is_done() && pair.outlet.stream.is_done());
}

#[test]
fn with_ockam_a_half_close_is_a_close() {
    let mut pair = Pair::open(&small(), &plain());
    feed(&mut pair.inlet, b"question");
    pair.inlet.socket.input_ended = true;
    pair.run();
    assert_eq!(pair.outlet.socket.output, b"question");
    assert_eq!(pair.outlet.socket.seen, Some(Seen::Closed));
    assert_eq!(
        pair.inlet.socket.seen,
        Some(Seen::Closed),
        "at once, not after 2 s"
    );
}

#[test]
fn a_reset_arrives_as_a_reset() {
    let mut pair = Pair::open(&small(), &small());
    feed(&mut pair.inlet, b"abc");
    pair.run();
    pair.inlet.stream.on_read_error();
    pair.inlet.settle();
    pair.run();
    assert_eq!(pair.outlet.socket.seen, Some(Seen::Reset));
    assert!(pair.inlet.stream.is_done() && pair.outlet.stream.is_done());
}

#[test]
fn a_refused_target_closes_the_client_at_once() {
    for cfg in [small(), plain()] {
        let mut inlet = End::new(Stream::inlet(&cfg, 0));
        let mut outlet = outlet_of(&mut inlet, &cfg);
        outlet.stream.refused();
        outlet.settle();
        let mut pair = Pair { inlet, outlet };
        pair.run();
        assert!(pair.inlet.stream.is_done() && pair.outlet.stream.is_done());
        assert_eq!(pair.inlet.socket.seen, Some(Seen::Closed));
        assert_eq!(pair.inlet.errors, []);
    }
}

#[test]
fn an_ockam_peer_disconnects() {
    let mut pair = Pair::open(&small(), &plain());
    pair.outlet.sent.push_back(payload(b"last words"));
    pair.outlet.sent.push_back(vec![2]);
    assert!(pair.deliver(false) && pair.deliver(false));
    assert!(pair.inlet.stream.is_done());
    assert_eq!(
        pair.inlet.socket.seen, None,
        "what was delivered is written first"
    );
    assert!(pair.inlet.write(4));
    assert_eq!(pair.inlet.socket.seen, None);
    assert!(pair.inlet.write(99));
    assert_eq!(pair.inlet.socket.output, b"last words");
    assert_eq!(pair.inlet.socket.seen, Some(Seen::Closed));
    assert!(pair.inlet.sent.is_empty());
}

#[test]
fn a_slow_reader_stops_the_sender_at_the_window() {
    let data = pattern(5_000, 5);
    let mut pair = Pair::open(&small(), &small());
    feed(&mut pair.inlet, &data);
    pair.run_with(0, 0);
    assert_eq!(pair.outlet.socket.held.len(), 1000, "the outlet's window");
    assert_eq!(pair.inlet.socket.input.len(), 4_000);
    assert_eq!(pair.inlet.stream.can_read(), 0);

    // Other traffic of the same pair does not wait for it.
    feed(&mut pair.outlet, b"unhindered");
    pair.run_with(usize::MAX, 0);
    assert_eq!(pair.inlet.socket.output, b"unhindered");

    pair.run_with(0, 7);
    assert_eq!(pair.outlet.socket.output, data);
    assert_eq!(pair.outlet.socket.most_held, 1000);
}

/// A socket that takes one byte at a time must not cause a message per byte.
#[test]
fn credit_is_returned_in_batches() {
    let mut pair = Pair::open(&small(), &small());
    feed(&mut pair.inlet, &pattern(20_000, 6));
    let mut credits = 0;
    loop {
        let mut moved = pair.inlet.read(usize::MAX);
        moved |= pair.deliver(true);
        moved |= pair.outlet.write(1);
        credits += pair.outlet.sent.len();
        moved |= pair.deliver(false);
        if !moved {
            break;
        }
    }
    assert_eq!(pair.outlet.socket.output.len(), 20_000);
    assert!(credits <= 20_000 / 25, "{credits} credit messages");
}

/// One direction of a bulk transfer costs two credit messages per window.
#[test]
fn a_fast_reader_costs_little_credit() {
    let cfg = Config {
        window: 1 << 20,
        ..Config::default()
    };
    let mut pair = Pair::open(&cfg, &cfg);
    feed(&mut pair.inlet, &pattern(8 << 20, 7));
    let mut credits = 0;
    while pair.inlet.read(usize::MAX) {
        while pair.deliver(true) {}
        while pair.outlet.write(usize::MAX) {}
        credits += pair.outlet.sent.len();
        while pair.deliver(false) {}
    }
    assert_eq!(pair.outlet.socket.output.len(), 8 << 20);
    assert_eq!(credits, 16);
}

#[test]
fn a_peer_beyond_its_credit_is_cut_off() {
    let mut pair = Pair::open(&small(), &small());
    for _ in 0..11 {
        pair.inlet.sent.push_back(payload(&[0; 100]));
    }
    pair.run_with(0, 0);
    let error = PortalError::CreditExceeded {
        allowed: 0,
        got: 100,
    };
    assert_eq!(pair.outlet.errors, [error]);
    assert_eq!(pair.outlet.socket.seen, Some(Seen::Reset));
    assert_eq!(pair.inlet.socket.seen, Some(Seen::Reset));
    assert!(pair.inlet.stream.is_done() && pair.outlet.stream.is_done());
}

#[test]
fn both_ends_may_close_at_once() {
    type End = fn(&mut Stream);
    let ends = [
        Stream::on_eof as End,
        Stream::on_read_error,
        Stream::on_write_error,
        Stream::stop,
        Stream::lost,
    ];
    for cfg in [small(), plain()] {
        for inlet_end in ends {
            for outlet_end in ends {
                let mut pair = Pair::open(&cfg, &cfg);
                inlet_end(&mut pair.inlet.stream);
                outlet_end(&mut pair.outlet.stream);
                pair.inlet.settle();
                pair.outlet.settle();
                pair.run();
                // An Eof that meets a lost route has nobody to end the other direction.
                let told = |end: End| !std::ptr::fn_addr_eq(end, Stream::lost as End);
                if told(inlet_end) && told(outlet_end) {
                    assert!(pair.inlet.stream.is_done() && pair.outlet.stream.is_done());
                }
                assert_eq!(
                    (&pair.inlet.errors[..], &pair.outlet.errors[..]),
                    (&[][..], &[][..])
                );
            }
        }
    }
}

#[test]
fn an_unanswered_inlet_gives_up_by_the_clock() {
    let mut now = 500;
    let mut inlet = End::new(Stream::inlet(&small(), now));
    while let Some(deadline) = inlet.stream.deadline_ms() {
        assert!(inlet.socket.seen.is_none());
        now = (now + 700).min(deadline);
        let expired = inlet.stream.on_timeout(now);
        assert_eq!(expired, now == 5_500);
        inlet.settle();
    }
    assert_eq!(now, 5_500);
    assert_eq!(inlet.socket.seen, Some(Seen::Reset));
    inlet.hear(&[1]);
    assert_eq!(inlet.errors, []);
}

#[test]
fn a_window_smaller_than_a_payload_still_moves() {
    for window in [1, 2, 3, 99] {
        let cfg = Config { window, ..small() };
        let mut pair = Pair::open(&cfg, &cfg);
        let data = pattern(1_000, 8);
        feed(&mut pair.inlet, &data);
        feed(&mut pair.outlet, &data);
        pair.run_with(1, 2);
        assert_eq!(pair.outlet.socket.output, data);
        assert_eq!(pair.inlet.socket.output, data);
        assert!(pair.inlet.socket.most_held <= window as usize);
    }
}
