//! What a request to the node API asks for.
//!
//! Specification: `protocol/05-requests.md` 7.

use minicbor::Decode;

use super::node_info::{ByAddress, ByChannel, CreateChannel, SendMessage};
use super::node_policies::{ACTION, SetPolicy, WireScope};
use super::node_portals::{CreateInlet, CreateOutlet};
use super::{CreateRelay, Method, Request, segments};
use crate::identity::{WireError, decode_exact};
use crate::limits::MAX_NODE_REQUEST;

/// What a node is asked to do.
#[derive(Clone, PartialEq, Debug)]
pub enum NodeCommand {
    /// Say who it is.
    Node,
    /// Say what it has.
    Resources,
    /// List TCP connections.
    Connections,
    /// Show one, by its address.
    Connection(String),
    /// Connect to a node and stay connected.
    CreateConnection(ByAddress),
    /// End one.
    DeleteConnection(ByAddress),
    /// List TCP listeners.
    Listeners,
    /// Show one, by its address.
    Listener(String),
    /// Listen.
    CreateListener(ByAddress),
    /// End one.
    DeleteListener(ByAddress),
    /// List secure channels.
    Channels,
    /// Show one.
    Channel(ByChannel),
    /// Open one and keep it up.
    CreateChannel(CreateChannel),
    /// End one.
    DeleteChannel(ByChannel),
    /// List services.
    Services,
    /// List services of a type.
    ServicesOf(String),
    /// List workers.
    Workers,
    /// List relays.
    Relays,
    /// Show one, by its name.
    Relay(String),
    /// Register with one.
    CreateRelay(CreateRelay),
    /// End one.
    DeleteRelay(String),
    /// List inlets.
    Inlets,
    /// Show one, by its name.
    Inlet(String),
    /// Make one.
    CreateInlet(Box<CreateInlet>),
    /// End one.
    DeleteInlet(String),
    /// List outlets.
    Outlets,
    /// Show one, by its address.
    Outlet(String),
    /// Make one.
    CreateOutlet(CreateOutlet),
    /// End one.
    DeleteOutlet(String),
    /// List policies; those of one resource, if it is named.
    Policies(Option<WireScope>),
    /// Show one.
    Policy(WireScope),
    /// Set one.
    SetPolicy(SetPolicy),
    /// Delete one.
    DeletePolicy(WireScope),
    /// Send a message and wait for the answer.
    Send(SendMessage),
}

/// Why a request makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeCommandError {
    /// Longer than [`MAX_NODE_REQUEST`].
    #[error("the request is longer than {MAX_NODE_REQUEST} bytes")]
    TooLong,
    /// There is no method.
    #[error("the method is missing")]
    NoMethod,
    /// There is nothing at this path, or not for this method. The text is fixed.
    #[error("Invalid endpoint: {0} {1}")]
    Endpoint(&'static str, String),
    /// The reference has this and we do not.
    #[error("this node does not offer {0} {1}")]
    NotOffered(&'static str, String),
    /// There is no body.
    #[error("the body is missing")]
    NoBody,
    /// The body is not what it must be.
    #[error("the body cannot be read: {0}")]
    Body(WireError),
}

impl NodeCommand {
    /// Reads what a request asks for.
    ///
    /// # Errors
    /// [`NodeCommandError`].
    pub fn parse(request: &Request<'_>) -> Result<Self, NodeCommandError> {
        if request
            .body
            .is_some_and(|body| body.len() > MAX_NODE_REQUEST)
        {
            return Err(NodeCommandError::TooLong);
        }
        let method = request.method.ok_or(NodeCommandError::NoMethod)?;
        let path: Vec<&str> = segments(request.path).collect();
        match path.as_slice() {
            ["node", rest @ ..] => Self::of_node(method, rest, request),
            ["policy", rest @ ..] => Self::of_policies(method, rest, request),
            ["v0", "message"] if method == Method::Post => body(request).map(Self::Send),
            _ => Err(endpoint(method, request)),
        }
    }

    fn of_node(
        method: Method,
        path: &[&str],
        request: &Request<'_>,
    ) -> Result<Self, NodeCommandError> {
        use Method::{Delete, Get, Post};
        let name = |text: &str| text.to_owned();
        Ok(match (method, path) {
            (Get, []) => Self::Node,
            (Get, ["resources"]) => Self::Resources,
            (Get, ["tcp", "connection"]) => Self::Connections,
            (Get, ["tcp", "connection", at]) => Self::Connection(name(at)),
            (Post, ["tcp", "connection"]) => Self::CreateConnection(body(request)?),
            (Delete, ["tcp", "connection"]) => Self::DeleteConnection(body(request)?),
            (Get, ["tcp", "listener"]) => Self::Listeners,
            (Get, ["tcp", "listener", at]) => Self::Listener(name(at)),
            (Post, ["tcp", "listener"]) => Self::CreateListener(body(request)?),
            (Delete, ["tcp", "listener"]) => Self::DeleteListener(body(request)?),
            (Get, ["secure_channel"]) => Self::Channels,
            (Get, ["show_secure_channel"]) => Self::Channel(body(request)?),
            (Post, ["secure_channel"]) => Self::CreateChannel(body(request)?),
            (Delete, ["secure_channel"]) => Self::DeleteChannel(body(request)?),
            (Get, ["services"]) => Self::Services,
            (Get, ["services", kind]) => Self::ServicesOf(name(kind)),
            (Get, ["workers"]) => Self::Workers,
            (Get, ["relay"]) => Self::Relays,
            (Get, ["relay", alias]) => Self::Relay(name(alias)),
            (Post, ["relay"]) => Self::CreateRelay(body(request)?),
            (Delete, ["relay", alias]) => Self::DeleteRelay(name(alias)),
            (Get, ["inlet"]) => Self::Inlets,
            (Get, ["inlet", alias]) => Self::Inlet(name(alias)),
            (Post, ["inlet"]) => Self::CreateInlet(Box::new(body(request)?)),
            (Delete, ["inlet", alias]) => Self::DeleteInlet(name(alias)),
            (Get, ["outlet"]) => Self::Outlets,
            (Get, ["outlet", at]) => Self::Outlet(name(at)),
            (Post, ["outlet"]) => Self::CreateOutlet(body(request)?),
            (Delete, ["outlet", at]) => Self::DeleteOutlet(name(at)),
            (Post | Delete, ["services", _])
            | (Get | Post | Delete, ["secure_channel_listener"])
            | (Get, ["show_secure_channel_listener"])
            | (Post, ["flow_controls", "add_consumer"] | ["influxdb_inlet" | "influxdb_outlet"])
            | (Delete, ["portal"]) => {
                let path = request.path.to_owned();
                return Err(NodeCommandError::NotOffered(method.name(), path));
            }
            _ => return Err(endpoint(method, request)),
        })
    }

    fn of_policies(
        method: Method,
        path: &[&str],
        request: &Request<'_>,
    ) -> Result<Self, NodeCommandError> {
        Ok(match (method, path) {
            (Method::Get, []) => match request.body {
                None | Some([]) => Self::Policies(None),
                Some(_) => Self::Policies(body(request)?),
            },
            (Method::Get, [ACTION]) => Self::Policy(body(request)?),
            (Method::Post, [ACTION]) => Self::SetPolicy(body(request)?),
            (Method::Delete, [ACTION]) => Self::DeletePolicy(body(request)?),
            _ => return Err(endpoint(method, request)),
        })
    }
}

fn endpoint(method: Method, request: &Request<'_>) -> NodeCommandError {
    let path = request.path.chars().take(128).collect();
    NodeCommandError::Endpoint(method.name(), path)
}

fn body<'b, T: Decode<'b, ()>>(request: &Request<'b>) -> Result<T, NodeCommandError> {
    let bytes = request.body.ok_or(NodeCommandError::NoBody)?;
    decode_exact(bytes).map_err(NodeCommandError::Body)
}
