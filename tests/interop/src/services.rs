//! What every node of the command line has, reachable in the same ways: `echo` and the channel
//! listener `api`.

use ockam::flow_control::FlowControlId;
use ockam::identity::{Identifier, SecureChannelListenerOptions};
use ockam::{Any, Context, LocalMessage, Node, Result, Routed, Worker, route};

use crate::Allow;

/// Address of the worker that sends back what it is sent.
pub const ECHO: &str = "echo";
/// Address of the secure channel listener.
pub const API: &str = "api";

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

/// Starts `echo` and `api`, both reachable for producers with these flow controls and for channels
/// that `api` accepted. Returns the flow control of those channels.
pub fn start(
    node: &Node,
    me: &Identifier,
    allow: &Allow,
    reachable_from: &[FlowControlId],
) -> Result<FlowControlId> {
    let mut options = SecureChannelListenerOptions::new().with_trust_policy(allow.policy());
    let channels = options.spawner_flow_control_id();
    node.start_worker(ECHO, Echo)?;
    for id in reachable_from.iter().chain([&channels]) {
        options = options.as_consumer(id);
        node.flow_controls().add_consumer(&ECHO.into(), id);
    }
    node.create_secure_channel_listener(me, API, options)?;
    Ok(channels)
}
