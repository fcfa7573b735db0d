//! `HOST:PORT` on the command line.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A host and a port, the host as a name or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl HostPort {
    /// Reads where to connect to: the port must not be 0.
    ///
    /// # Errors
    ///
    /// What is wrong, for people.
    pub fn parse_remote(text: &str) -> Result<Self, String> {
        match text.parse::<Self>()? {
            Self { port: 0, .. } => Err("port 0 is not a port one can connect to".into()),
            address => Ok(address),
        }
    }

    /// Reads where to listen: a port alone means 127.0.0.1, and port 0 a free one.
    ///
    /// # Errors
    ///
    /// What is wrong, for people.
    pub fn parse_local(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(port) => Ok(Self {
                host: "127.0.0.1".into(),
                port,
            }),
            Err(_) => text.parse(),
        }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let no_port = |text: &str| format!("'{text}' is not a port (0 to 65535)");
        let (host, port) = text.rsplit_once(':').ok_or_else(|| {
            // A port alone is understood in some places, one that is none nowhere.
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            match is_number && text.parse::<u16>().is_err() {
                true => no_port(text),
                false => "expected HOST:PORT, for example 127.0.0.1:5432".to_owned(),
            }
        })?;
        let port = port.parse().map_err(|_| no_port(port))?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let inside = rest
                    .strip_suffix(']')
                    .ok_or("']' is missing after the address")?;
                let address: Ipv6Addr = inside
                    .parse()
                    .map_err(|_| format!("'{inside}' is not an IPv6 address"))?;
                address.to_string()
            }
            None if host.contains(':') => {
                return Err("an IPv6 address needs brackets: [::1]:5432".into());
            }
            None if is_host(host) => host.to_owned(),
            None => return Err(format!("'{host}' is not a host name or an address")),
        };
        Ok(Self { host, port })
    }
}

fn is_host(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad() {
        for text in [
            "127.0.0.1:5432",
            "[::1]:5432",
            "db.internal:1",
            "localhost:65535",
        ] {
            let parsed = HostPort::parse_remote(text).expect(text);
            assert_eq!(parsed.to_string(), text);
        }
        for text in [
            "",
            ":",
            ":1",
            "nowhere",
            "a:",
            "a:b",
            "a:65536",
            "a:-1",
            "a:0",
            "::1:5432",
            "[::1:5432",
            "[x]:1",
            "a b:1",
            "a/b:1",
            "user@host:1",
        ] {
            assert!(HostPort::parse_remote(text).is_err(), "{text}");
        }
    }

    #[test]
    fn listening() {
        let local = |text| HostPort::parse_local(text).map(|address| address.to_string());
        assert_eq!(local("15432").as_deref(), Ok("127.0.0.1:15432"));
        assert_eq!(local("0.0.0.0:0").as_deref(), Ok("0.0.0.0:0"));
        let no_port = Err("'99999' is not a port (0 to 65535)".to_owned());
        for text in ["99999", "localhost:99999"] {
            assert_eq!(local(text), no_port, "{text}");
        }
        assert!(local("nowhere").is_err_and(|expected| expected.contains("HOST:PORT")));
    }
}
