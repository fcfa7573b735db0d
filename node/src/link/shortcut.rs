//! The way of the last message that a link sent on to another link: most others go the same way.

use std::rc::Rc;

use culvert_proto::frame::{self, Decoded};
use culvert_proto::message::Layout;
use culvert_proto::rewrite::Rewrite;
use culvert_proto::route::RouteView;

use super::Link;
use crate::buffer::ReadBuffer;
use crate::notify::Gate;
use crate::packet::Packet;
use crate::queue::SMALL;
use crate::shard::Shard;
use crate::worker::Outcome;

/// Bytes of encoded hops that are remembered; longer ones are looked up each time.
const SHORT: usize = 62;
/// Bytes of what is in front of the return route of a small message.
const PREFIX: usize = 512;

/// Encoded hops.
#[derive(Clone, Copy)]
struct Hops {
    count: u8,
    len: u8,
    bytes: [u8; SHORT],
}

impl Hops {
    fn new(route: RouteView<'_>) -> Option<Self> {
        let elements = route.elements();
        let mut bytes = [0; SHORT];
        bytes.get_mut(..elements.len())?.copy_from_slice(elements);
        Some(Self {
            count: u8::try_from(route.hops()).ok()?,
            len: u8::try_from(elements.len()).ok()?,
            bytes,
        })
    }

    fn view(&self) -> RouteView<'_> {
        let elements = &self.bytes[..usize::from(self.len)];
        RouteView::from_checked(usize::from(self.count), elements)
    }
}

/// Where messages with a certain first hop go.
pub(super) struct Shortcut {
    /// Changes of addresses, names and permissions on the shard until it was found.
    version: u64,
    first: Hops,
    to: Rc<Link>,
    /// What takes the place of the first hop.
    push: Hops,
}

impl Shortcut {
    /// Whether messages with this onward route go there.
    fn leads(&self, onward: RouteView<'_>) -> bool {
        onward.elements().starts_with(self.first.view().elements())
    }

    /// Queues the frame at the start of `unread` for where it goes, if it is a small one that goes there; gives its
    /// length, and the gate to wait at.
    fn send(
        &self,
        unread: &[u8],
        via: &[u8],
        shard: &Shard,
        high: usize,
    ) -> Option<(usize, Option<Rc<Gate>>)> {
        let Ok(Decoded::Frame(range)) = frame::decode(unread) else {
            return None;
        };
        if range.end > SMALL {
            return None;
        }
        let message = &unread[range.clone()];
        let layout = Layout::parse(message).ok()?;
        if !self.leads(layout.onward(message)) {
            return None;
        }
        let rewrite = Rewrite {
            pop: 1,
            push_onward: self.push.view(),
            push_return: RouteView::from_checked(1, via),
        };
        let mut prefix = [0; PREFIX];
        let prefix = prefix.get_mut(..rewrite.prefix_len(message, &layout).ok()?)?;
        rewrite.write_prefix(message, &layout, prefix);
        let tail = &message[layout.tail_start()..layout.end()];
        let length = frame::length_prefix(prefix.len() + tail.len()).ok()?;
        let gate = self
            .to
            .queue
            .push_small(&[&length, prefix, tail], high, shard.pool());
        Some((range.end, gate))
    }
}

impl Link {
    /// Sends on what is at the start of the unread bytes as long as these are small messages with the first hop of
    /// the last one, and their target has room; gives the gate to wait at. It is copied straight to where it
    /// leaves from: anything else would take longer.
    pub(super) fn send_on_small(&self, shard: &Shard, buffer: &mut ReadBuffer) -> Option<Rc<Gate>> {
        let shortcut = self.shortcut.borrow();
        let known = shortcut.as_deref()?;
        let to = &known.to;
        if known.version != shard.version() || to.end.get().is_some() || !to.queue.is_open() {
            return None;
        }
        let (via, high) = (self.address.encoded(), shard.pool().high_water());
        let (mut count, mut full) = (0, None);
        while full.is_none()
            && let Some((length, gate)) = known.send(buffer.unread(), &via, shard, high)
        {
            buffer.skip(length);
            count += 1;
            full = gate;
        }
        if count > 0 {
            shard.counters().messages_in.add(count);
            self.partial_since.set(None);
            if to.queue.becomes_due() {
                shard.send_soon(Rc::clone(to) as _);
            }
        }
        full
    }

    /// Sends a message on as the last one with the same first hop was; looks up where it goes if that was
    /// another, or anything has changed since.
    pub(super) fn send_on(&self, shard: &Shard, packet: Packet) -> Outcome {
        if let Some(known) = &*self.shortcut.borrow()
            && known.version == shard.version()
            && known.leads(packet.onward())
        {
            return known.to.transmit(shard, packet, known.push.view());
        }
        shard.dispatch(packet)
    }

    /// Remembers that messages with this first hop go to a link, with `push` in place of the hop.
    pub(crate) fn remember(
        &self,
        shard: &Shard,
        packet: &Packet,
        to: &Rc<Self>,
        push: RouteView<'_>,
    ) {
        let onward = packet.onward();
        let rest = onward.without_first().elements().len();
        let first = &onward.elements()[..onward.elements().len() - rest];
        let first = Hops::new(RouteView::from_checked(1, first));
        let (Some(first), Some(push)) = (first, Hops::new(push)) else {
            return;
        };
        let new = Shortcut {
            version: shard.version(),
            first,
            to: Rc::clone(to),
            push,
        };
        let mut shortcut = self.shortcut.borrow_mut();
        match &mut *shortcut {
            Some(known) => **known = new,
            None => *shortcut = Some(Box::new(new)),
        }
    }
}
