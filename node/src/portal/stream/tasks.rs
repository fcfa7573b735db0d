//! The task of a stream: from its socket to the far side.

use std::rc::Rc;

use bytes::BytesMut;
use culvert_proto::portal;

use super::Stream;
use crate::buffer::{HEADROOM, TAILROOM};
use crate::notify::Gate;
use crate::packet::Packet;
use crate::reason::CloseReason;
use crate::shard::Shard;
use crate::socket::Socket;
use crate::worker::Outcome;

/// Most bytes one read asks for: the data of one message.
const MOST: usize = 128 << 10;
/// The least room to read into, beyond what has been used of a buffer.
const ROOM: usize = 16 << 10;

/// Socket to far side. No buffer is held while nothing comes.
pub(super) async fn read(shard: &Shard, stream: &Rc<Stream>, socket: &Socket) {
    let mut room = ROOM;
    while stream.may_read().await {
        socket.readable().await;
        let budget = stream.budget();
        if budget == 0 {
            continue;
        }
        if shard.pool().excess() > 0 {
            shard.relieve();
        }
        let mut storage = shard.pool().lend(HEADROOM + room + TAILROOM);
        let asked = budget.min(storage.capacity() - HEADROOM - TAILROOM);
        storage.resize(HEADROOM, 0);
        let read = socket.receive(&mut storage, asked);
        let data = match read {
            Ok(Some(n)) if n > 0 => {
                let end = storage.len();
                storage.resize(end + TAILROOM, 0);
                let mut data = storage.split();
                data.truncate(end);
                Some((data, n))
            }
            _ => None,
        };
        shard.pool().put_back(storage);
        match (read, data) {
            (_, Some((data, n))) => {
                room = if n == asked { MOST } else { n.max(ROOM) };
                let full = send_data(shard, stream, data, n);
                shard.took_in(n);
                if let Some(gate) = full {
                    gate.passed().await;
                }
            }
            (Ok(None), _) => {}
            (Ok(_), _) => {
                stream.read_ended.set(true);
                stream.with(shard, portal::Stream::on_eof);
            }
            (Err(_), _) => {
                stream.read_ended.set(true);
                stream.why.set(CloseReason::Io);
                stream.with(shard, portal::Stream::on_read_error);
            }
        }
    }
}

impl Stream {
    /// How many bytes may be read now.
    fn budget(&self) -> usize {
        if self.is_read() {
            return 0;
        }
        self.machine.borrow().can_read().min(MOST)
    }

    /// Whether nothing more will be read.
    fn is_read(&self) -> bool {
        self.end.get().is_some() || self.read_ended.get()
    }

    /// Waits until something may be read; false if nothing ever will.
    async fn may_read(&self) -> bool {
        self.changed
            .until(|| match self.is_read() {
                true => Some(false),
                false => (self.budget() > 0).then_some(true),
            })
            .await
    }
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
