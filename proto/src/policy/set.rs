//! Which policy counts for a resource.
//!
//! Specification: `protocol/20-policies.md` 6.

use core::fmt;
use std::collections::BTreeMap;

use super::{Bindings, Denial, ParseError, Policy};

/// Type of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    /// A local TCP port that leads to an outlet.
    TcpInlet,
    /// A TCP service behind this node.
    TcpOutlet,
    /// Registration of a name with a relay.
    Relay,
    /// Opening of secure channels.
    SecureChannelListener,
    /// Another one, as the reference has: `echoer`, `kafka-consumer`, `lessor`, …
    Other(String),
}

impl ResourceType {
    /// Those that a node has itself.
    pub const KNOWN: [Self; 4] = [
        Self::TcpInlet,
        Self::TcpOutlet,
        Self::Relay,
        Self::SecureChannelListener,
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::TcpInlet => "tcp-inlet",
            Self::TcpOutlet => "tcp-outlet",
            Self::Relay => "relay",
            Self::SecureChannelListener => "secure-channel-listener",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for ResourceType {
    fn from(text: &str) -> Self {
        let found = Self::KNOWN.into_iter().find(|known| known.as_str() == text);
        found.unwrap_or_else(|| Self::Other(text.to_owned()))
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a policy is set for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One resource, by its name.
    Name(String),
    /// All resources of a type that have no policy of their own.
    Type(ResourceType),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "resource '{name}'"),
            Self::Type(kind) => write!(f, "resources of type '{kind}'"),
        }
    }
}

/// All policies of a node. One that cannot be read denies: it hides no other and is not passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet {
    by_name: BTreeMap<String, Result<Policy, ParseError>>,
    by_type: BTreeMap<String, Result<Policy, ParseError>>,
}

impl PolicySet {
    /// Sets a policy in place of what was there.
    pub fn set(&mut self, scope: Scope, policy: Result<Policy, ParseError>) {
        let _ = match scope {
            Scope::Name(name) => self.by_name.insert(name, policy),
            Scope::Type(kind) => self.by_type.insert(kind.as_str().to_owned(), policy),
        };
    }

    /// The one policy that counts: that of the name, else that of the type.
    #[must_use]
    pub fn find(&self, name: &str, kind: &ResourceType) -> Option<Result<&Policy, &ParseError>> {
        let found = self.by_name.get(name);
        let found = found.or_else(|| self.by_type.get(kind.as_str()));
        found.map(Result::as_ref)
    }

    /// Decides about a resource.
    ///
    /// # Errors
    /// As [`Policy::decide`], [`Denial::NoPolicy`], [`Denial::Unreadable`].
    pub fn decide(
        &self,
        name: &str,
        kind: &ResourceType,
        bindings: &dyn Bindings,
    ) -> Result<(), Denial> {
        match self.find(name, kind) {
            Some(Ok(policy)) => policy.decide(bindings),
            Some(Err(error)) => Err(Denial::Unreadable(error.clone())),
            None => Err(Denial::NoPolicy),
        }
    }
}
