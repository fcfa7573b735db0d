//! What an edge shows of itself, whom it believes, and who may use its portal.
//!
//! | option | what it adds |
//! |---|---|
//! | `--allow` | a list of identities, checked in the handshake |
//! | `--project`, `--authority` | whose statements about peers are believed |
//! | `--project`, `--credential` | what is shown to peers |
//! | `--policy`, `culvert-edge policy` | what the statements must say |

use clap::Args;
use culvert_crypto::Identifier;
use culvert_crypto::trust::Trust;
use culvert_node::SeenHistories;
use culvert_node::authority::{Authority, believe};
use culvert_node::channel::Credentials;
use culvert_node::identity::OwnIdentity;
use culvert_node::policy::{Guard, Otherwise, Policies};
use culvert_node::shard::Shard;
use culvert_node::store::database::Database;
use culvert_node::store::projects::Project;
use culvert_proto::policy::{Mode, Policy, ResourceType, Scope};

use crate::cli::AllowArgs;
use crate::commands::{identity_for_use, now_s};
use crate::failure::Failure;
use crate::renewal::Renewal;
use crate::store::{Store, Stored};

/// Attributes and policies.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Attributes and policies")]
pub struct TrustArgs {
    /// Be a member of this project (see `culvert-edge project enroll`): show its credential, which is
    /// renewed in time, and believe its authority about others.
    #[arg(long, value_name = "NAME", conflicts_with = "credential")]
    pub project: Option<String>,
    /// Change history of an authority to believe, or a file with it, in hexadecimal digits; may be
    /// repeated. The far side needs a credential of it then.
    #[arg(long, value_name = "HISTORY", value_parser = Authority::parse)]
    pub authority: Vec<Authority>,
    /// Credential to show, or a file with it, in hexadecimal digits; it is not renewed.
    #[arg(long, value_name = "CREDENTIAL", value_parser = credential)]
    pub credential: Option<Encoded>,
    /// Who may use this portal, for example 'component=web and not trial'; becomes the policy of the
    /// resource, as `culvert-edge policy create` sets it
    /// [default: whoever has a credential, where an authority is believed]
    #[arg(long, value_name = "EXPRESSION", value_parser = policy)]
    pub policy: Option<Policy>,
    /// Name of this portal as a resource of policies [default: the name at the relay]
    #[arg(long, value_name = "NAME")]
    pub resource: Option<String>,
}

/// Name and type of the resource that is the management of this node from afar.
const MANAGER: &str = "node-manager";
/// Name of an outlet's secure channel listener as a resource of policies.
const LISTENER: &str = "api";

/// An encoded credential.
#[derive(Clone, Debug)]
pub struct Encoded(Vec<u8>);

fn credential(text: &str) -> Result<Encoded, String> {
    if let Ok(bytes) = hex::decode(text.trim()) {
        return Ok(Encoded(bytes));
    }
    let digits = std::fs::read_to_string(text).map_err(|error| {
        format!("expected a credential in hexadecimal digits, or a file with it: {error}")
    })?;
    hex::decode(digits.trim())
        .map(Encoded)
        .map_err(|_| format!("the file {text} does not hold hexadecimal digits only"))
}

fn policy(text: &str) -> Result<Policy, String> {
    Policy::parse(text, Mode::Strict).map_err(|error| error.to_string())
}

impl TrustArgs {
    /// Whom the handshake lets in: the list, where there is one. Where attributes or a policy decide,
    /// everybody may try.
    ///
    /// # Errors
    ///
    /// Wrong usage when nothing says who may be at the other end.
    pub fn trust(&self, allow: &AllowArgs) -> Result<Trust, Failure> {
        let is_decided =
            self.project.is_some() || !self.authority.is_empty() || self.policy.is_some();
        match allow.trust() {
            Err(_) if is_decided => Ok(Trust::Anyone),
            trust => trust,
        }
    }
}

/// As whom a node runs, and whom it believes.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    /// Name of the identity; that of the project counts where there is one.
    pub identity: String,
    /// Project that it is a member of.
    pub project: Option<String>,
    /// Further authorities.
    pub authorities: Vec<Authority>,
    /// Credential to show beside those that are stored.
    pub credential: Option<Encoded>,
}

/// What all shards of a node share about trust. Cloning is cheap.
#[derive(Clone)]
pub struct Standing {
    /// What is shown to peers.
    pub own: OwnIdentity,
    /// As whom it runs.
    pub identifier: Identifier,
    /// The policies in force.
    pub policies: Policies,
    histories: SeenHistories,
    authorities: Vec<Authority>,
    renewal: Option<Renewal>,
}

impl Standing {
    /// Reads everything there is to know before a node starts.
    ///
    /// # Errors
    ///
    /// What is missing or cannot be read.
    pub fn new(store: &Store, membership: &Membership) -> Result<Self, Failure> {
        let mut database = Database::open(store.home())?;
        let project = match &membership.project {
            Some(name) => Some(project(&mut database, name)?),
            None => None,
        };
        let identity = project
            .as_ref()
            .map_or(&membership.identity, |p| &p.identity);
        let stored = identity_for_use(store, identity)?;
        let identifier = stored.identifier();
        let own = OwnIdentity::from(stored.endpoint()?);
        own.follow(store.clone(), &stored.name, Stored::endpoint)
            .map_err(|error| {
                Failure::new(format!("cannot start a thread: {error}"), "see `ulimit -u`")
            })?;
        let mut authorities = membership.authorities.clone();
        let given = membership.credential.iter().map(|c| c.0.clone());
        let mut shown: Vec<Vec<u8>> = given.collect();
        for authority in &authorities {
            let kept = database.credential(&identifier, &authority.identifier)?;
            shown.extend(
                kept.filter(|kept| kept.expires_at > now_s())
                    .map(|kept| kept.encoded),
            );
        }
        let mut renewal = None;
        if let Some(project) = &project {
            let made = Renewal::new(store, &mut database, project, &own)?;
            shown.extend(made.cached());
            authorities.push(made.authority.clone());
            renewal = Some(made);
        }
        own.show(&shown).map_err(|error| {
            let hint = "pass what `culvert-edge credential issue` printed";
            Failure::usage(format!("the credential cannot be shown: {error}"), hint)
        })?;
        Ok(Self {
            own,
            identifier,
            policies: Policies::watch(store.home())?,
            histories: SeenHistories::default(),
            authorities,
            renewal,
        })
    }

    /// Whether anybody is believed about peers.
    #[must_use]
    pub fn has_authorities(&self) -> bool {
        !self.authorities.is_empty()
    }

    /// What decides who may use a resource: its policies, and where there is none a credential, if
    /// anybody is believed about those, or else `otherwise`.
    #[must_use]
    pub fn guard(&self, kind: ResourceType, name: &str, otherwise: Otherwise) -> Guard {
        let otherwise = match self.has_authorities() {
            true => Otherwise::Credential,
            false => otherwise,
        };
        Guard::new(&self.policies, name, kind, otherwise)
    }

    /// What decides who may manage this node from afar: its policies alone.
    #[must_use]
    pub fn managers(&self) -> Guard {
        let kind = ResourceType::Other(MANAGER.to_owned());
        Guard::new(&self.policies, MANAGER, kind, Otherwise::Nobody)
    }

    /// What decides who may have a secure channel with this node.
    #[must_use]
    pub fn channels(&self) -> Guard {
        let kind = ResourceType::SecureChannelListener;
        Guard::new(&self.policies, LISTENER, kind, Otherwise::Anyone)
    }

    /// What a shard shows and demands; `trust` is what the handshake asks.
    #[must_use]
    pub fn credentials(&self, trust: &Trust) -> Credentials {
        let mut histories = self.histories.clone();
        let authorities = believe(&self.authorities, &mut histories);
        Credentials {
            authorities: authorities.into(),
            ..Credentials::new(self.own.clone(), trust.clone(), histories)
        }
    }

    /// Keeps what is shown fresh; to be called on one shard.
    pub fn keep_fresh(&self, shard: &Shard) {
        if let Some(renewal) = self.renewal.clone() {
            let credentials = self.credentials(&Trust::only(renewal.authority.identifier));
            shard.spawn(renewal.keep(shard.clone(), credentials));
        }
    }
}

/// The standing of one portal, and who may use it; the policy asked for is set.
///
/// # Errors
///
/// As [`Standing::new`].
pub fn of_portal(
    store: &Store,
    identity: &str,
    args: &TrustArgs,
    allow: &AllowArgs,
    (kind, name): (ResourceType, &str),
) -> Result<(Standing, Guard), Failure> {
    let name = args.resource.as_deref().unwrap_or(name);
    let standing = Standing::new(
        store,
        &Membership {
            identity: identity.to_owned(),
            project: args.project.clone(),
            authorities: args.authority.clone(),
            credential: args.credential.clone(),
        },
    )?;
    if let Some(policy) = &args.policy {
        let mut database = Database::open(store.home())?;
        database.set_policy(&Scope::Name(name.to_owned()), policy)?;
        standing.policies.replace(database.policy_set()?);
    }
    let is_policy_all = args.policy.is_some() && allow.trust().is_err();
    let otherwise = match is_policy_all {
        true => Otherwise::Nobody,
        false => Otherwise::Anyone,
    };
    let guard = standing.guard(kind, name, otherwise);
    Ok((standing, guard))
}

fn project(database: &mut Database, name: &str) -> Result<Project, Failure> {
    database.project(name)?.ok_or_else(|| {
        Failure::usage(
            format!("this machine is not enrolled with a project '{name}'"),
            "run `culvert-edge project enroll TICKET`, or see `culvert-edge project list`",
        )
    })
}
