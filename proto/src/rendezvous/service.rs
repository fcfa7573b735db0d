//! The answering side, without the socket.

use super::{RendezvousError, Request, Response};
use crate::limits::RENDEZVOUS_HOSTS;
use crate::route::RouteView;
use crate::udp;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::collections::BTreeMap;

/// Shortest pause between two sweeps that a full table makes by itself, in milliseconds.
const SWEEP_MS: u64 = 1_000;

/// Why a request is not answered. The asker gets nothing: there is no message to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The payload is not a request.
    #[error(transparent)]
    Request(#[from] RendezvousError),
    /// The request did not come over UDP, so there is no address to tell.
    #[error("asked for an address by a route without a UDP address")]
    NoAddress,
    /// The host, or all those there is no room to remember, asked too often.
    #[error("asked too often")]
    TooOften,
}

/// Limits of a [`Service`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most hosts that are remembered.
    pub hosts: usize,
    /// Most answers per host and second; also how many it may have at once after a pause. All hosts
    /// that there is no room for share one such allowance.
    pub answers_per_second: u32,
    /// A host that did not ask for this long is forgotten, in milliseconds.
    pub idle_ms: u64,
}

impl Default for Config {
    /// [`RENDEZVOUS_HOSTS`], 50 answers per second, 60 s.
    fn default() -> Self {
        Self {
            hosts: RENDEZVOUS_HOSTS,
            answers_per_second: 50,
            idle_ms: 60_000,
        }
    }
}

/// A host that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it was seen last.
    pub address: SocketAddr,
    /// When it first asked, in milliseconds.
    pub first_ms: u64,
    /// When it last asked, in milliseconds.
    pub last_ms: u64,
    /// How often it was answered.
    pub answers: u64,
}

/// Answers requests, and remembers who was seen from where.
///
/// The reference remembers nothing and answers everything. Nothing on the wire needs the memory: it
/// is there so that nobody can have more datagrams sent to a host than a few per second by forging
/// its address, and for the operator. Requests carry no name, so *who* is the IPv4 address, or the
/// first half of the IPv6 address.
#[derive(Debug)]
pub struct Service {
    config: Config,
    hosts: BTreeMap<IpAddr, (Seen, Allowance)>,
    others: Allowance,
    swept_ms: Option<u64>,
}

impl Service {
    /// A service that nobody has asked.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            hosts: BTreeMap::new(),
            others: Allowance::default(),
            swept_ms: None,
        }
    }

    /// The answer to a request that came from `from` ([`asker`]), to be sent on its return route.
    ///
    /// # Errors
    /// [`Refusal`] when nothing is to be sent.
    pub fn on_request(
        &mut self,
        now_ms: u64,
        from: Option<SocketAddr>,
        payload: &[u8],
    ) -> Result<Response, Refusal> {
        let request = Request::decode(payload)?;
        let from = from.map(udp::canonical);
        let response = match (request, from) {
            (Request::Ping, _) => Response::Pong,
            (Request::GetMyAddress, Some(from)) => Response::GetMyAddress(from),
            (Request::GetMyAddress, None) => return Err(Refusal::NoAddress),
        };
        match self.may_answer(now_ms, from) {
            true => Ok(response),
            false => Err(Refusal::TooOften),
        }
    }

    fn may_answer(&mut self, now_ms: u64, from: Option<SocketAddr>) -> bool {
        let rate = self.config.answers_per_second;
        let remembered = from.filter(|from| self.has_room_for(now_ms, host(from.ip())));
        let Some(address) = remembered else {
            return self.others.take(now_ms, rate);
        };
        let (seen, allowance) = self.hosts.entry(host(address.ip())).or_insert_with(|| {
            let seen = Seen {
                address,
                first_ms: now_ms,
                last_ms: now_ms,
                answers: 0,
            };
            (seen, Allowance::default())
        });
        seen.address = address;
        seen.last_ms = now_ms;
        let may = allowance.take(now_ms, rate);
        seen.answers += u64::from(may);
        may
    }

    fn has_room_for(&mut self, now_ms: u64, host: IpAddr) -> bool {
        if self.hosts.contains_key(&host) {
            return true;
        }
        let may_sweep = self
            .swept_ms
            .is_none_or(|swept| now_ms.saturating_sub(swept) >= SWEEP_MS);
        if self.hosts.len() >= self.config.hosts && may_sweep {
            self.expire(now_ms);
        }
        self.hosts.len() < self.config.hosts
    }

    /// Forgets hosts that did not ask lately, and says how many.
    pub fn expire(&mut self, now_ms: u64) -> usize {
        let before = self.hosts.len();
        let idle_ms = self.config.idle_ms;
        self.hosts
            .retain(|_, (seen, _)| now_ms.saturating_sub(seen.last_ms) < idle_ms);
        self.swept_ms = Some(now_ms);
        before - self.hosts.len()
    }

    /// The hosts that are remembered, by IP address.
    pub fn seen(&self) -> impl ExactSizeIterator<Item = &Seen> {
        self.hosts.values().map(|(seen, _)| seen)
    }
}

/// What counts as one host: over IPv6 the network of 64 bits that each has for itself, because it
/// could ask from as many addresses as there are.
fn host(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// Where a request came from: the first UDP address of its return route, which our own transport
/// put there. `None` if it came another way.
///
/// The route must be that of a message from a UDP socket: on one from elsewhere a UDP address is
/// only what its sender wrote.
#[must_use]
pub fn asker(return_route: RouteView<'_>) -> Option<SocketAddr> {
    return_route
        .iter()
        .find(|address| address.transport == crate::address::UDP)
        .and_then(udp::peer_of)
}

/// So many per second, and as many at once after a pause.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    /// When all that was taken would have been earned, in microseconds.
    paid_us: u64,
}

impl Allowance {
    fn take(&mut self, now_ms: u64, per_second: u32) -> bool {
        const SECOND_US: u64 = 1_000_000;
        let Some(price_us) = SECOND_US.checked_div(per_second.into()) else {
            return false;
        };
        let now_us = now_ms.saturating_mul(1_000);
        let paid_us = self.paid_us.max(now_us).saturating_add(price_us);
        let may = paid_us - now_us <= SECOND_US;
        if may {
            self.paid_us = paid_us;
        }
        may
    }
}
