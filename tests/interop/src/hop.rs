//! A node in the middle that is not a relay: passes messages on with the worker `hop`.

use clap::Args;
use ockam::flow_control::FlowControlId;
use ockam::remote::RemoteRelayOptions;
use ockam::tcp::{TcpConnectionOptions, TcpListenerOptions, TcpTransportExtension};
use ockam::{Any, Context, Node, Result, Routed, Worker};
use serde_json::json;

use crate::event;

/// Address of the worker.
pub const HOP: &str = "hop";

#[derive(Debug, Args)]
pub struct Options {
    /// Address of the next node.
    #[arg(long)]
    to: String,
    /// Address to accept nodes on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Address of a relay to register with, over plain TCP.
    #[arg(long, requires = "name")]
    relay: Option<String>,
    /// Name to register.
    #[arg(long)]
    name: Option<String>,
}

/// Removes its own address from the onward route and adds it to the return route.
struct Hop;

#[ockam::worker]
impl Worker for Hop {
    type Context = Context;
    type Message = Any;

    async fn handle_message(&mut self, ctx: &mut Context, message: Routed<Any>) -> Result<()> {
        let message = message
            .into_local_message()
            .step_forward(ctx.primary_address().clone())?;
        ctx.forward(message).await
    }
}

/// Connects to the next node and accepts others. The address of that connection, which routes
/// through this node need, is in the event.
pub async fn run(node: &Node, options: Options) -> Result<()> {
    let tcp = node.create_tcp_transport()?;
    node.start_worker(HOP, Hop)?;
    // Requests come from the nodes accepted, answers from the next one: `hop` has to be reachable
    // from both.
    let reachable_from = |id: &FlowControlId| node.flow_controls().add_consumer(&HOP.into(), id);

    let next = TcpConnectionOptions::new();
    reachable_from(&next.flow_control_id());
    let connection = tcp.connect(&options.to, next).await?;
    if let (Some(relay), Some(name)) = (options.relay, options.name) {
        let options = TcpConnectionOptions::new();
        reachable_from(&options.flow_control_id());
        let link = tcp.connect(relay, options).await?;
        node.create_static_relay(link, name, RemoteRelayOptions::new())
            .await?;
    }
    let accepted = TcpListenerOptions::new();
    reachable_from(&accepted.spawner_flow_control_id());
    let listener = tcp.listen(&options.listen, accepted).await?;
    event::say(json!({
        "event": "listening",
        "address": listener.socket_string(),
        "connection": connection.sender_address().address(),
    }));
    Ok(())
}
