//! A node as a whole.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ChannelView, ConnectionView, InletView, ListenerView, OutletView, RelayView};

/// What a node is started with; its resources are stored beside it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeSpec {
    /// What it is called on this machine.
    pub name: String,
    /// Name of the identity that it runs as [default: the project's, else default]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Project that it is a member of [default: the only one this identity is enrolled with]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Change histories of further authorities to believe, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorities: Vec<String>,
    /// Address to serve the management API, the status page and metrics on, beside the Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSpec>,
    /// Threads; 0 for one per core.
    #[serde(default)]
    pub shards: u8,
    /// MiB that messages under way may take [default: a quarter of the memory, at most 1024]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<u32>,
    /// Log when each connection opens and ends, with a trace id that both ends of a portal have.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub trace: bool,
    /// Seconds that streams have to end in once the node was told to.
    #[serde(default = "NodeSpec::default_drain")]
    pub drain: u64,
}

impl NodeSpec {
    /// A node of this name, with everything else as usual.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            identity: None,
            project: None,
            authorities: Vec::new(),
            http: None,
            shards: 0,
            max_memory: None,
            trace: false,
            drain: Self::default_drain(),
        }
    }

    /// Seconds that streams have by default.
    #[must_use]
    pub fn default_drain() -> u64 {
        10
    }
}

/// A TCP listener of the management API.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpSpec {
    /// `ADDRESS:PORT`; port 0 picks a free one.
    pub address: String,
    /// File with the bearer token that requests must show; made with mode 0600 when missing
    /// [default: `token` beside the socket]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// PEM file with the certificate chain; with `tls-key` it is HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<String>,
    /// PEM file with the private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<String>,
}

/// A running node and everything it has.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NodeView {
    /// What it is.
    #[serde(flatten)]
    pub spec: NodeSpec,
    /// Its identifier.
    pub identifier: String,
    /// Its process.
    pub pid: u32,
    /// UNIX seconds when it was started.
    pub started_at: u64,
    /// `io_uring` or `epoll`.
    pub driver: String,
    /// Where management is served over TCP.
    pub http_address: Option<String>,
    /// Version of the program.
    pub version: String,
    /// Version of the management API.
    pub api_version: String,
    /// Where other nodes can connect to.
    pub tcp_listeners: Vec<ListenerView>,
    /// Connections to other nodes.
    pub tcp_connections: Vec<ConnectionView>,
    /// Secure channels that are kept up.
    pub secure_channels: Vec<ChannelView>,
    /// Names at relays.
    pub relays: Vec<RelayView>,
    /// Inlets.
    pub tcp_inlets: Vec<InletView>,
    /// Outlets.
    pub tcp_outlets: Vec<OutletView>,
}
