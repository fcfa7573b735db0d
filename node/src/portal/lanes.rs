//! The lanes of an inlet: one per shard, each with a path of its own. A client goes to the one with
//! the fewest streams.

use std::net::TcpStream;
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_channel::{Receiver, Sender};
use culvert_proto::portal;

use super::inlet::{PathWatch, Suspicion, reset, serve};
use crate::policy::Guard;
use crate::shard::Shard;
use crate::stop::Stop;

/// What a lane is told.
enum Word {
    /// Serve this client.
    Client(Client),
    /// Another lane gets no answer from the far side.
    Suspect,
}

impl Word {
    /// Resets the client that it is about.
    fn turn_away(self) {
        if let Self::Client(client) = self {
            reset(client.socket.as_fd());
        }
    }
}

/// One lane, as the others see it.
struct Lane {
    words: Sender<Word>,
    /// Whether its path works.
    up: AtomicBool,
    /// Clients it has.
    open: AtomicUsize,
}

/// A TCP client on its way to a lane.
pub(super) struct Client {
    pub(super) socket: TcpStream,
    /// When it stops waiting for a path, in milliseconds of the node.
    pub(super) deadline_ms: u64,
    pub(super) turn: Turn,
}

/// All lanes of one inlet. Cloning is cheap.
#[derive(Clone)]
pub struct Lanes(Arc<Shared>);

struct Shared {
    lanes: Vec<Lane>,
    /// Whether the far side has ever answered a question of one of them.
    answers: AtomicBool,
}

/// The end of a lane that its shard takes clients from.
pub struct LaneEnd {
    lanes: Lanes,
    number: usize,
    words: Receiver<Word>,
}

/// That a client counts as one of a lane.
pub(super) struct Turn {
    lanes: Lanes,
    number: usize,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.lanes.0.lanes[self.number]
            .open
            .fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// As many lanes as there are shards, and their ends in order.
    pub fn new(shards: usize) -> (Self, Vec<LaneEnd>) {
        // Clients that wait here are bounded by the files that may be open.
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..shards).map(|_| async_channel::unbounded()).unzip();
        let lane = |words| Lane {
            words,
            up: AtomicBool::new(false),
            open: AtomicUsize::new(0),
        };
        let lanes = Self(Arc::new(Shared {
            lanes: senders.into_iter().map(lane).collect(),
            answers: AtomicBool::new(false),
        }));
        let end = |(number, words)| LaneEnd {
            lanes: lanes.clone(),
            number,
            words,
        };
        let ends = receivers.into_iter().enumerate().map(end).collect();
        (lanes, ends)
    }

    /// Gives a client to the lane that is up and has the fewest.
    pub(super) fn give(&self, socket: TcpStream, deadline_ms: u64) {
        let key = |lane: &Lane| {
            let open = lane.open.load(Ordering::Relaxed);
            (!lane.up.load(Ordering::Relaxed), open)
        };
        let least = self
            .0
            .lanes
            .iter()
            .enumerate()
            .min_by_key(|(_, lane)| key(lane));
        if let Some((number, lane)) = least {
            lane.open.fetch_add(1, Ordering::Relaxed);
            let turn = Turn {
                lanes: self.clone(),
                number,
            };
            let given = lane.words.try_send(Word::Client(Client {
                socket,
                deadline_ms,
                turn,
            }));
            // A lane that was stopped takes nobody.
            if let Err(refused) = given {
                refused.into_inner().turn_away();
            }
        }
    }

    /// Whether a lane is up.
    pub(super) fn any_is_up(&self) -> bool {
        self.0
            .lanes
            .iter()
            .any(|lane| lane.up.load(Ordering::Relaxed))
    }

    /// Has the other lanes find out whether their far side, mostly the same one, is still there.
    pub(super) fn warn_others(&self, number: usize) {
        let lanes = self.0.lanes.iter().enumerate();
        for (_, lane) in lanes.filter(|(other, _)| *other != number) {
            let _ = lane.words.try_send(Word::Suspect);
        }
    }

    /// Notes that the far side answers questions.
    pub(super) fn set_answers(&self) {
        self.0.answers.store(true, Ordering::Relaxed);
    }

    /// Whether the far side is known to answer questions, so that it means something when it does
    /// not. What one lane has seen holds for all.
    pub(super) fn answers(&self) -> bool {
        self.0.answers.load(Ordering::Relaxed)
    }

    pub(super) fn set_up(&self, number: usize, up: bool) {
        self.0.lanes[number].up.store(up, Ordering::Relaxed);
    }
}

impl LaneEnd {
    /// Serves the clients of this lane on `shard`; gives what its session keeps up to date.
    ///
    /// `guard` is asked about the far side before a client is connected to it. When it is stopped its
    /// clients are reset, those that wait and those with a stream.
    pub fn start(
        self,
        shard: &Shard,
        config: portal::Config,
        guard: Option<Guard>,
        stop: Stop,
    ) -> Rc<PathWatch> {
        let paths = Rc::new(PathWatch::new(self.lanes.clone(), self.number, guard));
        let (shard, watch) = (shard.clone(), Rc::clone(&paths));
        monoio::spawn(async move {
            let mut stopped = pin!(stop.stopped());
            loop {
                let word = monoio::select! {
                    () = &mut stopped => break,
                    word = self.words.recv() => word,
                };
                match word {
                    Ok(Word::Client(client)) => {
                        let (shard, watch) = (shard.clone(), Rc::clone(&watch));
                        monoio::spawn(serve(shard, client, config, watch, stop.clone()));
                    }
                    Ok(Word::Suspect) => watch.suspect(Suspicion::Warned),
                    Err(_) => break,
                }
            }
            self.words.close();
            while let Ok(word) = self.words.try_recv() {
                word.turn_away();
            }
            watch.stop(&shard);
        });
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> TcpStream {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection")
    }

    #[test]
    fn clients_go_to_the_lane_that_is_up_and_has_the_fewest() {
        let (lanes, ends) = Lanes::new(3);
        let mut held = Vec::new();
        let mut give = || {
            lanes.give(socket(), 0);
            let taken = ends.iter().find_map(|end| end.words.try_recv().ok());
            let Some(Word::Client(client)) = taken else {
                panic!("no client");
            };
            let number = client.turn.number;
            held.push(client);
            (number, held.len())
        };
        // None is up: they are spread, and wait.
        assert_eq!([give().0, give().0], [0, 1]);
        lanes.set_up(2, true);
        assert_eq!([give().0, give().0], [2, 2]);
        lanes.set_up(1, true);
        assert_eq!(give().0, 1);
        held.clear();
        assert!(
            lanes
                .0
                .lanes
                .iter()
                .all(|lane| lane.open.load(Ordering::Relaxed) == 0)
        );
    }

    #[test]
    fn what_one_lane_knows_of_the_far_side_holds_for_all() {
        let (lanes, _ends) = Lanes::new(2);
        let [first, second] = [0, 1].map(|number| PathWatch::new(lanes.clone(), number, None));
        assert!(!second.answers(false));
        assert!(first.answers(true));
        assert!(second.answers(false));
    }
}
