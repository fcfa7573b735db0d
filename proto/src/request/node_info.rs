//! Bodies of the node API about the node itself, its transports and its channels.
//!
//! Maps with numbered keys, as in [`super::node_api`]; absent fields are left out.

use core::time::Duration;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::node_portals::{InletStatus, OutletStatus, Something, WorkerAddress};
use super::{FlowControlId, ServiceStatus};
use crate::identity::Identifier;
use crate::multiaddr::MultiAddr;

/// A process. An enum on the wire: `82 00 81 <pid>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ProcessStatus {
    /// It runs, with this id.
    #[n(0)]
    Running(#[n(0)] u32),
    /// It has ended and nobody asked how.
    #[n(1)]
    Zombie(#[n(0)] u32),
    /// It does not run.
    #[n(2)]
    Stopped,
}

/// Answer to `GET /node`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct NodeStatus {
    /// Its name.
    #[n(1)]
    pub name: String,
    /// Its identifier.
    #[n(2)]
    pub identifier: Identifier,
    /// Its process.
    #[n(3)]
    pub process: ProcessStatus,
}

/// Where a node is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct NodeRoute {
    /// By its name on its machine.
    #[n(1)]
    pub short: MultiAddr,
    /// By its address.
    #[n(2)]
    pub long: Option<MultiAddr>,
}

/// What a transport is made of. A number on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum TransportKind {
    /// TCP.
    #[n(0)]
    Tcp,
}

/// Which side of a transport a node is. An enum on the wire: `82 NN 80`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum TransportMode {
    /// It listens.
    #[n(0)]
    Listen,
    /// Another node connected to it.
    #[n(1)]
    Incoming,
    /// It connected to another node.
    #[n(2)]
    Outgoing,
}

/// One transport, in answers about transports.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TransportStatus {
    /// What it is made of.
    #[n(1)]
    pub kind: TransportKind,
    /// Which side this is.
    #[n(2)]
    pub mode: TransportMode,
    /// IP address and port.
    #[n(3)]
    pub socket_address: String,
    /// Address of its worker.
    #[n(4)]
    pub worker_address: String,
    /// Address of what receives.
    #[n(5)]
    pub processor_address: String,
    /// Its flow control id.
    #[n(6)]
    pub flow_control_id: FlowControlId,
}

/// Body of requests with an address only, as text: `{ 1: address }`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ByAddress {
    /// The address.
    #[n(1)]
    pub address: String,
}

/// A channel listener, in answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ChannelListenerStatus {
    /// Its address.
    #[n(1)]
    pub address: WorkerAddress,
    /// Its flow control id.
    #[n(2)]
    pub flow_control_id: FlowControlId,
    /// Whether its channels only exchange keys.
    #[n(3)]
    pub key_exchange_only: bool,
}

/// Answer to `GET /node/resources`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct NodeResources {
    /// Name of the node.
    #[n(1)]
    pub name: String,
    /// Name of its identity.
    #[n(2)]
    pub identity: String,
    /// Whether it is the default node of its machine.
    #[n(3)]
    pub is_default: bool,
    /// Its process.
    #[n(4)]
    pub process: ProcessStatus,
    /// Where it is.
    #[n(5)]
    pub route: NodeRoute,
    /// Transports.
    #[n(7)]
    pub transports: Vec<TransportStatus>,
    /// Channel listeners.
    #[n(8)]
    pub channel_listeners: Vec<ChannelListenerStatus>,
    /// Inlets.
    #[n(9)]
    pub inlets: Vec<InletStatus>,
    /// Outlets.
    #[n(10)]
    pub outlets: Vec<OutletStatus>,
    /// Services.
    #[n(11)]
    pub services: Vec<ServiceStatus>,
}

/// Body of `POST /node/secure_channel`.
#[derive(Clone, PartialEq, Debug, Decode)]
#[cbor(map)]
pub struct CreateChannel {
    /// The channel listener of the other node.
    #[n(1)]
    pub to: MultiAddr,
    /// Who may be there.
    #[n(2)]
    pub authorized: Option<Vec<Identifier>>,
    /// How long it may take.
    #[n(4)]
    pub limit: Option<Duration>,
    /// Name of the identity to use.
    #[n(5)]
    pub identity: Option<String>,
    /// A credential to show.
    #[n(6)]
    pub credential: Option<Something>,
}

/// Answer to `POST /node/secure_channel`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct CreatedChannel {
    /// What is sent to it goes through the channel.
    #[n(1)]
    pub address: WorkerAddress,
    /// Its flow control id.
    #[n(2)]
    pub flow_control_id: FlowControlId,
}

/// Body of requests about one channel: `{ 1: address }`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ByChannel {
    /// The address.
    #[n(1)]
    pub address: WorkerAddress,
}

/// One channel, in answers about channels.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ChannelStatus {
    /// Its address.
    #[n(1)]
    pub address: Option<String>,
    /// Where it leads.
    #[n(2)]
    pub route: Option<String>,
    /// Who may be there.
    #[n(3)]
    pub authorized: Option<Vec<String>>,
    /// Its flow control id.
    #[n(4)]
    pub flow_control_id: Option<FlowControlId>,
    /// Who is there.
    #[n(5)]
    pub peer: Option<Identifier>,
}

/// One worker: `{ 2: address }`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct WorkerStatus {
    /// Its address.
    #[n(2)]
    pub address: String,
}

/// Answer to `GET /node/workers`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct WorkerList {
    /// All of them.
    #[n(1)]
    pub all: Vec<WorkerStatus>,
}

/// Body of `POST /v0/message`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SendMessage {
    /// Multiaddr of whom it is for.
    #[n(1)]
    pub route: String,
    /// Its bytes.
    #[n(2)]
    pub message: ByteVec,
    /// How long to wait for the answer.
    #[n(3)]
    pub limit: Option<Duration>,
}
