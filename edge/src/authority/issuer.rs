//! The key an authority signs credentials with.
//!
//! It is made when the authority starts and attested by its identity; the attestation travels with
//! each credential, so that nobody has to know the key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use culvert_crypto::Identifier;
use culvert_crypto::credential::Issuer;
use culvert_crypto::identity::{Histories, stored};
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{KeyType, SigningVault, SoftwareVault};
use culvert_node::random_bytes;
use culvert_node::store::Stored;
use culvert_proto::authority::{MemberAttributes, SCHEMA};
use culvert_proto::credential::{Attributes, PurposePublicKey};

use super::rules::Issue;

/// Most bytes of histories that one of the two generations holds.
const GENERATION: usize = 8 << 20;

/// Change histories of callers: those seen last. A flood of strangers displaces only those who have not
/// been here for long, and their next handshake brings them back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Callers(Arc<Mutex<Generations>>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Identifier, Box<[u8]>>,
    old: HashMap<Identifier, Box<[u8]>>,
    /// Of the young.
    bytes: usize,
}

impl Generations {
    fn put(&mut self, identifier: &Identifier, history: &[u8]) {
        let known = self.young.get(identifier).map_or(0, |known| known.len());
        // Histories only grow, and another handshake may have been faster.
        if known > history.len() {
            return;
        }
        if self.bytes + history.len() > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        } else {
            self.bytes -= known;
        }
        self.bytes += history.len();
        self.young.insert(*identifier, history.into());
    }
}

impl Callers {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Histories for Callers {
    fn get(&self, identifier: &Identifier) -> Option<Vec<u8>> {
        let mut seen = self.lock();
        if let Some(history) = seen.young.get(identifier) {
            return Some(history.to_vec());
        }
        let history = seen.old.get(identifier)?.to_vec();
        seen.put(identifier, &history);
        Some(history)
    }

    fn put(&mut self, identifier: &Identifier, history: &[u8]) {
        self.lock().put(identifier, history);
    }
}

/// A credential key and what the identity says about it.
struct Key {
    vault: SoftwareVault,
    attestation: Vec<u8>,
    created_at: u64,
    expires_at: u64,
}

/// Issues credentials in the name of an identity.
pub(super) struct CredentialIssuer {
    stored: Stored,
    callers: Callers,
    ttl_s: u64,
    key: Key,
}

impl CredentialIssuer {
    /// Makes the first key. Credentials are valid for `ttl_s` seconds.
    ///
    /// # Errors
    ///
    /// Why the identity cannot attest a key.
    pub(super) fn new(
        stored: Stored,
        callers: Callers,
        ttl_s: u64,
        now_s: u64,
    ) -> Result<Self, String> {
        let key = new_key(&stored, ttl_s, now_s)?;
        Ok(Self {
            stored,
            callers,
            ttl_s,
            key,
        })
    }

    /// Makes another key when credentials would outlive the present one, unless the identity ends
    /// before that one does; then credentials end with it.
    fn renew(&mut self, now_s: u64) -> Result<(), String> {
        let left = self.key.expires_at.saturating_sub(now_s);
        let is_last = self.key.expires_at >= self.stored.identity.latest().valid_until;
        if now_s < self.key.created_at || (left < self.ttl_s && !is_last) {
            self.key = new_key(&self.stored, self.ttl_s, now_s)?;
            tracing::info!("made a new key for credentials");
        }
        Ok(())
    }
}

fn new_key(stored: &Stored, ttl_s: u64, now_s: u64) -> Result<Key, String> {
    let mut vault = SoftwareVault::new();
    let handle = vault
        .generate(KeyType::Ed25519, &Secret::new(random_bytes()))
        .map_err(|error| error.to_string())?;
    let public = vault
        .public_key(&handle)
        .map_err(|error| error.to_string())?;
    let expires_at = now_s
        .saturating_add(ttl_s.saturating_mul(2))
        .min(stored.identity.latest().valid_until);
    let attestation = stored
        .attest(
            &PurposePublicKey::CredentialSigning(public),
            now_s,
            expires_at,
        )
        .map_err(|error| error.to_string())?;
    Ok(Key {
        vault,
        attestation,
        created_at: now_s,
        expires_at,
    })
}

impl Issue for CredentialIssuer {
    fn issue(
        &mut self,
        subject: &Identifier,
        attributes: &MemberAttributes,
        now_s: u64,
    ) -> Result<Vec<u8>, String> {
        self.renew(now_s)?;
        let subject = stored(subject, &self.callers)
            .ok_or_else(|| format!("the change history of {subject} is not known any more"))?;
        let issuer = Issuer::new(&self.key.vault, &self.key.attestation)
            .map_err(|error| error.to_string())?;
        let pairs = attributes.iter();
        let attributes = Attributes::new(
            SCHEMA,
            pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes())),
        );
        issuer
            .issue(&subject, attributes, now_s, self.ttl_s)
            .map_err(|error| error.to_string())
    }
}
