//! The identity that a running node shows in handshakes, and how it notices that it was replaced.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use culvert_crypto::Identifier;
use culvert_crypto::channel::{Endpoint, EndpointError};
use culvert_crypto::identity::{Identity, IdentityError};
use culvert_crypto::primitives::curve25519::x25519_public_key;
use culvert_crypto::purpose_key::{self, PurposeKeyError};
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{KeyType, SigningVault as _, SoftwareVault, VaultError};
use culvert_proto::credential::PurposePublicKey;

use crate::random;
use crate::store::{Store, StoreError, Stored};

/// How often the file of the identity is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// How often its channel key is looked at, which is renewed when its attestation ends soon.
const RENEWAL: Duration = Duration::from_secs(24 * 3600);

/// Our side of handshakes, the same on all shards and replaceable. Cloning is cheap; only handshakes
/// look into it, never the data path.
#[derive(Clone)]
pub struct OwnIdentity(Arc<Shared>);

struct Shared {
    endpoint: RwLock<Endpoint>,
    generation: AtomicU64,
}

/// Why no identity could be made.
#[derive(Debug, thiserror::Error)]
pub enum NewIdentityError {
    /// No key for its signatures.
    #[error("cannot make a signing key: {0}")]
    Key(#[from] VaultError),
    /// No change history.
    #[error("cannot make an identity: {0}")]
    Identity(#[from] IdentityError),
    /// No attestation of its channel key.
    #[error("cannot attest the key for secure channels: {0}")]
    Attestation(#[from] PurposeKeyError),
    /// It cannot be shown in handshakes.
    #[error("cannot use the identity: {0}")]
    Endpoint(#[from] EndpointError),
}

/// How long an identity in memory can be used, in seconds: ten years.
const LIFE_S: u64 = 10 * 365 * 24 * 3600;

impl OwnIdentity {
    /// A new identity that is kept in memory only: it ends with the process, and its signing key is
    /// forgotten at once. One that is to last comes out of a [`Store`].
    ///
    /// # Errors
    ///
    /// [`NewIdentityError`].
    pub fn temporary() -> Result<Self, NewIdentityError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.map_or(0, |since| since.as_secs());
        let mut vault = SoftwareVault::new();
        let key = vault.generate(KeyType::Ed25519, &Secret::new(random::bytes()))?;
        let identity = Identity::create(&vault, &key, now_s, now_s + LIFE_S)?;
        let secret = Secret::new(random::bytes());
        let public = PurposePublicKey::SecureChannel(x25519_public_key(&secret));
        let attestation = purpose_key::attest(&vault, &identity, &public, now_s)?;
        Ok(Endpoint::new(&identity, secret, attestation, Vec::new())?.into())
    }

    /// What handshakes show from now on.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        let endpoint = self.0.endpoint.read();
        endpoint.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its identifier, which never changes.
    #[must_use]
    pub fn identifier(&self) -> Identifier {
        self.endpoint().identifier()
    }

    /// A number that grows when the endpoint is replaced.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Shows another endpoint from now on, with the credentials that are shown already; running
    /// channels stay, and tell their peers. False, and nothing changes, for one of another identity:
    /// peers were told this one.
    pub fn replace(&self, endpoint: &Endpoint) -> bool {
        let mut current = self.current();
        if current.identifier() != endpoint.identifier() {
            return false;
        }
        let credentials = current.credentials().unwrap_or_default();
        // They were shown before, so they can be.
        if let Ok(endpoint) = endpoint.with_credentials(&credentials)
            && !endpoint.shows_the_same(&current)
        {
            *current = endpoint;
            self.0.generation.fetch_add(1, Ordering::AcqRel);
        }
        true
    }

    /// Shows these credentials from now on.
    ///
    /// # Errors
    ///
    /// When they are none, or too large.
    pub fn show(&self, credentials: &[Vec<u8>]) -> Result<(), EndpointError> {
        let mut current = self.current();
        *current = current.with_credentials(credentials)?;
        self.0.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn current(&self) -> RwLockWriteGuard<'_, Endpoint> {
        let endpoint = self.0.endpoint.write();
        endpoint.unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the file of an identity on a thread of its own: when it changes, the endpoint that
    /// `make` makes of it is shown. What cannot be read changes nothing and is tried again.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn follow(
        &self,
        store: Store,
        name: &str,
        make: impl Fn(&Stored) -> Result<Endpoint, StoreError> + Send + 'static,
    ) -> io::Result<()> {
        let (own, name) = (self.clone(), name.to_owned());
        let path = store.path(&name).map_err(io::Error::other)?;
        // What was read before the thread looks for the first time may be older than the file.
        let mut seen = None;
        let mut failed = None;
        let mut looked = Instant::now();
        std::thread::Builder::new()
            .name("identity".into())
            .spawn(move || {
                loop {
                    let now = stamp(&path);
                    let is_due = looked.elapsed() >= RENEWAL;
                    if (now.is_some() && now != seen) || is_due {
                        looked = Instant::now();
                        match own.read_again(&store, &name, &make) {
                            Ok(()) => (seen, failed) = (now, None),
                            // Told once for each state of the file.
                            Err(error) if failed != now => {
                                failed = now;
                                let hint = error.hint();
                                tracing::error!(%error, hint, "the changed identity is not used");
                            }
                            Err(_) => {}
                        }
                    }
                    std::thread::sleep(PAUSE);
                }
            })
            .map(drop)
    }

    fn read_again(
        &self,
        store: &Store,
        name: &str,
        make: &impl Fn(&Stored) -> Result<Endpoint, StoreError>,
    ) -> Result<(), StoreError> {
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let endpoint = make(&store.load_for_use(name, now_s)?)?;
        let (shown, before) = (endpoint.identifier(), self.generation());
        match self.replace(&endpoint) {
            true if self.generation() == before => {}
            true => tracing::info!(identity = name, "handshakes show the changed identity"),
            false => tracing::error!(
                identity = name,
                "the file holds another identity now, {shown}: restart to use it"
            ),
        }
        Ok(())
    }
}

impl From<Endpoint> for OwnIdentity {
    fn from(endpoint: Endpoint) -> Self {
        Self(Arc::new(Shared {
            endpoint: RwLock::new(endpoint),
            generation: AtomicU64::new(0),
        }))
    }
}

/// Changes with the file: it is always replaced by a new one.
fn stamp(path: &Path) -> Option<(u64, i64, i64, u64)> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.ino(), data.mtime(), data.mtime_nsec(), data.len()))
}
