//! A proxy on one leg that records the messages passing by, as anybody on the way could.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use culvert_proto::frame::{self, Decoded};

use crate::failure::Failure;

/// Most bytes that are recorded: a few requests need a fraction of it.
const MOST: usize = 4 << 20;

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the edge to the relay.
    ToRelay,
    /// From the relay to the edge.
    FromRelay,
}

/// A message that passed.
#[derive(Clone, Debug)]
pub struct Message {
    /// Which way.
    pub direction: Direction,
    /// The message, without its length.
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct Record {
    messages: Vec<Message>,
    size: usize,
}

/// A running proxy; it accepts no more connections once dropped.
pub struct Tap {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
    ended: Arc<AtomicBool>,
}

impl Tap {
    /// Starts one that passes everything on to the relay.
    ///
    /// # Errors
    ///
    /// When there is no port for it.
    pub fn start(relay: SocketAddr) -> Result<Self, Failure> {
        let failed = |error| Failure::new(format!("cannot start a tap: {error}"), "try again");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let tap = Self {
            address: listener.local_addr().map_err(failed)?,
            record: Arc::default(),
            ended: Arc::default(),
        };
        let (record, ended) = (Arc::clone(&tap.record), Arc::clone(&tap.ended));
        thread::spawn(move || {
            for edge in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                // A relay that is down shows as a connection closed at once.
                let _ = edge.and_then(|edge| join(edge, relay, &record));
            }
        });
        Ok(tap)
    }

    /// Where edges connect in place of the relay.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything recorded so far.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.messages.clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Joins a connection of an edge with a new one to the relay.
fn join(edge: TcpStream, relay: SocketAddr, record: &Arc<Mutex<Record>>) -> io::Result<()> {
    let relay = TcpStream::connect(relay)?;
    edge.set_nodelay(true)?;
    relay.set_nodelay(true)?;
    let ways = [
        (Direction::ToRelay, edge.try_clone()?, relay.try_clone()?),
        (Direction::FromRelay, relay, edge),
    ];
    for (direction, from, to) in ways {
        let record = Arc::clone(record);
        thread::spawn(move || {
            let _ = pump(direction, &from, &to, &record);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

/// Carries one direction until it ends.
fn pump(
    direction: Direction,
    mut from: &TcpStream,
    mut to: &TcpStream,
    record: &Mutex<Record>,
) -> io::Result<()> {
    let mut deframer = Deframer::default();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let n = from.read(&mut chunk)?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..n])?;
        for bytes in deframer.take(&chunk[..n]) {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            record.size += bytes.len();
            if record.size <= MOST {
                record.messages.push(Message { direction, bytes });
            }
        }
    }
}

/// Finds the messages in a stream of bytes.
#[derive(Default)]
struct Deframer {
    versioned: bool,
    waiting: Vec<u8>,
    /// The stream is not what it should be: there is nothing more to find.
    lost: bool,
}

impl Deframer {
    fn take(&mut self, mut input: &[u8]) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        if !self.versioned
            && let Some((version, rest)) = input.split_first()
        {
            self.versioned = true;
            self.lost = *version != frame::VERSION;
            input = rest;
        }
        if self.lost {
            return messages;
        }
        self.waiting.extend_from_slice(input);
        loop {
            match frame::decode(&self.waiting) {
                Ok(Decoded::Frame(range)) => {
                    messages.push(self.waiting[range.clone()].to_vec());
                    self.waiting.drain(..range.end);
                }
                Ok(Decoded::Need(_)) => return messages,
                Err(_) => {
                    self.lost = true;
                    return messages;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let stream = [1, 0, 0, 0, 2, 7, 8, 0, 0, 0, 1, 9];
        for cut in 0..stream.len() {
            let mut deframer = Deframer::default();
            let mut found = deframer.take(&stream[..cut]);
            found.extend(deframer.take(&stream[cut..]));
            assert_eq!(found, [vec![7, 8], vec![9]]);
        }
        let mut other = Deframer::default();
        assert!(other.take(&[2, 0, 0, 0, 1, 9]).is_empty());
    }
}
