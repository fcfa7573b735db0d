//! Address translators, as RFC 3489 sorts them.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

/// How a translator maps and filters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// No translation, no filter.
    None,
    /// One public port per socket, open to all.
    FullCone,
    /// One public port per socket, open to hosts it sent to.
    Restricted,
    /// One public port per socket, open to ports it sent to.
    PortRestricted,
    /// A public port per socket and destination, open to that destination.
    Symmetric,
}

pub(crate) const KINDS: [Kind; 5] = [
    Kind::None,
    Kind::FullCone,
    Kind::Restricted,
    Kind::PortRestricted,
    Kind::Symmetric,
];

/// One public port.
#[derive(Debug)]
struct Mapping {
    inside: SocketAddr,
    /// The only destination of the mapping, of a symmetric one.
    only: Option<SocketAddr>,
    /// Where it sent to, and when last.
    sent: BTreeMap<SocketAddr, u64>,
}

/// One translator, in front of one host.
#[derive(Debug)]
pub(crate) struct Nat {
    pub(crate) kind: Kind,
    ip: IpAddr,
    next_port: u16,
    mappings: BTreeMap<u16, Mapping>,
    /// What was not used for this long is closed, in milliseconds.
    idle_ms: u64,
}

impl Nat {
    pub(crate) fn new(kind: Kind, ip: IpAddr) -> Self {
        Self {
            kind,
            ip,
            next_port: 20_000,
            mappings: BTreeMap::new(),
            idle_ms: 5_000,
        }
    }

    /// Forgets everything, as after a restart; later mappings get other ports.
    pub(crate) fn restart(&mut self) {
        self.mappings.clear();
        self.next_port += 1_000;
    }

    /// A datagram leaves: the source that others see.
    pub(crate) fn outbound(&mut self, now_ms: u64, from: SocketAddr, to: SocketAddr) -> SocketAddr {
        if self.kind == Kind::None {
            return from;
        }
        let only = (self.kind == Kind::Symmetric).then_some(to);
        let existing = self.mappings.iter().find(|(_, mapping)| {
            let last = mapping.sent.values().max().copied().unwrap_or(0);
            mapping.inside == from && mapping.only == only && now_ms - last < self.idle_ms
        });
        let port = match existing {
            Some((port, _)) => *port,
            None => {
                self.next_port += 1;
                self.next_port
            }
        };
        let mapping = self.mappings.entry(port).or_insert(Mapping {
            inside: from,
            only,
            sent: BTreeMap::new(),
        });
        mapping.sent.insert(to, now_ms);
        SocketAddr::new(self.ip, port)
    }

    /// A datagram arrives: the socket inside that gets it, if any.
    pub(crate) fn inbound(
        &self,
        now_ms: u64,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<SocketAddr> {
        if self.kind == Kind::None {
            return Some(to);
        }
        let mapping = self
            .mappings
            .get(&to.port())
            .filter(|_| to.ip() == self.ip)?;
        let mut live = mapping
            .sent
            .iter()
            .filter(|(_, sent)| now_ms - **sent < self.idle_ms)
            .map(|(to, _)| *to);
        let passes = match self.kind {
            Kind::None | Kind::FullCone => live.next().is_some(),
            Kind::Restricted => live.any(|to| to.ip() == from.ip()),
            Kind::PortRestricted | Kind::Symmetric => live.any(|to| to == from),
        };
        passes.then_some(mapping.inside)
    }
}
