//! A node made by hand that can look into the channels it takes part in: what the other end says
//! inside is seen as bytes.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use culvert_crypto::Identifier;
use culvert_crypto::channel::{Endpoint, Established, Initiator, OVERHEAD, Responder};
use culvert_crypto::identity::Identity;
use culvert_crypto::purpose_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningVault as _, SoftwareVault};
use culvert_proto::frame;
use culvert_proto::identity::decode_exact;
use culvert_proto::message::Message;
use culvert_proto::route::Route;
use culvert_proto::secure_channel::RefreshCredentials;
use culvert_proto::secure_channel::inner::{self, Inner};
use culvert_tests::PATIENCE;
use culvert_tests::net::{ANY_PORT, connect, eventually};
use culvert_tests::tap::Direction;
use culvert_tests::wire::{framed, route};

use super::record::{Said, read};

/// Address of the channel's end in this node, of the form that Ockam's have.
const DECRYPTOR: &str = "0123456789abcdef0123456789abcdef";

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970")
        .as_secs()
}

/// An identity made from fixed numbers, valid from now on; its key is replaced for each of the types
/// given.
pub fn endpoint(changes: &[KeyType]) -> Endpoint {
    let mut vault = SoftwareVault::new();
    let mut generate = |number: u8, key_type| {
        let key = vault.generate(key_type, &Secret::new([number; 32]));
        key.expect("a key")
    };
    let first = generate(100, KeyType::Ed25519);
    let more: Vec<_> = (1..)
        .zip(changes)
        .map(|(n, &kind)| generate(n, kind))
        .collect();
    let (now, until) = (now(), now() + 3600);
    let mut identity = Identity::create(&vault, &first, now, until).expect("an identity");
    for key in more {
        identity = identity.rotate(&vault, &key, now, until).expect("a change");
    }
    let secret = Secret::new([8; 32]);
    let public = purpose_key::channel_key(&secret);
    let attestation = purpose_key::attest(&vault, &identity, &public, now).expect("attestation");
    Endpoint::new(&identity, secret, attestation, Vec::new()).expect("an endpoint")
}

/// A TCP connection to a node, and everything said on it.
pub struct Link {
    stream: TcpStream,
    /// Which way what this side says goes.
    mine: Direction,
    /// All messages so far.
    pub said: Vec<Said>,
}

impl Link {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::start(connect(address), Direction::Up)
    }

    fn start(mut stream: TcpStream, mine: Direction) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.write_all(&[frame::VERSION]).expect("send");
        let mut version = [0];
        stream.read_exact(&mut version).expect("a version");
        assert_eq!(version, [frame::VERSION]);
        Self {
            stream,
            mine,
            said: Vec::new(),
        }
    }

    /// Sends a message, with the tracing context that Ockam's have.
    pub fn send(&mut self, onward: Route, return_route: Route, payload: Vec<u8>) {
        let mut message = Message::new(onward, return_route, payload);
        message.tracing = Some("{}".to_owned());
        self.stream
            .write_all(&framed(&message.encode()))
            .expect("send");
        self.said.push(Said {
            direction: self.mine,
            message,
        });
    }

    /// The next message.
    pub fn receive(&mut self) -> Message {
        self.try_receive().expect("a message")
    }

    /// The next message, if one comes in time.
    pub fn receive_within(&mut self, limit: Duration) -> Option<Message> {
        let set =
            |stream: &TcpStream, limit| stream.set_read_timeout(Some(limit)).expect("a limit");
        set(&self.stream, limit);
        let message = self.try_receive();
        set(&self.stream, PATIENCE);
        message.ok()
    }

    /// The next message, or why there is none.
    fn try_receive(&mut self) -> io::Result<Message> {
        let mut length = [0; frame::LEN];
        self.stream.read_exact(&mut length)?;
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut bytes)?;
        let message = read(&bytes);
        self.said.push(Said {
            direction: match self.mine {
                Direction::Up => Direction::Down,
                Direction::Down => Direction::Up,
            },
            message: message.clone(),
        });
        Ok(message)
    }
}

/// A port where nodes connect, as to a relay.
pub struct Port(TcpListener);

impl Port {
    /// Listens.
    pub fn open() -> Self {
        let listener = TcpListener::bind(ANY_PORT).expect("listen");
        listener
            .set_nonblocking(true)
            .expect("a socket that does not wait");
        Self(listener)
    }

    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("address of a listener")
    }

    /// The next node.
    pub fn accept(&self) -> Link {
        let ((stream, _), _) = eventually("a node connects", PATIENCE, || self.0.accept());
        stream.set_nonblocking(false).expect("a blocking socket");
        Link::start(stream, Direction::Down)
    }
}

/// One end of a secure channel.
pub struct Channel {
    /// What it goes over.
    pub link: Link,
    keys: Established,
    /// Route to the other end.
    way: Route,
    /// Everything said inside; `Up` is from the initiator.
    pub inside: Vec<Said>,
    mine: Direction,
    /// Histories of the peers.
    pub known: BTreeMap<Identifier, Vec<u8>>,
}

impl Channel {
    /// Opens one to the listener at the end of the way.
    pub fn initiate(link: Link, way: &[&str]) -> Self {
        Self::initiate_as(&endpoint(&[]), link, way)
    }

    /// The same as somebody.
    pub fn initiate_as(me: &Endpoint, mut link: Link, way: &[&str]) -> Self {
        let mut known = BTreeMap::new();
        let (initiator, message) = Initiator::start(me, Trust::Anyone, [9; 32]);
        link.send(route(way), route(&[DECRYPTOR]), message);
        let answer = link.receive();
        assert_eq!(answer.onward, route(&[DECRYPTOR]));
        let (keys, message) = initiator
            .handle_message2(&answer.payload, &mut known, now())
            .expect("message 2");
        link.send(answer.return_route.clone(), route(&[DECRYPTOR]), message);
        Self {
            link,
            keys,
            way: answer.return_route,
            inside: Vec::new(),
            mine: Direction::Up,
            known,
        }
    }

    /// Waits for an initiator that asks for the listener at the end of the way.
    pub fn respond(mut link: Link, way: &[&str]) -> Self {
        let mut known = BTreeMap::new();
        let first = link.receive();
        assert_eq!(first.onward, route(way));
        let (responder, message) =
            Responder::accept(&endpoint(&[]), Trust::Anyone, [9; 32], &first.payload)
                .expect("message 1");
        let way = first.return_route;
        link.send(way.clone(), route(&[DECRYPTOR]), message);
        let third = link.receive();
        assert_eq!(third.onward, route(&[DECRYPTOR]));
        let keys = responder
            .handle_message3(&third.payload, &mut known, now())
            .expect("message 3");
        Self {
            link,
            keys,
            way,
            inside: Vec::new(),
            mine: Direction::Down,
            known,
        }
    }

    /// Seconds from now until the peer's static key must not be used any more.
    pub fn static_key_lasts(&self) -> u64 {
        self.keys.peer_expires_at - now()
    }

    /// Sends a message inside.
    pub fn send(&mut self, onward: Route, return_route: Route, payload: Vec<u8>) {
        let message = Message::new(onward, return_route, payload);
        let mut plaintext = inner::PAYLOAD_PREFIX.to_vec();
        plaintext.extend(message.encode());
        plaintext.extend(inner::PAYLOAD_SUFFIX);
        self.seal(&plaintext);
        self.inside.push(Said {
            direction: self.mine,
            message,
        });
    }

    fn seal(&mut self, plaintext: &[u8]) {
        let mut sealed = vec![0; 8];
        sealed.extend(plaintext);
        sealed.resize(plaintext.len() + OVERHEAD, 0);
        self.keys.seal.seal(&mut sealed).expect("seal");
        self.link.send(self.way.clone(), Route::new(), sealed);
    }

    /// The next message inside.
    ///
    /// # Panics
    /// When something else comes, or the bytes around it are not exactly those of a message.
    pub fn receive(&mut self) -> Message {
        self.try_receive(PATIENCE).expect("a message")
    }

    /// The next message inside, if one comes in time.
    pub fn try_receive(&mut self, limit: Duration) -> Option<Message> {
        let outer = self.link.receive_within(limit)?;
        assert_eq!(outer.onward, route(&[DECRYPTOR]));
        let mut payload = outer.payload;
        let opened = self.keys.open.open(&mut payload).expect("open");
        let plaintext = &payload[opened.plaintext];
        let Ok(Inner::Payload { message }) = inner::parse(plaintext) else {
            panic!("not a message: {plaintext:02x?}");
        };
        let (before, after) = (&plaintext[..message.start], &plaintext[message.end..]);
        assert_eq!(before, inner::PAYLOAD_PREFIX);
        assert_eq!(after, inner::PAYLOAD_SUFFIX);
        let message = read(&plaintext[message]);
        self.inside.push(Said {
            direction: match self.mine {
                Direction::Up => Direction::Down,
                Direction::Down => Direction::Up,
            },
            message: message.clone(),
        });
        Some(message)
    }

    /// How many credentials the other end presented in the handshake.
    pub fn presented(&self) -> usize {
        self.keys.peer_credentials.len()
    }

    /// Waits until the other end presents other credentials.
    pub fn receive_refresh(&mut self) -> RefreshCredentials {
        let mut payload = self.link.receive().payload;
        let opened = self.keys.open.open(&mut payload).expect("open");
        let plaintext = &payload[opened.plaintext];
        let Ok(Inner::Refresh { content }) = inner::parse(plaintext) else {
            panic!("not a refresh: {plaintext:02x?}");
        };
        decode_exact(&plaintext[content]).expect("a refresh")
    }

    /// Waits until the other end says that it is closed, in exactly those bytes.
    pub fn receive_close(&mut self) {
        let mut payload = self.link.receive().payload;
        let opened = self.keys.open.open(&mut payload).expect("open");
        assert_eq!(payload[opened.plaintext], inner::CLOSE);
    }

    /// Answers to the way back, from a worker of this node.
    pub fn answer(&mut self, to: &Message, from: &str, payload: Vec<u8>) {
        self.send(to.return_route.clone(), route(&[from]), payload);
    }
}
