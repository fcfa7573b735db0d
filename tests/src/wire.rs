//! A transport peer made by hand: says exactly the bytes a test gives it
//! (`protocol/01-transport.md` 3).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use culvert_proto::address::Address;
use culvert_proto::frame::{self, Decoded};
use culvert_proto::message::Message;
use culvert_proto::route::Route;

use crate::PATIENCE;
use crate::net::{End, connect, is_timeout};

/// The version byte both sides start with.
pub const VERSION: u8 = 1;

/// Address of the worker that answers with what it was sent.
pub const ECHO: &str = "echo";

/// A connection to a node.
pub struct Wire {
    /// The connection.
    pub stream: TcpStream,
    inbox: Vec<u8>,
}

/// What came next on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole frame: the message without its length.
    Frame(Vec<u8>),
    /// The connection ended, or nothing came in time.
    End(End),
}

impl Wire {
    /// Connects and says nothing.
    pub fn silent(address: SocketAddr) -> Self {
        Self {
            stream: connect(address),
            inbox: Vec::new(),
        }
    }

    /// Connects, says the version and waits for the other side's.
    pub fn open(address: SocketAddr) -> Self {
        let mut wire = Self::silent(address);
        wire.send(&[VERSION]);
        assert_eq!(
            wire.take(1, PATIENCE),
            Ok(vec![VERSION]),
            "version of the node"
        );
        wire
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection broke.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("send");
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection broke or nothing is read on the other side.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one frame with these message bytes.
    pub fn send_frame(&mut self, message: &[u8]) {
        self.send(&framed(message));
    }

    /// Sends one message.
    pub fn send_message(&mut self, onward: &[&str], return_route: &[&str], payload: &[u8]) {
        self.send_frame(&message(onward, return_route, payload));
    }

    /// The next frame, within `limit`.
    pub fn frame(&mut self, limit: Duration) -> Received {
        let head = match self.peek(4, limit) {
            Ok(()) => u32::from_be_bytes([0, 1, 2, 3].map(|i| self.inbox[i])),
            Err(end) => return Received::End(end),
        };
        match self.take(4 + head as usize, limit) {
            Ok(mut frame) => Received::Frame(frame.split_off(4)),
            Err(end) => Received::End(end),
        }
    }

    /// Reads once, for at most `limit`, and passes over all frames that are whole by then.
    /// Returns how many.
    ///
    /// # Panics
    /// When the connection ended.
    pub fn skip_frames(&mut self, limit: Duration) -> u64 {
        self.stream
            .set_read_timeout(Some(limit))
            .expect("set a read limit");
        let end = self.inbox.len();
        self.inbox.resize(end + (1 << 18), 0);
        let read = self.stream.read(&mut self.inbox[end..]);
        self.inbox.truncate(end + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => panic!("the connection ended"),
            Err(error) if !is_timeout(&error) => panic!("{error}"),
            _ => {}
        }
        let (mut count, mut at) = (0, 0);
        while let Ok(Decoded::Frame(range)) = frame::decode(&self.inbox[at..]) {
            at += range.end;
            count += 1;
        }
        self.inbox.drain(..at);
        count
    }

    /// The next message, within [`PATIENCE`].
    ///
    /// # Panics
    /// When none comes.
    pub fn message(&mut self) -> Message {
        match self.frame(PATIENCE) {
            Received::Frame(frame) => Message::decode(&frame).expect("a message"),
            Received::End(end) => panic!("no message: {end:?}"),
        }
    }

    /// Sends a message to the echo worker and waits for its answer: shows that the connection, and
    /// the node behind it, still work.
    ///
    /// # Panics
    /// When no answer or another one comes.
    pub fn check(&mut self) {
        let payload = b"are you there";
        self.send_message(&[ECHO], &["me"], payload);
        let answer = self.message();
        assert_eq!(answer.onward, route(&["me"]), "route of the answer");
        assert_eq!(answer.payload, payload, "payload of the answer");
    }

    /// Everything that still comes until the connection ends or `limit` passes.
    pub fn drain(&mut self, limit: Duration) -> (Vec<u8>, End) {
        let (rest, end) = crate::net::drain(&mut self.stream, limit);
        let mut bytes = std::mem::take(&mut self.inbox);
        bytes.extend(rest);
        (bytes, end)
    }

    /// Takes exactly `n` bytes.
    ///
    /// # Errors
    /// How the connection ended, if it did before.
    pub fn take(&mut self, n: usize, limit: Duration) -> Result<Vec<u8>, End> {
        self.peek(n, limit)?;
        let rest = self.inbox.split_off(n);
        Ok(std::mem::replace(&mut self.inbox, rest))
    }

    /// Waits until at least `n` bytes are in the inbox.
    fn peek(&mut self, n: usize, limit: Duration) -> Result<(), End> {
        let end = Instant::now() + limit;
        let mut chunk = vec![0; 65536];
        while self.inbox.len() < n {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(End::Open);
            }
            self.stream
                .set_read_timeout(Some(left))
                .expect("set a read limit");
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(End::Closed),
                Ok(n) => self.inbox.extend_from_slice(&chunk[..n]),
                Err(error) if is_timeout(&error) => {}
                Err(_) => return Err(End::Broken),
            }
        }
        Ok(())
    }
}

/// A message with its length in front.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a length of 32 bits");
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(message);
    frame
}

/// An encoded message between local addresses.
pub fn message(onward: &[&str], return_route: &[&str], payload: &[u8]) -> Vec<u8> {
    Message {
        onward: route(onward),
        return_route: route(return_route),
        payload: payload.to_vec(),
        tracing: None,
    }
    .encode()
}

/// A route of local addresses.
pub fn route(addresses: &[&str]) -> Route {
    let mut route = Route::new();
    for &address in addresses {
        route.push_back(Address::local(address).as_ref());
    }
    route
}
