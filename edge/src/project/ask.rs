//! What can go wrong between a member, or somebody who wants to be one, and an authority.

use std::time::{Duration, Instant};

use culvert_crypto::Identifier;
use culvert_crypto::channel::HandshakeError;
use culvert_crypto::credential::CredentialError;
use culvert_crypto::identity::{Histories, HistoryError};
use culvert_crypto::purpose_key::PurposeKeyError;
use culvert_crypto::trust::Trust;
use culvert_manage::problem::Kind;
use culvert_node::channel::{ChannelError, Credentials};
use culvert_node::session::request::{Answer, AskError, Connection, Place, Question};
use culvert_node::shard::Shard;
use culvert_proto::authority::{
    ALREADY_A_MEMBER, EXPIRED_TOKEN, REVOKED_TOKEN, Service, UNKNOWN_TOKEN, USED_TOKEN,
};
use culvert_proto::request::{Method, Status};

use crate::authority::Callers;
use crate::failure::Failure;

/// Why an authority did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It was not reached, or did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It refused.
    #[error("the authority refused: {0}")]
    Refused(String),
    /// The answer has no body, or another one than expected.
    #[error("the answer of the authority cannot be read")]
    Body,
    /// What it gave is no credential for this identity.
    #[error("the authority gave a credential that is not valid: {0}")]
    Credential(CredentialError),
}

const NEW_TICKET: &str = "ask whoever gave you the ticket for another one";
const CLOCK: &str =
    "set the clock of this machine or of the authority's: they may differ by a minute";

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let (reason, hint) = match &trouble {
            Trouble::Ask(error) => why_not_asked(error),
            Trouble::Refused(text) => why_refused(text),
            Trouble::Body => ("refused", "is it an authority? check who made the ticket"),
            Trouble::Credential(
                CredentialError::FromTheFuture
                | CredentialError::PurposeKey(PurposeKeyError::FromTheFuture)
                | CredentialError::Expired,
            ) => ("clock", CLOCK),
            Trouble::Credential(_) => ("credential_refused", "tell the operator of the authority"),
        };
        let kind = sort_of(reason).unwrap_or(Kind::Failed);
        let failure = Self::new(trouble, hint).because(reason);
        failure.because_of(kind.exit_status(), kind.name())
    }
}

/// What sort of failure one with this reason is, for callers of the API and for exit statuses.
pub(crate) fn sort_of(reason: &str) -> Option<Kind> {
    Some(match reason {
        "ticket_undecodable" | "ticket_forged" => Kind::Invalid,
        "ticket_unknown" | "ticket_expired" | "ticket_used" | "ticket_revoked" | "refused" => {
            Kind::Denied
        }
        "project_taken" => Kind::Conflict,
        "authority_silent" => Kind::TimedOut,
        // Trying again helps with neither.
        "authority_other" | "authority_replaced" => Kind::Failed,
        _ if reason.starts_with("authority_") => Kind::Unavailable,
        _ => return None,
    })
}

fn why_not_asked(error: &AskError) -> (&'static str, &'static str) {
    let unreachable = "check that the authority runs and that this machine can connect to it";
    match error {
        AskError::Channel {
            error: ChannelError::Handshake(error),
            ..
        } => match error {
            HandshakeError::NotTrusted(_) => (
                "authority_other",
                "another node than the authority answers there: check the address of the authority",
            ),
            HandshakeError::History(HistoryError::Older | HistoryError::Conflict) => (
                "authority_replaced",
                "the authority shows another history than the ticket: it was restored from an old \
                 backup, or somebody pretends to be it",
            ),
            HandshakeError::Attestation(
                PurposeKeyError::FromTheFuture | PurposeKeyError::Expired,
            ) => ("clock", CLOCK),
            _ => ("authority_unreachable", unreachable),
        },
        AskError::Connect { .. } | AskError::Channel { .. } => {
            ("authority_unreachable", unreachable)
        }
        AskError::Timeout { .. } | AskError::Ended { .. } => (
            "authority_silent",
            "the authority proved who it is but does not believe this machine, or is stuck: if the \
             clock of this machine is more than a minute ahead, its keys are refused as too new",
        ),
        _ => ("refused", "is it an authority? check who made the ticket"),
    }
}

fn why_refused(text: &str) -> (&'static str, &'static str) {
    match text {
        UNKNOWN_TOKEN => ("ticket_unknown", NEW_TICKET),
        EXPIRED_TOKEN => ("ticket_expired", NEW_TICKET),
        USED_TOKEN => ("ticket_used", NEW_TICKET),
        REVOKED_TOKEN => ("ticket_revoked", NEW_TICKET),
        _ if text.contains("busy") => ("authority_busy", "try again in a moment"),
        _ => ("refused", "ask the operator of the authority"),
    }
}

/// Whether a refusal means that there is nothing to do.
pub(super) fn is_member_already(answer: &Answer) -> bool {
    let text = answer.message().to_lowercase();
    answer.status == Some(Status::Forbidden) && text.contains(&ALREADY_A_MEMBER.to_lowercase())
}

/// Whether a refusal means that there is no such member: authorities say so as if it were not allowed.
pub(super) fn is_no_member(answer: &Answer, member: &Identifier) -> bool {
    let said = format!("Member {member} not found");
    answer.status == Some(Status::NotFound)
        || answer.status == Some(Status::Forbidden) && answer.message() == said
}

/// The body of an answer, or why there is none.
pub(super) fn accepted(answer: Answer) -> Result<Vec<u8>, Trouble> {
    match answer.is_ok() {
        true => Ok(answer.body.unwrap_or_default()),
        false if answer.message().is_empty() => {
            let number = answer.status.map_or(0, Status::number);
            Err(Trouble::Refused(format!("status {number}")))
        }
        false => Err(Trouble::Refused(answer.message().to_owned())),
    }
}

/// An authority, and how long it may take.
pub(super) struct Authority {
    pub(super) place: Place,
    pub(super) identifier: Identifier,
    /// Histories; that of the authority is among them.
    pub(super) known: Callers,
    pub(super) limit: Duration,
}

/// A channel to an authority.
pub(super) struct Visit {
    connection: Connection,
    until: Instant,
}

impl Authority {
    /// One of which this history is known.
    pub(super) fn new(
        place: Place,
        identifier: Identifier,
        history: &[u8],
        limit: Duration,
    ) -> Self {
        let mut known = Callers::default();
        known.put(&identifier, history);
        Self {
            place,
            identifier,
            known,
            limit,
        }
    }

    /// Connects as `endpoint`; nobody else than the authority may answer.
    pub(super) async fn visit(
        &self,
        shard: &Shard,
        endpoint: culvert_crypto::channel::Endpoint,
    ) -> Result<Visit, Trouble> {
        let until = Instant::now() + self.limit;
        let trust = Trust::only(self.identifier);
        let credentials = Credentials::new(endpoint, trust, self.known.clone());
        let connection = Connection::open(shard, &credentials, &self.place, self.limit).await?;
        Ok(Visit { connection, until })
    }
}

impl Visit {
    /// Asks a service to do something.
    pub(super) async fn post(
        &self,
        service: Service,
        body: Option<&[u8]>,
    ) -> Result<Answer, Trouble> {
        let question = Question {
            service: service.address(),
            method: Method::Post,
            path: "/",
            body,
        };
        self.ask(&question).await
    }

    /// Asks a service anything.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Answer, Trouble> {
        let left = self.until.saturating_duration_since(Instant::now());
        Ok(self.connection.ask(question, left).await?)
    }
}
