//! What crosses from one shard to another, and how back-pressure follows it.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Shard, inbox};
use crate::key::Key;
use crate::link::{Link, Origin, Past};
use crate::packet::Packet;
use crate::reason::{CloseReason, Refusal};
use crate::table::{Entry, Place};
use crate::worker::Outcome;

/// How long a link pauses when the inbox its message is for is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// A link on its way to another shard.
pub(crate) struct MovedLink {
    pub(crate) socket: TcpStream,
    pub(crate) unread: Vec<u8>,
    pub(crate) packet: Packet,
    pub(crate) spawner: bool,
    pub(crate) places: Vec<Place>,
    pub(crate) past: Past,
}

/// What one shard tells another.
pub(crate) enum Handoff {
    /// Deliver this message, on behalf of the link it came in on.
    Packet(Packet),
    /// Continue this link.
    Link(Box<MovedLink>),
    /// Do this.
    Run(Box<dyn FnOnce(&Shard) + Send>),
    /// Time has passed.
    Tick,
}

impl Shard {
    /// Takes nothing more from other threads. Must be the last that a shard does.
    pub(crate) async fn close_inbox(&self) {
        self.0.peers[self.number() as usize].close();
        // The task that serves it ends now.
        monoio::time::sleep(Duration::from_millis(1)).await;
    }

    pub(crate) async fn hand_over_waiting(&self, to: u8, mut packet: Packet) {
        while let Some(back) = self.0.peers[to as usize].put_packet(packet) {
            packet = back;
            monoio::time::sleep(FULL_PAUSE).await;
        }
    }

    pub(crate) fn hand_link(&self, to: u8, link: MovedLink) {
        self.0.peers[to as usize].put(Handoff::Link(Box::new(link)));
    }

    /// Has a shard, which may be this one, do something after what it was told before.
    pub fn tell(&self, to: u8, what: impl FnOnce(&Self) + Send + 'static) {
        self.0.peers[to as usize].put(Handoff::Run(Box::new(what)));
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
                    shard.tell(home, then);
                }
            }
        });
    }

    /// Has every other shard do something.
    pub fn tell_others(&self, what: impl Fn(&Self) + Clone + Send + 'static) {
        for to in (0..self.shards()).filter(|to| *to != self.0.number) {
            let what = what.clone();
            self.tell(to, move |shard| what(shard));
        }
    }

    /// Starts a link for a socket this node accepted.
    pub(crate) fn accept(&self, socket: TcpStream) {
        if self.links().load(Ordering::Relaxed) >= self.limits().links {
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
    pub(crate) async fn serve_inbox(self, mut inbox: inbox::Open) {
        while inbox.wait().await {
            while let Some(handoff) = inbox.next() {
                match handoff {
                    Handoff::Run(what) => what(&self),
                    Handoff::Tick => self.tick(),
                    Handoff::Link(moved) => self.adopt(*moved),
                    Handoff::Packet(packet) => self.deliver_from_afar(packet),
                }
            }
        }
    }

    fn adopt(&self, moved: MovedLink) {
        let spawner = moved.spawner.then(|| self.listener_flow());
        let origin = Origin {
            accepted: true,
            spawner,
        };
        match Link::start(self, moved.socket, origin, Some(&moved.unread)) {
            Ok(link) => {
                let mut packet = moved.packet;
                packet.via = Some(link.address);
                packet.producer = Some(link.producer.get());
                moved.places.into_iter().for_each(|p| link.keep_to(p));
                link.set_past(moved.past);
                // It stays here, even if what it came for has left meanwhile.
                link.expose();
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
                    self.tell(via.key.shard(), move |shard| {
                        shard.close_source(via.key, reason);
                    });
                }
            }
            other => {
                self.settle(other, "message from another shard");
            }
        }
    }

    fn tell_hold(&self, to: u8, key: Key, on: bool) {
        self.tell(to, move |shard| {
            // The source may be a channel: its link is what is read.
            if let Some(link) = shard.carrier(key) {
                link.hold(on);
            }
        });
    }

    /// Closes the link or channel that a message came by.
    pub fn close_source(&self, key: Key, reason: CloseReason) {
        let entry = self
            .0
            .table
            .borrow()
            .by_key(key)
            .map(|(_, entry)| entry.clone());
        match entry {
            Some(Entry::Link(link)) => link.close(self, reason),
            Some(Entry::Encryptor(channel) | Entry::Decryptor(channel)) => {
                channel.close(self, reason);
            }
            _ => {}
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
            self.tell(behind.shard(), move |shard| {
                shard.permit_answers(behind, consumer);
            });
        }
        // Who is permitted somewhere else must be forgotten there when it ends.
        if behind.shard() != consumer.shard() {
            if consumer.shard() == self.0.number {
                self.0.abroad.borrow_mut().insert(consumer);
            } else {
                self.tell(consumer.shard(), move |shard| {
                    shard.0.abroad.borrow_mut().insert(consumer);
                });
            }
        }
    }

    /// Forgets the permissions of an ended key on other shards.
    pub(super) fn forget_abroad(&self, key: Key) {
        if self.0.abroad.borrow_mut().remove(&key) {
            self.tell_others(move |shard| shard.flow(|f| f.remove(key)));
        }
    }
}
