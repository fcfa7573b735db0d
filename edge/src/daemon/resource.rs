//! What all kinds of resources have in common.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use culvert_manage::problem::Problem;
use culvert_node::portal::Role;
use culvert_node::stop::Stopper;
use culvert_node::store::database::Database;
use culvert_proto::policy::ResourceType;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::inner::{Inner, State};
use super::status::Watch;

/// How long something may take to end once it was told to.
const END: Duration = Duration::from_secs(5);
/// Longest name of a resource, in bytes.
const LONGEST_NAME: usize = 64;

/// What runs for a resource.
pub(super) struct Live {
    pub(super) stopper: Stopper,
    /// The socket of an inlet, so that one that is changed keeps it.
    pub(super) socket: Option<TcpListener>,
    /// Where it listens, or leads to, as text.
    pub(super) place: String,
}

impl Live {
    /// Ends it, and waits until what it held is free again.
    pub(super) fn end(self, what: &str) {
        drop(self.socket);
        self.stopper.stop();
        if !self.stopper.wait(END) {
            tracing::warn!(what, "still ending, what it held is freed later");
        }
    }
}

/// A resource that the node has.
pub(super) struct Held<R> {
    pub(super) spec: R,
    pub(super) watch: Arc<Watch>,
    /// None while it cannot run.
    pub(super) live: Option<Live>,
}

/// How many streams there are, by end and resource.
pub(super) type Streams = BTreeMap<(Role, String), u64>;

/// All of a kind.
pub(super) type Shelf<R> = BTreeMap<String, Held<R>>;

/// What a resource is prepared with.
pub(super) struct Scene<'a> {
    pub(super) inner: &'a Inner,
    pub(super) database: &'a mut Database,
    /// What runs for the one whose place it takes.
    pub(super) old: Option<&'a Live>,
    /// It was there before the node was started: what it needs may become free in a moment.
    pub(super) restored: bool,
}

/// A kind of resource.
pub(super) trait Resource:
    Clone + PartialEq + Serialize + DeserializeOwned + Send + 'static
{
    /// The kind, as people and the database know it.
    const KIND: &'static str;
    /// Kind whose policies decide about it, if any do.
    const GUARDED: Option<ResourceType> = None;
    /// Whether its name is an address that messages can be sent to.
    const HAS_ADDRESS: bool = false;
    /// The spec with how it is doing.
    type View;
    /// What it is started with: everything that can fail has been done.
    type Plan;

    /// What tells it from others of its kind.
    fn key(&self) -> &str;
    /// Where those of its kind are.
    fn shelf(state: &mut State) -> &mut Shelf<Self>;
    /// Brings what was written into the form that is stored.
    ///
    /// # Errors
    ///
    /// What makes no sense.
    fn check(&mut self) -> Result<(), Problem>;
    /// Whether asking for this gives `there`, which exists.
    fn is_met_by(&self, there: &Self) -> bool {
        self == there
    }
    /// The policy that comes with it.
    fn allow(&self) -> Option<&str> {
        None
    }
    /// The same with another policy.
    #[must_use]
    fn with_policy(self, _: Option<String>) -> Self {
        self
    }
    /// Whether it says itself who is at the other end.
    fn names_peers(&self) -> bool {
        false
    }
    /// Finds and takes what it needs.
    ///
    /// # Errors
    ///
    /// What it needs and cannot have.
    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<Self::Plan, Problem>;
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When the node does not do it; then nothing is left running.
    fn start(&self, inner: &Inner, plan: Self::Plan, watch: &Arc<Watch>) -> Result<Live, Problem>;
    /// How it is doing.
    fn view(held: &Held<Self>, inner: &Inner, streams: &Streams) -> Self::View;
}

/// Checks the name of a resource.
pub(super) fn check_name(kind: &str, name: &str) -> Result<(), Problem> {
    let is_name = (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    match is_name {
        true => Ok(()),
        false => Err(Problem::invalid(
            format!("'{name}' is not a name for a {kind}"),
            "use 1 to 64 of a-z A-Z 0-9 . _ -, not starting with . or -",
        )),
    }
}

/// Checks the names of identities that a spec lists.
pub(super) fn identifiers(texts: &[String]) -> Result<Vec<culvert_crypto::Identifier>, Problem> {
    let read = |text: &String| {
        crate::cli::identifier(text).map_err(|expected| {
            Problem::invalid(format!("'{text}' is not an identifier"), expected)
        })
    };
    texts.iter().map(read).collect()
}

/// How many streams a resource has.
pub(super) fn streams_of(role: Role, name: &str, streams: &Streams) -> u64 {
    streams.get(&(role, name.to_owned())).copied().unwrap_or(0)
}
