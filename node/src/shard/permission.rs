//! What may reach what (`protocol/02-routing.md` 6): the flow control of one shard.

use std::rc::Rc;

use culvert_proto::flow_control::{FlowControls, FlowId};

use super::{AUTHENTICATED, Shard};
use crate::key::Key;
use crate::link::Link;
use crate::packet::Producer;

impl Shard {
    /// A flow control id nobody on this shard has.
    pub fn new_flow_id(&self) -> FlowId {
        let id = self.0.next_flow.get();
        self.0.next_flow.set(id + 1);
        FlowId::new(id)
    }

    /// Whether what a producer sends may reach `to`.
    pub(crate) fn may_reach(&self, producer: Producer, to: Key) -> bool {
        let flow = self.0.flow.borrow();
        flow.allowed(producer.id, producer.spawner, to)
    }

    /// Reads or changes what may reach what. Returns what the closure returns.
    pub fn flow<T>(&self, change: impl FnOnce(&mut FlowControls<Key>) -> T) -> T {
        self.changed();
        change(&mut self.0.flow.borrow_mut())
    }

    /// The id of links accepted on this shard: consumers of it are reachable by strangers.
    pub fn listener_flow(&self) -> FlowId {
        self.0.listener
    }

    /// The id behind links this node opened: consumers of it are reachable by the nodes it connects
    /// to, and by whoever sends through them.
    pub fn outgoing_flow(&self) -> FlowId {
        self.0.outgoing
    }

    /// Lets messages that come in the way `next` leads (a link or a channel) reach `who`.
    pub fn permit_answers(&self, next: Key, who: Key) {
        self.flow(|f| {
            if let Some(id) = f.id_behind(next) {
                let _ = f.add_consumer(id, who);
            }
        });
    }

    /// Lets everything that comes in by a link of this node, accepted or opened, or through a channel
    /// this node opened, reach a worker.
    pub fn open_to_all(&self, key: Key) {
        self.open_to(&[self.0.listener], key);
        self.open_to_authenticated(key);
    }

    /// The same, but of the links that were accepted only those whose peer has an accepted secure
    /// channel over them.
    pub fn open_to_authenticated(&self, key: Key) {
        self.open_to(&[AUTHENTICATED, self.0.outgoing, self.0.opened], key);
    }

    /// Notes that a channel with the peer of an accepted link is up: `by` is what carries it. Gives the
    /// link, for [`Shard::revoke_authentication`] when the channel ends or moves. By then what carried
    /// it may lead elsewhere, or nowhere.
    pub(crate) fn authenticate(&self, by: Key) -> Option<Rc<Link>> {
        let link = self.carrier(by).filter(|link| link.is_accepted())?;
        self.note_authentication(&link, true);
        Some(link)
    }

    /// Notes that a channel that authenticated a link is not there any more.
    pub(crate) fn revoke_authentication(&self, link: &Link) {
        self.note_authentication(link, false);
    }

    fn note_authentication(&self, link: &Link, on: bool) {
        let is_on = link.authenticate(on);
        let spawner = if is_on {
            AUTHENTICATED
        } else {
            self.0.listener
        };
        let producer = Producer {
            spawner: Some(spawner),
            ..link.producer.get()
        };
        link.producer.set(producer);
        // A link that has ended needs no permissions.
        if self.table().by_key(link.address.key).is_some() {
            self.flow(|f| {
                let _ = f.add_producer(link.address.key, producer.id, producer.spawner);
            });
        }
    }

    /// Whether what has this flow control id comes by a link that this node accepted.
    pub(crate) fn is_of_accepted_links(&self, id: FlowId) -> bool {
        id == self.0.listener || id == AUTHENTICATED
    }

    /// Lets whatever comes by links that this node accepted reach a worker.
    pub(crate) fn open_to_accepted_links(&self, key: Key) {
        self.open_to(&[self.0.listener, AUTHENTICATED], key);
    }

    /// Lets what comes through channels that this node opened reach a worker.
    pub fn open_to_opened_channels(&self, key: Key) {
        self.open_to(&[self.0.opened], key);
    }

    /// The flow control id behind every channel that this node opened.
    pub fn opened_channels_flow(&self) -> FlowId {
        self.0.opened
    }

    fn open_to(&self, ids: &[FlowId], key: Key) {
        self.flow(|f| {
            for id in ids {
                let _ = f.add_consumer(*id, key);
            }
        });
    }

    /// The flow control id behind every channel that this node accepted.
    pub fn accepted_channels_flow(&self) -> FlowId {
        self.0.accepted
    }

    /// Lets what comes through channels that this node accepted reach a worker.
    pub fn open_to_channels(&self, key: Key) {
        self.flow(|f| {
            let _ = f.add_consumer(self.0.accepted, key);
        });
    }
}
