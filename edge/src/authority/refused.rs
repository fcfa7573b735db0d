//! Why an authority refuses a request, and what it says then.

use culvert_crypto::Identifier;
use culvert_node::reason::Refusal;
use culvert_node::store::StoreError;
use culvert_proto::authority::{self, AttributeError, CommandError};
use culvert_proto::request::Status;

/// Why a request is refused. The texts are what the caller is told; some are fixed by the protocol.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It makes no sense.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It asks for attributes that nobody may have.
    #[error(transparent)]
    Attributes(#[from] AttributeError),
    /// A ticket that could never be redeemed.
    #[error("a ticket needs a lifetime of at least a second and at least one use")]
    Useless,
    /// Only members get credentials.
    #[error("unauthorized member")]
    NotMember,
    /// Only enrollers may do this.
    #[error("{0} is not an enroller")]
    NotEnroller(Identifier),
    /// Only admins may do this.
    #[error(
        "{0} is not an admin: only admins may make, replace or remove enrollers and pre-trusted members"
    )]
    NotAdmin(Identifier),
    /// Members of the configuration are removed there.
    #[error("{0} is a pre-trusted member: the authority's configuration has to be changed instead")]
    PreTrusted(Identifier),
    /// There is no such member.
    #[error("Member {0} not found")]
    NoSuchMember(Identifier),
    /// Who has a ticket is a member already.
    #[error("{}", authority::ALREADY_A_MEMBER)]
    AlreadyMember,
    /// Never issued, or forgotten.
    #[error("{}", authority::UNKNOWN_TOKEN)]
    UnknownTicket,
    /// Its time has passed.
    #[error("{}", authority::EXPIRED_TOKEN)]
    ExpiredTicket,
    /// It was used as often as it may be.
    #[error("{}", authority::USED_TOKEN)]
    UsedTicket,
    /// It was taken back.
    #[error("{}", authority::REVOKED_TOKEN)]
    RevokedTicket,
    /// There are too many members or tickets.
    #[error("the authority has too many {0} already")]
    Full(&'static str),
    /// The answer would be too long.
    #[error(
        "there are too many members to list them at once: list them on the authority's machine"
    )]
    TooManyToList,
    /// Too many requests wait, of this caller or of all.
    #[error("the authority is busy: try again in a moment")]
    Busy,
    /// The database cannot be used; what it said is for the log only.
    #[error("the authority cannot use its database")]
    Store(StoreError),
    /// No credential can be made; why is for the log only.
    #[error("the authority cannot issue credentials")]
    Issue(String),
}

impl Refused {
    /// The status of the answer.
    #[must_use]
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Command(_) | Self::Attributes(_) | Self::Useless => Status::BadRequest,
            Self::Full(_) => Status::Conflict,
            // There is no number for "later" that the reference could read.
            Self::TooManyToList | Self::Busy | Self::Store(_) | Self::Issue(_) => {
                Status::InternalServerError
            }
            _ => Status::Forbidden,
        }
    }

    /// Its counter.
    #[must_use]
    pub(super) fn counter(&self) -> Refusal {
        match self {
            Self::Command(_) | Self::Useless => Refusal::AuthorityRequest,
            Self::Attributes(_) => Refusal::MemberAttributes,
            Self::NotMember => Refusal::NotMember,
            Self::NotEnroller(_) => Refusal::NotEnroller,
            Self::NotAdmin(_) | Self::PreTrusted(_) => Refusal::NotAdmin,
            Self::NoSuchMember(_) => Refusal::NoSuchMember,
            Self::AlreadyMember => Refusal::AlreadyMember,
            Self::UnknownTicket => Refusal::TicketUnknown,
            Self::ExpiredTicket => Refusal::TicketExpired,
            Self::UsedTicket => Refusal::TicketUsed,
            Self::RevokedTicket => Refusal::TicketRevoked,
            Self::Full(_) | Self::TooManyToList => Refusal::AuthorityFull,
            Self::Busy => Refusal::AuthorityBusy,
            Self::Store(_) | Self::Issue(_) => Refusal::AuthorityFailed,
        }
    }

    /// What the log should say beyond the answer.
    #[must_use]
    pub(super) fn cause(&self) -> Option<String> {
        match self {
            Self::Store(error) => Some(error.to_string()),
            Self::Issue(error) => Some(error.clone()),
            _ => None,
        }
    }
}

/// Why a transaction is not kept.
#[derive(Debug)]
pub(super) enum Failed {
    /// The database failed.
    Sql(rusqlite::Error),
    /// The rules say no.
    Refused(Refused),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Refused> for Failed {
    fn from(reason: Refused) -> Self {
        Self::Refused(reason)
    }
}
