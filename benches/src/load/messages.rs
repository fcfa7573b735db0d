//! Framed messages through a relay alone: half of the links send, each to one owner on another link.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use culvert_proto::bare;
use culvert_proto::forwarder::STATIC_FORWARDING_SERVICE;
use culvert_proto::frame::{self, Decoded};
use culvert_proto::message::TRACING_NONE;
use culvert_tests::PATIENCE;
use culvert_tests::net::{ANY_PORT, connect};
use culvert_tests::wire::{Received, VERSION, Wire, framed, message};

use super::exchange::PER_SECOND;
use super::{ExactTimers, Figures, Meter, Outcome, Time, tried};
use crate::known;
use crate::poll::{Interest, Poller, now};
use crate::relays::{Kind, Relay};

/// Bytes given to a socket at once when messages are smaller.
const BLOCK: usize = 64 * 1024;
/// Bytes asked for at once.
const READ: usize = 512 * 1024;

/// When messages are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As fast as they go, many in one write.
    Full,
    /// So many a second over all links, each in a write of its own.
    Each(f64),
}

/// A relay with a place that it leads to if it does not route.
pub struct Ready {
    /// The relay.
    pub relay: Relay,
    listener: TcpListener,
}

impl Ready {
    /// Starts a relay.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(kind: Kind, settings: &crate::settings::Settings) -> Self {
        let listener = TcpListener::bind(ANY_PORT).expect("listen");
        let target = listener.local_addr().expect("address of a listener");
        Self {
            relay: kind.start(settings, target),
            listener,
        }
    }
}

/// Links in pairs: what is sent on one arrives on the other.
struct Links {
    senders: Vec<Sender>,
    owners: Vec<TcpStream>,
    /// What each message of a pair ends with.
    tails: Vec<&'static [u8]>,
}

struct Sender {
    socket: TcpStream,
    /// One message, or many.
    block: Vec<u8>,
    message: usize,
    /// Bytes sent so far.
    sent: u64,
}

/// The name of forwarder `number`: all have one length, and so have all messages.
fn name(number: usize) -> String {
    format!("bench-{number:07}")
}

/// Registers a name over a link, and waits for the confirmation.
fn register(owner: &mut Wire, number: usize) -> Outcome<()> {
    let name = name(number);
    owner.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &bare::string(&name));
    match owner.frame(PATIENCE) {
        Received::Frame(frame) => {
            let is_confirmed = frame
                .windows(name.len())
                .any(|part| part == name.as_bytes());
            let error = || format!("another message came than the confirmation of {name}");
            is_confirmed.then_some(()).ok_or_else(error)
        }
        Received::End(end) => Err(format!("no confirmation of a name: {end:?}")),
    }
}

/// Registers `count` names that nobody sends to, beside those that messages go through. They are held as long
/// as the connections.
///
/// # Errors
/// When one is not confirmed.
pub fn hold(relay: SocketAddr, count: usize) -> Outcome<Vec<Wire>> {
    let mut owners = Vec::new();
    for first in (0..count).step_by(1000) {
        let mut owner = Wire::open(relay);
        for number in first..count.min(first + 1000) {
            register(&mut owner, 1_000_000 + number)?;
        }
        owners.push(owner);
    }
    Ok(owners)
}

impl Links {
    fn open(ready: &Ready, pairs: usize, size: usize, pace: Pace) -> Outcome<Self> {
        let mut links = Self {
            senders: Vec::new(),
            owners: Vec::new(),
            tails: Vec::new(),
        };
        for number in 0..pairs {
            let mut socket = connect(ready.relay.address);
            if ready.relay.kind.routes() {
                tried("send the version", socket.write_all(&[VERSION]))?;
                let mut owner = Wire::open(ready.relay.address);
                register(&mut owner, number)?;
                links.owners.push(owner.stream);
            } else {
                let (owner, _) = tried("accept", ready.listener.accept())?;
                links.owners.push(owner);
            }
            let payload = known::bytes(7919 * number as u64, size);
            links.tails.push(payload);
            let forwarder = format!("forward_to_{}", name(number));
            let one = framed(&message(&[&forwarder, "sink"], &["me"], payload));
            let many = match pace {
                Pace::Full => BLOCK.div_ceil(one.len()),
                Pace::Each(_) => 1,
            };
            tried("set a socket up", socket.set_nonblocking(true))?;
            links.senders.push(Sender {
                socket,
                block: one.repeat(many),
                message: one.len(),
                sent: 0,
            });
        }
        // What is under way is counted in messages.
        let length = links.senders[0].message;
        assert!(links.senders.iter().all(|sender| sender.message == length));
        for owner in &links.owners {
            tried("set a socket up", owner.set_nonblocking(true))?;
        }
        Ok(links)
    }
}

impl Sender {
    /// Writes once; gives how many bytes.
    fn write(&mut self) -> Outcome<u64> {
        let at = self.sent as usize % self.block.len();
        let written = tried("send", now(self.socket.write(&self.block[at..])))?;
        let written = written.unwrap_or(0) as u64;
        self.sent += written;
        Ok(written)
    }

    /// Completes a message that was begun, and gives how many there were.
    fn finish(&mut self) -> Outcome<u64> {
        tried("set a socket up", self.socket.set_nonblocking(false))?;
        let begun = self.sent as usize % self.message;
        if begun > 0 {
            tried(
                "send",
                self.socket.write_all(&self.block[begun..self.message]),
            )?;
            self.sent += (self.message - begun) as u64;
        }
        Ok(self.sent / self.message as u64)
    }
}

/// Bytes of each link that may be under way: what takes a relay long enough to be busy with.
const UNDER_WAY: u64 = 32 * 1024;
/// Bytes that may be under way in any case.
const UNDER_WAY_AT_LEAST: u64 = 16 * 1024 * 1024;

/// Sends until told to stop; gives how many messages.
fn send(
    senders: &mut [Sender],
    pace: Pace,
    arrived: &AtomicU64,
    stop: &AtomicBool,
) -> Outcome<u64> {
    match pace {
        Pace::Full => {
            let mut poller = tried("epoll", Poller::new())?;
            for (token, sender) in senders.iter().enumerate() {
                let added = poller.add(&sender.socket, token as u64, Interest::Write);
                tried("epoll", added)?;
            }
            let mut ready = Vec::new();
            let length = senders[0].message as u64;
            // Every link may have begun a message: others have to be under way beside those.
            let each = UNDER_WAY.max(2 * length);
            let most = UNDER_WAY_AT_LEAST.max(each * senders.len() as u64);
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let waited = poller.wait(Some(Duration::from_millis(20)), &mut ready);
                tried("epoll", waited)?;
                for event in &ready {
                    let is_stopped = || stop.load(Ordering::Relaxed);
                    let arrived = || arrived.load(Ordering::Relaxed) * length;
                    // Or the sockets would take more than a slow relay could carry in minutes.
                    while sent > most + arrived() && !is_stopped() {
                        thread::sleep(Duration::from_micros(100));
                    }
                    if is_stopped() {
                        break;
                    }
                    sent += senders[event.token as usize].write()?;
                }
            }
        }
        Pace::Each(rate) => {
            let _exact = ExactTimers::start()?;
            let began = Instant::now();
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let due = began + Duration::from_secs_f64(number as f64 / rate);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let place = number as usize % senders.len();
                senders[place].write()?;
                number += 1;
            }
        }
    }
    senders.iter_mut().map(Sender::finish).sum()
}

/// Takes messages until told how many there were in all.
fn receive(
    owners: &mut [TcpStream],
    tails: &[&[u8]],
    arrived: &AtomicU64,
    sent: &AtomicU64,
) -> Outcome<()> {
    let mut poller = tried("epoll", Poller::new())?;
    for (token, owner) in owners.iter().enumerate() {
        tried("epoll", poller.add(owner, token as u64, Interest::Read))?;
    }
    // The beginning of a message whose rest has not come yet, of each owner.
    let mut begun = vec![Vec::new(); owners.len()];
    let mut chunk = vec![0; READ + frame_room(tails[0])];
    let mut ready = Vec::new();
    let mut last = Instant::now();
    while arrived.load(Ordering::Relaxed) < sent.load(Ordering::Relaxed) {
        let waited = poller.wait(Some(Duration::from_millis(20)), &mut ready);
        tried("epoll", waited)?;
        if last.elapsed() > PATIENCE {
            return Err(format!("no message for {PATIENCE:?}"));
        }
        for event in &ready {
            let place = event.token as usize;
            let begun = &mut begun[place];
            chunk[..begun.len()].copy_from_slice(begun);
            let read = owners[place].read(&mut chunk[begun.len()..]);
            let length = match tried("receive", now(read))? {
                None => continue,
                Some(0) => return Err("a link was closed".to_owned()),
                Some(n) => begun.len() + n,
            };
            let (mut at, mut count) = (0, 0);
            while let Ok(Decoded::Frame(range)) = frame::decode(&chunk[at..length]) {
                let message = &chunk[at..][range.clone()];
                // Ockam adds what says that there is no tracing.
                let message = message.strip_suffix(TRACING_NONE).unwrap_or(message);
                assert!(
                    message.ends_with(tails[place]),
                    "another message arrived than was sent"
                );
                at += range.end;
                count += 1;
            }
            begun.clear();
            begun.extend_from_slice(&chunk[at..length]);
            arrived.fetch_add(count, Ordering::Relaxed);
            last = Instant::now();
        }
    }
    Ok(())
}

/// Room for one message with such an end.
fn frame_room(tail: &[u8]) -> usize {
    tail.len() + 4096
}

/// Sends messages of `size` bytes of payload over `pairs` links to as many owners.
///
/// # Errors
/// When the relay closes links, or messages are lost.
///
/// # Panics
/// When other messages arrive than were sent.
pub fn messages(
    ready: &Ready,
    pairs: usize,
    size: usize,
    pace: Pace,
    time: Time,
) -> Outcome<Figures> {
    let Links {
        mut senders,
        mut owners,
        tails,
    } = Links::open(ready, pairs, size, pace)?;
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(u64::MAX));
    let arrived = AtomicU64::new(0);
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let done = receive(&mut owners, &tails, &arrived, &sent);
            // Senders would wait for ever for one that has stopped.
            stop.store(true, Ordering::Relaxed);
            drop(owners);
            done
        });
        let sender = scope.spawn(|| {
            let count = send(&mut senders, pace, &arrived, &stop);
            sent.store(count.clone().unwrap_or(0), Ordering::Relaxed);
            count
        });
        thread::sleep(time.warm_up);
        let before = arrived.load(Ordering::Relaxed);
        let meter = Meter::of(&ready.relay.processes, None);
        thread::sleep(time.measured);
        while arrived.load(Ordering::Relaxed) == before && meter.waits() {
            thread::sleep(Duration::from_millis(10));
        }
        let count = (arrived.load(Ordering::Relaxed) - before) as f64;
        let (took, used) = meter.stop(count, "us each", 1e6);
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().expect("a thread that sends")?;
        receiver.join().expect("a thread that receives")?;
        let arrived = arrived.load(Ordering::Relaxed);
        if sent != arrived || count == 0.0 {
            return Err(format!("{arrived} messages of {sent} arrived"));
        }
        let mut figures = vec![(PER_SECOND.to_owned(), count / took)];
        if size >= BLOCK {
            // Payload only, as for streams.
            let gigabytes = count * size as f64 / 1e9;
            figures.push(("GB/s".to_owned(), gigabytes / took));
            let (_, each) = used[0];
            figures.push((super::cpu("ms per GB"), each * 1e-3 * count / gigabytes));
        }
        figures.extend(used);
        Ok(figures)
    })
}
