//! A UDP socket of one shard: whole messages in and out, datagrams on the wire.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use culvert_proto::limits::MAX_UDP_DATAGRAM;
use culvert_proto::udp::{self, Config, Datagram, Reassembler, Received, RoutingNumber, Splitter};
use monoio::net::udp::UdpSocket;

use crate::notify::{Gate, Notify};
use crate::random;
use crate::reason::Refusal;
use crate::shard::Shard;
use crate::worker::Outcome;

/// Above this many queued bytes the sources are told to wait.
const HIGH_WATER: usize = 256 << 10;
/// Above this many queued bytes messages of sources that do not wait are dropped.
const FULL: usize = 8 << 20;
/// What the kernel is asked to hold in each direction; it may give less.
const KERNEL_BUFFER: usize = 4 << 20;

/// Of those that a socket is not for.
const OTHERS: Config = Config {
    window: 4,
    peers: 16,
    peer_parts: 16,
    peer_bytes: 8 << 10,
    bytes: 64 << 10,
    stale_ms: 5_000,
    idle_ms: 10_000,
};

/// One bound UDP socket.
///
/// Nothing is acknowledged or sent again: a message arrives whole, or not at all. The send queue is
/// bounded; what it does not take is refused with a reason.
pub(crate) struct Socket {
    io: UdpSocket,
    local: SocketAddr,
    splitter: RefCell<Splitter>,
    reassembler: RefCell<Reassembler>,
    /// The only peer that may send long messages, if it is known.
    favoured: Cell<Option<SocketAddr>>,
    any_number: Cell<bool>,
    others: RefCell<Reassembler>,
    queue: RefCell<VecDeque<(SocketAddr, Vec<u8>)>>,
    queued: Cell<usize>,
    gate: Rc<Gate>,
    ready: Notify,
    closed: Cell<bool>,
    ended: Notify,
}

impl Socket {
    /// Binds a socket and starts sending what is queued on it.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub(crate) fn bind(shard: &Shard, at: SocketAddr, config: Config) -> io::Result<Rc<Self>> {
        let domain = socket2::Domain::for_address(at);
        let socket =
            socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        // Less than wanted means that more is lost under load, as on any network.
        socket.set_recv_buffer_size(KERNEL_BUFFER).ok();
        socket.set_send_buffer_size(KERNEL_BUFFER).ok();
        // A ring waits for sockets that block; only epoll needs one that does not.
        socket.set_nonblocking(monoio::utils::is_legacy())?;
        socket.bind(&at.into())?;
        let socket: std::net::UdpSocket = socket.into();
        let local = socket.local_addr()?;
        let this = Rc::new(Self {
            io: UdpSocket::from_std(socket)?,
            local,
            splitter: RefCell::new(Splitter::new(RoutingNumber(random::u64() as u16))),
            reassembler: RefCell::new(Reassembler::new(config)),
            favoured: Cell::new(None),
            any_number: Cell::new(false),
            others: RefCell::new(Reassembler::new(OTHERS)),
            queue: RefCell::default(),
            queued: Cell::new(0),
            gate: Rc::default(),
            ready: Notify::default(),
            closed: Cell::new(false),
            ended: Notify::default(),
        });
        monoio::spawn(send_queued(shard.clone(), Rc::clone(&this)));
        Ok(this)
    }

    /// Where it is bound.
    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whoever speaks along it repairs losses: sends datagrams of at most `longest` bytes, which the
    /// peer is known to take, and delivers what comes in one datagram although its number is old or
    /// was there before. Otherwise who forges the peer's address could make all that follows old
    /// with one number far ahead.
    pub(crate) fn take_any_number(&self, longest: usize) {
        let mut splitter = self.splitter.borrow_mut();
        *splitter = splitter.clone().with_longest_datagram(longest);
        self.any_number.set(true);
    }

    /// Has room for one peer from now on; of others only short messages are taken.
    pub(crate) fn favour(&self, peer: Option<SocketAddr>) {
        self.favoured.set(peer);
    }

    /// Queues one message.
    pub(crate) fn send(&self, to: SocketAddr, message: Vec<u8>) -> Outcome {
        if self.closed.get() {
            return Outcome::Refused(Refusal::UnknownAddress);
        }
        if to.port() == 0 || message.is_empty() {
            return Outcome::Refused(Refusal::UdpUnsendable);
        }
        let queued = self.queued.get() + message.len();
        if queued > FULL {
            return Outcome::Refused(Refusal::UdpFull);
        }
        self.queued.set(queued);
        self.queue.borrow_mut().push_back((to, message));
        self.ready.notify();
        if queued <= HIGH_WATER {
            return Outcome::Done;
        }
        self.gate.shut();
        Outcome::Wait(Rc::clone(&self.gate))
    }

    /// The next whole message and its source, in canonical form; none once the socket is closed.
    /// `buffer` is for reading into.
    pub(crate) async fn receive(
        &self,
        shard: &Shard,
        buffer: &mut Vec<u8>,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        loop {
            buffer.clear();
            buffer.reserve(MAX_UDP_DATAGRAM);
            let (result, back) = monoio::select! {
                () = self.closed() => return None,
                result = self.io.recv_from(std::mem::take(buffer)) => result,
            };
            *buffer = back;
            let (len, from) = match result {
                Ok(received) => received,
                Err(error) => {
                    // News of a datagram that another host refused, or no memory: never the end.
                    tracing::debug!(%error, "cannot receive a datagram");
                    monoio::time::sleep(std::time::Duration::from_millis(1)).await;
                    continue;
                }
            };
            shard.counters().datagrams_in.add(1);
            let from = udp::canonical(from);
            let datagram = buffer.get(..len).unwrap_or_default();
            if self.any_number.get()
                && let Some(message) = in_one_part(datagram)
            {
                return Some((from, message.to_vec()));
            }
            let is_other = self.favoured.get().is_some_and(|peer| peer != from);
            let reassembler = if is_other {
                &self.others
            } else {
                &self.reassembler
            };
            let mut reassembler = reassembler.borrow_mut();
            match reassembler.receive(shard.now_ms(), from, datagram) {
                Ok(Received::Stored) => {}
                Ok(Received::Message(message)) => return Some((from, message.into_owned())),
                Err(refused) => shard.refuse(reason(&refused), "datagram"),
            }
        }
    }

    /// Forgets parts of messages that were lost; to be called about once a second.
    pub(crate) fn expire(&self, shard: &Shard) {
        for reassembler in [&self.reassembler, &self.others] {
            let mut reassembler = reassembler.borrow_mut();
            if reassembler.peers() > 0 {
                let expired = reassembler.expire(shard.now_ms());
                shard.counters().udp_incomplete.add(expired.messages as u64);
            }
        }
    }

    /// Ends both directions; what is queued is dropped.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.queue.borrow_mut().clear();
        self.gate.open();
        self.ready.notify();
        self.ended.notify();
    }

    async fn closed(&self) {
        let is_closed = || self.closed.get().then_some(());
        self.ended.until(is_closed).await;
    }

    /// Waits for something to send; none once the socket is closed.
    async fn next(&self) -> Option<(SocketAddr, Vec<u8>)> {
        self.ready
            .until(|| match self.closed.get() {
                true => Some(None),
                false => self.queue.borrow_mut().pop_front().map(Some),
            })
            .await
    }

    fn sent(&self, len: usize) {
        self.queued.set(self.queued.get().saturating_sub(len));
        if self.queued.get() < HIGH_WATER / 4 {
            self.gate.open();
        }
    }

    /// The same destination as this socket has to name it.
    fn towards(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) if self.local.is_ipv6() => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), to.port())
            }
            _ => to,
        }
    }
}

/// The message in a datagram that is all of it.
fn in_one_part(datagram: &[u8]) -> Option<&[u8]> {
    let datagram = Datagram::decode(datagram).ok()?;
    (datagram.check().is_ok() && datagram.total == 1).then_some(datagram.part)
}

/// Which counter a datagram that was dropped goes to.
const fn reason(refused: &udp::Refusal) -> Refusal {
    match refused {
        udp::Refusal::Late | udp::Refusal::Closed | udp::Refusal::Duplicate => Refusal::UdpLate,
        udp::Refusal::Full | udp::Refusal::TooManyPeers => Refusal::UdpFull,
        udp::Refusal::Datagram(_)
        | udp::Refusal::Total { .. }
        | udp::Refusal::Length { .. }
        | udp::Refusal::TooLong => Refusal::UdpDatagram,
    }
}

/// The sending task of a socket.
async fn send_queued(shard: Shard, socket: Rc<Socket>) {
    let mut datagram = Vec::new();
    while let Some((to, message)) = socket.next().await {
        let parts = socket.splitter.borrow_mut().split(&message);
        let sent = match parts {
            Ok(parts) => {
                let mut sent = true;
                for part in parts {
                    datagram.clear();
                    part.encode_into(&mut datagram);
                    let (result, back) = socket.io.send_to(datagram, socket.towards(to)).await;
                    datagram = back;
                    if let Err(error) = result {
                        tracing::debug!(%error, %to, "cannot send a datagram");
                        sent = false;
                        break;
                    }
                    shard.counters().datagrams_out.add(1);
                }
                sent
            }
            Err(_) => false,
        };
        if !sent {
            shard.refuse(Refusal::UdpUnsendable, "message over UDP");
        }
        socket.sent(message.len());
    }
}
