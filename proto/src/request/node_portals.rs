//! Bodies of the node API about inlets and outlets.
//!
//! Maps with numbered keys, as in [`super::node_api`]; absent fields are left out.
//!
//! ```text
//! host and port   [host text, port u16]
//! address         [kind u8, value bytes]
//! list            [ [ one, … ] ]
//! ```

use core::time::Duration;

use minicbor::decode::{Decoder, Error};
use minicbor::{Decode, Encode};

use super::ConnectionStatus;
use crate::identity::Identifier;
use crate::multiaddr::MultiAddr;
use crate::policy::wire::WirePolicy;

/// A host and a port.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct HostPort {
    /// Name or IP address.
    #[n(0)]
    pub host: String,
    /// TCP port.
    #[n(1)]
    pub port: u16,
}

/// A worker's address; kind 0 is local.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct WorkerAddress {
    /// 0 for an address on the node itself.
    #[n(0)]
    pub kind: u8,
    /// Its value, usually text.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub value: Vec<u8>,
}

impl WorkerAddress {
    /// An address on the node itself.
    #[must_use]
    pub fn local(name: &str) -> Self {
        Self {
            kind: 0,
            value: name.as_bytes().to_vec(),
        }
    }
}

/// Something that is there and not understood: whoever reads it can tell that it was not left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Something;

impl<'b, C> Decode<'b, C> for Something {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
        decoder.skip().map(|()| Self)
    }
}

/// Body of `POST /node/inlet`.
#[derive(Clone, PartialEq, Debug, Decode)]
#[cbor(map)]
pub struct CreateInlet {
    /// Where to listen.
    #[n(1)]
    pub listen: HostPort,
    /// The outlet.
    #[n(2)]
    pub to: MultiAddr,
    /// Name of the inlet.
    #[n(3)]
    pub alias: String,
    /// Who has to be at the other end.
    #[n(4)]
    pub authorized: Option<Identifier>,
    /// How long to wait for the outlet.
    #[n(5)]
    pub wait: Option<Duration>,
    /// Who may be at the other end.
    #[n(6)]
    pub policy: Option<WirePolicy>,
    /// Whether to answer only when the outlet is reached.
    #[cbor(n(7), default)]
    pub wait_for_connection: bool,
    /// The identity to use.
    #[n(8)]
    pub identity: Option<Identifier>,
    /// Leave the relay where the networks allow it.
    #[cbor(n(9), default)]
    pub udp_puncture: bool,
    /// Use nothing but UDP.
    #[cbor(n(11), default)]
    pub no_tcp_fallback: bool,
    /// Use raw sockets.
    #[cbor(n(12), default)]
    pub privileged: bool,
    /// Where certificates come from.
    #[n(13)]
    pub tls: Option<Something>,
    /// Do not wait for an answer before data is sent.
    #[cbor(n(14), default)]
    pub skip_handshake: bool,
    /// Collect small writes.
    #[cbor(n(15), default)]
    pub nagle: bool,
    /// A route in front of the outlet's.
    #[n(16)]
    pub prefix: Option<Something>,
}

/// One inlet, in answers about inlets.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct InletStatus {
    /// Where it listens.
    #[n(1)]
    pub bind_address: String,
    /// Address of its worker.
    #[n(2)]
    pub worker_address: Option<String>,
    /// Its name.
    #[n(3)]
    pub alias: String,
    /// Why it does not work.
    #[n(4)]
    pub payload: Option<String>,
    /// The route it takes.
    #[n(5)]
    pub route: Option<String>,
    /// Whether the outlet is reached.
    #[n(6)]
    pub status: ConnectionStatus,
    /// The outlet.
    #[n(7)]
    pub to: String,
    /// Whether raw sockets are used.
    #[n(8)]
    pub privileged: bool,
}

/// Body of `POST /node/outlet`.
#[derive(Clone, PartialEq, Debug, Decode)]
#[cbor(map)]
pub struct CreateOutlet {
    /// The service.
    #[n(1)]
    pub to: HostPort,
    /// Whether to connect to it with TLS.
    #[cbor(n(2), default)]
    pub tls: bool,
    /// Address of its worker, which is its name.
    #[n(3)]
    pub address: Option<WorkerAddress>,
    /// Whether channels of the default listener reach it.
    #[cbor(n(4), default)]
    pub reachable: bool,
    /// Who may use it.
    #[n(5)]
    pub policy: Option<WirePolicy>,
    /// Use raw sockets.
    #[cbor(n(6), default)]
    pub privileged: bool,
    /// Do not wait for an answer before data is sent.
    #[cbor(n(7), default)]
    pub skip_handshake: bool,
    /// Collect small writes.
    #[cbor(n(8), default)]
    pub nagle: bool,
}

/// One outlet, in answers about outlets.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct OutletStatus {
    /// The service.
    #[n(1)]
    pub to: HostPort,
    /// Address of its worker.
    #[n(2)]
    pub address: WorkerAddress,
    /// Why it does not work.
    #[n(3)]
    pub payload: Option<String>,
    /// Whether raw sockets are used.
    #[n(4)]
    pub privileged: bool,
}

/// A list in an answer. An array of one element on the wire: the list.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct List<T> {
    /// What is in it.
    #[n(0)]
    pub all: Vec<T>,
}
