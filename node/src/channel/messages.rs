//! What a channel does with messages: handshake, ciphertexts in, plaintexts out.

use culvert_crypto::channel::{Established, HandshakeError, OVERHEAD, OpenError};
use culvert_proto::frame;
use culvert_proto::limits::MAX_FRAME;
use culvert_proto::message::header_len;
use culvert_proto::route::{Route, RouteView};
use culvert_proto::secure_channel::inner::{self, Inner};

use super::{Channel, Keys, State};
use crate::key;
use crate::packet::{MAX_DEPTH, Packet};
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::trace::Trace;
use crate::worker::Outcome;

/// What is known of the message that a ciphertext is made from.
#[derive(Clone, Copy, Default)]
pub(super) struct Around {
    depth: u8,
    trace: Option<Trace>,
}

impl Channel {
    /// Takes a message for the decryptor address.
    pub(crate) fn receive(&self, shard: &Shard, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        if packet.depth >= MAX_DEPTH {
            return Outcome::Refused(Refusal::TooManyLayers);
        }
        let mut state = self.state.borrow_mut();
        match &mut *state {
            State::Closed => Outcome::Refused(Refusal::ChannelDown),
            State::Up(_) => {
                drop(state);
                self.receive_transport(shard, packet)
            }
            State::Initiating(machine) => {
                let mut known = self.credentials.histories.borrow_mut();
                let result = machine.read_message2(packet.payload(), &mut *known, shard.now_s());
                drop((state, known));
                match result {
                    Ok((established, message)) => {
                        let route = packet.return_route();
                        self.route.replace(route.clone());
                        let answer = shard.send(&route, &Shard::route_to(self.decryptor), &message);
                        shard.settle(answer, "handshake message 3");
                        self.up(shard, established);
                        Outcome::Done
                    }
                    Err(error) => self.failed(shard, error),
                }
            }
            State::Responding(machine) => {
                let mut known = self.credentials.histories.borrow_mut();
                let result = machine.read_message3(packet.payload(), &mut *known, shard.now_s());
                drop((state, known));
                match result {
                    Ok(established) if self.keys_only.get() => {
                        tracing::info!(peer = %established.peer, "exchanged keys");
                        self.end(shard, CloseReason::Local, false);
                        Outcome::Done
                    }
                    Ok(established) => {
                        self.up(shard, established);
                        Outcome::Done
                    }
                    Err(error) => self.failed(shard, error),
                }
            }
        }
    }

    fn failed(&self, shard: &Shard, error: HandshakeError) -> Outcome {
        if error.is_recoverable() {
            // Not from the peer: the right message may still come.
            return Outcome::Refused(Refusal::HandshakeFailed);
        }
        tracing::info!(%error, "secure channel handshake refused");
        let denied = matches!(error, HandshakeError::NotTrusted(_));
        self.failure.replace(Some(error));
        self.close(shard, CloseReason::Local);
        Outcome::Refused(if denied {
            Refusal::IdentityNotAllowed
        } else {
            Refusal::HandshakeFailed
        })
    }

    fn up(&self, shard: &Shard, established: Established) {
        let Established {
            peer,
            peer_credentials,
            seal,
            open,
            ..
        } = established;
        self.state.replace(State::Up(Box::new(Keys { seal, open })));
        self.peer.set(Some(peer));
        let theirs = self.route.borrow().last().and_then(key::minted);
        self.culvert.set(theirs.is_some());
        self.heard_ms.set(shard.now_ms());
        shard.counters().channels.add(1);
        shard.counters().channels_opened.add(1);
        tracing::debug!(%peer, initiator = self.initiator, "secure channel up");
        self.learn(shard, &peer_credentials);
        self.vouch(shard);
        if let Some(guard) = self.guard.get() {
            self.basis.set(guard.basis(Some(self)));
            if !guard.admits(shard, Some(self)) {
                self.close(shard, CloseReason::Denied);
            }
        }
        self.changed.notify();
    }

    fn receive_transport(&self, shard: &Shard, packet: Packet) -> Outcome {
        // The responder follows the initiator when its path changes (13, 10).
        let moved =
            (!self.initiator && !self.came_by_known_route(&packet)).then(|| packet.return_route());
        let depth = packet.depth + 1;
        let trace = packet.seen_trace(shard);
        let (mut buffer, range) = packet.into_payload();
        let opened = {
            let mut state = self.state.borrow_mut();
            let State::Up(keys) = &mut *state else {
                return Outcome::Refused(Refusal::ChannelDown);
            };
            match keys.open.open(&mut buffer[range.clone()]) {
                Ok(opened) => opened,
                Err(error) => return Outcome::Refused(refusal(&error)),
            }
        };
        // Links keep order, so a message that is not the next one means that messages before it
        // were lost or held back on the way. Whose bytes they were nobody knows: going on could
        // leave a hole in any stream.
        if opened.nonce != self.next_nonce.replace(opened.nonce + 1) {
            tracing::warn!(peer = ?self.peer.get(), "messages of a secure channel were lost on the way");
            self.close(shard, CloseReason::MessagesLost);
            return Outcome::Refused(Refusal::ChannelOrder);
        }
        self.heard_ms.set(shard.now_ms());
        self.unanswered.set(0);
        let start = range.start + opened.plaintext.start;
        let end = range.start + opened.plaintext.end;
        match inner::parse(&buffer[start..end]) {
            Ok(Inner::Payload { message }) => {
                if let Some(route) = moved
                    && opened.nonce > self.route_nonce.get()
                {
                    self.move_to(shard, &route);
                    self.route_nonce.set(opened.nonce);
                }
                buffer.truncate(start + message.end);
                let Ok(mut inside) = Packet::parse(buffer, start + message.start) else {
                    return Outcome::Refused(Refusal::ChannelContent);
                };
                inside.via = Some(self.encryptor);
                inside.producer = Some(self.producer);
                inside.identity = self.peer.get();
                inside.depth = depth;
                inside.trace = trace;
                shard.dispatch(inside)
            }
            Ok(Inner::Close) => {
                self.end(shard, CloseReason::PeerClosed, false);
                Outcome::Done
            }
            Ok(Inner::Refresh { content }) => {
                self.learn_again(shard, &buffer[start..end][content]);
                Outcome::Done
            }
            Err(_) => Outcome::Refused(Refusal::ChannelContent),
        }
    }

    /// Whether the message came the way this end sends: compares bytes, takes no memory.
    fn came_by_known_route(&self, packet: &Packet) -> bool {
        let route = self.route.borrow();
        let mut rest = route.elements();
        if let Some(via) = packet.via {
            match rest.strip_prefix(&via.encoded()[..]) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        let outer = packet.outer_return_route();
        rest.starts_with(outer.elements())
            && route.hops() == usize::from(packet.via.is_some()) + outer.hops() + 1
    }

    /// Sends by another way from now on: the new hops, then the peer's decryptor as before.
    pub(crate) fn move_to(&self, shard: &Shard, hops: &Route) {
        let mut route = hops.clone();
        // The peer is at the far end of another link from now on.
        self.stop_vouching(shard);
        {
            let mut current = self.route.borrow_mut();
            if let Some(last) = current.last() {
                route.push_back(last);
            }
            *current = route;
        }
        self.vouch(shard);
        // It ends with what carries it now, too.
        if let Some(first) = shard.first_key(hops) {
            shard.depend(first, self.decryptor.key);
        }
    }

    /// Takes a message for the encryptor address and sends it encrypted.
    pub(crate) fn send(&self, shard: &Shard, mut packet: Packet) -> Outcome {
        if !self.is_up() {
            return Outcome::Refused(Refusal::ChannelDown);
        }
        if let Err(reason) = packet.advance(shard, RouteView::EMPTY) {
            return Outcome::Refused(reason);
        }
        let depth = packet.depth + 1;
        if depth > MAX_DEPTH {
            return Outcome::Refused(Refusal::TooManyLayers);
        }
        let around = Around {
            depth,
            trace: packet.trace,
        };
        let head = 8 + inner::PAYLOAD_PREFIX.len();
        let outer = header_len(&self.route.borrow(), &Route::new(), u32::MAX as usize) + frame::LEN;
        let (mut buffer, message) = packet.into_inner(outer + head, 17, shard.counters());
        buffer.extend_from_slice(&inner::PAYLOAD_SUFFIX);
        let start = message.start - head;
        buffer[start + 8..message.start].copy_from_slice(&inner::PAYLOAD_PREFIX);
        self.seal_and_send(shard, buffer, start, around)
    }

    /// Seals the plaintext that lies 8 bytes behind `start` and ends with the buffer.
    pub(super) fn seal_and_send(
        &self,
        shard: &Shard,
        mut buffer: bytes::BytesMut,
        start: usize,
        around: Around,
    ) -> Outcome {
        // What cannot be sent must not use up a nonce: the peer would miss a message.
        let outer = header_len(&self.route.borrow(), &Route::new(), u32::MAX as usize);
        if outer + buffer.len() - start + OVERHEAD > MAX_FRAME {
            return Outcome::Refused(Refusal::MessageTooLong);
        }
        buffer.resize(buffer.len() + OVERHEAD - 8, 0);
        let sealed = match &mut *self.state.borrow_mut() {
            State::Up(keys) => keys.seal.seal(&mut buffer[start..]).is_ok(),
            _ => false,
        };
        if !sealed {
            return Outcome::Refused(Refusal::ChannelDown);
        }
        let mut packet = Packet::wrap(buffer, start, &self.route.borrow(), &Route::new());
        if let Ok(packet) = &mut packet {
            (packet.depth, packet.trace) = (around.depth, around.trace);
        }
        shard.dispatch_made(packet)
    }
}

fn refusal(error: &OpenError) -> Refusal {
    match error {
        OpenError::Replayed | OpenError::TooOld | OpenError::TooFarAhead => Refusal::ChannelReplay,
        OpenError::TooShort | OpenError::Forged => Refusal::ChannelForged,
    }
}
