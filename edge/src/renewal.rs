//! Keeping the credential of a project fresh (`protocol/12-credentials.md` 9).

use std::path::PathBuf;
use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_crypto::credential;
use culvert_node::authority::Authority;
use culvert_node::channel::Credentials;
use culvert_node::identity::OwnIdentity;
use culvert_node::session::request::{Place, Question, ask};
use culvert_node::shard::Shard;
use culvert_node::store::database::Database;
use culvert_node::store::projects::{Project, StoredCredential};
use culvert_proto::request::Method;

use crate::failure::Failure;
use crate::route;
use crate::store::Store;

/// A credential is renewed this long before it ends, in seconds: clocks may differ by a minute, and it
/// is asked for a minute early.
const EARLY_S: u64 = 120;
/// Longest pause between two looks at the clock: it may be set meanwhile.
const LOOK: Duration = Duration::from_secs(5);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(10);
/// How long the authority may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Service that issues credentials.
const ISSUER: &str = "credential_issuer";

/// The credential of one project member.
#[derive(Clone)]
pub struct Renewal {
    /// Who issues it.
    pub authority: Authority,
    place: Place,
    subject: Identifier,
    cached: Option<StoredCredential>,
    own: OwnIdentity,
    home: PathBuf,
}

impl Renewal {
    /// Of a member of `project`, whose identity is `own`.
    ///
    /// # Errors
    ///
    /// When what is stored about the project cannot be used.
    pub fn new(
        store: &Store,
        database: &mut Database,
        project: &Project,
        own: &OwnIdentity,
    ) -> Result<Self, Failure> {
        let damaged = |what: String| {
            Failure::new(
                format!("the project '{}' cannot be used: {what}", project.name),
                "enroll again with `culvert-edge project enroll TICKET`",
            )
        };
        let authority = Authority::new(project.authority_history.clone()).map_err(damaged)?;
        let place = route::place(&project.authority_route)
            .map_err(|error| damaged(format!("the route to its authority: {error}")))?;
        let subject = own.endpoint().identifier();
        let cached = database.credential(&subject, &authority.identifier)?;
        Ok(Self {
            authority,
            place,
            subject,
            cached,
            own: own.clone(),
            home: store.home().to_owned(),
        })
    }

    /// The credential from before, if it has not expired.
    #[must_use]
    pub fn cached(&self) -> Option<Vec<u8>> {
        let cached = self.cached.as_ref()?;
        (cached.expires_at > crate::commands::now_s()).then(|| cached.encoded.clone())
    }

    /// Renews it whenever it is about to end, until the node does. `credentials` trust the authority
    /// only.
    pub async fn keep(self, shard: Shard, credentials: Credentials) {
        let mut ends = self.cached.as_ref().map_or(0, |cached| cached.expires_at);
        loop {
            let left = ends.saturating_sub(shard.now_s() + EARLY_S);
            if left > 0 {
                shard.sleep(LOOK.min(Duration::from_secs(left))).await;
                continue;
            }
            match self.renew(&shard, &credentials).await {
                Ok(fresh) => {
                    tracing::info!(expires_at = fresh.expires_at, "got a new credential");
                    ends = fresh.expires_at;
                    self.save(fresh);
                    // One that is too short-lived to be renewed in time is not asked for in a loop.
                    shard.sleep(LOOK).await;
                }
                Err(reason) => {
                    let authority = self.authority.identifier.to_string();
                    tracing::warn!(authority, reason, "no new credential yet, trying again");
                    shard.sleep(PAUSE).await;
                }
            }
        }
    }

    async fn renew(
        &self,
        shard: &Shard,
        credentials: &Credentials,
    ) -> Result<StoredCredential, String> {
        let question = Question {
            service: ISSUER,
            method: Method::Post,
            path: "/",
            body: None,
        };
        let answer = ask(shard, credentials, &self.place, &question, LIMIT)
            .await
            .map_err(|error| error.to_string())?;
        let encoded = match (answer.is_ok(), &answer.body) {
            (true, Some(body)) => body.clone(),
            _ => return Err(format!("the authority refused: {}", answer.message())),
        };
        let issuers = [self.authority.identifier];
        let histories = credentials.histories.borrow();
        let verified = credential::verify(
            &encoded,
            Some(&self.subject),
            &issuers,
            &*histories,
            shard.now_s(),
        )
        .map_err(|error| format!("what the authority sent is refused: {error}"))?;
        self.own
            .show(std::slice::from_ref(&encoded))
            .map_err(|error| error.to_string())?;
        Ok(StoredCredential {
            encoded,
            expires_at: verified.expires_at,
        })
    }

    /// Stores it for the next start, on a thread of its own: files may be slow.
    fn save(&self, fresh: StoredCredential) {
        let (home, subject, issuer) = (self.home.clone(), self.subject, self.authority.identifier);
        let save = move || {
            let saved = Database::open(&home)
                .and_then(|mut database| database.save_credential(&subject, &issuer, &fresh));
            if let Err(error) = saved {
                tracing::warn!(%error, "the credential could not be stored");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("store".into()).spawn(save) {
            tracing::warn!(%error, "the credential could not be stored");
        }
    }
}
