//! Credentials that an authority gave this identity, presented in handshakes and renewed while
//! channels are in use.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::Args;
use ockam::access_control::{AllowAll, DenyAll};
use ockam::errcode::{Kind, Origin};
use ockam::identity::models::{CredentialAndPurposeKey, CredentialSchemaIdentifier};
use ockam::identity::utils::AttributesBuilder;
use ockam::identity::{
    CredentialRetriever, CredentialRetrieverCreator, Identifier, SecureChannelListenerOptions,
    SecureChannelOptions,
};
use ockam::{Address, Context, Error, Node, Result, route};
use serde_json::json;

use crate::{KeyType, event, identity};

/// How long each is valid.
const LIFETIME: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug, Args)]
pub struct Vouched {
    /// Directory with the identity of an authority that gives this one its credentials; none are
    /// presented without.
    #[arg(long, value_name = "DIR")]
    authority: Option<PathBuf>,
    /// Present a new one through open channels every so many milliseconds.
    #[arg(long, value_name = "MILLISECONDS", requires = "authority")]
    refresh: Option<u64>,
}

/// What an identity presents, if anything.
#[derive(Clone)]
pub struct Presented(Option<Arc<Issued>>);

impl Presented {
    /// Gets the first credential, and the next ones from time to time.
    pub async fn start(node: &Node, me: &Identifier, options: Vouched) -> Result<Self> {
        let Some(directory) = options.authority else {
            return Ok(Self(None));
        };
        let ctx = node.context();
        let (authority, issuer) = identity::open(ctx, &directory, KeyType::Ed25519).await?;
        let history = node
            .identities_verification()
            .get_change_history(me)
            .await?;
        authority
            .identities_verification()
            .import_from_change_history(Some(me), history)
            .await?;
        let issued = Arc::new(Issued {
            authority,
            issuer,
            subject: me.clone(),
            latest: Mutex::new(None),
            channels: Mutex::default(),
        });
        issued.issue(0).await?;
        if let Some(every) = options.refresh {
            let ctx = ctx.new_detached(Address::random_local(), DenyAll, AllowAll)?;
            let issued = Arc::clone(&issued);
            tokio::spawn(async move { issued.keep_fresh(ctx, Duration::from_millis(every)).await });
        }
        Ok(Self(Some(issued)))
    }

    /// Presents it through a channel to be opened.
    pub fn to_channel(&self, options: SecureChannelOptions) -> Result<SecureChannelOptions> {
        match self.creator() {
            Some(creator) => options.with_credential_retriever_creator(creator),
            None => Ok(options),
        }
    }

    /// Presents it through the channels that a listener accepts.
    pub fn to_listener(
        &self,
        options: SecureChannelListenerOptions,
    ) -> Result<SecureChannelListenerOptions> {
        match self.creator() {
            Some(creator) => options.with_credential_retriever_creator(creator),
            None => Ok(options),
        }
    }

    fn creator(&self) -> Option<Arc<dyn CredentialRetrieverCreator>> {
        let issued = self.0.as_ref()?;
        Some(Arc::new(Creator(Arc::clone(issued))))
    }
}

/// An authority's credentials for one subject.
struct Issued {
    authority: Node,
    issuer: Identifier,
    subject: Identifier,
    latest: Mutex<Option<CredentialAndPurposeKey>>,
    /// Addresses that are told when there is another one.
    channels: Mutex<Vec<Address>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Issued {
    /// Issues number `n`; the number makes it differ from those before.
    async fn issue(&self, n: u64) -> Result<()> {
        let attributes = AttributesBuilder::with_schema(CredentialSchemaIdentifier(1))
            .with_attribute("role", "tester")
            .with_attribute("number", n.to_string())
            .build();
        let credential = self
            .authority
            .credentials()
            .credentials_creation()
            .issue_credential(&self.issuer, &self.subject, attributes, LIFETIME)
            .await?;
        *lock(&self.latest) = Some(credential);
        Ok(())
    }

    async fn keep_fresh(&self, ctx: Context, every: Duration) {
        for n in 1.. {
            tokio::time::sleep(every).await;
            if let Err(error) = self.issue(n).await {
                event::say(json!({ "event": "failed", "error": error.to_string() }));
                return;
            }
            let channels = lock(&self.channels).clone();
            for channel in &channels {
                // One that has just ended is no news.
                let _ = ctx.send(route![channel.clone()], ()).await;
            }
            event::say(json!({ "event": "refreshed", "number": n, "channels": channels.len() }));
        }
    }
}

struct Creator(Arc<Issued>);

#[ockam::worker]
impl CredentialRetrieverCreator for Creator {
    async fn create(&self, _subject: &Identifier) -> Result<Arc<dyn CredentialRetriever>> {
        Ok(Arc::new(Retriever(Arc::clone(&self.0))))
    }
}

struct Retriever(Arc<Issued>);

#[ockam::worker]
impl CredentialRetriever for Retriever {
    async fn initialize(&self) -> Result<()> {
        Ok(())
    }

    async fn retrieve(&self) -> Result<CredentialAndPurposeKey> {
        lock(&self.0.latest).clone().ok_or_else(|| {
            Error::new(
                Origin::Application,
                Kind::NotFound,
                "no credential was issued",
            )
        })
    }

    fn subscribe(&self, address: &Address) -> Result<()> {
        lock(&self.0.channels).push(address.clone());
        Ok(())
    }

    fn unsubscribe(&self, address: &Address) -> Result<()> {
        lock(&self.0.channels).retain(|known| known != address);
        Ok(())
    }
}
