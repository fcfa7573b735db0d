//! Asking a service on another node, through a secure channel (`protocol/05-requests.md`).
//!
//! ```text
//! link -> hops -> listener ==== channel ==== service       one question, one answer
//! ```

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_proto::address::AddressRef;
use culvert_proto::request::{ErrorBody, Method, Request, RequestError, Response, Status};

use super::connect::{connect_channel, connect_link};
use crate::channel::{Channel, ChannelError, Credentials};
use crate::key::LocalAddress;
use crate::link::Link;
use crate::notify::Notify;
use crate::packet::Packet;
use crate::random;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::worker::{Outcome, Worker};

/// How often a handshake is begun before it is given up.
pub(super) const ATTEMPTS: usize = 5;
/// What a goodbye may take to leave.
pub(super) const GOODBYE: Duration = Duration::from_millis(50);

/// Where a node with services is: who may be there, the credentials say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name or IP address of the first node.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Local addresses from there to the channel listener, which comes last.
    pub hops: Vec<Vec<u8>>,
}

/// What to ask.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Address of the service behind the channel.
    pub service: &'a str,
    /// What to do.
    pub method: Method,
    /// With what.
    pub path: &'a str,
    /// Its body, in whatever encoding the service uses.
    pub body: Option<&'a [u8]>,
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The outcome; `None` counts as a failure.
    pub status: Option<Status>,
    /// The body of a success, if the service said that there is one.
    pub body: Option<Vec<u8>>,
    /// What the service said about a failure; empty for a success.
    pub error: ErrorBody,
}

impl Answer {
    /// Whether it was done.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == Some(Status::Ok)
    }

    /// What the service said about a failure; may be empty.
    #[must_use]
    pub fn message(&self) -> &str {
        self.error.message.as_deref().unwrap_or_default()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The first node cannot be connected to.
    #[error("cannot connect to {host}:{port}: {error}")]
    Connect {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// What the system said.
        error: io::Error,
    },
    /// There is no secure channel to the node with the service.
    #[error("secure channel to {route}: {error}")]
    Channel {
        /// Where to.
        route: String,
        /// Why not.
        error: ChannelError,
    },
    /// The question could not be sent.
    #[error("cannot send to the service '{service}': {reason}")]
    Send {
        /// The service.
        service: String,
        /// Why not.
        reason: Refusal,
    },
    /// The connection or the channel ended before the answer came.
    #[error("the connection ended before the service '{service}' answered: {reason}")]
    Ended {
        /// The service.
        service: String,
        /// Why it ended.
        reason: CloseReason,
    },
    /// The service did not answer in time.
    #[error("the service '{service}' did not answer within {seconds} s (is it there?)")]
    Timeout {
        /// The service.
        service: String,
        /// How long was waited, seconds.
        seconds: u64,
    },
    /// What came is not an answer to this question.
    #[error("the service '{service}' answered with something else than a response: {error}")]
    Response {
        /// The service.
        service: String,
        /// What is wrong.
        error: RequestError,
    },
    /// What came answers another question.
    #[error("the service '{0}' answered another question")]
    OtherQuestion(String),
}

/// Takes the first message that arrives.
pub(super) struct Mailbox {
    /// Through whose channel it must come; none where it needs no channel.
    pub(super) peer: Option<Identifier>,
    pub(super) payload: RefCell<Option<Vec<u8>>>,
    pub(super) changed: Notify,
}

impl Worker for Mailbox {
    fn handle(&self, _: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        if self.peer.is_some() && packet.identity != self.peer {
            return Outcome::Refused(Refusal::IdentityMismatch);
        }
        self.payload.replace(Some(packet.payload().to_vec()));
        self.changed.notify();
        Outcome::Done
    }
}

/// A link and a channel over which questions are asked, one after the other. Ends when dropped.
pub struct Connection {
    shard: Shard,
    link: Rc<Link>,
    channel: Option<Rc<Channel>>,
    peer: Option<Identifier>,
}

impl Connection {
    /// Connects to a node and brings a channel up, within `limit`. `credentials` say who may answer.
    ///
    /// # Errors
    ///
    /// [`AskError::Connect`], [`AskError::Channel`].
    pub async fn open(
        shard: &Shard,
        credentials: &Credentials,
        place: &Place,
        limit: Duration,
    ) -> Result<Self, AskError> {
        let started = shard.now_ms();
        let left = || limit.saturating_sub(Duration::from_millis(shard.now_ms() - started));
        let unreachable = |error| AskError::Connect {
            host: place.host.clone(),
            port: place.port,
            error,
        };
        let connecting = connect_link(shard, &place.host, place.port);
        let link = match monoio::time::timeout(left(), connecting).await {
            Ok(link) => link.map_err(unreachable)?,
            Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
        };
        // From here on dropping it closes the link.
        let mut connection = Self {
            shard: shard.clone(),
            link,
            channel: None,
            peer: None,
        };
        let mut route = Shard::route_to(connection.link.address);
        for hop in &place.hops {
            route.push_back(AddressRef::local(hop));
        }
        let connecting = connect_channel(shard, credentials, &route, ATTEMPTS, || ());
        let up = monoio::select! {
            reason = connection.link.wait_end() => Err(ChannelError::Ended(reason)),
            up = monoio::time::timeout(left(), connecting) => {
                up.unwrap_or(Err(ChannelError::Timeout(limit.as_millis() as u64)))
            }
        };
        match up {
            Ok((channel, peer)) => {
                (connection.channel, connection.peer) = (Some(channel), Some(peer));
                Ok(connection)
            }
            Err(error) => Err(AskError::Channel {
                route: format!("{}:{} => {route}", place.host, place.port),
                error,
            }),
        }
    }

    /// Who is there.
    #[must_use]
    pub fn peer(&self) -> Option<Identifier> {
        self.peer
    }

    /// Asks a service and waits for its answer, at most for `limit`.
    ///
    /// # Errors
    ///
    /// All but [`AskError::Connect`] and [`AskError::Channel`]. A refusal by the service is an
    /// answer.
    pub async fn ask(&self, question: &Question<'_>, limit: Duration) -> Result<Answer, AskError> {
        let service = || question.service.to_owned();
        let (Some(channel), Some(peer)) = (&self.channel, self.peer) else {
            let reason = CloseReason::Local;
            return Err(AskError::Ended {
                service: service(),
                reason,
            });
        };
        let send_failed = |reason| AskError::Send {
            service: service(),
            reason,
        };
        let mailbox = Rc::new(Mailbox {
            peer: Some(peer),
            payload: RefCell::default(),
            changed: Notify::default(),
        });
        let worker: Rc<dyn Worker> = Rc::<Mailbox>::clone(&mailbox);
        let address = self.shard.add_worker(worker).map_err(send_failed)?;
        self.shard
            .permit_answers(channel.encryptor.key, address.key);
        let _gone = Removed(&self.shard, address);
        let id = (random::u64() as u32).max(1);
        let request = Request {
            id,
            path: question.path,
            method: Some(question.method),
            body: question.body,
        };
        let mut route = Shard::route_to(channel.encryptor);
        route.push_back(AddressRef::local(question.service.as_bytes()));
        let back = Shard::route_to(address);
        if let Outcome::Refused(reason) = self.shard.send(&route, &back, &request.encode()) {
            return Err(send_failed(reason));
        }
        let arrival = mailbox
            .changed
            .until(|| mailbox.payload.borrow_mut().take());
        let payload = monoio::select! {
            reason = self.link.wait_end() => return Err(AskError::Ended { service: service(), reason }),
            reason = channel.wait_end() => return Err(AskError::Ended { service: service(), reason }),
            payload = monoio::time::timeout(limit, arrival) => payload,
        };
        let Ok(payload) = payload else {
            let seconds = limit.as_secs();
            return Err(AskError::Timeout {
                service: service(),
                seconds,
            });
        };
        read(&payload, id, service)
    }
}

/// Reads an answer to the question with this id.
fn read(payload: &[u8], id: u32, service: impl Fn() -> String) -> Result<Answer, AskError> {
    let response = Response::decode(payload).map_err(|error| AskError::Response {
        service: service(),
        error,
    })?;
    // Services may leave the id out.
    if response.re != id && response.re != 0 {
        return Err(AskError::OtherQuestion(service()));
    }
    Ok(Answer {
        status: response.status,
        body: response.body().map(<[u8]>::to_vec),
        error: response.error().unwrap_or_default(),
    })
}

/// Removes an address when it is not waited for any more.
pub(super) struct Removed<'a>(pub(super) &'a Shard, pub(super) LocalAddress);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1.key);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let link = Rc::clone(&self.link);
        let Some(channel) = self.channel.take() else {
            link.close(&self.shard, CloseReason::Local);
            return;
        };
        channel.close(&self.shard, CloseReason::Local);
        let shard = self.shard.clone();
        monoio::spawn(async move {
            monoio::time::sleep(GOODBYE).await;
            link.close(&shard, CloseReason::Local);
        });
    }
}

/// Connects, asks one question and closes again, within `limit`.
///
/// # Errors
///
/// [`AskError`]. A refusal by the service is an answer.
pub async fn ask(
    shard: &Shard,
    credentials: &Credentials,
    place: &Place,
    question: &Question<'_>,
    limit: Duration,
) -> Result<Answer, AskError> {
    let started = shard.now_ms();
    let connection = Connection::open(shard, credentials, place, limit).await?;
    let spent = Duration::from_millis(shard.now_ms() - started);
    connection.ask(question, limit.saturating_sub(spent)).await
}
