//! Vaults whose signing keys are in a service elsewhere, as a cloud's key management.
//!
//! The service signs; the keys of secure channels stay in the file of the vault. The library knows
//! no service: programs say how to open one.

use culvert_crypto::vault::{SigningHandle, SigningVault, VaultError};
use serde::{Deserialize, Serialize};

/// Where the signing keys of a vault are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name, for example `aws-kms`.
    pub name: String,
    /// Where; the service's own default without.
    pub region: Option<String>,
    /// Whether new keys can be copied to other regions.
    pub multi_region: bool,
}

/// A key in a service, as the file of a vault remembers it: nothing has to be asked to find it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteKey {
    /// What the service calls it.
    pub id: String,
    /// Public key: a P-256 point, not compressed.
    #[serde(with = "hex")]
    pub public_key: [u8; 65],
}

/// What a service said when it refused, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFailure {
    /// What happened, to what.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

/// A signing vault that is a service. Its operations may block for seconds.
pub trait RemoteVault: SigningVault + Send {
    /// All keys it uses, to be remembered.
    fn keys(&self) -> Vec<RemoteKey>;

    /// Uses a key that somebody else made.
    ///
    /// # Errors
    ///
    /// [`VaultError::NotFound`], [`VaultError::UnsupportedType`], [`VaultError::Unavailable`].
    fn adopt(&mut self, id: &str) -> Result<SigningHandle, VaultError>;

    /// What the service said the last time it refused.
    fn failure(&self) -> Option<RemoteFailure>;
}

/// Opens a service with the keys that are remembered of it.
pub type OpenService = fn(&Service, Vec<RemoteKey>) -> Result<Box<dyn RemoteVault>, RemoteFailure>;
