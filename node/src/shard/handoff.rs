//! What crosses from one shard to another, and how back-pressure follows it.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_channel::{Receiver, TrySendError};
use bytes::BytesMut;

use super::Shard;
use crate::key::Key;
use crate::link::{Link, Origin};
use crate::packet::Packet;
use crate::reason::{CloseReason, Refusal};
use crate::table::Entry;
use crate::worker::Outcome;

/// Messages between shards that may wait in one inbox.
pub(crate) const INBOX: usize = 1024;

/// A link on its way to another shard.
pub(crate) struct MovedLink {
    pub(crate) socket: TcpStream,
    pub(crate) unread: BytesMut,
    pub(crate) packet: Packet,
    pub(crate) spawner: bool,
}

/// What one shard tells another.
pub(crate) enum Handoff {
    /// Deliver this message, on behalf of the link it came in on.
    Packet(Packet),
    /// Continue this link.
    Link(Box<MovedLink>),
    /// Do this.
    Run(Box<dyn FnOnce(&Shard) + Send>),
}

impl Shard {
    pub(crate) async fn hand_over_waiting(&self, to: u8, packet: Packet) {
        let _ = self.0.peers[to as usize]
            .send(Handoff::Packet(packet))
            .await;
    }

    pub(crate) async fn hand_link(&self, to: u8, link: MovedLink) {
        let _ = self.0.peers[to as usize]
            .send(Handoff::Link(Box::new(link)))
            .await;
    }

    /// Has another shard do something; false if its inbox is full or it has ended.
    pub fn tell(&self, to: u8, what: impl FnOnce(&Self) + Send + 'static) -> bool {
        self.0.peers[to as usize]
            .try_send(Handoff::Run(Box::new(what)))
            .is_ok()
    }

    /// Has every other shard do something; once all have done it, `then` runs on this one.
    pub fn tell_others_then(
        &self,
        what: impl Fn(&Self) + Clone + Send + 'static,
        then: impl FnOnce(&Self) + Send + 'static,
    ) {
        let home = self.number();
        if self.shards() == 1 {
            return then(self);
        }
        let left = Arc::new((
            AtomicUsize::new(usize::from(self.shards()) - 1),
            Mutex::new(Some(then)),
        ));
        self.tell_others(move |shard| {
            what(shard);
            if left.0.fetch_sub(1, Ordering::AcqRel) == 1 {
                let then = left.1.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(then) = then {
                    shard.tell_all_ways(home, then);
                }
            }
        });
    }

    /// Has every other shard do something, waiting for room in their inboxes.
    pub fn tell_others(&self, what: impl Fn(&Self) + Clone + Send + 'static) {
        for to in (0..self.shards()).filter(|to| *to != self.0.number) {
            let what = what.clone();
            let message = Handoff::Run(Box::new(move |shard: &Self| what(shard)));
            if let Err(TrySendError::Full(message)) = self.0.peers[to as usize].try_send(message) {
                let sender = self.0.peers[to as usize].clone();
                monoio::spawn(async move {
                    let _ = sender.send(message).await;
                });
            }
        }
    }

    /// Starts a link for a socket this node accepted.
    pub(crate) fn accept(&self, socket: TcpStream) {
        let counters = self.counters();
        if counters.links.get() >= self.limits().links_per_shard {
            return self.refuse(Refusal::TooManyLinks, "connection");
        }
        let origin = Origin {
            accepted: true,
            spawner: Some(self.listener_flow()),
        };
        if let Err(reason) = Link::start(self, socket, origin, None) {
            self.refuse(reason, "connection");
        }
    }

    /// Works through what other shards hand over.
    pub(crate) async fn serve_inbox(self, inbox: Receiver<Handoff>) {
        while let Ok(handoff) = inbox.recv().await {
            match handoff {
                Handoff::Run(what) => what(&self),
                Handoff::Link(moved) => self.adopt(*moved).await,
                Handoff::Packet(packet) => self.deliver_from_afar(packet),
            }
        }
    }

    async fn adopt(&self, moved: MovedLink) {
        let spawner = moved.spawner.then(|| self.listener_flow());
        let origin = Origin {
            accepted: true,
            spawner,
        };
        match Link::start(self, moved.socket, origin, Some(moved.unread)) {
            Ok(link) => {
                let mut packet = moved.packet;
                packet.via = Some(link.address);
                packet.producer = Some(link.producer);
                let outcome = self.dispatch(packet);
                self.settle(outcome, "first message of a moved link");
            }
            Err(reason) => self.refuse(reason, "moved link"),
        }
    }

    /// Delivers a message from another shard. Where its destination is full the link it came from
    /// stops being read until there is room.
    fn deliver_from_afar(&self, packet: Packet) {
        let via = packet.via;
        match self.dispatch(packet) {
            Outcome::Wait(gate) => {
                let Some(via) = via else { return };
                let from = via.key.shard();
                self.tell_hold(from, via.key, true);
                let shard = self.clone();
                monoio::spawn(async move {
                    gate.passed().await;
                    shard.tell_hold(from, via.key, false);
                });
            }
            Outcome::Close(reason) => {
                if let Some(via) = via {
                    self.tell_all_ways(via.key.shard(), move |shard| {
                        shard.close_link(via.key, reason);
                    });
                }
            }
            other => {
                self.settle(other, "message from another shard");
            }
        }
    }

    fn tell_hold(&self, to: u8, key: Key, on: bool) {
        self.tell_all_ways(to, move |shard| {
            if let Some((_, Entry::Link(link))) = shard.table().by_key(key) {
                link.hold(on);
            }
        });
    }

    /// Has a shard do something, waiting for room in its inbox if there is none.
    pub fn tell_all_ways(&self, to: u8, what: impl FnOnce(&Self) + Send + 'static) {
        let message = Handoff::Run(Box::new(what));
        if let Err(TrySendError::Full(message)) = self.0.peers[to as usize].try_send(message) {
            let sender = self.0.peers[to as usize].clone();
            monoio::spawn(async move {
                let _ = sender.send(message).await;
            });
        }
    }

    fn close_link(&self, key: Key, reason: CloseReason) {
        if let Some((_, Entry::Link(link))) = self.0.table.borrow().by_key(key) {
            link.close(reason);
        }
    }

    /// Lets messages pass both ways between the way a message came and the way it goes on
    /// (`protocol/02-routing.md` 6.4).
    pub fn grant(&self, came_from: Key, goes_to: Key) {
        self.grant_one(came_from, goes_to);
        self.grant_one(goes_to, came_from);
    }

    fn grant_one(&self, behind: Key, consumer: Key) {
        if behind.shard() == self.0.number {
            self.permit_answers(behind, consumer);
        } else {
            self.tell_all_ways(behind.shard(), move |shard| {
                shard.permit_answers(behind, consumer);
            });
        }
    }
}
