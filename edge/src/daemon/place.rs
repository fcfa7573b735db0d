//! What `at`, `via` and `to` stand for.
//!
//! ```text
//! HOST:PORT                        /dnsaddr/HOST/tcp/PORT
//! /project/NAME/...                the first node of the project's route, then the rest
//! /node/NAME/...                   a listener of that node, on this machine, then the rest
//! /secure-channel/NAME/...         the route of that channel of this node, then the rest
//! ```

use std::net::SocketAddr;

use culvert_crypto::Identifier;
use culvert_crypto::identity::Identity;
use culvert_crypto::trust::Trust;
use culvert_manage::problem::Problem;
use culvert_node::channel::API;
use culvert_node::portal::OUTLET;
use culvert_node::session::PathPlan;
use culvert_node::store::projects::Project;
use culvert_proto::forwarder::PREFIX;
use culvert_proto::multiaddr::{MultiAddr, Part};

use super::resource::{Resource, Scene, identifiers};
use crate::endpoint::HostPort;
use crate::model::{ChannelSpec, InletSpec, ListenerSpec};
use crate::route::{self, RouteError};

/// What a route starts with that stands for a channel of this node.
const CHANNEL: &str = "/secure-channel/";

/// Where a relay is, and who it has to be.
pub(super) struct Relay {
    pub(super) at: HostPort,
    pub(super) identity: Option<Identifier>,
}

/// A route that starts at a node with an address.
struct Expanded {
    first: HostPort,
    /// Who the first node has to be.
    identity: Option<Identifier>,
    rest: Vec<Part>,
    /// Whom the channel that it began with lets answer.
    authorized: Vec<Identifier>,
}

/// Checks what an inlet says about its way, as far as that takes no look at anything else.
pub(super) fn check_inlet(spec: &InletSpec) -> Result<(), Problem> {
    match (&spec.via, &spec.to, &spec.at) {
        (None, None, _) => Err(Problem::invalid(
            format!(
                "the tcp-inlet '{}' does not say where it leads to",
                spec.name
            ),
            "give 'via', the name that the outlet's side has at the relay, or 'to', a multiaddr",
        )),
        (None, Some(_), Some(_)) => Err(Problem::invalid(
            "at: it is the relay of 'via', which is missing",
            "give 'via', or write the whole route into 'to'",
        )),
        (Some(via), to, _) => {
            route::check_relay_name(via).map_err(|error| {
                Problem::invalid(format!("via: '{via}' is not a name: {error}"), "")
            })?;
            match to.as_deref().map(route::outlet_name) {
                Some(Err(error)) => Err(Problem::invalid(
                    format!("to: {error}"),
                    "for example 'outlet', or leave it out",
                )),
                _ => Ok(()),
            }
        }
        (None, Some(_), None) => Ok(()),
    }
}

fn unusable(what: &str, text: &str, error: &RouteError) -> Problem {
    let hint = match error {
        RouteError::InClear => "add /secure/api in front of the outlet",
        _ => {
            "for example /dnsaddr/relay.example/tcp/4000/service/forward_to_db/secure/api/service/outlet"
        }
    };
    Problem::invalid(format!("{what}: '{text}' cannot be used: {error}"), hint)
}

impl Scene<'_> {
    /// The way of an inlet.
    pub(super) fn path(&mut self, spec: &InletSpec) -> Result<PathPlan, Problem> {
        let (what, text) = match (&spec.via, &spec.to) {
            (Some(via), to) => {
                let relay = match &spec.at {
                    Some(at) => at.clone(),
                    None => self.own_relay()?,
                };
                let node = route_text(&relay);
                let name = to.as_deref().map(route::outlet_name).transpose();
                let name = name.map_err(|error| Problem::invalid(format!("to: {error}"), ""))?;
                let name = name.unwrap_or(OUTLET_TEXT);
                (
                    "at",
                    format!("{node}/service/{PREFIX}{via}/secure/{API_TEXT}/service/{name}"),
                )
            }
            (None, to) => ("to", to.clone().unwrap_or_default()),
        };
        let expanded = self.expand(what, &text, 0)?;
        let known = match identifiers(spec.authorized.as_slice())? {
            known if known.is_empty() => expanded.authorized.clone(),
            known => known,
        };
        let trust = match known.is_empty() {
            // Its policies decide.
            true => Trust::Anyone,
            false => Trust::OneOf(known),
        };
        let mut plan = route::parse(&expanded.text(), &trust, false)
            .map_err(|error| unusable(what, &text, &error))?;
        if spec.authenticate {
            plan.admission = Some(match expanded.identity {
                Some(identity) => Trust::OneOf(vec![identity]),
                None => Trust::Anyone,
            });
        }
        Ok(plan)
    }

    /// The way to the far end of a secure channel.
    pub(super) fn channel(&mut self, spec: &ChannelSpec) -> Result<PathPlan, Problem> {
        let mut expanded = self.expand("to", &spec.to, 0)?;
        let trust = match identifiers(&spec.authorized)? {
            known if known.is_empty() => Trust::Anyone,
            known => Trust::OneOf(known),
        };
        expanded.rest = as_channel(expanded.rest);
        // What is behind it is none of the channel's business.
        expanded.rest.push(Part::Service(OUTLET_TEXT.to_owned()));
        let mut plan = route::parse(&expanded.text(), &trust, false)
            .map_err(|error| unusable("to", &spec.to, &error))?;
        plan.tail.clear();
        Ok(plan)
    }

    /// The way of a message: without a secure channel too, where the route has none.
    pub(super) fn plan_of_message(&mut self, to: &str) -> Result<Box<PathPlan>, Problem> {
        let expanded = self.expand("to", to, 0)?;
        let mut plan = route::parse(&expanded.text(), &Trust::Anyone, true)
            .map_err(|error| unusable("to", to, &error))?;
        // The node of a project answers those who show who they are.
        let of_project = expanded
            .identity
            .map(|identity| Trust::OneOf(vec![identity]));
        plan.admission = of_project;
        Ok(Box::new(plan))
    }

    /// Where a relay is that is named by its node.
    pub(super) fn relay(&mut self, at: Option<&str>) -> Result<Relay, Problem> {
        let at = match at {
            Some(at) => at.to_owned(),
            None => self.own_relay()?,
        };
        let expanded = self.expand("at", &route_text(&at), 0)?;
        match expanded.rest.as_slice() {
            [] => {}
            [Part::Service(name) | Part::Secure(name)] if name == API_TEXT => {}
            [next, ..] => {
                return Err(Problem::invalid(
                    format!("at: '{at}' goes on behind the node, with {next}"),
                    "a relay is named by its node alone, for example relay.example:4000",
                ));
            }
        }
        Ok(Relay {
            at: expanded.first,
            identity: expanded.identity,
        })
    }

    fn own_relay(&mut self) -> Result<String, Problem> {
        if let Some(project) = self.inner.project() {
            return Ok(format!("/project/{}", project.name));
        }
        let name = self.inner.name();
        let enrolled = self.database.projects().map_err(super::stored)?;
        Err(match enrolled.last() {
            // Whom it believes, and as whom it runs, is settled when it starts.
            Some(project) => Problem::invalid(
                format!(
                    "it is not said which relay: 'at' is missing, and the node '{name}' was started \
                     without the project '{}'",
                    project.name
                ),
                format!(
                    "start it again to have it take part: `culvert-edge node stop {name}`, then \
                     `culvert-edge node start {name}`; or give 'at'"
                ),
            ),
            None => Problem::invalid(
                "it is not said which relay: 'at' is missing, and this node has no project",
                "give 'at', for example relay.example:4000, or enroll with `culvert-edge project enroll`",
            ),
        })
    }

    fn expand(&mut self, what: &str, text: &str, depth: u8) -> Result<Expanded, Problem> {
        if let Some(named) = text.strip_prefix(CHANNEL) {
            let (name, rest) = named.split_at(named.find('/').unwrap_or(named.len()));
            return self.through_channel(name, rest, depth);
        }
        let address: MultiAddr = text
            .parse()
            .map_err(|error| unusable(what, text, &RouteError::Text(error)))?;
        let (first, identity, used) = match address.parts() {
            [Part::Project(name), ..] => {
                let (first, identity) = self.project(name)?;
                (first, identity, 1)
            }
            [Part::Node(name), ..] => (self.node(name)?, None, 1),
            [Part::Ip4(ip), Part::Tcp(port), ..] => (host(ip.to_string(), *port), None, 2),
            [Part::Ip6(ip), Part::Tcp(port), ..] => (host(ip.to_string(), *port), None, 2),
            [Part::DnsAddr(name), Part::Tcp(port), ..] => (host(name.clone(), *port), None, 2),
            _ => return Err(unusable(what, text, &RouteError::NoFirstNode)),
        };
        let rest = address.parts().iter().skip(used);
        Ok(Expanded {
            first,
            identity,
            rest: rest.cloned().collect(),
            authorized: Vec::new(),
        })
    }

    fn through_channel(&mut self, name: &str, rest: &str, depth: u8) -> Result<Expanded, Problem> {
        let state = self.inner.state();
        let found = state.channels.get(name).map(|held| held.spec.clone());
        drop(state);
        let channel = found.ok_or_else(|| {
            Problem::not_found(
                format!("there is no secure channel '{name}' on this node"),
                "`culvert-edge secure-channel list` shows them",
            )
        })?;
        if depth > 3 {
            return Err(Problem::invalid(
                format!("the secure channel '{name}' goes through too many others"),
                "write the address it stands for",
            ));
        }
        let mut expanded = self.expand("to", &channel.to, depth + 1)?;
        expanded.authorized = identifiers(&channel.authorized)?;
        expanded.rest = as_channel(expanded.rest);
        if !rest.is_empty() {
            let behind: MultiAddr = rest
                .parse()
                .map_err(|error| unusable("to", rest, &RouteError::Text(error)))?;
            expanded.rest.extend_from_slice(behind.parts());
        }
        Ok(expanded)
    }

    fn project(&mut self, name: &str) -> Result<(HostPort, Option<Identifier>), Problem> {
        let found = self.database.project(name).map_err(super::stored)?;
        let project = found.ok_or_else(|| {
            Problem::not_found(
                format!("this machine is not enrolled with a project '{name}'"),
                "run `culvert-edge project enroll TICKET`, or see `culvert-edge project list`",
            )
        })?;
        let place = route::place(&with_service(&project.route)).map_err(|error| {
            Problem::failed(
                format!("the route of the project '{name}' cannot be used: {error}"),
                "enroll again, or give the relay as HOST:PORT",
            )
        })?;
        Ok((host(place.host, place.port), identity_of(&project)))
    }

    /// Where a node of this machine listens.
    fn node(&mut self, name: &str) -> Result<HostPort, Problem> {
        let listeners = self.database.resources(name, ListenerSpec::KIND);
        let mut listeners = listeners.map_err(super::stored)?.into_iter();
        let at = listeners.find_map(|(address, _)| address.parse::<SocketAddr>().ok());
        let at = at.ok_or_else(|| {
            Problem::not_found(
                format!("there is no node '{name}' on this machine that others can connect to"),
                format!(
                    "make a listener: `culvert-edge tcp-listener create 127.0.0.1:0 --at {name}`"
                ),
            )
        })?;
        let ip = match (at.ip().is_unspecified(), at.is_ipv4()) {
            (false, _) => at.ip().to_string(),
            (true, true) => "127.0.0.1".to_owned(),
            (true, false) => "::1".to_owned(),
        };
        Ok(host(ip, at.port()))
    }
}

impl Expanded {
    /// As a multiaddr that names its first node by address.
    fn text(&self) -> String {
        let rest: String = self.rest.iter().map(ToString::to_string).collect();
        format!("{}{rest}", node_text(&self.first))
    }
}

const OUTLET_TEXT: &str = match std::str::from_utf8(OUTLET) {
    Ok(text) => text,
    Err(_) => "outlet",
};
const API_TEXT: &str = match std::str::from_utf8(API) {
    Ok(text) => text,
    Err(_) => "api",
};

/// The route of a channel: its listener may be named as a service too.
fn as_channel(mut rest: Vec<Part>) -> Vec<Part> {
    if let Some(last) = rest.last_mut()
        && let Part::Service(name) | Part::Worker(name) = last
    {
        *last = Part::Secure(std::mem::take(name));
    }
    rest
}

fn host(host: String, port: u16) -> HostPort {
    HostPort { host, port }
}

fn node_text(at: &HostPort) -> String {
    match at.host.parse() {
        Ok(std::net::IpAddr::V4(ip)) => format!("/ip4/{ip}/tcp/{}", at.port),
        Ok(std::net::IpAddr::V6(ip)) => format!("/ip6/{ip}/tcp/{}", at.port),
        Err(_) => format!("/dnsaddr/{}/tcp/{}", at.host, at.port),
    }
}

/// `HOST:PORT` as a multiaddr; others as they are.
fn route_text(at: &str) -> String {
    HostPort::parse_remote(at).map_or_else(|_| at.to_owned(), |at| node_text(&at))
}

/// A route to a node alone gets the usual service, so that it can be read as one to a service.
fn with_service(route: &str) -> String {
    match route.contains("/service/") || route.contains("/secure/") {
        true => route.to_owned(),
        false => format!("{route}/service/{API_TEXT}"),
    }
}

/// Who the node of a project is, where that is known.
fn identity_of(project: &Project) -> Option<Identifier> {
    let identity = Identity::verify(&project.change_history, None).ok()?;
    Some(identity.identifier())
}
