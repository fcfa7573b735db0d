//! The task of a link: reads frames and routes them.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use culvert_proto::frame;

use super::Link;
use crate::buffer::ReadBuffer;
use crate::packet::Packet;
use crate::reason::CloseReason;
use crate::shard::{MovedLink, Shard};
use crate::socket::Socket;
use crate::worker::Outcome;

/// How long what is queued may take to leave after the peer has ended its side.
const LINGER: Duration = Duration::from_secs(5);

/// How often a link that needs more memory than there is looks again: what was closed to make room gives
/// it back soon.
const MEMORY_PAUSE: Duration = Duration::from_millis(2);
/// How long it waits.
const MEMORY_PATIENCE_MS: u64 = 2_000;

/// Why the reading task stopped.
enum Stop {
    Close(CloseReason),
    Move(Box<(u8, Packet)>),
}

/// The life of a link.
pub(super) async fn run(shard: Shard, link: Rc<Link>, socket: Rc<Socket>, mut buffer: ReadBuffer) {
    match read(&shard, &link, &socket, &mut buffer).await {
        Stop::Close(reason) => {
            if link.end.get().is_none() {
                link.end.set(Some(reason));
            }
            buffer.release(shard.pool());
            // An orderly peer still gets what is queued for it.
            if reason == CloseReason::PeerClosed {
                link.drain(&shard);
            } else {
                link.queue.end(shard.pool());
            }
            shard.remove(link.address.key);
            drop(link.take_places());
            shard.relief_done(link.relieving.take());
            shard.counters().close(link.end.get().unwrap_or(reason));
            // A peer that has ended its side may still take what is queued, but not for ever.
            let _ = Box::pin(monoio::time::timeout(LINGER, link.queue.wait_end())).await;
            link.queue.end(shard.pool());
            if link.queue.is_blocked() {
                // Ends the wait for the socket, too.
                socket.shutdown();
            }
            link.socket.take();
        }
        Stop::Move(boxed) => {
            let (to, packet) = *boxed;
            link.end.set(Some(CloseReason::Moved));
            link.drain(&shard);
            shard.remove(link.address.key);
            link.queue.wait_end().await;
            link.socket.take();
            let unread = buffer.into_unread(shard.pool());
            let places = link.take_places();
            match socket.to_std() {
                Ok(socket) => {
                    shard.counters().links_moved.add(1);
                    let moved = MovedLink {
                        socket,
                        unread,
                        packet,
                        spawner: link.producer.get().spawner.is_some(),
                        places,
                        past: link.past(),
                    };
                    shard.hand_link(to, moved);
                }
                // There can be no more open files: the peer sees the end of the link.
                Err(_) => shard.counters().close(CloseReason::Io),
            }
        }
    }
    drop(socket);
    // It may lead to a link that leads back.
    link.shortcut.take();
    shard.counters().links.sub(1);
    shard.links().fetch_sub(1, Ordering::Relaxed);
    link.ended.notify();
}

async fn read(shard: &Shard, link: &Rc<Link>, socket: &Socket, buffer: &mut ReadBuffer) -> Stop {
    let mut taken = 0;
    loop {
        let need = match frames(shard, link, buffer).await {
            Ok(need) => need,
            Err(stop) => return stop,
        };
        shard.took_in(taken);
        if link.greeted.get() && buffer.unread().is_empty() {
            link.partial_since.set(None);
        } else if link.partial_since.get().is_none() {
            link.partial_since.set(Some(shard.now_ms()));
        }
        buffer.rest(shard.pool(), need);
        link.reading.set(buffer.held());
        link.held.passed().await;
        if shard.pool().excess() > 0
            && let Some(reason) = Box::pin(make_do(shard, link, buffer, need)).await
        {
            return Stop::Close(reason);
        }
        socket.readable().await;
        let read = buffer.fill(shard.pool(), need, |buffer, most| {
            socket.receive(buffer, most)
        });
        match read {
            Ok(None) => taken = 0,
            Ok(Some(0)) => {
                let reason = match link.leaving.get() {
                    true => CloseReason::Local,
                    false => CloseReason::PeerClosed,
                };
                return Stop::Close(link.end.get().unwrap_or(reason));
            }
            Ok(Some(n)) => {
                shard.counters().bytes_in.add(n as u64);
                link.count_in(n);
                taken = n;
                // What the system had when the link was closed goes nowhere.
                if let Some(reason) = link.end.get() {
                    return Stop::Close(reason);
                }
            }
            Err(_) => return Stop::Close(link.end.get().unwrap_or(CloseReason::Io)),
        }
    }
}

/// Handles the frames that have been read; gives how many bytes the one that is not finished has in all.
async fn frames(shard: &Shard, link: &Rc<Link>, buffer: &mut ReadBuffer) -> Result<usize, Stop> {
    loop {
        let outcome = match link.send_on_small(shard, buffer) {
            Some(gate) => Outcome::Wait(gate),
            None => match link.next_frame(buffer) {
                Err(reason) => Outcome::Close(reason),
                Ok(Err(need)) => return Ok(need),
                Ok(Ok(frame)) => {
                    link.partial_since.set(None);
                    receive(shard, link, frame)
                }
            },
        };
        if let Some(stop) = settle(shard, link, buffer, outcome).await {
            return Err(stop);
        }
        if let Some(reason) = link.end.get() {
            return Err(Stop::Close(reason));
        }
    }
}

/// Gets along with little while more memory is in use than there is: waits with a large frame. Gives a
/// reason to close when that takes too long.
async fn make_do(
    shard: &Shard,
    link: &Link,
    buffer: &ReadBuffer,
    need: usize,
) -> Option<CloseReason> {
    shard.relieve();
    let since = shard.now_ms();
    while shard.pool().excess() > 0 && buffer.wants(need) {
        if link.end.get().is_some() {
            break;
        }
        if shard.now_ms() - since > MEMORY_PATIENCE_MS {
            return Some(CloseReason::MemoryLimit);
        }
        link.waiting.set(true);
        monoio::time::sleep(MEMORY_PAUSE).await;
        link.waiting.set(false);
        shard.relieve();
    }
    link.end.get()
}

/// Handles one frame.
fn receive(shard: &Shard, link: &Rc<Link>, frame: BytesMut) -> Outcome {
    shard.counters().messages_in.add(1);
    let Ok(mut packet) = Packet::parse(frame, frame::LEN) else {
        return Outcome::Close(CloseReason::BadMessage);
    };
    if packet.onward().is_empty() {
        // Heartbeat: `protocol/01-transport.md` 3.6 step 3.
        return Outcome::Done;
    }
    packet.via = Some(link.address);
    packet.producer = Some(link.producer.get());
    link.send_on(shard, packet)
}

/// Does what a message leads to; waits where its destination is full.
async fn settle(
    shard: &Shard,
    link: &Rc<Link>,
    buffer: &mut ReadBuffer,
    outcome: Outcome,
) -> Option<Stop> {
    match outcome {
        Outcome::Done => {}
        Outcome::Refused(reason) => shard.refuse_from(reason, link),
        Outcome::Wait(gate) => {
            shard.counters().waits.add(1);
            pause(shard, link, buffer);
            gate.passed().await;
            link.waiting.set(false);
        }
        Outcome::Later(boxed) => {
            let (to, packet) = *boxed;
            pause(shard, link, buffer);
            // In a box, like all that is rare: links that wait for nothing else are many.
            Box::pin(shard.hand_over_waiting(to, packet)).await;
            link.waiting.set(false);
        }
        Outcome::Move(boxed) => return Some(Stop::Move(boxed)),
        Outcome::Close(reason) => return Some(Stop::Close(reason)),
    }
    None
}

/// Before a wait for a destination: many may wait for one, so none keeps more than what it has not handled.
fn pause(shard: &Shard, link: &Link, buffer: &mut ReadBuffer) {
    buffer.rest(shard.pool(), 0);
    link.reading.set(buffer.held());
    link.waiting.set(true);
}
