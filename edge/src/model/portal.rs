//! Inlets, outlets and registrations with relays.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Status;

/// A TCP port that leads to an outlet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InletSpec {
    /// What it is called on this node; also the resource of its policies.
    pub name: String,
    /// Where to listen: `HOST:PORT`, or a port on 127.0.0.1. Port 0 picks a free one, which is then
    /// kept.
    pub from: String,
    /// Name that the outlet's side registered with the relay; this or `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Relay of `via`, as `HOST:PORT` or a multiaddr [default: that of the node's project]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Multiaddr of the outlet, or, with `via`, its address there (`outlet` by default). `/project/NAME`,
    /// `/node/NAME` and `/secure-channel/NAME` at its start stand for what is known here by that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Identifier that the other end must have [default: what the policy says]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorized: Option<String>,
    /// Policy about the other end; becomes the policy of this resource
    /// [default: whoever has a credential, where the node has a project]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// Leave the relay where the networks allow it.
    #[serde(default)]
    pub direct: bool,
    /// Prove to the relay who this node is (relays with `require-authentication`).
    #[serde(default)]
    pub authenticate: bool,
    /// Do not wait for an answer before data is sent; both ends must say so.
    #[serde(default)]
    pub skip_handshake: bool,
}

/// An inlet and how it is doing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct InletView {
    /// What it is.
    #[serde(flatten)]
    pub spec: InletSpec,
    /// Where it listens; none while it cannot.
    pub bind_address: Option<String>,
    /// The route that it takes.
    pub route: String,
    /// How it is doing.
    #[serde(flatten)]
    pub status: Status,
    /// Streams open now.
    #[serde(default)]
    pub streams: u64,
}

/// A TCP service that allowed peers reach.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OutletSpec {
    /// What it is called on this node: its address in routes, and the resource of its policies
    /// [default: outlet]
    #[serde(default = "OutletSpec::default_name")]
    pub name: String,
    /// The service, as `HOST:PORT`; its name is resolved for each connection.
    pub to: String,
    /// Policy about who may use it; becomes the policy of this resource
    /// [default: whoever has a credential, where the node has a project; otherwise nobody]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// Do not wait for an answer before data is sent; both ends must say so.
    #[serde(default)]
    pub skip_handshake: bool,
}

impl OutletSpec {
    /// The address of an outlet that is given no name.
    #[must_use]
    pub fn default_name() -> String {
        "outlet".to_owned()
    }
}

/// An outlet and how it is doing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OutletView {
    /// What it is.
    #[serde(flatten)]
    pub spec: OutletSpec,
    /// How it is doing: up as long as the node is.
    #[serde(flatten)]
    pub status: Status,
    /// Who is let in, in the words of the policy that counts.
    pub policy: String,
    /// Streams open now.
    #[serde(default)]
    pub streams: u64,
}

/// A name that this node holds at a relay.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RelaySpec {
    /// The name.
    pub name: String,
    /// The relay, as `HOST:PORT` or a multiaddr [default: that of the node's project]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Identifier that the relay must have [default: the project's, else any]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorized: Option<String>,
    /// Name to register, where it is another than `name` is on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_address: Option<String>,
    /// Register without a secure channel to the relay: it cannot tell who holds the name.
    #[serde(default)]
    pub plain: bool,
}

/// A registration and how it is doing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RelayView {
    /// What it is.
    #[serde(flatten)]
    pub spec: RelaySpec,
    /// Where the relay is.
    pub destination: String,
    /// The address that others send to there.
    pub forwarding_address: Option<String>,
    /// How it is doing.
    #[serde(flatten)]
    pub status: Status,
}
