//! Carrying requests out: from what is asked to what the manager does.

use std::time::{Duration, Instant};

use culvert_manage::problem::{Kind, Problem};
use culvert_node::random_bytes;
use culvert_proto::identity::encode;
use culvert_proto::policy::Scope;
use culvert_proto::request::node_command::NodeCommand;
use culvert_proto::request::node_info::{
    ByAddress, CreateChannel, CreatedChannel, SendMessage, WorkerList,
};
use culvert_proto::request::node_policies::{SetPolicy, WireScope};
use culvert_proto::request::node_portals::{
    CreateInlet, CreateOutlet, HostPort, List, WorkerAddress,
};
use culvert_proto::request::{CreateRelay, RelayList, ReturnTiming, ServiceList};

use super::{Said, say};
use crate::daemon::Manager;
use crate::model::{
    ChannelSpec, ConnectionSpec, InletSpec, ListenerSpec, OutletSpec, PolicySpec, RelaySpec, State,
    Status,
};

/// Longest time that a request waits for a connection.
const LONGEST: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// Does what is asked, and gives the body of the answer.
pub(super) fn out(manager: &Manager, command: NodeCommand) -> Said {
    use NodeCommand as C;
    let body = match command {
        C::Node => encode(&say::node(&manager.view())?),
        C::Resources => encode(&say::resources(&manager.view())?),
        C::Services => encode(&ServiceList {
            services: say::services(&manager.view(), None),
        }),
        C::ServicesOf(kind) => encode(&ServiceList {
            services: say::services(&manager.view(), Some(&kind)),
        }),
        C::Workers => encode(&WorkerList {
            all: say::workers(&manager.view()),
        }),
        C::Inlets => encode(&List {
            all: manager.inlets().iter().map(say::inlet).collect(),
        }),
        C::Inlet(alias) => encode(&say::inlet(&manager.inlet(&alias)?)),
        C::CreateInlet(asked) => return create_inlet(manager, *asked),
        C::DeleteInlet(alias) => {
            let status = say::inlet(&manager.inlet(&alias)?);
            manager.delete_inlet(&alias)?;
            encode(&status)
        }
        C::Outlets => encode(&List {
            all: manager.outlets().iter().map(say::outlet).collect(),
        }),
        C::Outlet(at) => encode(&say::outlet(&manager.outlet(&at)?)),
        C::CreateOutlet(asked) => return create_outlet(manager, asked),
        C::DeleteOutlet(at) => {
            let status = say::outlet(&manager.outlet(&at)?);
            manager.delete_outlet(&at)?;
            encode(&status)
        }
        C::Relays => encode(&RelayList {
            relays: manager.relays().iter().map(say::relay).collect(),
        }),
        C::Relay(alias) => {
            let found = manager.relay(&alias);
            encode(&say::relay(&found.map_err(|problem| {
                missing(problem, || format!("Relay with alias {alias} not found."))
            })?))
        }
        C::CreateRelay(asked) => return create_relay(manager, asked),
        C::DeleteRelay(alias) => {
            manager.delete_relay(&alias).map_err(|problem| {
                missing(problem, || format!("Relay with address {alias} not found."))
            })?;
            return Ok(None);
        }
        C::Channels => encode(&List {
            all: manager.channels().iter().map(say::channel).collect(),
        }),
        C::Channel(asked) => encode(&say::channel(&manager.channel(&local(&asked.address)?)?)),
        C::CreateChannel(asked) => return create_channel(manager, asked),
        C::DeleteChannel(asked) => {
            manager.delete_channel(&local(&asked.address)?)?;
            return Ok(None);
        }
        C::Connections | C::Connection(_) | C::CreateConnection(_) | C::DeleteConnection(_) => {
            return connections(manager, command);
        }
        C::Listeners | C::Listener(_) | C::CreateListener(_) | C::DeleteListener(_) => {
            return listeners(manager, command);
        }
        C::Policies(_) | C::Policy(_) | C::SetPolicy(_) | C::DeletePolicy(_) => {
            return policies(manager, command);
        }
        C::Send(asked) => return send(manager, asked),
    };
    Ok(Some(body))
}

/// What the reference says where something is missing.
fn missing(problem: Problem, text: impl FnOnce() -> String) -> Problem {
    match problem.kind {
        Kind::NotFound => Problem::not_found(text(), problem.hint),
        _ => problem,
    }
}

fn connections(manager: &Manager, command: NodeCommand) -> Said {
    let body = match command {
        NodeCommand::Connection(at) => {
            let all = manager.connections();
            let found = all
                .iter()
                .find(|one| one.spec.to == at || one.spec.name == at);
            let none = || Problem::not_found(format!("TCP connection {at} not found."), "");
            encode(&say::connection(found.ok_or_else(none)?))
        }
        NodeCommand::CreateConnection(ByAddress { address }) => {
            let name = match manager
                .connections()
                .into_iter()
                .find(|c| c.spec.to == address)
            {
                Some(known) => known.spec.name,
                None => random_name(),
            };
            let (_, view) = manager.create_connection(ConnectionSpec { name, to: address })?;
            encode(&say::connection(&view))
        }
        NodeCommand::DeleteConnection(ByAddress { address }) => {
            let all = manager.connections();
            let found = all
                .iter()
                .find(|one| one.spec.to == address || one.spec.name == address);
            manager.delete_connection(found.map_or(&address, |one| &one.spec.name))?;
            return Ok(None);
        }
        _ => encode(&List {
            all: manager.connections().iter().map(say::connection).collect(),
        }),
    };
    Ok(Some(body))
}

fn listeners(manager: &Manager, command: NodeCommand) -> Said {
    let body = match command {
        NodeCommand::Listener(at) => encode(&say::listener(&manager.listener(&at)?)),
        NodeCommand::CreateListener(ByAddress { address }) => {
            let (_, view) = manager.create_listener(ListenerSpec { address })?;
            encode(&say::listener(&view))
        }
        NodeCommand::DeleteListener(ByAddress { address }) => {
            manager.delete_listener(&address)?;
            return Ok(None);
        }
        _ => encode(&List {
            all: manager.listeners().iter().map(say::listener).collect(),
        }),
    };
    Ok(Some(body))
}

fn policies(manager: &Manager, command: NodeCommand) -> Said {
    let of = |scope: Scope| match scope {
        Scope::Name(name) => (Some(name), None),
        Scope::Type(kind) => (None, Some(kind.as_str().to_owned())),
    };
    let body = match command {
        NodeCommand::SetPolicy(SetPolicy { resource, policy }) => {
            let (resource, resource_type) = of(resource.0);
            manager.set_policy(&PolicySpec {
                resource,
                resource_type,
                allow: policy.0,
            })?;
            return Ok(None);
        }
        NodeCommand::DeletePolicy(WireScope(scope)) => {
            let (resource, resource_type) = of(scope);
            manager.delete_policy(resource.as_deref(), resource_type.as_deref())?;
            return Ok(None);
        }
        NodeCommand::Policy(WireScope(scope)) => {
            let (resource, resource_type) = of(scope.clone());
            let mut all = manager.policies()?.into_iter();
            let found = all.find(|policy| {
                policy.resource == resource && policy.resource_type == resource_type
            });
            let none = || Problem::not_found(format!("there is no policy of {scope}"), "");
            encode(&say::policy(scope.clone(), &found.ok_or_else(none)?)?)
        }
        NodeCommand::Policies(Some(WireScope(scope))) => {
            let (resource, resource_type) = of(scope);
            let mut all = manager.policies()?;
            all.retain(|p| p.resource == resource && p.resource_type == resource_type);
            encode(&say::policies(&all)?)
        }
        _ => encode(&say::policies(&manager.policies()?)?),
    };
    Ok(Some(body))
}

/// What a node would have to be able to do.
fn offered(what: &str, is_asked: bool) -> Result<(), Problem> {
    match is_asked {
        true => Err(Problem::invalid(
            format!("this node does not offer {what}"),
            "ask without it",
        )),
        false => Ok(()),
    }
}

fn create_inlet(manager: &Manager, asked: CreateInlet) -> Said {
    offered("portals of UDP only", asked.no_tcp_fallback)?;
    offered("raw sockets", asked.privileged)?;
    offered("TLS at inlets", asked.tls.is_some())?;
    offered("Nagle's algorithm", asked.nagle)?;
    offered("routes in front of the outlet's", asked.prefix.is_some())?;
    if let Some(identity) = asked.identity {
        let own = manager.view().identifier;
        offered("other identities than its own", identity.to_string() != own)?;
    }
    let (_, mut view) = manager.create_inlet(InletSpec {
        name: asked.alias.clone(),
        from: host_port(&asked.listen),
        to: Some(asked.to.to_string()),
        authorized: asked.authorized.map(|identifier| identifier.to_string()),
        allow: asked.policy.map(|policy| policy.0),
        direct: asked.udp_puncture,
        skip_handshake: asked.skip_handshake,
        ..InletSpec::default()
    })?;
    if asked.wait_for_connection {
        let limit = asked.wait.unwrap_or(LONGEST);
        let look = || manager.inlet(&asked.alias);
        view = wait(limit, look, |view| view.status.state == State::Up)?;
    }
    Ok(Some(encode(&say::inlet(&view))))
}

fn create_outlet(manager: &Manager, asked: CreateOutlet) -> Said {
    offered("TLS to services", asked.tls)?;
    offered("raw sockets", asked.privileged)?;
    offered("Nagle's algorithm", asked.nagle)?;
    let name = match &asked.address {
        Some(address) => local(address)?,
        None => OutletSpec::default_name(),
    };
    let (_, view) = manager.create_outlet(OutletSpec {
        name,
        to: host_port(&asked.to),
        allow: asked.policy.map(|policy| policy.0),
        skip_handshake: asked.skip_handshake,
    })?;
    Ok(Some(encode(&say::outlet(&view))))
}

fn create_relay(manager: &Manager, asked: CreateRelay) -> Said {
    let address = asked.relay_address.unwrap_or_else(random_name);
    let authorized = asked
        .authorized
        .map(|bytes| culvert_crypto::Identifier(*bytes));
    let (_, mut view) = manager.create_relay(RelaySpec {
        relay_address: (address != asked.name).then_some(address),
        name: asked.name.clone(),
        at: Some(asked.address.to_string()),
        authorized: authorized.map(|identifier| identifier.to_string()),
        plain: false,
    })?;
    if asked.return_timing == ReturnTiming::AfterConnection {
        let look = || manager.relay(&asked.name);
        view = wait(LONGEST, look, |view| is_tried(&view.status))?;
    }
    Ok(Some(encode(&say::relay(&view))))
}

fn create_channel(manager: &Manager, asked: CreateChannel) -> Said {
    offered("other identities than its own", asked.identity.is_some())?;
    offered("other credentials than its own", asked.credential.is_some())?;
    let name = random_name();
    let authorized = asked.authorized.unwrap_or_default();
    manager.create_channel(ChannelSpec {
        name: name.clone(),
        to: asked.to.to_string(),
        authorized: authorized.iter().map(ToString::to_string).collect(),
    })?;
    let limit = asked.limit.unwrap_or(LONGEST);
    let view = wait(
        limit,
        || manager.channel(&name),
        |view| view.status.state == State::Up,
    )?;
    if view.status.state != State::Up {
        manager.delete_channel(&name)?;
        let reason = view
            .status
            .reason
            .unwrap_or_else(|| "no answer in time".into());
        let message = format!("no secure channel to {}: {reason}", view.spec.to);
        return Err(Problem::new(Kind::TimedOut, message, "").into());
    }
    Ok(Some(encode(&CreatedChannel {
        address: WorkerAddress::local(&name),
        flow_control_id: say::no_flow(),
    })))
}

fn send(manager: &Manager, asked: SendMessage) -> Said {
    let limit = asked.limit.unwrap_or(LONGEST).min(LONGEST);
    let answer = manager.send_message(&asked.route, asked.message.into(), limit)?;
    Ok(Some(answer))
}

fn is_tried(status: &Status) -> bool {
    status.state != State::Connecting
}

/// Looks until it is as wished or the time is up; gives what was seen last.
fn wait<T>(
    limit: Duration,
    look: impl Fn() -> Result<T, Problem>,
    is_wished: impl Fn(&T) -> bool,
) -> Result<T, Problem> {
    let until = Instant::now() + limit.min(LONGEST);
    loop {
        let seen = look()?;
        if is_wished(&seen) || Instant::now() >= until {
            return Ok(seen);
        }
        std::thread::sleep(LOOK);
    }
}

fn host_port(at: &HostPort) -> String {
    match at.host.contains(':') && !at.host.starts_with('[') {
        true => format!("[{}]:{}", at.host, at.port),
        false => format!("{}:{}", at.host, at.port),
    }
}

/// The name behind a local address.
fn local(address: &WorkerAddress) -> Result<String, Problem> {
    let name = String::from_utf8(address.value.clone()).ok();
    name.filter(|_| address.kind == 0).ok_or_else(|| {
        Problem::invalid(
            "the address is not a name on this node",
            "use a local address",
        )
    })
}

fn random_name() -> String {
    hex::encode(random_bytes::<8>())
}
