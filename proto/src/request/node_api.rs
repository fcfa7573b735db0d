//! Bodies of the node API about relays and services.
//!
//! Specification: `protocol/04-relay.md` 6. These are maps with numbered keys, absent fields left
//! out. They are read and written with [`minicbor::decode`] and [`minicbor::to_vec`]; bodies are
//! already bounded by [`crate::limits::MAX_REQUEST`].

use crate::multiaddr::MultiAddr;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

/// When creating a relay is answered. An enum on the wire: `82 NN 80`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ReturnTiming {
    /// At once.
    #[n(1)]
    Immediately,
    /// After the first attempt to connect.
    #[n(2)]
    AfterConnection,
}

/// Whether something is connected. An enum on the wire: `82 NN 80`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ConnectionStatus {
    /// It is not.
    #[n(0)]
    Down,
    /// It is.
    #[n(1)]
    Up,
}

/// Body of `POST /node/relay`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct CreateRelay {
    /// The relay's node.
    #[n(1)]
    pub address: MultiAddr,
    /// Name of the relay in the registry of this node.
    #[n(2)]
    pub name: String,
    /// Required identity of the relay's node.
    #[n(3)]
    pub authorized: Option<ByteArray<32>>,
    /// Name to register; `None` asks for a random one.
    #[n(4)]
    pub relay_address: Option<String>,
    /// When to answer.
    #[n(5)]
    pub return_timing: ReturnTiming,
}

/// A flow control id in an answer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct FlowControlId {
    /// 32 hexadecimal characters.
    #[n(1)]
    pub id: String,
}

/// One relay, in answers about relays.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RelayInfo {
    /// Route from this node to the relay worker, as text.
    #[n(1)]
    pub forwarding_route: Option<String>,
    /// Address of the relay worker on its node.
    #[n(2)]
    pub remote_address: Option<String>,
    /// Address of the relay client on this node, as text.
    #[n(3)]
    pub worker_address: Option<String>,
    /// Flow control id of the connection.
    #[n(4)]
    pub flow_control_id: Option<FlowControlId>,
    /// Whether the relay works.
    #[n(5)]
    pub connection_status: ConnectionStatus,
    /// The relay's node.
    #[n(6)]
    pub destination: MultiAddr,
    /// Name in the registry of this node.
    #[n(7)]
    pub name: String,
    /// Why the last attempt failed.
    #[n(8)]
    pub last_failure: Option<String>,
}

/// Answer to `GET /node/relay`. An array of one element on the wire: the list.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RelayList {
    /// The relays of the node.
    #[n(0)]
    pub relays: Vec<RelayInfo>,
}

/// Body of a request to start a service.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct StartService {
    /// Address of its worker.
    #[n(1)]
    pub address: String,
}

/// One service, in answers about services.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ServiceStatus {
    /// Address of its worker.
    #[n(2)]
    pub address: String,
    /// What it is.
    #[n(3)]
    pub kind: String,
}

/// Answer to `GET /node/services`. An array of one element on the wire: the list.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ServiceList {
    /// The services of the node.
    #[n(0)]
    pub services: Vec<ServiceStatus>,
}
