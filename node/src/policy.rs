//! Policies in force, and the places that ask them (`protocol/20-policies.md` 6).
//!
//! A decision is made when something is opened, and again when a policy, or what is known about the
//! subject, has changed. Messages are not looked at.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_crypto::credential::VerifiedCredential;
use culvert_proto::credential::Attributes;
use culvert_proto::policy::{Credential, Denial, Environment, PolicySet, ResourceType};
use serde::Serialize;

use crate::channel::Channel;
use crate::inspect::identifier;
use crate::reason::Refusal;
use crate::shard::Shard;
use crate::store::StoreError;
use crate::store::database::Database;

/// How often the database is asked whether somebody has changed it.
const LOOK: Duration = Duration::from_millis(100);

/// The policies of a node, shared by its shards, and replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct Policies(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    set: Mutex<Arc<PolicySet>>,
    version: AtomicU64,
    /// The last [`DENIALS`], oldest first.
    denials: Mutex<VecDeque<Denied>>,
}

/// How many denials are kept.
pub const DENIALS: usize = 100;

/// One denial, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Denied {
    /// What somebody wanted to use.
    pub resource: String,
    /// Its type.
    pub resource_type: String,
    /// Who; none if nobody proved anything.
    #[serde(serialize_with = "identifier")]
    pub subject: Option<Identifier>,
    /// Why not.
    pub reason: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
}

impl Policies {
    /// The policies of a state directory, now and whenever somebody changes them there.
    ///
    /// # Errors
    ///
    /// When the database cannot be read. Later failures are logged, and leave what was read last.
    pub fn watch(home: &Path) -> Result<Self, StoreError> {
        let policies = Self::default();
        let mut open = Open::new(home)?;
        policies.replace(open.database.policy_set()?);
        // Ends when nobody is left to tell.
        let (told, place) = (Arc::downgrade(&policies.0), home.to_owned());
        let watching = move || {
            let mut failed = None;
            loop {
                std::thread::sleep(LOOK);
                let Some(shared) = told.upgrade() else { return };
                match open.look(&place) {
                    Ok(set) => {
                        failed = None;
                        set.into_iter()
                            .for_each(|set| Self(Arc::clone(&shared)).replace(set));
                    }
                    // Told once for each kind of failure.
                    Err(error) => {
                        let reason = error.to_string();
                        if failed.as_ref() != Some(&reason) {
                            let kept = "policies cannot be read: those known stay in force";
                            tracing::error!(reason, hint = error.hint(), "{kept}");
                        }
                        failed = Some(reason);
                        std::thread::sleep(10 * LOOK);
                    }
                }
            }
        };
        std::thread::Builder::new()
            .name("policies".into())
            .spawn(watching)
            .map_err(|error| StoreError::Io {
                what: "watch",
                path: home.to_owned(),
                error,
            })?;
        Ok(policies)
    }

    /// Puts other policies in force; nothing happens if they are the same.
    pub fn replace(&self, set: PolicySet) {
        let mut current = self.0.set.lock().unwrap_or_else(PoisonError::into_inner);
        if **current != set {
            *current = Arc::new(set);
            self.0.version.fetch_add(1, Ordering::Release);
        }
    }

    /// The last denials of all resources that these policies decide about, latest first; at most
    /// [`DENIALS`]. The counters have all of them.
    #[must_use]
    pub fn denials(&self) -> Vec<Denied> {
        let denials = self
            .0
            .denials
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        denials.iter().rev().cloned().collect()
    }

    fn note(&self, denied: Denied) {
        let mut denials = self
            .0
            .denials
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if denials.len() >= DENIALS {
            denials.pop_front();
        }
        denials.push_back(denied);
    }

    /// The canonical text of the policy that counts for a resource, if one is set; one that cannot be
    /// read is shown as why.
    #[must_use]
    pub fn text(&self, resource: &str, kind: &ResourceType) -> Option<String> {
        let set = self.set();
        set.find(resource, kind).map(|found| match found {
            Ok(policy) => policy.canonical(),
            Err(error) => format!("nobody: {error}"),
        })
    }

    fn set(&self) -> Arc<PolicySet> {
        let set = self.0.set.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&set)
    }

    fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }
}

/// The database that policies were read from last.
struct Open {
    database: Database,
    /// The file, which somebody may replace.
    file: u64,
    version: i64,
}

impl Open {
    fn new(home: &Path) -> Result<Self, StoreError> {
        let mut database = Database::open(home)?;
        Ok(Self {
            file: database.file()?,
            version: database.data_version()?,
            database,
        })
    }

    /// The policies, if they may be others than those read last.
    fn look(&mut self, home: &Path) -> Result<Option<PolicySet>, StoreError> {
        let file = self.database.file()?;
        if file != self.file {
            *self = Self::new(home)?;
        } else {
            let version = self.database.data_version()?;
            if version == self.version {
                return Ok(None);
            }
            self.version = version;
        }
        self.database.policy_set().map(Some)
    }
}

/// What counts where no policy is set, neither by name nor by type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// Everybody whom the secure channel lets in.
    Anyone,
    /// Who has a credential of an accepted authority, as `(= subject.has_credential true)` says
    /// (`protocol/20-policies.md` 6).
    Credential,
    /// Nobody: a policy was all that said who may, and it is gone.
    Nobody,
}

/// One resource with what decides who may use it. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Guard {
    policies: Policies,
    resource: Arc<str>,
    kind: ResourceType,
    otherwise: Otherwise,
}

/// Who wants to use a resource.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The identity that proved itself; without one every policy denies.
    pub identifier: Option<Identifier>,
    /// What accepted authorities say about it.
    pub attested: &'a [VerifiedCredential],
    /// Whether there are accepted authorities.
    pub has_authorities: bool,
}

impl Guard {
    /// Of a resource by its name and type.
    #[must_use]
    pub fn new(
        policies: &Policies,
        resource: &str,
        kind: ResourceType,
        otherwise: Otherwise,
    ) -> Self {
        Self {
            policies: policies.clone(),
            resource: resource.into(),
            kind,
            otherwise,
        }
    }

    /// The same for another resource of the type.
    #[must_use]
    pub fn of(&self, resource: &str) -> Self {
        Self {
            resource: resource.into(),
            ..self.clone()
        }
    }

    /// Name of the resource.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Decides.
    ///
    /// # Errors
    ///
    /// Why not. A subject without an identity is denied wherever a policy counts.
    pub fn decide(&self, subject: Subject<'_>) -> Result<(), Denial> {
        let set = self.policies.set();
        let policy = match (set.find(&self.resource, &self.kind), self.otherwise) {
            (Some(Ok(policy)), _) => policy,
            (Some(Err(error)), _) => return Err(Denial::Unreadable(error.clone())),
            (None, Otherwise::Anyone) => return Ok(()),
            (None, Otherwise::Nobody) => return Err(Denial::False),
            (None, Otherwise::Credential) => {
                let is_known = subject.identifier.is_some() && !subject.attested.is_empty();
                let missing = || Denial::Missing("a credential of an accepted authority".into());
                return is_known.then_some(()).ok_or_else(missing);
            }
        };
        let Some(identifier) = subject.identifier else {
            return Err(Denial::Missing("subject.identifier".into()));
        };
        let merged;
        let credential = match (subject.attested, subject.has_authorities) {
            ([], false) => Credential::NoAuthority,
            ([], true) => Credential::Missing,
            ([one], _) => Credential::Valid(&one.attributes),
            (several, _) => {
                merged = merge(several);
                Credential::Valid(&merged)
            }
        };
        policy.decide(&Environment::new(&self.resource, &identifier, credential))
    }

    /// Decides about the peer of a channel; counts and logs a denial.
    pub fn admits(&self, shard: &Shard, channel: Option<&Channel>) -> bool {
        let decision = match channel {
            Some(channel) => self.decide(Subject {
                identifier: channel.peer(),
                attested: &channel.attested(),
                has_authorities: channel.has_authorities(),
            }),
            None => self.decide(Subject {
                identifier: None,
                attested: &[],
                has_authorities: false,
            }),
        };
        let Err(denial) = decision else { return true };
        shard.counters().refuse(Refusal::PolicyDenied);
        let subject = channel.and_then(Channel::peer);
        self.note_denial(shard, subject, &denial.to_string());
        if !shard.may_log() {
            return false;
        }
        let subject = subject.map(|peer| peer.to_string());
        tracing::warn!(
            resource = &*self.resource,
            kind = %self.kind,
            subject,
            reason = %denial,
            "denied by policy"
        );
        false
    }

    /// Has a denial shown to operators ([`Policies::denials`]) and counted by the type of its resource.
    /// For those who call [`Guard::decide`]; the refusal itself is theirs to count.
    pub fn note_denial(&self, shard: &Shard, subject: Option<Identifier>, reason: &str) {
        shard.counters().deny(&self.kind);
        self.policies.note(Denied {
            resource: self.resource.to_string(),
            resource_type: self.kind.to_string(),
            subject,
            reason: reason.to_owned(),
            at_ms: shard.unix_ms(shard.now_ms()),
        });
    }

    /// What a decision about the peer of a channel was based on; another one when that has changed.
    pub fn basis(&self, channel: Option<&Channel>) -> Basis {
        let attested = channel.map_or(0, Channel::attested_version);
        Basis(self.policies.version(), attested)
    }

    /// [`Guard::basis`], where there is a guard. To be asked before the decision: what changes between
    /// the two is decided on again then.
    pub(crate) fn basis_of(guard: Option<&Self>, channel: Option<&Channel>) -> Basis {
        guard.map_or_else(Basis::default, |guard| guard.basis(channel))
    }
}

/// Versions of what a decision was based on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Basis(u64, u64);

/// The attributes of several authorities together. Of an attribute that several name, the value of the
/// authority that was accepted first counts.
fn merge(several: &[VerifiedCredential]) -> Attributes {
    let mut all = Attributes::default();
    for credential in several {
        for (name, value) in &credential.attributes.map {
            all.map.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use culvert_proto::policy::{Mode, Policy, Scope};

    use super::*;

    fn set(home: &Path, text: &str) {
        let policy = Policy::parse(text, Mode::Strict).expect("a policy");
        let mut database = Database::open(home).expect("a database");
        let scope = Scope::Name("db".into());
        database.set_policy(&scope, &policy).expect("set");
    }

    fn await_change(policies: &Policies, before: u64) -> u64 {
        for _ in 0..200 {
            if policies.version() != before {
                return policies.version();
            }
            std::thread::sleep(LOOK / 2);
        }
        panic!("the change is not seen");
    }

    #[test]
    fn changes_are_seen_and_a_lost_database_opens_nothing() {
        let home = tempfile::tempdir().expect("a directory");
        set(home.path(), "component=web");
        let policies = Policies::watch(home.path()).expect("policies");
        let guard = Guard::new(&policies, "db", ResourceType::TcpOutlet, Otherwise::Anyone);
        let subject = Subject {
            identifier: Some(Identifier([1; 32])),
            attested: &[],
            has_authorities: false,
        };
        assert!(guard.decide(subject).is_err());
        let first = policies.version();
        set(home.path(), "(= 1 1)");
        let second = await_change(&policies, first);
        assert!(guard.decide(subject).is_ok());
        set(home.path(), "component=batch");
        let third = await_change(&policies, second);
        for entry in std::fs::read_dir(home.path()).expect("entries").flatten() {
            std::fs::remove_file(entry.path()).expect("removed");
        }
        std::thread::sleep(3 * LOOK);
        assert!(guard.decide(subject).is_err());
        // Another one takes its place.
        set(home.path(), "(= 1 1)");
        await_change(&policies, third);
        assert!(guard.decide(subject).is_ok());
    }
}
