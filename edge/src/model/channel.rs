//! Secure channels, TCP listeners and TCP connections of a node.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Status;

/// A secure channel that is kept up.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ChannelSpec {
    /// What it is called on this node: its address in routes.
    pub name: String,
    /// Multiaddr of the far side's channel listener.
    pub to: String,
    /// Identifiers that the far side may have [default: any; what goes through it is guarded by
    /// policies]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorized: Vec<String>,
}

/// A secure channel and how it is doing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ChannelView {
    /// What it is.
    #[serde(flatten)]
    pub spec: ChannelSpec,
    /// How it is doing; `peer` is who is there.
    #[serde(flatten)]
    pub status: Status,
    /// What routes through it begin with.
    #[serde(default)]
    pub route: String,
}

/// An address that other nodes can connect to.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ListenerSpec {
    /// `ADDRESS:PORT`; port 0 picks a free one, which is then kept.
    pub address: String,
}

/// A listener and how it is doing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ListenerView {
    /// What it is.
    #[serde(flatten)]
    pub spec: ListenerSpec,
    /// How it is doing.
    #[serde(flatten)]
    pub status: Status,
}

/// A TCP connection to another node that is kept up.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConnectionSpec {
    /// What it is called on this node: its address in routes.
    pub name: String,
    /// The other node, as `HOST:PORT`.
    pub to: String,
}

/// A connection and how it is doing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConnectionView {
    /// What it is.
    #[serde(flatten)]
    pub spec: ConnectionSpec,
    /// How it is doing.
    #[serde(flatten)]
    pub status: Status,
}
