//! Getting a link and a channel up.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_proto::route::Route;

use crate::channel::{Channel, ChannelError, Credentials};
use crate::control;
use crate::link::{Link, Origin};
use crate::portal::connect_to;
use crate::reason::CloseReason;
use crate::shard::Shard;
use crate::sys;

/// A handshake that got no answer is joined by another after this time.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long each handshake may take.
const HANDSHAKE_MS: u64 = 10_000;

/// Opens a link to a node.
///
/// # Errors
///
/// When the name does not resolve or none of its addresses accepts.
pub async fn connect_link(shard: &Shard, host: &str, port: u16) -> io::Result<Rc<Link>> {
    let mut last = io::Error::other(format!("{host} has no address"));
    for address in control::resolve(host, port).await? {
        match connect_to(address).await {
            Ok(socket) => {
                let origin = Origin {
                    accepted: false,
                    spawner: Some(shard.outgoing_flow()),
                };
                return Link::start(shard, sys::into_std(socket)?, origin, None)
                    .map_err(|reason| io::Error::other(reason.name()));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Brings a channel up: starts a handshake, and another each second while none is answered (the
/// far side may not be there yet). The first that comes up is taken. `unanswered` is called when the
/// first second has passed.
pub(crate) async fn connect_channel(
    shard: &Shard,
    credentials: &Credentials,
    listener: &Route,
    attempts: usize,
    unanswered: impl Fn(),
) -> Result<(Rc<Channel>, Identifier), ChannelError> {
    let (results, settled) = async_channel::bounded(attempts);
    let mut started: Vec<Rc<Channel>> = Vec::new();
    let mut failed = 0;
    let outcome = loop {
        if started.len() < attempts {
            match Channel::initiate(shard, credentials, listener) {
                Ok(channel) => {
                    started.push(Rc::clone(&channel));
                    let (shard, results) = (shard.clone(), results.clone());
                    monoio::spawn(async move {
                        let result = channel.wait_up(&shard, HANDSHAKE_MS).await;
                        let _ = results.send((channel, result)).await;
                    });
                }
                Err(error) => break Err(error),
            }
        }
        match monoio::time::timeout(RETRY_AFTER, settled.recv()).await {
            Ok(Ok((channel, Ok(peer)))) => break Ok((channel, peer)),
            Ok(Ok((_, Err(ChannelError::Timeout(_))))) => {
                failed += 1;
                if failed == attempts {
                    break Err(ChannelError::Timeout(HANDSHAKE_MS));
                }
            }
            Ok(Ok((_, Err(error)))) => break Err(error),
            Ok(Err(_)) => break Err(ChannelError::Ended(CloseReason::Local)),
            Err(_) if started.len() == 1 => unanswered(),
            Err(_) => {}
        }
    };
    for channel in started {
        if !outcome
            .as_ref()
            .is_ok_and(|(chosen, _)| Rc::ptr_eq(chosen, &channel))
        {
            channel.close(shard, CloseReason::Replaced);
        }
    }
    outcome
}
