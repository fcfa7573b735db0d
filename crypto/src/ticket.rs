//! Who the project and the authority of a ticket are.
//!
//! Specification: `protocol/12-credentials.md` 14. Unlike a real node, this compares the project's
//! identifier in the ticket with the project's history.

use culvert_proto::ticket::Ticket;
use thiserror::Error;

use crate::Identifier;
use crate::identity::{Identity, IdentityError};

/// Why a ticket cannot be believed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TicketError {
    /// The project's history does not verify.
    #[error("the change history of its project is not valid: {0}")]
    Project(IdentityError),
    /// The ticket names another project than its history is of.
    #[error("it says that its project is {said}, but the change history is that of {found}")]
    OtherProject {
        /// The identifier in the ticket.
        said: Identifier,
        /// The identifier of the history.
        found: Identifier,
    },
    /// The authority's history does not verify.
    #[error("the change history of its authority is not valid: {0}")]
    Authority(IdentityError),
}

/// The verified identities of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuers {
    /// The project's node.
    pub project: Identity,
    /// The authority: whoever answers must be this one.
    pub authority: Identity,
}

/// Verifies the histories of a ticket.
///
/// # Errors
/// [`TicketError`].
pub fn verify(ticket: &Ticket) -> Result<Issuers, TicketError> {
    let project = Identity::verify(&ticket.project_history, None).map_err(TicketError::Project)?;
    let found = project.identifier();
    match ticket.project_identifier {
        Some(said) if said != found => return Err(TicketError::OtherProject { said, found }),
        _ => {}
    }
    let authority =
        Identity::verify(&ticket.authority_history, None).map_err(TicketError::Authority)?;
    Ok(Issuers { project, authority })
}

#[cfg(test)]
mod tests {
    use culvert_proto::authority::OneTimeCode;

    use super::*;
    use crate::secret::Secret;
    use crate::vault::{KeyType, SigningVault, SoftwareVault};

    fn identity(seed: u8) -> Identity {
        let mut vault = SoftwareVault::new();
        let key = vault.generate(KeyType::Ed25519, &Secret::new([seed; 32]));
        Identity::create(&vault, &key.expect("a key"), 1000, 2000).expect("an identity")
    }

    #[test]
    fn a_ticket_is_what_its_histories_say() {
        let (project, authority) = (identity(1), identity(2));
        let good = Ticket {
            code: OneTimeCode { bytes: [0; 32] },
            project_id: "p".into(),
            project_route: "/node/x/service/p".parse().expect("a route"),
            project_identifier: Some(project.identifier()),
            project_name: "p".into(),
            project_history: project.history().to_vec(),
            authority_history: authority.history().to_vec(),
            authority_route: "/node/x".parse().expect("a route"),
        };
        let (said, found) = (authority.identifier(), project.identifier());
        let issuers = Issuers { project, authority };
        assert_eq!(verify(&good), Ok(issuers.clone()));
        let mut unnamed = good.clone();
        unnamed.project_identifier = None;
        assert_eq!(verify(&unnamed), Ok(issuers));

        let mut other = good.clone();
        other.project_identifier = Some(said);
        assert_eq!(
            verify(&other),
            Err(TicketError::OtherProject { said, found })
        );
        let mut spoilt = good.clone();
        *spoilt.project_history.last_mut().expect("bytes") ^= 1;
        assert_eq!(
            verify(&spoilt),
            Err(TicketError::Project(IdentityError::Signature))
        );
        let mut spoilt = good;
        spoilt.authority_history.pop();
        assert!(matches!(verify(&spoilt), Err(TicketError::Authority(_))));
    }
}
