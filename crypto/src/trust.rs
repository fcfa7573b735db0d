//! Who may be at the other end of a channel.

use crate::Identifier;

/// A yes/no function of the peer's identifier.
///
/// Specification: `protocol/13-secure-channel.md` 6.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// Everybody.
    #[default]
    Anyone,
    /// The listed identifiers; nobody when the list is empty.
    OneOf(Vec<Identifier>),
    /// Everybody whom all of these allow; everybody when there are none.
    All(Vec<Self>),
    /// Everybody whom at least one of these allows; nobody when there are none.
    Any(Vec<Self>),
}

impl Trust {
    /// Exactly one identifier.
    #[must_use]
    pub fn only(identifier: Identifier) -> Self {
        Self::OneOf(vec![identifier])
    }

    /// The decision.
    #[must_use]
    pub fn allows(&self, peer: &Identifier) -> bool {
        match self {
            Self::Anyone => true,
            Self::OneOf(list) => list.contains(peer),
            Self::All(parts) => parts.iter().all(|part| part.allows(peer)),
            Self::Any(parts) => parts.iter().any(|part| part.allows(peer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        let (a, b) = (Identifier([1; 32]), Identifier([2; 32]));
        assert!(Trust::default().allows(&a));
        assert!(Trust::only(a).allows(&a) && !Trust::only(a).allows(&b));
        assert!(!Trust::OneOf(Vec::new()).allows(&a));
        let both = vec![Trust::OneOf(vec![a, b]), Trust::only(b)];
        assert!(!Trust::All(both.clone()).allows(&a) && Trust::All(both.clone()).allows(&b));
        assert!(Trust::Any(both).allows(&a));
        assert!(Trust::All(Vec::new()).allows(&a) && !Trust::Any(Vec::new()).allows(&a));
    }
}
