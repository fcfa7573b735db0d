//! What every node of the command line has, reachable in the same ways: `echo`, `uppercase` and the
//! channel listener `api`; and the listener that nodes with Kafka portals have.

use ockam::flow_control::FlowControlId;
use ockam::identity::{Identifier, SecureChannelListenerOptions};
use ockam::{Any, Context, LocalMessage, Node, Result, Routed, Worker, route};

use crate::Allow;
use crate::credential::Presented;

/// Address of the worker that sends back what it is sent.
pub const ECHO: &str = "echo";
/// Address of the worker that answers in upper case.
pub const UPPERCASE: &str = "uppercase";
/// Address of the secure channel listener.
pub const API: &str = "api";
/// Address of the listener for channels that only exchange keys.
pub const KEY_EXCHANGER: &str = "key_exchanger";

/// Sends the identical payload bytes back, as the service of a node of the command line does. The
/// library's own `Echoer` only takes strings.
struct Echo;

#[ockam::worker]
impl Worker for Echo {
    type Context = Context;
    type Message = Any;

    async fn handle_message(&mut self, ctx: &mut Context, message: Routed<Any>) -> Result<()> {
        let message = message.into_local_message();
        let answer = LocalMessage::new()
            .with_onward_route(message.return_route)
            .with_return_route(route![ctx.primary_address().clone()])
            .with_payload(message.payload);
        ctx.forward(answer).await
    }
}

/// Answers a string in upper case.
struct Uppercase;

#[ockam::worker]
impl Worker for Uppercase {
    type Context = Context;
    type Message = String;

    async fn handle_message(&mut self, ctx: &mut Context, message: Routed<String>) -> Result<()> {
        let way = message.return_route().clone();
        ctx.send(way, message.into_body()?.to_uppercase()).await
    }
}

/// Starts them, reachable for producers with these flow controls and, all but `key_exchanger`, for
/// channels that `api` accepted. Returns the flow control of those channels.
pub fn start(
    node: &Node,
    me: &Identifier,
    allow: &Allow,
    presented: &Presented,
    reachable_from: &[FlowControlId],
) -> Result<FlowControlId> {
    let options = SecureChannelListenerOptions::new().with_trust_policy(allow.policy());
    let mut options = presented.to_listener(options)?;
    let mut keys = SecureChannelListenerOptions::new()
        .with_trust_policy(allow.policy())
        .key_exchange_only();
    let channels = options.spawner_flow_control_id();
    node.start_worker(ECHO, Echo)?;
    node.start_worker(UPPERCASE, Uppercase)?;
    for id in reachable_from.iter().chain([&channels]) {
        options = options.as_consumer(id);
        for service in [ECHO, UPPERCASE] {
            node.flow_controls().add_consumer(&service.into(), id);
        }
    }
    for id in reachable_from {
        keys = keys.as_consumer(id);
    }
    node.create_secure_channel_listener(me, API, options)?;
    node.create_secure_channel_listener(me, KEY_EXCHANGER, keys)?;
    Ok(channels)
}
