//! Sending one message along a route and waiting for the reply: what an operator tries a way with.
//!
//! ```text
//! link -> hops -> listener ==== channel ==== hops -> worker       one message, one reply
//! ```

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use culvert_proto::address::AddressRef;
use culvert_proto::route::Route;

use super::PathPlan;
use super::connect::{connect_channel, connect_link};
use super::request::{ATTEMPTS, GOODBYE, Mailbox, Removed};
use crate::channel::{API, Channel, ChannelError, Credentials};
use crate::link::Link;
use crate::notify::Notify;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::worker::Outcome;

/// Longest message, and longest reply, in bytes.
pub const LONGEST_MESSAGE: usize = 1 << 20;

/// Where a message goes.
#[derive(Clone, Debug)]
pub enum Recipient {
    /// Local addresses of this node: a worker, or a name that leads on and what is behind it.
    Here(Vec<Vec<u8>>),
    /// Over a link and channels that are made for it and closed afterwards. The direct path of the plan
    /// is not tried.
    Away(Box<PathPlan>),
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
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
    /// A secure channel on the way does not come up.
    #[error("secure channel to {route}: {error}")]
    Channel {
        /// Where to.
        route: String,
        /// Why not.
        error: ChannelError,
    },
    /// The message could not be sent.
    #[error("cannot send to {route}: {reason}")]
    Send {
        /// Where to.
        route: String,
        /// Why not.
        reason: Refusal,
    },
    /// The connection or a channel ended before the reply came.
    #[error("the connection ended before a reply came: {0}")]
    Ended(CloseReason),
    /// Nothing came in time.
    #[error(
        "no reply within {0} ms (is there a worker at the end of the route, and may you use it?)"
    )]
    Timeout(u128),
    /// The message or the reply is too long.
    #[error("the {what} has {bytes} bytes, more than the {LONGEST_MESSAGE} that are allowed")]
    TooLong {
        /// Which of them.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The route has no addresses.
    #[error("the route is empty")]
    NoRoute,
}

/// What was made for one message. Closed when dropped.
struct Way<'a> {
    shard: &'a Shard,
    link: Option<Rc<Link>>,
    channels: Vec<Rc<Channel>>,
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        for channel in self.channels.drain(..).rev() {
            channel.close(self.shard, CloseReason::Local);
        }
        if let Some(link) = self.link.take() {
            let shard = self.shard.clone();
            monoio::spawn(async move {
                monoio::time::sleep(GOODBYE).await;
                link.close(&shard, CloseReason::Local);
            });
        }
    }
}

impl Way<'_> {
    /// Opens a channel to the listener at the end of the route; from then on the route is the way into
    /// the channel.
    async fn enter(
        &mut self,
        credentials: &Credentials,
        route: &mut Route,
    ) -> Result<(), MessageError> {
        let (channel, _) = connect_channel(self.shard, credentials, route, ATTEMPTS, || ())
            .await
            .map_err(|error| MessageError::Channel {
                route: route.to_string(),
                error,
            })?;
        *route = Shard::route_to(channel.encryptor);
        self.channels.push(channel);
        Ok(())
    }

    /// Makes what the plan asks for; gives the whole route.
    async fn make(
        &mut self,
        credentials: &Credentials,
        plan: &PathPlan,
    ) -> Result<Route, MessageError> {
        let link = connect_link(self.shard, &plan.host, plan.port).await;
        let link = link.map_err(|error| MessageError::Connect {
            host: plan.host.clone(),
            port: plan.port,
            error,
        })?;
        let start = Shard::route_to(link.address);
        self.link = Some(link);
        let trusting = |trust: &_| Credentials {
            trust: Clone::clone(trust),
            ..credentials.clone()
        };
        if let Some(trust) = &plan.admission {
            let mut route = start.clone();
            route.push_back(AddressRef::local(API));
            self.enter(&trusting(trust), &mut route).await?;
        }
        let mut route = start;
        for leg in &plan.legs {
            extend(&mut route, &leg.hops);
            route.push_back(AddressRef::local(&leg.listener));
            self.enter(&trusting(&leg.trust), &mut route).await?;
        }
        extend(&mut route, &plan.tail);
        Ok(route)
    }

    /// Waits for the end of what the message goes over; for ever where nothing was made.
    async fn wait_end(&self) -> CloseReason {
        match (&self.link, self.channels.last()) {
            (Some(link), Some(channel)) => monoio::select! {
                reason = link.wait_end() => reason,
                reason = channel.wait_end() => reason,
            },
            (Some(link), None) => link.wait_end().await,
            _ => core::future::pending().await,
        }
    }
}

fn extend(route: &mut Route, hops: &[Vec<u8>]) {
    for hop in hops {
        route.push_back(AddressRef::local(hop));
    }
}

/// Sends `payload` as it is and gives the payload of the first reply, within `limit` in all.
/// `credentials` are shown in the channels of the plan, whose legs say who may answer.
///
/// # Errors
///
/// [`MessageError`]. A message that nobody takes is a [`MessageError::Timeout`]: nodes do not say so.
pub async fn send_message(
    shard: &Shard,
    credentials: &Credentials,
    to: &Recipient,
    payload: &[u8],
    limit: Duration,
) -> Result<Vec<u8>, MessageError> {
    check("message", payload)?;
    let mut way = Way {
        shard,
        link: None,
        channels: Vec::new(),
    };
    let exchange = async {
        let route = match to {
            Recipient::Here(hops) => {
                let mut route = Route::new();
                extend(&mut route, hops);
                route
            }
            Recipient::Away(plan) => way.make(credentials, plan).await?,
        };
        if route.is_empty() {
            return Err(MessageError::NoRoute);
        }
        ask(&way, &route, payload).await
    };
    let reply = monoio::time::timeout(limit, exchange).await;
    let reply = reply.unwrap_or(Err(MessageError::Timeout(limit.as_millis())))?;
    check("reply", &reply)?;
    Ok(reply)
}

fn check(what: &'static str, payload: &[u8]) -> Result<(), MessageError> {
    let bytes = payload.len();
    match bytes <= LONGEST_MESSAGE {
        true => Ok(()),
        false => Err(MessageError::TooLong { what, bytes }),
    }
}

async fn ask(way: &Way<'_>, route: &Route, payload: &[u8]) -> Result<Vec<u8>, MessageError> {
    let shard = way.shard;
    let failed = |reason| MessageError::Send {
        route: route.to_string(),
        reason,
    };
    let mailbox = Rc::new(Mailbox {
        peer: way
            .channels
            .last()
            .filter(|_| way.link.is_some())
            .and_then(|last| last.peer()),
        payload: RefCell::default(),
        changed: Notify::default(),
    });
    let worker: Rc<dyn crate::worker::Worker> = Rc::<Mailbox>::clone(&mailbox);
    let address = shard.add_worker(worker).map_err(failed)?;
    let _gone = Removed(shard, address);
    if let Some(next) = shard.first_key(route) {
        shard.grant(address.key, next);
    }
    if let Outcome::Refused(reason) = shard.send(route, &Shard::route_to(address), payload) {
        return Err(failed(reason));
    }
    let arrival = mailbox
        .changed
        .until(|| mailbox.payload.borrow_mut().take());
    monoio::select! {
        reply = arrival => Ok(reply),
        reason = way.wait_end() => Err(MessageError::Ended(reason)),
    }
}
