//! Sending a message to see whether a way works.

use std::sync::mpsc;
use std::time::Duration;

use culvert_crypto::trust::Trust;
use culvert_manage::problem::{Kind, Problem};
use culvert_node::session::{MessageError, Recipient, send_message};
use culvert_proto::multiaddr::{MultiAddr, Part};

use super::inner::{ANSWER, Inner};
use super::resource::Scene;

impl Inner {
    pub(super) fn send_message(
        &self,
        to: &str,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, Problem> {
        let to = self.recipient(to)?;
        let standing = self.standing().clone();
        let (answer, answers) = mpsc::channel();
        self.on_first(move |shard| {
            let shard = shard.clone();
            shard.clone().spawn(async move {
                // The plan says who may answer.
                let credentials = standing.credentials(&Trust::OneOf(Vec::new()));
                let reply = send_message(&shard, &credentials, &to, &payload, timeout).await;
                let _ = answer.send(reply);
            });
        })?;
        let reply = answers.recv_timeout(timeout.saturating_add(ANSWER));
        let reply = reply
            .map_err(|_| Problem::new(Kind::TimedOut, "the node does not answer", "try again"))?;
        reply.map_err(|error| {
            let kind = match error {
                MessageError::Connect { .. }
                | MessageError::Channel { .. }
                | MessageError::Send { .. }
                | MessageError::Ended(_) => Kind::Unavailable,
                MessageError::Timeout(_) => Kind::TimedOut,
                MessageError::TooLong { .. } => Kind::TooLarge,
                MessageError::NoRoute => Kind::Invalid,
            };
            let hint = "see that the route leads to a worker, for example /service/echo";
            Problem::new(kind, error, hint)
        })
    }

    /// A local route, or one that begins at another node. A channel that is kept up is used, not made
    /// again.
    fn recipient(&self, to: &str) -> Result<Recipient, Problem> {
        let own = format!("/node/{}/", self.name());
        let kept = to.strip_prefix("/secure-channel/").map(|rest| {
            let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (Some(name), rest)
        });
        let (first, rest) = match (kept, to.strip_prefix(&own)) {
            (Some(kept), _) => kept,
            (None, Some(_)) => (None, to.get(own.len() - 1..).unwrap_or_default()),
            (None, None) => (None, to),
        };
        if let Some(name) = first
            && !self.state().channels.contains_key(name)
        {
            return Err(super::inner::missing::<crate::model::ChannelSpec>(name));
        }
        if let Some(hops) = local_hops(first, rest) {
            return Ok(Recipient::Here(hops));
        }
        let mut database = self.changes();
        let mut scene = Scene {
            inner: self,
            database: &mut database,
            old: None,
            restored: false,
        };
        scene
            .plan_of_message(to)
            .map(Recipient::Away)
            .map_err(|mut problem| {
                if problem.hint.is_empty() {
                    "for example /service/echo, or /node/NAME/service/echo"
                        .clone_into(&mut problem.hint);
                }
                problem
            })
    }
}

/// The hops of a route that never leaves through a connection of its own.
fn local_hops(first: Option<&str>, rest: &str) -> Option<Vec<Vec<u8>>> {
    let address: MultiAddr = match rest {
        "" => MultiAddr::default(),
        rest => rest.parse().ok()?,
    };
    let hop = |part: &Part| match part {
        Part::Service(name) | Part::Worker(name) => Some(name.clone().into_bytes()),
        _ => None,
    };
    let behind: Option<Vec<Vec<u8>>> = address.parts().iter().map(hop).collect();
    let first = first.map(|name| name.as_bytes().to_vec());
    Some(first.into_iter().chain(behind?).collect())
}
