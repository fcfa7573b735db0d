//! Two ends of a path and a network that loses, repeats and delays, with a virtual clock.

use culvert_proto::limits::MAX_FRAME;
use culvert_proto::steady::{SEGMENT, Steady, SteadyError, WINDOW};

/// A reproducible source of numbers.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// What the network does to one of a hundred datagrams, and how long each takes at most.
#[derive(Clone, Copy)]
struct Weather {
    lost: u64,
    repeated: u64,
    delay_ms: u64,
}

const CALM: Weather = Weather {
    lost: 0,
    repeated: 0,
    delay_ms: 1,
};

/// Two ends with what is under way to each: when it arrives, and the segment.
struct World {
    ends: [Steady; 2],
    way: [Vec<(u64, Vec<u8>)>; 2],
    now_ms: u64,
    dice: Dice,
    weather: Weather,
    arrived: [Vec<Vec<u8>>; 2],
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        Self {
            ends: [Steady::new(), Steady::new()],
            way: Default::default(),
            now_ms: 0,
            dice: Dice(seed),
            weather,
            arrived: Default::default(),
        }
    }

    fn send(&mut self, from: usize) {
        while let Some(segment) = self.ends[from].poll(self.now_ms) {
            let Weather {
                lost,
                repeated,
                delay_ms,
            } = self.weather;
            let copies = match self.dice.below(100) {
                n if n < lost => 0,
                n if n < lost + repeated => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let at = self.now_ms + 1 + self.dice.below(delay_ms);
                self.way[1 - from].push((at, segment.clone()));
            }
        }
    }

    fn step(&mut self) {
        for to in 0..2 {
            let now = self.now_ms;
            let (due, rest) = std::mem::take(&mut self.way[to])
                .into_iter()
                .partition(|(at, _)| *at <= now);
            self.way[to] = rest;
            let due: Vec<(u64, Vec<u8>)> = due;
            for (_, segment) in due {
                self.ends[to].on_segment(now, &segment).unwrap();
                while let Some(message) = self.ends[to].next_message() {
                    self.arrived[to].push(message);
                }
                self.send(to);
            }
        }
        self.send(0);
        self.send(1);
        self.now_ms += 1;
    }

    /// Runs until each end has so many messages.
    #[track_caller]
    fn run(&mut self, wanted: [usize; 2]) {
        for _ in 0..2_000_000 {
            if [self.arrived[0].len(), self.arrived[1].len()] == wanted {
                return;
            }
            self.step();
        }
        panic!("{:?}", [self.arrived[0].len(), self.arrived[1].len()]);
    }
}

fn messages(dice: &mut Dice, count: usize) -> Vec<Vec<u8>> {
    let mut message = |_| {
        let len = match dice.below(4) {
            0 => 1 + dice.below(100),
            1 => SEGMENT as u64 - 1 + dice.below(3),
            2 => 3 * SEGMENT as u64,
            _ => 1 + dice.below(50_000),
        };
        (0..len).map(|_| dice.next() as u8).collect()
    };
    (0..count).map(&mut message).collect()
}

#[test]
fn all_messages_arrive_once_and_in_order_in_any_weather() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let weather = Weather {
            lost: dice.below(30),
            repeated: dice.below(20),
            delay_ms: 1 + dice.below(60),
        };
        let mut world = World::new(seed, weather);
        let sent = [messages(&mut dice, 20), messages(&mut dice, 20)];
        for (end, messages) in sent.iter().enumerate() {
            for message in messages {
                world.ends[end].push(message.clone()).unwrap();
            }
        }
        world.run([20, 20]);
        assert!(world.arrived[1] == sent[0] && world.arrived[0] == sent[1]);
        // All is acknowledged in the end, and then nothing is sent any more.
        for _ in 0..10_000 {
            world.step();
        }
        assert!(world.ends.iter().all(|end| end.deadline_ms().is_none()));
        assert!(world.ends.iter().all(Steady::is_idle));
        assert!(world.way.iter().all(Vec::is_empty));
        assert_eq!(world.arrived[0].len() + world.arrived[1].len(), 40);
    }
}

#[test]
fn a_calm_network_carries_each_segment_once() {
    let mut world = World::new(1, CALM);
    let message = vec![7; 2_000_000];
    world.ends[0].push(message.clone()).unwrap();
    world.run([0, 1]);
    assert_eq!(world.arrived[1], [message]);
    assert_eq!(world.ends[0].sent_again(), 0);
    assert_eq!(world.ends[0].waiting(), 0);
}

#[test]
fn one_loss_costs_one_segment_and_no_waiting_for_a_timeout() {
    let mut world = World::new(1, CALM);
    world.ends[0].push(vec![7; 40 * SEGMENT]).unwrap();
    assert!(!world.ends[0].is_idle());
    world.send(0);
    world.way[1].remove(2);
    world.run([0, 1]);
    assert_eq!(world.ends[0].sent_again(), 1);
    assert!(world.now_ms < 60, "it took {} ms", world.now_ms);
}

#[test]
fn what_is_under_way_is_bounded_and_shrinks_when_nothing_arrives() {
    let mut end = Steady::new();
    end.push(vec![0; 4_000_000]).unwrap();
    let count = |end: &mut Steady, now| std::iter::from_fn(|| end.poll(now)).count();
    let first = count(&mut end, 0);
    assert!((4..=WINDOW).contains(&first), "{first}");
    assert_eq!(count(&mut end, 1), 0);
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let deadline = end.deadline_ms().unwrap();
        pauses.push(deadline - now);
        now = deadline;
        let again = count(&mut end, now);
        assert!(again > 0 && again <= first);
    }
    assert!(pauses.is_sorted() && pauses[0] < pauses[5], "{pauses:?}");
    assert!(pauses[5] <= 2_000);
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let mut end = Steady::new();
    let part = |kind: u8, number: u64, rest: &[u8]| {
        let mut out = vec![kind];
        out.extend(number.to_be_bytes());
        out.extend(rest);
        out
    };
    for bytes in [
        vec![],
        vec![0; 8],
        part(0, 0, b""),
        part(1, 0, b""),
        part(1, 0, &[0; SEGMENT + 1]),
        part(3, 0, b"x"),
    ] {
        assert_eq!(end.on_segment(0, &bytes), Err(SteadyError::Malformed));
    }
    let window = WINDOW as u64;
    for number in [window, u64::MAX] {
        let error = Err(SteadyError::TooFar(number));
        assert_eq!(end.on_segment(0, &part(1, number, b"x")), error);
    }
    assert_eq!(
        end.on_segment(0, &part(2, 1, b"")),
        Err(SteadyError::NotSent(1))
    );
    // Bits about what was never sent.
    assert_eq!(end.on_segment(0, &part(2, 0, &[0xff; 200])), Ok(()));
    assert_eq!(end.poll(0), None);
    assert_eq!(end.push(Vec::new()), Err(SteadyError::Malformed));
    assert_eq!(end.push(vec![0; MAX_FRAME + 1]), Err(SteadyError::TooLong));
    assert_eq!(end.on_segment(0, &part(1, 0, b"x")), Ok(()));
    assert_eq!(end.next_message(), Some(b"x".to_vec()));
    // It is acknowledged, again when it comes again, and delivered once.
    for _ in 0..2 {
        assert_eq!(end.poll(0), Some(part(2, 1, b"")));
        assert_eq!(end.on_segment(0, &part(1, 0, b"x")), Ok(()));
        assert_eq!(end.next_message(), None);
    }
}

#[test]
fn a_message_without_end_is_refused() {
    let mut end = Steady::new();
    let bytes = [0; SEGMENT];
    let mut number = 0u64;
    let error = loop {
        let mut part = vec![0];
        part.extend(number.to_be_bytes());
        part.extend(&bytes);
        if let Err(error) = end.on_segment(0, &part) {
            break error;
        }
        number += 1;
    };
    assert_eq!(error, SteadyError::TooLong);
    assert!(number as usize * bytes.len() <= MAX_FRAME);
}

#[test]
fn the_bytes_are_as_described() {
    let mut end = Steady::new();
    end.push(vec![0xaa; SEGMENT + 1]).unwrap();
    let first = end.poll(0).unwrap();
    assert_eq!(first[..10], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa]);
    assert_eq!(first.len(), 9 + SEGMENT);
    assert_eq!(end.poll(0), Some(vec![1, 0, 0, 0, 0, 0, 0, 0, 1, 0xaa]));
    let mut other = Steady::new();
    // Numbers 1 and 10 are there, 0 is missing.
    for number in [1, 10] {
        let part = [0, 0, 0, 0, 0, 0, 0, 0, number, 0xaa];
        other.on_segment(0, &part).unwrap();
    }
    let ack = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0b0000_0001, 0b0000_0010];
    assert_eq!(other.poll(0), Some(ack.to_vec()));
}
