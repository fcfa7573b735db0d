//! The two tasks of a stream: one for each direction between its socket and the far side.

use std::rc::Rc;

use bytes::BytesMut;
use culvert_proto::portal;
use monoio::buf::SliceMut;
use monoio::io::{AsyncReadRent, OwnedReadHalf, OwnedWriteHalf};
use monoio::net::TcpStream;

use super::{LOW_WATER, Stream};
use crate::buffer::{CLASSES, HEADROOM, TAILROOM};
use crate::lazy::was_cancelled;
use crate::notify::Gate;
use crate::packet::Packet;
use crate::queue::write_some;
use crate::reason::CloseReason;
use crate::shard::Shard;
use crate::sys::IovBatch;
use crate::worker::Outcome;

/// Bytes one read asks for: grows while reads come back full.
const READS: [usize; 3] = [2 << 10, 32 << 10, 128 << 10];

/// Socket to far side.
pub(super) async fn read(shard: Shard, stream: Rc<Stream>, mut half: OwnedReadHalf<TcpStream>) {
    let mut step = 0;
    let mut size = CLASSES[0];
    let mut storage = shard.pool().take(0);
    loop {
        let budget = stream.changed.until(|| {
            if stream.end.get().is_some() {
                return Some(0);
            }
            let machine = stream.machine.borrow();
            if stream.read_ended.get() {
                return Some(0);
            }
            Some(machine.can_read()).filter(|n| *n > 0)
        });
        let budget = budget.await.min(READS[step]);
        if budget == 0 {
            break;
        }
        let wanted = HEADROOM + budget + TAILROOM;
        if storage.capacity() < wanted && !storage.try_reclaim(wanted.max(size)) {
            shard.pool().give(storage, size);
            // The last class holds the longest read.
            let class = CLASSES.iter().position(|class| *class >= wanted);
            let class = class.unwrap_or(CLASSES.len() - 1);
            size = CLASSES[class];
            storage = shard.pool().take(class);
        }
        if shard.pool().excess() > 0 {
            shard.relieve();
        }
        stream.reading.set(size - CLASSES[0]);
        storage.resize(HEADROOM, 0);
        let slice = SliceMut::new(storage, HEADROOM, HEADROOM + budget);
        let (result, slice) = if size > CLASSES[0] {
            stream.lazy.read(shard.now_ms(), &mut half, slice).await
        } else {
            half.read(slice).await
        };
        storage = slice.into_inner();
        if stream.end.get().is_some() {
            break;
        }
        match result {
            Ok(0) => {
                storage.clear();
                stream.read_ended.set(true);
                stream.with(&shard, portal::Stream::on_eof);
            }
            Ok(n) => {
                step = if n == READS[step] && shard.pool().has_room_for(step) {
                    (step + 1).min(READS.len() - 1)
                } else if n < READS[step] / 8 {
                    0
                } else {
                    step
                };
                let end = storage.len();
                storage.resize(end + TAILROOM, 0);
                let mut data = storage.split();
                data.truncate(end);
                if let Some(gate) = send_data(&shard, &stream, data, n) {
                    gate.passed().await;
                }
            }
            Err(error) if was_cancelled(&error) => {
                shard.pool().give(storage, size);
                (step, size) = (0, CLASSES[0]);
                storage = shard.pool().take(0);
            }
            Err(_) => {
                storage.clear();
                stream.read_ended.set(true);
                stream.why.set(CloseReason::Io);
                stream.with(&shard, portal::Stream::on_read_error);
            }
        }
    }
    shard.pool().give(storage, size);
}

/// Sends what was read as one payload message; its buffer has headroom in front.
fn send_data(shard: &Shard, stream: &Rc<Stream>, mut data: BytesMut, n: usize) -> Option<Rc<Gate>> {
    stream.machine.borrow_mut().on_read(n);
    stream.sent.set(stream.sent.get() + n as u64);
    let (header, len) = portal::payload_header(n);
    let start = HEADROOM - len;
    data[start..HEADROOM].copy_from_slice(&header[..len]);
    let packet = Packet::wrap(data, start, &stream.route.borrow(), &stream.own);
    match shard.dispatch_made(packet) {
        Outcome::Wait(gate) => return Some(gate),
        Outcome::Done => {}
        // The bytes did not leave: going on would leave a hole in the stream.
        Outcome::Refused(reason) => {
            shard.refuse(reason, "portal data");
            stream.abort(shard, CloseReason::WouldLose);
        }
        other => {
            if !shard.settle(other, "portal data") {
                stream.abort(shard, CloseReason::WouldLose);
            }
        }
    }
    None
}

enum Next {
    Write,
    Finish,
    End,
}

/// Far side to socket.
pub(super) async fn write(shard: &Shard, stream: &Rc<Stream>, mut half: OwnedWriteHalf<TcpStream>) {
    let mut batch = IovBatch::default();
    let mut finished = false;
    loop {
        let next = stream.changed.until(|| {
            let mut incoming = stream.incoming.borrow_mut();
            while batch.has_room() {
                let Some(chunk) = incoming.pop_front() else {
                    break;
                };
                batch.push(chunk);
            }
            if !batch.is_empty() {
                Some(Next::Write)
            } else if stream.end.get().is_some() {
                Some(Next::End)
            } else if stream.finish.get() && !finished {
                Some(Next::Finish)
            } else {
                None
            }
        });
        match next.await {
            Next::Write => {}
            Next::Finish => {
                finished = true;
                if let Some(fd) = stream.fd.get() {
                    fd.shutdown_write();
                }
                continue;
            }
            Next::End => break,
        }
        let (back, written) = write_some(&mut half, batch).await;
        batch = back;
        match written {
            Some(n) => {
                stream.written.set(stream.written.get() + n as u64);
                let waiting = stream.waiting.get().saturating_sub(n);
                stream.waiting.set(waiting);
                if waiting < LOW_WATER {
                    stream.gate.open();
                }
                stream.with(shard, |machine| machine.on_written(n));
            }
            None => {
                stream.why.set(CloseReason::Io);
                stream.with(shard, portal::Stream::on_write_error);
                break;
            }
        }
        if stream.aborted.get() {
            break;
        }
    }
    batch.clear();
    // Ends the read under way too. A connection that was reset is not to look like one that ended.
    if let Some(fd) = stream.fd.get()
        && !stream.aborted.get()
    {
        fd.shutdown();
    }
}
