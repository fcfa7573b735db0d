//! The way of the last message that a link sent on to another link: most others go the same way.

use std::rc::Rc;

use culvert_proto::route::RouteView;

use super::Link;
use crate::packet::Packet;
use crate::shard::Shard;
use crate::worker::Outcome;

/// Bytes of encoded hops that are remembered; longer ones are looked up each time.
const SHORT: usize = 62;

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

impl Link {
    /// Sends a message on as the last one with the same first hop was; looks up where it goes if that was
    /// another, or anything has changed since.
    pub(super) fn send_on(&self, shard: &Shard, packet: Packet) -> Outcome {
        if let Some(known) = &*self.shortcut.borrow()
            && known.version == shard.version()
            && packet
                .onward()
                .elements()
                .starts_with(known.first.view().elements())
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
