//! Multiaddrs: how users and APIs name a node or a service, as text and as bytes.
//!
//! Specification: `protocol/04-relay.md` 6.
//!
//! ```text
//! text    /ip4/127.0.0.1/tcp/4000/service/api
//! binary  ULEB128 code, then   ip4: 4 bytes   ip6: 16 bytes   tcp, udp: port (u16be)
//!                              others: ULEB128 length, UTF-8
//! ```

use crate::bare::{self, BareError};
use crate::limits::{MAX_MULTIADDR, MAX_MULTIADDR_PARTS};
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// Why a multiaddr cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultiAddrError {
    /// The binary form is cut off or has invalid text.
    #[error(transparent)]
    Bare(#[from] BareError),
    /// An unknown code in the binary form.
    #[error("unknown multiaddr code {0}")]
    Code(u64),
    /// An unknown protocol in the text form.
    #[error("unknown multiaddr protocol '{0}'")]
    Protocol(String),
    /// A protocol without a value, or with one that is not valid.
    #[error("invalid value for multiaddr protocol '{0}'")]
    Value(&'static str),
    /// The text does not start with a slash.
    #[error("a multiaddr starts with '/'")]
    Slash,
    /// Longer than [`MAX_MULTIADDR`] bytes or more than [`MAX_MULTIADDR_PARTS`] parts.
    #[error("multiaddr too long")]
    TooLong,
}

/// Names of the protocols whose value is text, with their codes.
const TEXT_PROTOCOLS: [(&str, u64); 7] = [
    ("dnsaddr", 56),
    ("service", 62526),
    ("node", 72526),
    ("project", 82526),
    ("space", 92526),
    ("secure", 99526),
    ("worker", 102_526),
];

const IP4: u64 = 4;
const TCP: u64 = 6;
const IP6: u64 = 41;
const UDP: u64 = 273;

/// One part of a multiaddr.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `/ip4/<address>`
    Ip4(Ipv4Addr),
    /// `/ip6/<address>`
    Ip6(Ipv6Addr),
    /// `/tcp/<port>`
    Tcp(u16),
    /// `/udp/<port>`
    Udp(u16),
    /// `/dnsaddr/<host name>`
    DnsAddr(String),
    /// `/service/<worker address>`
    Service(String),
    /// `/node/<name>`: a node of this machine, replaced before anything is sent.
    Node(String),
    /// `/project/<name>`
    Project(String),
    /// `/space/<name>`
    Space(String),
    /// `/secure/<worker address>`: a secure channel listener.
    Secure(String),
    /// `/worker/<worker address>`
    Worker(String),
}

impl Part {
    /// Name of the protocol in the text form.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match self {
            Self::Ip4(_) => "ip4",
            Self::Ip6(_) => "ip6",
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
            Self::DnsAddr(_) => "dnsaddr",
            Self::Service(_) => "service",
            Self::Node(_) => "node",
            Self::Project(_) => "project",
            Self::Space(_) => "space",
            Self::Secure(_) => "secure",
            Self::Worker(_) => "worker",
        }
    }

    /// The part of one of the protocols with a text value.
    fn of_text(code: u64, text: String) -> Option<Self> {
        Some(match code {
            56 => Self::DnsAddr(text),
            62526 => Self::Service(text),
            72526 => Self::Node(text),
            82526 => Self::Project(text),
            92526 => Self::Space(text),
            99526 => Self::Secure(text),
            102_526 => Self::Worker(text),
            _ => return None,
        })
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::DnsAddr(text)
            | Self::Service(text)
            | Self::Node(text)
            | Self::Project(text)
            | Self::Space(text)
            | Self::Secure(text)
            | Self::Worker(text) => Some(text),
            _ => None,
        }
    }

    fn parse(protocol: &str, value: &str) -> Result<Self, MultiAddrError> {
        match protocol {
            "ip4" => value
                .parse()
                .map(Self::Ip4)
                .map_err(|_| MultiAddrError::Value("ip4")),
            "ip6" => value
                .parse()
                .map(Self::Ip6)
                .map_err(|_| MultiAddrError::Value("ip6")),
            "tcp" => value
                .parse()
                .map(Self::Tcp)
                .map_err(|_| MultiAddrError::Value("tcp")),
            "udp" => value
                .parse()
                .map(Self::Udp)
                .map_err(|_| MultiAddrError::Value("udp")),
            _ => {
                let unknown = || MultiAddrError::Protocol(protocol.to_owned());
                let known = TEXT_PROTOCOLS.iter().find(|(name, _)| *name == protocol);
                let (name, code) = *known.ok_or_else(unknown)?;
                if value.is_empty() {
                    return Err(MultiAddrError::Value(name));
                }
                Self::of_text(code, value.to_owned()).ok_or_else(unknown)
            }
        }
    }

    fn decode(input: &[u8]) -> Result<(Self, &[u8]), MultiAddrError> {
        let (code, length) = bare::read_uleb128(input)?;
        let input = input.get(length..).unwrap_or_default();
        Ok(match code {
            IP4 => fixed(input).map(|(ip, rest): ([u8; 4], _)| (Self::Ip4(ip.into()), rest))?,
            IP6 => fixed(input).map(|(ip, rest): ([u8; 16], _)| (Self::Ip6(ip.into()), rest))?,
            TCP => fixed(input).map(|(port, rest)| (Self::Tcp(u16::from_be_bytes(port)), rest))?,
            UDP => fixed(input).map(|(port, rest)| (Self::Udp(u16::from_be_bytes(port)), rest))?,
            code if TEXT_PROTOCOLS.iter().any(|(_, known)| *known == code) => {
                let (text, rest) = bare::read_string(input)?;
                let part = Self::of_text(code, text.to_owned());
                (part.ok_or(MultiAddrError::Code(code))?, rest)
            }
            code => return Err(MultiAddrError::Code(code)),
        })
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ip4(ip) => put(out, IP4, &ip.octets()),
            Self::Ip6(ip) => put(out, IP6, &ip.octets()),
            Self::Tcp(port) => put(out, TCP, &port.to_be_bytes()),
            Self::Udp(port) => put(out, UDP, &port.to_be_bytes()),
            _ => {
                let protocol = self.protocol();
                let known = TEXT_PROTOCOLS.iter().find(|(name, _)| *name == protocol);
                if let (Some((_, code)), Some(text)) = (known, self.text()) {
                    bare::put_uleb128(out, *code);
                    bare::put_string(out, text);
                }
            }
        }
    }
}

fn fixed<const N: usize>(input: &[u8]) -> Result<([u8; N], &[u8]), BareError> {
    input
        .split_first_chunk()
        .map(|(bytes, rest)| (*bytes, rest))
        .ok_or(BareError::End)
}

fn put(out: &mut Vec<u8>, code: u64, bytes: &[u8]) {
    bare::put_uleb128(out, code);
    out.extend_from_slice(bytes);
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.protocol())?;
        match self {
            Self::Ip4(ip) => ip.fmt(f),
            Self::Ip6(ip) => ip.fmt(f),
            Self::Tcp(port) | Self::Udp(port) => port.fmt(f),
            _ => f.write_str(self.text().unwrap_or_default()),
        }
    }
}

/// A multiaddr: its parts in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MultiAddr(Vec<Part>);

impl MultiAddr {
    /// The multiaddr of these parts.
    #[must_use]
    pub const fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// The parts in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Puts a part at the end.
    pub fn push(&mut self, part: Part) {
        self.0.push(part);
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// [`MultiAddrError`] when a part is unknown or cut off, or there are too many.
    pub fn decode(input: &[u8]) -> Result<Self, MultiAddrError> {
        if input.len() > MAX_MULTIADDR {
            return Err(MultiAddrError::TooLong);
        }
        let mut parts = Vec::new();
        let mut rest = input;
        while !rest.is_empty() {
            if parts.len() == MAX_MULTIADDR_PARTS {
                return Err(MultiAddrError::TooLong);
            }
            let (part, after) = Part::decode(rest)?;
            parts.push(part);
            rest = after;
        }
        Ok(Self(parts))
    }

    /// The binary form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.0 {
            part.encode_into(&mut out);
        }
        out
    }
}

impl fmt::Display for MultiAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| part.fmt(f))
    }
}

/// The text form. The empty text is the empty multiaddr.
impl FromStr for MultiAddr {
    type Err = MultiAddrError;

    fn from_str(text: &str) -> Result<Self, MultiAddrError> {
        if text.len() > MAX_MULTIADDR {
            return Err(MultiAddrError::TooLong);
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut words = text
            .strip_prefix('/')
            .ok_or(MultiAddrError::Slash)?
            .split('/');
        let mut parts = Vec::new();
        while let Some(protocol) = words.next() {
            if parts.len() == MAX_MULTIADDR_PARTS {
                return Err(MultiAddrError::TooLong);
            }
            parts.push(Part::parse(protocol, words.next().unwrap_or_default())?);
        }
        Ok(Self(parts))
    }
}

/// On the wire a byte string that holds the binary form.
impl<C> minicbor::Encode<C> for MultiAddr {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.encode())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for MultiAddr {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::decode(d.bytes()?).map_err(minicbor::decode::Error::message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_checked() {
        for text in [
            "/ip4/127.0.0.1/tcp/4000",
            "/dnsaddr/localhost/tcp/4000/secure/api/service/outlet",
            "",
        ] {
            let parsed: MultiAddr = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(MultiAddr::decode(&parsed.encode()), Ok(parsed));
        }
        let refused = |text: &str| text.parse::<MultiAddr>().unwrap_err();
        assert_eq!(refused("ip4/127.0.0.1"), MultiAddrError::Slash);
        assert_eq!(refused("/ip4"), MultiAddrError::Value("ip4"));
        assert_eq!(refused("/tcp/65536"), MultiAddrError::Value("tcp"));
        assert_eq!(refused("/service/"), MultiAddrError::Value("service"));
        assert_eq!(refused("/quic/1"), MultiAddrError::Protocol("quic".into()));
        assert_eq!(refused(&"/node/a".repeat(65)), MultiAddrError::TooLong);
    }

    #[test]
    fn binary_is_checked() {
        assert_eq!(MultiAddr::decode(&[4, 127, 0]), Err(BareError::End.into()));
        assert_eq!(MultiAddr::decode(&[5, 0]), Err(MultiAddrError::Code(5)));
        assert_eq!(
            MultiAddr::decode(&[56, 1, 0xff]),
            Err(BareError::Utf8.into())
        );
    }
}
