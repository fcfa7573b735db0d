//! Routes on the command line: from a multiaddr to the hops and channels of an inlet's path.
//!
//! ```text
//! /dnsaddr/relay.example/tcp/4000 /service/forward_to_db /secure/api /service/outlet
//!  first node                      hops                   a channel   behind the last channel
//! ```

use culvert_crypto::trust::Trust;
use culvert_node::channel::API;
use culvert_node::portal::OUTLET;
use culvert_node::session::request::Place;
use culvert_node::session::{Leg, PathPlan};
use culvert_proto::forwarder::{self, PREFIX, REGISTER};
use culvert_proto::limits::{MAX_ADDRESS, MAX_HOPS};
use culvert_proto::multiaddr::{MultiAddr, MultiAddrError, Part};

use crate::endpoint::HostPort;

/// Why a route cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Not a multiaddr.
    #[error(transparent)]
    Text(#[from] MultiAddrError),
    /// It does not say where to connect to.
    #[error(
        "a route starts with the first node: /dnsaddr/HOST/tcp/PORT, /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT"
    )]
    NoFirstNode,
    /// A second transport address.
    #[error("'{0}' cannot follow the first node: other nodes are reached through its services")]
    SecondNode(String),
    /// Names that only Ockam's own tools can resolve.
    #[error("'{0}' is a name of Ockam's own tools; write the address it stands for")]
    Foreign(String),
    /// No secure channel.
    #[error(
        "the route has no secure channel, so that the relay and everybody between could read and change the data"
    )]
    InClear,
    /// Nothing behind the last channel.
    #[error("the route must end with the outlet, for example /service/outlet")]
    NoOutlet,
    /// Longer than a message may be.
    #[error("the route has too many hops")]
    TooLong,
    /// An address longer than the limit.
    #[error("a part of the route is longer than {MAX_ADDRESS} bytes")]
    PartTooLong,
}

impl RouteError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InClear => {
                "add /secure/api in front of the outlet, or pass --insecure if that is \
                              acceptable"
            }
            _ => {
                "for example: --route \
                  /dnsaddr/relay.example/tcp/4000/service/forward_to_db/secure/api/service/outlet"
            }
        }
    }
}

/// The path to the outlet behind the name `via` at a relay.
///
/// # Errors
///
/// What is wrong with the name.
pub fn via(relay: &HostPort, via: &str, trust: Trust) -> Result<PathPlan, String> {
    let name = check_relay_name(via)?;
    Ok(PathPlan {
        host: relay.host.clone(),
        port: relay.port,
        legs: vec![Leg {
            hops: vec![forwarder::worker_name(name).into_bytes()],
            listener: API.to_vec(),
            trust,
        }],
        tail: vec![OUTLET.to_vec()],
        admission: None,
        direct: None,
    })
}

/// Whether a name can be registered with a relay by this program.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_relay_name(name: &str) -> Result<&str, String> {
    match name {
        "" => Err("the name is empty".into()),
        REGISTER => Err(format!("'{REGISTER}' stands for a random name at relays")),
        _ if name.starts_with(PREFIX) => Err(format!(
            "leave out '{PREFIX}': the name is what the outlet registers with --name"
        )),
        _ => forwarder::check_name(name)
            .map(|()| name)
            .map_err(|error| error.to_string()),
    }
}

/// The address of an outlet at the end of a way, which may be written as in a route.
///
/// # Errors
///
/// What is wrong with it.
pub fn outlet_name(text: &str) -> Result<&str, &'static str> {
    let name = text.strip_prefix("/service/").unwrap_or(text);
    let is_odd = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > MAX_ADDRESS || name.contains(is_odd) {
        return Err("with 'via' it is the address of the outlet there, for example 'outlet'");
    }
    Ok(name)
}

/// The path that a multiaddr describes. `trust` decides about the end of the last channel; the
/// nodes of earlier channels may be anybody, since what passes them is sealed for the last one.
///
/// # Errors
///
/// [`RouteError`]; without any channel [`RouteError::InClear`] unless `insecure`.
pub fn parse(text: &str, trust: &Trust, insecure: bool) -> Result<PathPlan, RouteError> {
    let address: MultiAddr = text.parse()?;
    let (first, parts) = first_node(address.parts())?;
    let mut legs: Vec<Leg> = Vec::new();
    let mut hops: Vec<Vec<u8>> = Vec::new();
    if parts.len() > MAX_HOPS {
        return Err(RouteError::TooLong);
    }
    for part in parts {
        match part {
            Part::Service(name) | Part::Worker(name) | Part::Secure(name) => {
                if name.len() > MAX_ADDRESS {
                    return Err(RouteError::PartTooLong);
                }
                let name = name.clone().into_bytes();
                if matches!(part, Part::Secure(_)) {
                    legs.push(Leg {
                        hops: std::mem::take(&mut hops),
                        listener: name,
                        trust: Trust::Anyone,
                    });
                } else {
                    hops.push(name);
                }
            }
            Part::Node(_) | Part::Project(_) | Part::Space(_) => {
                return Err(RouteError::Foreign(part.to_string()));
            }
            _ => return Err(RouteError::SecondNode(part.to_string())),
        }
    }
    match legs.last_mut() {
        Some(last) => last.trust = trust.clone(),
        None if insecure => {}
        None => return Err(RouteError::InClear),
    }
    if hops.is_empty() {
        return Err(RouteError::NoOutlet);
    }
    Ok(PathPlan {
        host: first.host,
        port: first.port,
        legs,
        tail: hops,
        admission: None,
        direct: None,
    })
}

/// Where services are that a secure channel leads to: a node and the services on the way to its channel
/// listener, `/dnsaddr/HOST/tcp/PORT/service/api`.
///
/// # Errors
///
/// [`RouteError`].
pub fn place(text: &str) -> Result<Place, RouteError> {
    let address: MultiAddr = text.parse()?;
    let (first, parts) = first_node(address.parts())?;
    if parts.len() > MAX_HOPS {
        return Err(RouteError::TooLong);
    }
    let hop = |part: &Part| match part {
        Part::Service(name) | Part::Worker(name) | Part::Secure(name) => match name.len() {
            0..=MAX_ADDRESS => Ok(name.clone().into_bytes()),
            _ => Err(RouteError::PartTooLong),
        },
        part => Err(RouteError::Foreign(part.to_string())),
    };
    let hops: Vec<_> = parts.iter().map(hop).collect::<Result<_, _>>()?;
    if hops.is_empty() {
        return Err(RouteError::NoOutlet);
    }
    Ok(Place {
        host: first.host,
        port: first.port,
        hops,
    })
}

fn first_node(parts: &[Part]) -> Result<(HostPort, &[Part]), RouteError> {
    let (host, port, rest) = match parts {
        [Part::Ip4(ip), Part::Tcp(port), rest @ ..] => (ip.to_string(), *port, rest),
        [Part::Ip6(ip), Part::Tcp(port), rest @ ..] => (ip.to_string(), *port, rest),
        [Part::DnsAddr(host), Part::Tcp(port), rest @ ..] => (host.clone(), *port, rest),
        [Part::Node(_) | Part::Project(_) | Part::Space(_), ..] => {
            return Err(RouteError::Foreign(parts[0].to_string()));
        }
        _ => return Err(RouteError::NoFirstNode),
    };
    if port == 0 {
        return Err(RouteError::NoFirstNode);
    }
    Ok((HostPort { host, port }, rest))
}
