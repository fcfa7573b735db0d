//! What the manager knows, in the words of the node API.

use culvert_manage::problem::Problem;
use culvert_proto::multiaddr::{MultiAddr, Part};
use culvert_proto::policy::{Mode, Policy, Scope};
use culvert_proto::request::node_info::{
    ChannelListenerStatus, ChannelStatus, NodeResources, NodeRoute, NodeStatus, ProcessStatus,
    TransportKind, TransportMode, TransportStatus, WorkerStatus,
};
use culvert_proto::request::node_policies::{
    OfName, OfType, OnePolicy, PolicyList, WireScope, number,
};
use culvert_proto::request::node_portals::{HostPort, InletStatus, OutletStatus, WorkerAddress};
use culvert_proto::request::{ConnectionStatus, FlowControlId, RelayInfo, ServiceStatus};

use crate::api::node::{offered, reachable};
use crate::authority::client::listener_of;
use crate::endpoint;
use crate::model::{
    ChannelView, ConnectionView, InletView, ListenerView, NodeView, OutletView, PolicySpec,
    RelayView, State, Status,
};
use crate::store::DEFAULT_NAME;

/// Number of the only action there is.
const HANDLE_MESSAGE: u8 = 1;

/// Nodes of Culvert have no flow control ids that others could use.
pub(super) fn no_flow() -> FlowControlId {
    FlowControlId { id: "0".repeat(32) }
}

fn is_up(status: &Status) -> ConnectionStatus {
    match status.state {
        State::Up => ConnectionStatus::Up,
        State::Connecting | State::Down => ConnectionStatus::Down,
    }
}

fn identifier(text: &str) -> Result<culvert_crypto::Identifier, Problem> {
    text.parse()
        .map_err(|_| Problem::failed("the node has no identifier", "see its log"))
}

pub(super) fn node(view: &NodeView) -> Result<NodeStatus, Problem> {
    Ok(NodeStatus {
        name: view.spec.name.clone(),
        identifier: identifier(&view.identifier)?,
        process: ProcessStatus::Running(view.pid),
    })
}

pub(super) fn resources(view: &NodeView) -> Result<NodeResources, Problem> {
    let identity = view.spec.identity.as_deref().unwrap_or(DEFAULT_NAME);
    let listeners = view.tcp_listeners.iter().map(listener);
    let connections = view.tcp_connections.iter().map(connection);
    Ok(NodeResources {
        name: view.spec.name.clone(),
        identity: identity.to_owned(),
        is_default: false,
        process: ProcessStatus::Running(view.pid),
        route: NodeRoute {
            short: MultiAddr::new(vec![Part::Node(view.spec.name.clone())]),
            long: view
                .tcp_listeners
                .first()
                .and_then(|listener| multiaddr(&listener.spec.address)),
        },
        transports: listeners.chain(connections).collect(),
        channel_listeners: vec![ChannelListenerStatus {
            address: WorkerAddress::local("api"),
            flow_control_id: no_flow(),
            key_exchange_only: false,
        }],
        inlets: view.tcp_inlets.iter().map(inlet).collect(),
        outlets: view.tcp_outlets.iter().map(outlet).collect(),
        services: services(view, None),
    })
}

/// A multiaddr, or a host and a port as one.
fn multiaddr(text: &str) -> Option<MultiAddr> {
    if text.starts_with('/') {
        return text.parse().ok();
    }
    let at = endpoint::HostPort::parse_remote(text).ok()?;
    let mut parts = listener_of(&at).parts().to_vec();
    parts.truncate(2);
    Some(MultiAddr::new(parts))
}

pub(super) fn services(view: &NodeView, kind: Option<&str>) -> Vec<ServiceStatus> {
    let all = offered(view).into_iter();
    let wished = all.filter(|one| kind.is_none_or(|kind| kind == one.r#type));
    wished
        .map(|one| ServiceStatus {
            address: one.address,
            kind: one.r#type.to_owned(),
        })
        .collect()
}

pub(super) fn workers(view: &NodeView) -> Vec<WorkerStatus> {
    let all = reachable(view).into_iter();
    all.map(|one| WorkerStatus {
        address: one.address,
    })
    .collect()
}

pub(super) fn inlet(view: &InletView) -> InletStatus {
    let spec = &view.spec;
    InletStatus {
        bind_address: view
            .bind_address
            .clone()
            .unwrap_or_else(|| spec.from.clone()),
        worker_address: None,
        alias: spec.name.clone(),
        payload: view.status.reason.clone(),
        route: Some(view.route.clone()),
        status: is_up(&view.status),
        to: spec.to.clone().unwrap_or_else(|| view.route.clone()),
        privileged: false,
    }
}

pub(super) fn outlet(view: &OutletView) -> OutletStatus {
    let (host, port) = view.spec.to.rsplit_once(':').unwrap_or((&view.spec.to, ""));
    OutletStatus {
        to: HostPort {
            host: host.to_owned(),
            port: port.parse().unwrap_or_default(),
        },
        address: WorkerAddress::local(&view.spec.name),
        payload: view.status.reason.clone(),
        privileged: false,
    }
}

pub(super) fn relay(view: &RelayView) -> RelayInfo {
    RelayInfo {
        forwarding_route: None,
        remote_address: view.forwarding_address.clone(),
        worker_address: None,
        flow_control_id: None,
        connection_status: is_up(&view.status),
        destination: multiaddr(&view.destination).unwrap_or_default(),
        name: view.spec.name.clone(),
        last_failure: view.status.reason.clone(),
    }
}

pub(super) fn channel(view: &ChannelView) -> ChannelStatus {
    let spec = &view.spec;
    ChannelStatus {
        address: Some(spec.name.clone()),
        route: Some(spec.to.clone()),
        authorized: (!spec.authorized.is_empty()).then(|| spec.authorized.clone()),
        flow_control_id: Some(no_flow()),
        peer: view.status.peer.as_ref().and_then(|peer| peer.parse().ok()),
    }
}

fn transport(mode: TransportMode, at: &str, name: &str) -> TransportStatus {
    TransportStatus {
        kind: TransportKind::Tcp,
        mode,
        socket_address: at.to_owned(),
        worker_address: name.to_owned(),
        processor_address: name.to_owned(),
        flow_control_id: no_flow(),
    }
}

pub(super) fn connection(view: &ConnectionView) -> TransportStatus {
    transport(TransportMode::Outgoing, &view.spec.to, &view.spec.name)
}

pub(super) fn listener(view: &ListenerView) -> TransportStatus {
    let at = &view.spec.address;
    transport(TransportMode::Listen, at, at)
}

fn read(policy: &PolicySpec) -> Result<Policy, Problem> {
    Policy::parse(&policy.allow, Mode::Strict)
        .map_err(|error| Problem::failed(format!("a stored policy cannot be read: {error}"), ""))
}

pub(super) fn policy(scope: Scope, policy: &PolicySpec) -> Result<OnePolicy, Problem> {
    Ok(OnePolicy {
        resource: WireScope(scope),
        action: HANDLE_MESSAGE,
        policy: read(policy)?,
    })
}

/// All policies that can be said: types have numbers here, and some have none.
pub(super) fn policies(all: &[PolicySpec]) -> Result<PolicyList, Problem> {
    let mut list = PolicyList::default();
    for one in all {
        let policy = read(one)?;
        let kind = one.resource_type.as_deref();
        match (&one.resource, kind.and_then(|kind| number(&kind.into()))) {
            (Some(name), _) => list.of_names.push(OfName {
                name: name.clone(),
                action: HANDLE_MESSAGE,
                policy,
            }),
            (None, Some(number)) => list.of_types.push(OfType {
                number,
                action: HANDLE_MESSAGE,
                policy,
            }),
            (None, None) => {}
        }
    }
    Ok(list)
}
