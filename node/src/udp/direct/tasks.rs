//! What a direct path is set up with, and the tasks that run it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use culvert_proto::puncture::{Config, Setup};

use super::Direct;
use crate::key::{Key, LocalAddress};
use crate::random;
use crate::shard::Shard;
use crate::worker::Outcome;

/// Pause between two Pings along an open path, and how long one that answers none is believed in.
const KEEP_ALIVE_MS: u64 = 500;
const SILENCE_MS: u64 = 3_000;

pub(super) fn setup(shard: &Shard, rendezvous: SocketAddr) -> Setup {
    // Values that look like addresses of this node, and lead nowhere in it.
    let value = || {
        let key = Key::new(shard.number(), 0xff_ffff, 0);
        let tag = random::u64();
        LocalAddress { key, tag }.text().to_vec()
    };
    Setup {
        rendezvous,
        worker: value(),
        reply_to: value(),
        config: Config {
            keep_alive_ms: KEEP_ALIVE_MS,
            silence_ms: SILENCE_MS,
            ..Config::default()
        },
    }
}

/// The receiving task.
pub(super) async fn receive(shard: Shard, direct: Rc<Direct>) {
    let mut buffer = Vec::new();
    while let Some((from, message)) = direct.socket.receive(&shard, &mut buffer).await {
        shard.counters().messages_in.add(1);
        match direct.take(&shard, from, &message) {
            // What comes meanwhile waits in the kernel, and is lost when that is full.
            Outcome::Wait(gate) => gate.passed().await,
            Outcome::Close(_) | Outcome::Move(_) => {}
            other => drop(shard.settle(other, "message along a direct path")),
        }
    }
}

/// The task that keeps the deadlines.
pub(super) async fn keep_time(shard: Shard, direct: Rc<Direct>, me: Key) {
    loop {
        direct.poll(&shard);
        direct.send_segments(&shard);
        let Some(deadline) = direct.deadline_ms() else {
            break;
        };
        direct.wake_at.set(deadline);
        let pause = deadline.saturating_sub(shard.now_ms()).max(1);
        // By what is sent or comes in, a deadline may come closer meanwhile.
        monoio::select! {
            () = monoio::time::sleep(Duration::from_millis(pause)) => {}
            () = direct.sooner.until(|| direct.wakes_sooner().then_some(())) => {}
        }
    }
    shard.remove(me);
}
