//! The two tasks of a link: one reads frames and routes them, one writes what is queued.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use culvert_proto::frame;
use monoio::buf::SliceMut;
use monoio::io::{AsyncReadRent, OwnedReadHalf, OwnedWriteHalf};
use monoio::net::TcpStream as Socket;

use super::Link;
use crate::buffer::ReadBuffer;
use crate::lazy::was_cancelled;
use crate::packet::Packet;
use crate::queue::{Work, write_some};
use crate::reason::CloseReason;
use crate::shard::{MovedLink, Shard};
use crate::sys::{self, IovBatch};
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
pub(super) async fn run(
    shard: Shard,
    link: Rc<Link>,
    mut reader: OwnedReadHalf<Socket>,
    writer: OwnedWriteHalf<Socket>,
    mut buffer: ReadBuffer,
) {
    let mut writing = monoio::spawn(write(shard.clone(), Rc::clone(&link), writer));
    let stop = read(&shard, &link, &mut reader, &mut buffer).await;
    match stop {
        Stop::Close(reason) => {
            if link.end.get().is_none() {
                link.end.set(Some(reason));
            }
            // An orderly peer still gets what is queued for it.
            if reason == CloseReason::PeerClosed {
                link.queue.drain();
            } else {
                link.queue.end();
            }
            shard.remove(link.address.key);
            drop(link.take_places());
            shard.relief_done(link.relieving.take());
            shard.counters().close(link.end.get().unwrap_or(reason));
            // A peer that has ended its side may still take what is queued, but not for ever.
            if monoio::time::timeout(LINGER, &mut writing).await.is_err() {
                link.queue.end();
                if let Some(fd) = link.fd.get() {
                    fd.shutdown();
                }
                writing.await;
            }
            link.fd.set(None);
            buffer.release(shard.pool());
        }
        Stop::Move(boxed) => {
            let (to, packet) = *boxed;
            link.end.set(Some(CloseReason::Moved));
            link.queue.drain();
            shard.remove(link.address.key);
            let half = writing.await;
            link.fd.set(None);
            shard.counters().links_moved.add(1);
            if let Ok(socket) = reader.reunite(half)
                && let Ok(socket) = sys::into_std(socket)
            {
                let spawner = link.producer.get().spawner.is_some();
                shard.hand_link(
                    to,
                    MovedLink {
                        socket,
                        unread: buffer.into_unread(shard.pool()),
                        packet,
                        spawner,
                        places: link.take_places(),
                        past: link.past(),
                    },
                );
            }
        }
    }
    shard.counters().links.sub(1);
    shard.links().fetch_sub(1, Ordering::Relaxed);
    link.ended.notify();
}

async fn read(
    shard: &Shard,
    link: &Rc<Link>,
    half: &mut OwnedReadHalf<Socket>,
    buffer: &mut ReadBuffer,
) -> Stop {
    loop {
        let need = loop {
            match link.next_frame(buffer) {
                Err(reason) => return Stop::Close(reason),
                Ok(Err(need)) => break need,
                Ok(Ok(frame)) => {
                    link.partial_since.set(None);
                    if let Some(stop) = receive(shard, link, frame).await {
                        return stop;
                    }
                    if let Some(reason) = link.end.get() {
                        return Stop::Close(reason);
                    }
                }
            }
        };
        if link.greeted.get() && buffer.unread().is_empty() {
            link.partial_since.set(None);
        } else if link.partial_since.get().is_none() {
            link.partial_since.set(Some(shard.now_ms()));
        }
        link.held.passed().await;
        if shard.pool().excess() > 0
            && let Some(reason) = make_do(shard, link, buffer, need).await
        {
            return Stop::Close(reason);
        }
        let asked = buffer.prepare(shard.pool(), need);
        link.reading.set(buffer.held());
        let is_idle = buffer.is_large_and_empty();
        let storage = buffer.lend();
        let start = storage.len();
        let slice = SliceMut::new(storage, start, start + asked);
        let (result, slice) = if is_idle {
            link.lazy.read(shard.now_ms(), half, slice).await
        } else {
            half.read(slice).await
        };
        let read = *result.as_ref().unwrap_or(&0);
        buffer.restore(slice.into_inner(), read, asked, shard.pool());
        match result {
            Ok(0) => {
                let reason = match link.leaving.get() {
                    true => CloseReason::Local,
                    false => CloseReason::PeerClosed,
                };
                return Stop::Close(link.end.get().unwrap_or(reason));
            }
            Ok(n) => {
                shard.counters().bytes_in.add(n as u64);
                link.count_in(n);
            }
            Err(error) if was_cancelled(&error) => buffer.shrink(shard.pool()),
            Err(_) => return Stop::Close(link.end.get().unwrap_or(CloseReason::Io)),
        }
    }
}

/// Gets along with little while more memory is in use than there is: gives back a buffer that is not
/// needed, and waits with a large frame. Gives a reason to close when that takes too long.
async fn make_do(
    shard: &Shard,
    link: &Link,
    buffer: &mut ReadBuffer,
    need: usize,
) -> Option<CloseReason> {
    buffer.shrink(shard.pool());
    link.reading.set(buffer.held());
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

/// Handles one frame; waits where its destination is full.
async fn receive(shard: &Shard, link: &Rc<Link>, frame: BytesMut) -> Option<Stop> {
    shard.counters().messages_in.add(1);
    let Ok(mut packet) = Packet::parse(frame, frame::LEN) else {
        return Some(Stop::Close(CloseReason::BadMessage));
    };
    if packet.onward().is_empty() {
        // Heartbeat: `protocol/01-transport.md` 3.6 step 3.
        return None;
    }
    packet.via = Some(link.address);
    packet.producer = Some(link.producer.get());
    match shard.dispatch(packet) {
        Outcome::Done => None,
        Outcome::Refused(reason) => {
            shard.refuse_from(reason, link);
            None
        }
        Outcome::Wait(gate) => {
            shard.counters().waits.add(1);
            link.waiting.set(true);
            gate.passed().await;
            link.waiting.set(false);
            None
        }
        Outcome::Later(boxed) => {
            let (to, packet) = *boxed;
            link.waiting.set(true);
            shard.hand_over_waiting(to, packet).await;
            link.waiting.set(false);
            None
        }
        Outcome::Move(boxed) => Some(Stop::Move(boxed)),
        Outcome::Close(reason) => Some(Stop::Close(reason)),
    }
}

async fn write(
    shard: Shard,
    link: Rc<Link>,
    mut half: OwnedWriteHalf<Socket>,
) -> OwnedWriteHalf<Socket> {
    let mut batch = IovBatch::default();
    loop {
        match link.queue.fill(&mut batch).await {
            Work::Stop => break,
            Work::Drained => {
                match (link.end.get(), link.fd.get()) {
                    (Some(CloseReason::Moved), _) | (_, None) => {}
                    // What the peer still says is read to its end.
                    (None, Some(fd)) => fd.shutdown_write(),
                    (Some(_), Some(fd)) => fd.shutdown(),
                }
                break;
            }
            Work::Write => {}
        }
        let (back, written) = write_some(&mut half, batch).await;
        batch = back;
        match written {
            Some(n) => {
                link.queue.wrote(n);
                shard.counters().bytes_out.add(n as u64);
                shard.counters().writes.add(1);
            }
            None => {
                link.close(CloseReason::Io);
                break;
            }
        }
    }
    batch.clear();
    half
}
