//! What this node shows of itself in handshakes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use culvert_crypto::channel::{Endpoint, EndpointError};

/// This node's side of handshakes, shared by all shards. It is replaced when a credential was renewed
/// or the identity rotated: new channels use the new one, and those that are up tell their peers
/// (`protocol/13-secure-channel.md` 8).
#[derive(Clone)]
pub struct Own(Arc<Shared>);

struct Shared {
    endpoint: Mutex<Endpoint>,
    version: AtomicU64,
}

impl Own {
    /// Shows these credentials from now on.
    ///
    /// # Errors
    ///
    /// When they are none, or too large.
    pub fn show(&self, credentials: &[Vec<u8>]) -> Result<(), EndpointError> {
        let mut endpoint = self.lock();
        *endpoint = endpoint.with_credentials(credentials)?;
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Is this identity from now on, after a rotation. The credentials stay those that are shown.
    ///
    /// # Errors
    ///
    /// None in practice: they were shown before.
    pub fn become_identity(&self, identity: &Endpoint) -> Result<(), EndpointError> {
        let mut endpoint = self.lock();
        *endpoint = identity.with_credentials(&endpoint.credentials()?)?;
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// What is shown at present.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.lock().clone()
    }

    /// Changes with each replacement.
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Endpoint> {
        self.0
            .endpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Endpoint> for Own {
    fn from(endpoint: Endpoint) -> Self {
        Self(Arc::new(Shared {
            endpoint: Mutex::new(endpoint),
            version: AtomicU64::new(0),
        }))
    }
}
