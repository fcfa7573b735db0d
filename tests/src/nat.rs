//! A network between edges for UDP: a rendezvous, and a NAT with an outside port for each socket
//! behind it, that loses, repeats and holds back what a test wants.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use culvert_proto::message::Message;
use culvert_proto::rendezvous::{Response, SERVICE};
use culvert_proto::udp::{Datagram, RoutingNumber, Splitter};

use crate::net::ANY_PORT;

/// How often a thread looks whether the network is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// How many others pass a datagram that is held back.
const PASSED_BY: u64 = 5;

/// A running network; it ends when this value is dropped.
pub struct Nat {
    /// Where its rendezvous is.
    pub rendezvous: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Outside sockets by the address inside.
    outside: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    blocked: AtomicBool,
    /// Every so many long datagrams one is lost; 0 for none.
    lose_every: AtomicU64,
    repeat_every: AtomicU64,
    delay_every: AtomicU64,
    passed: AtomicU64,
    ended: AtomicBool,
}

impl Default for Nat {
    fn default() -> Self {
        Self::new()
    }
}

impl Nat {
    /// Starts one that loses nothing.
    pub fn new() -> Self {
        let socket = bind();
        let rendezvous = socket.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        thread::spawn(move || serving.serve(&socket));
        Self { rendezvous, shared }
    }

    /// Lets nothing pass between the edges (`true`), or all again.
    pub fn block(&self, on: bool) {
        self.shared.blocked.store(on, Ordering::Relaxed);
    }

    /// Loses one of so many datagrams that are long enough to carry data.
    pub fn lose_every(&self, datagrams: u64) {
        self.shared.lose_every.store(datagrams, Ordering::Relaxed);
    }

    /// Repeats one of so many datagrams.
    pub fn repeat_every(&self, datagrams: u64) {
        self.shared.repeat_every.store(datagrams, Ordering::Relaxed);
    }

    /// Holds one of so many datagrams back until a few others have passed it.
    pub fn delay_every(&self, datagrams: u64) {
        self.shared.delay_every.store(datagrams, Ordering::Relaxed);
    }

    /// Sends this to everybody inside, with the address of each of the others.
    pub fn forge(&self, datagram: &[u8]) {
        let known = self.shared.outside.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        for to in known.keys() {
            for (_, socket) in known.iter().filter(|(from, _)| *from != to) {
                let _ = socket.send_to(datagram, to);
            }
        }
    }

    /// Datagrams that passed.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind(ANY_PORT).expect("a UDP socket");
    socket.set_read_timeout(Some(LOOK)).expect("set a timeout");
    socket
}

impl Shared {
    /// The rendezvous: tells who asks the outside address it makes for them.
    fn serve(self: Arc<Self>, socket: &UdpSocket) {
        let mut splitter = Splitter::new(RoutingNumber(1));
        let mut buffer = [0; 2048];
        while !self.ended.load(Ordering::Relaxed) {
            let Ok((len, inside)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let datagram = Datagram::decode(&buffer[..len]).expect("a datagram");
            let question = Message::decode(datagram.part).expect("a message");
            let public = self.outside(inside).local_addr().expect("an address");
            let answer = Message {
                onward: question.return_route,
                return_route: format!("0#{SERVICE}").parse().expect("a route"),
                payload: Response::GetMyAddress(public).encode(),
                tracing: None,
            };
            for part in splitter.split(&answer.encode()).expect("a short message") {
                let mut out = Vec::new();
                part.encode_into(&mut out);
                let _ = socket.send_to(&out, inside);
            }
        }
    }

    fn outside(self: &Arc<Self>, inside: SocketAddr) -> Arc<UdpSocket> {
        let mut outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = outside.entry(inside).or_insert_with(|| {
            let socket = Arc::new(bind());
            let (shared, from_outside) = (Arc::clone(self), Arc::clone(&socket));
            thread::spawn(move || shared.translate(&from_outside, inside));
            socket
        });
        Arc::clone(socket)
    }

    /// Brings what comes to an outside socket to the socket inside, from the sender's outside one.
    fn translate(self: Arc<Self>, socket: &UdpSocket, inside: SocketAddr) {
        let mut buffer = [0; 65536];
        let (mut long, mut all) = (0, 0_u64);
        let mut held: Option<(u64, SocketAddr, Vec<u8>)> = None;
        let is_turn = |of: &AtomicU64, n: u64| n.checked_rem(of.load(Ordering::Relaxed)) == Some(0);
        while !self.ended.load(Ordering::Relaxed) {
            let Ok((len, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            if self.blocked.load(Ordering::Relaxed) {
                continue;
            }
            let every = self.lose_every.load(Ordering::Relaxed);
            if len > 400 && every > 0 {
                long += 1;
                if long % every == 0 {
                    continue;
                }
            }
            all += 1;
            let datagram = &buffer[..len];
            if held.is_none() && is_turn(&self.delay_every, all) {
                held = Some((all + PASSED_BY, from, datagram.to_vec()));
                continue;
            }
            self.pass(from, inside, datagram);
            if is_turn(&self.repeat_every, all) {
                self.pass(from, inside, datagram);
            }
            if let Some((_, from, datagram)) = held.take_if(|(until, ..)| all >= *until) {
                self.pass(from, inside, &datagram);
            }
        }
    }

    fn pass(&self, from: SocketAddr, inside: SocketAddr, datagram: &[u8]) {
        let known = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = known.get(&from).cloned();
        drop(known);
        if let Some(sender) = sender {
            self.passed.fetch_add(1, Ordering::Relaxed);
            let _ = sender.send_to(datagram, inside);
        }
    }
}
