//! A routed message inside the node.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{Buf, BytesMut};
use culvert_crypto::Identifier;
use culvert_proto::cbor;
use culvert_proto::flow_control::FlowId;
use culvert_proto::frame;
use culvert_proto::message::{self, Layout};
use culvert_proto::rewrite::Rewrite;
use culvert_proto::route::{Route, RouteView};
use culvert_proto::udp;

use crate::buffer::{HEADROOM, Pool, TAILROOM};
use crate::channel::Channel;
use crate::key::{Key, LocalAddress};
use crate::metrics::Counters;
use crate::reason::Refusal;
use crate::shard::Shard;
use crate::trace::Trace;

/// Most layers (channels inside channels) one received message may unfold into.
pub(crate) const MAX_DEPTH: u8 = 8;

/// Who put a message into the node, for flow control (`protocol/02-routing.md` 6).
#[derive(Clone, Copy, Debug)]
pub struct Producer {
    /// Its own flow control id.
    pub id: FlowId,
    /// The id of what spawned it.
    pub spawner: Option<FlowId>,
}

/// A routed message on its way through the node: encoded, in the buffer it was received in or
/// composed in, with what the node knows about it.
///
/// ```text
/// buffer: | headroom | 84 | onward route | return route | payload | tracing | tailroom |
///                    ^ head                                                  ^ layout.end()
/// ```
///
/// Invariant: `layout` describes the bytes at `head`.
#[derive(Debug)]
pub struct Packet {
    buffer: BytesMut,
    head: usize,
    layout: Layout,
    /// Where it came in: belongs in front of the return route, and is written there only when
    /// somebody needs it.
    pub(crate) via: Option<LocalAddress>,
    pub(crate) producer: Option<Producer>,
    /// The authenticated peer whose channel it came through (`protocol/02-routing.md` 7).
    pub identity: Option<Identifier>,
    pub(crate) depth: u8,
    /// The trace it belongs to, written where it leaves the node; of messages that open a stream.
    pub(crate) trace: Option<Trace>,
}

impl Packet {
    /// The channel that it came through, if it came through one of this shard.
    #[must_use]
    pub fn channel(&self, shard: &Shard) -> Option<Rc<Channel>> {
        self.via.and_then(|via| shard.channel(via.key))
    }

    /// Reads the message at `head` of a buffer; everything behind the message is cut off.
    pub(crate) fn parse(mut buffer: BytesMut, head: usize) -> Result<Self, message::MessageError> {
        let layout = Layout::parse(&buffer[head..])?;
        buffer.truncate(head + layout.end());
        Ok(Self {
            buffer,
            head,
            layout,
            via: None,
            producer: None,
            identity: None,
            depth: 0,
            trace: None,
        })
    }

    /// Puts routes in front of a payload that lies at `start..` of a buffer with headroom before
    /// it. Routes can be too long, and the whole can be longer than a frame.
    pub(crate) fn wrap(
        buffer: BytesMut,
        start: usize,
        onward: &Route,
        return_route: &Route,
    ) -> Result<Self, Refusal> {
        let len = buffer.len() - start;
        let header = message::header_len(onward, return_route, len);
        let (mut buffer, start) = with_headroom(buffer, start, header);
        let head = start - header;
        message::write_header(&mut buffer[head..start], 3, onward, return_route, len);
        Self::parse(buffer, head).map_err(|_| Refusal::MessageTooLong)
    }

    /// Composes a small message.
    pub(crate) fn compose(
        onward: &Route,
        return_route: &Route,
        payload: &[u8],
        pool: &Pool,
    ) -> Result<Self, Refusal> {
        let mut buffer = pool.small(HEADROOM + payload.len() + TAILROOM);
        buffer[HEADROOM..HEADROOM + payload.len()].copy_from_slice(payload);
        buffer.truncate(HEADROOM + payload.len());
        Self::wrap(buffer, HEADROOM, onward, return_route)
    }

    /// Reads a message that came over UDP from `from`, whose address goes in front of its return route
    /// (`protocol/01-transport.md` 4.4).
    pub(crate) fn from_peer(message: &[u8], from: SocketAddr) -> Result<Self, Refusal> {
        let layout = Layout::parse(message).map_err(|_| Refusal::UdpMessage)?;
        let back: Route = [udp::peer_address(from)].iter().collect();
        let rewrite = Rewrite {
            push_return: back.view(),
            ..Rewrite::default()
        };
        let prefix = rewrite
            .prefix_len(message, &layout)
            .map_err(|_| Refusal::RouteTooLong)?;
        let tail = &message[layout.tail_start()..layout.end()];
        let mut buffer = BytesMut::with_capacity(HEADROOM + prefix + tail.len() + TAILROOM);
        buffer.resize(HEADROOM + prefix, 0);
        rewrite.write_prefix(message, &layout, &mut buffer[HEADROOM..]);
        buffer.extend_from_slice(tail);
        Self::parse(buffer, HEADROOM).map_err(|_| Refusal::RouteTooLong)
    }

    fn message(&self) -> &[u8] {
        &self.buffer[self.head..]
    }

    /// Bytes of the message.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.head
    }

    /// The remaining hops; the first is where the message is delivered.
    pub fn onward(&self) -> RouteView<'_> {
        self.layout.onward(self.message())
    }

    /// The route back to the sender, as it is known here.
    pub fn return_route(&self) -> Route {
        let rest = self.layout.return_route(self.message());
        let mut route = Route::new();
        if let Some(via) = self.via {
            route.extend(view(&via.encoded()));
        }
        route.extend(rest);
        route
    }

    /// The part of the return route that was in the message itself.
    pub(crate) fn outer_return_route(&self) -> RouteView<'_> {
        self.layout.return_route(self.message())
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.layout.payload(self.message())
    }

    /// Takes the payload out: the buffer, and where in it the payload lies.
    pub(crate) fn into_payload(self) -> (BytesMut, core::ops::Range<usize>) {
        let range = self.layout.payload_range();
        (self.buffer, self.head + range.start..self.head + range.end)
    }

    fn rewrite<'a>(&self, pop: usize, push_onward: RouteView<'a>, via: &'a [u8]) -> Rewrite<'a> {
        Rewrite {
            pop,
            push_onward,
            push_return: view_or_empty(via),
        }
    }

    /// The local address the message came in by: a link, or the channel it came out of.
    pub fn came_by(&self) -> Option<Key> {
        self.via.map(|via| via.key)
    }

    /// Removes the first onward hop, puts `push` in its place and writes the way the message came
    /// into its return route. In place where there is room.
    ///
    /// # Errors
    ///
    /// [`Refusal::RouteTooLong`].
    pub fn advance(&mut self, shard: &Shard, push: RouteView<'_>) -> Result<(), Refusal> {
        let via = self.via.map(|v| v.encoded());
        let rewrite = self.rewrite(1, push, via.as_ref().map_or(&[], |v| v));
        self.apply(shard, &rewrite)
    }

    /// Removes the first onward hop, and writes the way the message came into its return route with
    /// `own` in front, so that the answer comes back to whoever has that address.
    ///
    /// # Errors
    ///
    /// [`Refusal::RouteTooLong`].
    pub(crate) fn advance_as(&mut self, shard: &Shard, own: RouteView<'_>) -> Result<(), Refusal> {
        let mut back = own.to_owned();
        if let Some(via) = self.via {
            back.extend(view(&via.encoded()));
        }
        let rewrite = Rewrite {
            pop: 1,
            push_return: back.view(),
            ..Rewrite::default()
        };
        self.apply(shard, &rewrite)
    }

    fn apply(&mut self, shard: &Shard, rewrite: &Rewrite<'_>) -> Result<(), Refusal> {
        let counters = shard.counters();
        let needed = rewrite
            .prefix_len(self.message(), &self.layout)
            .map_err(|_| Refusal::RouteTooLong)?;
        let room = self.head + self.layout.tail_start();
        if needed > room {
            counters.copied.add(self.message().len() as u64);
            let (buffer, head) =
                with_headroom(core::mem::take(&mut self.buffer), self.head, HEADROOM);
            self.buffer = buffer;
            self.head = head;
        }
        let layout = rewrite
            .layout(self.message(), &self.layout)
            .map_err(|_| Refusal::RouteTooLong)?;
        self.head = rewrite
            .apply(&mut self.buffer, self.head, &self.layout)
            .map_err(|_| Refusal::RouteTooLong)?;
        self.via = None;
        self.layout = layout;
        Ok(())
    }

    /// The trace that the message, or the one it came in, belongs to, where this node traces streams.
    pub(crate) fn seen_trace(&self, shard: &Shard) -> Option<Trace> {
        if !shard.traces_streams() {
            return None;
        }
        let field = || self.layout.tracing(self.message()).and_then(Trace::parse);
        self.trace.or_else(field)
    }

    /// Appends the tracing field, if there is something to say and nobody has said anything.
    fn write_trace(&mut self) -> Result<(), Refusal> {
        let Some(trace) = self.trace.take() else {
            return Ok(());
        };
        if self.buffer[self.head] == 0x83 {
            let mut field = Vec::new();
            cbor::put_text(&mut field, &trace.field());
            self.buffer[self.head] = 0x84;
            self.buffer.extend_from_slice(&field);
            let layout = Layout::parse(self.message());
            self.layout = layout.map_err(|_| Refusal::MessageTooLong)?;
        }
        Ok(())
    }

    /// The frame to send on a link: the first `pop` onward hops replaced by `push`, way it came
    /// written, length in front. One buffer when the new head fits in front of the unchanged rest, otherwise the head
    /// in a buffer of its own: the payload is never moved.
    pub(crate) fn into_frame(
        mut self,
        pop: usize,
        push: RouteView<'_>,
        pool: &Pool,
    ) -> Result<(Option<BytesMut>, BytesMut), Refusal> {
        self.write_trace()?;
        let via = self.via.map(|v| v.encoded());
        let rewrite = self.rewrite(pop, push, via.as_ref().map_or(&[], |v| v));
        let prefix = rewrite
            .prefix_len(self.message(), &self.layout)
            .map_err(|_| Refusal::RouteTooLong)?;
        let tail = self.layout.end() - self.layout.tail_start();
        let length = frame::length_prefix(prefix + tail).map_err(|_| Refusal::RouteTooLong)?;
        let room = self.head + self.layout.tail_start();
        if prefix + frame::LEN <= room {
            let head = rewrite
                .apply(&mut self.buffer, self.head, &self.layout)
                .map_err(|_| Refusal::RouteTooLong)?;
            self.buffer[head - frame::LEN..head].copy_from_slice(&length);
            self.buffer.advance(head - frame::LEN);
            return Ok((None, self.buffer));
        }
        let mut front = pool.small(frame::LEN + prefix);
        front[..frame::LEN].copy_from_slice(&length);
        rewrite.write_prefix(self.message(), &self.layout, &mut front[frame::LEN..]);
        self.buffer.advance(room);
        Ok((Some(front), self.buffer))
    }

    /// The message to send over UDP, without its first `pop` onward hops.
    pub(crate) fn into_message(self, pop: usize, pool: &Pool) -> Result<Vec<u8>, Refusal> {
        let (front, body) = self.into_frame(pop, RouteView::EMPTY, pool)?;
        let mut message = Vec::new();
        match front {
            Some(front) => {
                message.extend_from_slice(&front[frame::LEN..]);
                message.extend_from_slice(&body);
            }
            None => message.extend_from_slice(&body[frame::LEN..]),
        }
        Ok(message)
    }

    /// The message as the inside of a secure channel: `84 onward return payload tracing` becomes
    /// `83 onward return payload`, with at least `front` bytes before it and `back` behind.
    pub(crate) fn into_inner(
        self,
        front: usize,
        back: usize,
        counters: &Counters,
    ) -> (BytesMut, core::ops::Range<usize>) {
        let end = self.head + self.layout.payload_range().end;
        let Self {
            mut buffer,
            mut head,
            ..
        } = self;
        buffer.truncate(end);
        let mut len = end - head;
        if head < front || buffer.capacity() - buffer.len() < back {
            counters.copied.add(len as u64);
            let mut fresh = BytesMut::with_capacity(HEADROOM + len + TAILROOM);
            fresh.resize(HEADROOM, 0);
            fresh.extend_from_slice(&buffer[head..]);
            buffer = fresh;
            head = HEADROOM;
            len = buffer.len() - head;
        }
        // Whatever the outer array said, the inside is an array of three.
        buffer[head] = 0x83;
        (buffer, head..head + len)
    }
}

fn view(elements: &[u8]) -> RouteView<'_> {
    RouteView::from_checked(1, elements)
}

fn view_or_empty(elements: &[u8]) -> RouteView<'_> {
    RouteView::from_checked(usize::from(!elements.is_empty()), elements)
}

/// Makes sure that at least `wanted` bytes lie before `start`.
fn with_headroom(buffer: BytesMut, start: usize, wanted: usize) -> (BytesMut, usize) {
    if start >= wanted {
        return (buffer, start);
    }
    let front = wanted.max(HEADROOM);
    let mut fresh = BytesMut::with_capacity(front + buffer.len() - start + TAILROOM);
    fresh.resize(front, 0);
    fresh.extend_from_slice(&buffer[start..]);
    (fresh, front)
}
