//! Asking other nodes from a command that ends afterwards.

use std::sync::mpsc;
use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_crypto::channel::Endpoint;
use culvert_crypto::identity::Histories;
use culvert_crypto::trust::Trust;
use culvert_node::channel::{API, Credentials};
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::session::request::{AskError, Connection, Place};
use culvert_node::shard::Shard;
use culvert_proto::multiaddr::{MultiAddr, Part};

use super::issuer::Callers;
use crate::endpoint::HostPort;
use crate::failure::Failure;

/// The multiaddr of the usual channel listener of a node.
#[must_use]
pub fn listener_of(node: &HostPort) -> MultiAddr {
    let host = match node.host.parse() {
        Ok(std::net::IpAddr::V4(ip)) => Part::Ip4(ip),
        Ok(std::net::IpAddr::V6(ip)) => Part::Ip6(ip),
        Err(_) => Part::DnsAddr(node.host.clone()),
    };
    let api = String::from_utf8_lossy(API).into_owned();
    MultiAddr::new(vec![host, Part::Tcp(node.port), Part::Service(api)])
}

/// A node for the time of a command.
pub struct Client(Node);

impl Client {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When the system gives it no thread or ring.
    pub fn start() -> Result<Self, Failure> {
        let config = NodeConfig {
            shards: 1,
            listen: None,
            limits: Limits::default(),
        };
        Node::start(&config, |_| ()).map(Self).map_err(|error| {
            let hint = "see the message; `ulimit -l` shows the limit of locked memory";
            Failure::new(format!("cannot start: {error}"), hint)
        })
    }

    /// Does something on its shard and waits until it is done.
    ///
    /// # Errors
    ///
    /// When the node ended.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&Shard) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        on_node(&self.0, work)
    }

    /// Ends it, after time for the goodbyes.
    pub fn end(self) {
        self.0.shutdown();
    }
}

/// Does something on the first shard of a node and waits until it is done.
///
/// # Errors
///
/// When the node ended.
pub fn on_node<T: Send + 'static>(
    node: &Node,
    work: impl AsyncFnOnce(&Shard) -> T + Send + 'static,
) -> Result<T, Failure> {
    let (answer, answers) = mpsc::channel();
    let ended = || Failure::new("the node ended while it was at work", "try again");
    let start = move |shard: &Shard| {
        let working = shard.clone();
        shard.spawn(async move {
            let _ = answer.send(work(&working).await);
        });
    };
    node.on_shard(0, start).map_err(|_| ended())?;
    answers.recv().map_err(|_| ended())
}

/// Connects to a node and gives the change history it shows; it must be `expected` if that is said.
///
/// # Errors
///
/// [`AskError::Connect`], [`AskError::Channel`].
pub async fn history_of(
    shard: &Shard,
    endpoint: Endpoint,
    place: &Place,
    expected: Option<Identifier>,
    limit: Duration,
) -> Result<Vec<u8>, AskError> {
    let seen = Callers::default();
    let trust = expected.map_or(Trust::Anyone, Trust::only);
    let credentials = Credentials::new(endpoint, trust, seen.clone());
    let connection = Connection::open(shard, &credentials, place, limit).await?;
    let history = connection.peer().and_then(|peer| seen.get(&peer));
    Ok(history.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route;

    #[test]
    fn routes_of_listeners() {
        for host in ["127.0.0.1", "::1", "a.example"] {
            let (host, port) = (host.to_owned(), 7);
            let node = HostPort { host, port };
            let place = route::place(&listener_of(&node).to_string()).expect("a place");
            assert_eq!((place.host, place.port), (node.host, 7));
            assert_eq!(place.hops, [b"api"]);
        }
    }
}
