//! Everything a node is to have, as a configuration says it, and how that differs from what it has.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ChannelSpec, ConnectionSpec, InletSpec, ListenerSpec, NodeSpec, OutletSpec, RelaySpec,
};

/// Who may use a resource, or all resources of a type: exactly one of the two is given.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PolicySpec {
    /// Name of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// `tcp-outlet`, `tcp-inlet`, `relay`, `secure-channel-listener`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// The policy, in either notation; what is stored and shown is in full form.
    pub allow: String,
}

/// A node with everything it is to have. What is not in it is to be gone, policies excepted: those of
/// others stay.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Desired {
    /// The node itself.
    pub node: NodeSpec,
    /// Policies to set.
    pub policies: Vec<PolicySpec>,
    /// Names at relays.
    pub relays: Vec<RelaySpec>,
    /// Outlets.
    pub tcp_outlets: Vec<OutletSpec>,
    /// Inlets.
    pub tcp_inlets: Vec<InletSpec>,
    /// Secure channels that are kept up.
    pub secure_channels: Vec<ChannelSpec>,
    /// Where other nodes can connect to.
    pub tcp_listeners: Vec<ListenerSpec>,
    /// Connections to other nodes that are kept up.
    pub tcp_connections: Vec<ConnectionSpec>,
}

impl Desired {
    /// A node that has nothing.
    #[must_use]
    pub fn only(node: NodeSpec) -> Self {
        Self {
            node,
            policies: Vec::new(),
            relays: Vec::new(),
            tcp_outlets: Vec::new(),
            tcp_inlets: Vec::new(),
            secure_channels: Vec::new(),
            tcp_listeners: Vec::new(),
            tcp_connections: Vec::new(),
        }
    }
}

/// What is done with a resource to come from one configuration to another.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is new.
    Create,
    /// It is changed.
    Change,
    /// It goes.
    Delete,
    /// It takes a restart of the node to change it.
    Restart,
}

/// One difference.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// `tcp-inlet`, `tcp-outlet`, `relay`, `secure-channel`, `tcp-listener`, `tcp-connection`, `policy`,
    /// `node`.
    pub resource: String,
    /// Its name; of a policy `resource/NAME` or `type/TYPE`, of a node which of its settings.
    pub name: String,
    /// What is done.
    pub action: Action,
    /// Whether streams that are open through it end: not where only its policy is another one.
    #[serde(default)]
    pub ends_streams: bool,
}

/// How a node differs from a configuration, in the order in which it is changed.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Differences {
    /// What differs; empty if nothing does.
    pub differences: Vec<Difference>,
    /// How many resources stay as they are, with their streams.
    pub unchanged: usize,
    /// Whether this was only a look: nothing was changed.
    pub dry_run: bool,
}
