//! Signing keys in the key management service of AWS (`protocol/10-vault.md` 7).
//!
//! ```text
//! generate   CreateKey(SIGN_VERIFY, ECC_NIST_P256), GetPublicKey
//! adopt      GetPublicKey
//! sign       Sign(ECDSA_SHA_256, DIGEST, SHA-256 of the data), checked with the public key
//! delete     ScheduleKeyDeletion(7 days)
//! ```
//!
//! The file of the vault remembers ids and public keys, so that nothing is listed and nothing is asked
//! at start. Calls block, for seconds when the service is slow: they are made when an identity is
//! made, rotated or deleted and when its channel key is renewed, never on a shard.

use std::cell::RefCell;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeySpec, KeyState, KeyUsageType, MessageType, SigningAlgorithmSpec};
use culvert_crypto::primitives::sha256;
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::der::{p256_public_key, p256_signature};
use culvert_crypto::vault::{KeyType, SigningHandle, SigningVault, VaultError, verify};
use culvert_proto::identity::{PublicKey, Signature};
use tokio::runtime::Runtime;

use crate::store::service::{RemoteFailure, RemoteKey, RemoteVault, Service};

/// Days until a deleted key is gone: the fewest that are possible. Until then it can be restored.
const PENDING_DAYS: i32 = 7;
/// How often a call is made before it has failed.
const ATTEMPTS: u32 = 5;
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long to wait for a key that was just made: it is not known everywhere at once.
const KNOWN_AFTER: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1500),
    Duration::from_secs(4),
];

/// A vault in AWS KMS.
struct Kms {
    runtime: Runtime,
    client: Client,
    multi_region: bool,
    keys: Vec<RemoteKey>,
    failure: RefCell<Option<RemoteFailure>>,
}

/// Opens AWS KMS with the keys that are remembered of it. Asks nobody.
///
/// # Errors
///
/// When the service is another one, or the process has no room for a runtime.
pub fn open(
    service: &Service,
    keys: Vec<RemoteKey>,
) -> Result<Box<dyn RemoteVault>, RemoteFailure> {
    if service.name != super::AWS_KMS {
        return Err(RemoteFailure {
            message: format!("its keys are in the unknown service '{}'", service.name),
            hint: "use the version of Culvert that made it".into(),
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RemoteFailure {
            message: format!("cannot prepare calls of AWS KMS: {error}"),
            hint: "check the limit of open files (ulimit -n)".into(),
        })?;
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts);
    if let Some(region) = &service.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let config = runtime.block_on(loader.load());
    Ok(Box::new(Kms {
        client: Client::new(&config),
        runtime,
        multi_region: service.multi_region,
        keys,
        failure: RefCell::default(),
    }))
}

impl Kms {
    fn key(&self, handle: &SigningHandle) -> Result<&RemoteKey, VaultError> {
        if handle.key_type != KeyType::P256 {
            return Err(VaultError::UnsupportedType);
        }
        let key = self
            .keys
            .iter()
            .find(|key| key.id.as_bytes() == handle.bytes);
        key.ok_or(VaultError::NotFound)
    }

    /// Remembers why the service is of no use.
    fn unusable(&self, message: String, hint: &str) -> VaultError {
        let hint = hint.to_owned();
        self.failure.replace(Some(RemoteFailure { message, hint }));
        VaultError::Unavailable
    }

    fn refused<E, R>(&self, what: &str, error: &SdkError<E, R>) -> VaultError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let code = error.code().unwrap_or_default();
        let said = match error.message() {
            Some(message) => message.to_owned(),
            None => DisplayErrorContext(error).to_string(),
        };
        self.unusable(format!("AWS KMS: {what}: {code} {said}"), hint(error, code))
    }

    /// The id and public key of a key, if it is one that can be used.
    async fn public_key(&self, id: &str) -> Result<RemoteKey, VaultError> {
        let said = self.client.get_public_key().key_id(id).send().await;
        let said = said.map_err(|error| self.refused(&format!("GetPublicKey of {id}"), &error))?;
        // What is written into the key itself tells the curve in any case.
        let fits = said
            .key_spec()
            .is_none_or(|spec| *spec == KeySpec::EccNistP256)
            && said.key_usage() == Some(&KeyUsageType::SignVerify);
        let point = said
            .public_key()
            .and_then(|der| p256_public_key(der.as_ref()));
        match (point, said.key_id()) {
            (Some(public_key), Some(id)) if fits => Ok(RemoteKey {
                id: id.to_owned(),
                public_key,
            }),
            _ => {
                let message = format!("AWS KMS: the key {id} is not for ECDSA with P-256");
                let hint = "use a key with KeySpec ECC_NIST_P256 and KeyUsage SIGN_VERIFY";
                Err(self.unusable(message, hint))
            }
        }
    }

    /// As [`Kms::public_key`], for a key that was made a moment ago.
    async fn public_key_of_new(&self, id: &str) -> Result<RemoteKey, VaultError> {
        for pause in KNOWN_AFTER {
            match self.public_key(id).await {
                Ok(key) => return Ok(key),
                Err(_) => tokio::time::sleep(pause).await,
            }
        }
        self.public_key(id).await
    }

    async fn create(&self) -> Result<RemoteKey, VaultError> {
        let made = self
            .client
            .create_key()
            .key_usage(KeyUsageType::SignVerify)
            .key_spec(KeySpec::EccNistP256)
            .description("Primary key of a Culvert identity");
        let made = match self.multi_region {
            true => made.multi_region(true),
            false => made,
        };
        let made = made.send().await;
        let made = made.map_err(|error| self.refused("CreateKey", &error))?;
        let Some(id) = made.key_metadata().map(|data| data.key_id().to_owned()) else {
            let hint = "see the console of AWS for a new key without use";
            return Err(self.unusable("AWS KMS: CreateKey gave no key id".into(), hint));
        };
        match self.public_key_of_new(&id).await {
            // The id that CreateKey gives is the one that ScheduleKeyDeletion always takes.
            Ok(key) => Ok(RemoteKey { id, ..key }),
            Err(error) => {
                // Nobody would know of it.
                let why = self.failure.borrow().clone();
                if self.schedule(&id).await.is_err() {
                    tracing::warn!(key = id, "a new key in AWS KMS is not used and not deleted");
                }
                self.failure.replace(why);
                Err(error)
            }
        }
    }

    async fn schedule(&self, id: &str) -> Result<bool, VaultError> {
        let said = self
            .client
            .schedule_key_deletion()
            .key_id(id)
            .pending_window_in_days(PENDING_DAYS)
            .send()
            .await;
        let Err(error) = said else {
            return Ok(true);
        };
        match error.code() {
            Some("NotFoundException") => Ok(false),
            // It may have been scheduled before, by us or by somebody else.
            Some("KMSInvalidStateException") if self.is_pending(id).await => Ok(true),
            _ => Err(self.refused(&format!("ScheduleKeyDeletion of {id}"), &error)),
        }
    }

    async fn is_pending(&self, id: &str) -> bool {
        let said = self.client.describe_key().key_id(id).send().await;
        let state = said
            .ok()
            .and_then(|said| said.key_metadata()?.key_state().cloned());
        matches!(
            state,
            Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion)
        )
    }

    async fn sign_digest(&self, key: &RemoteKey, digest: [u8; 32]) -> Result<[u8; 64], VaultError> {
        let said = self
            .client
            .sign()
            .key_id(&key.id)
            .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256)
            .message_type(MessageType::Digest)
            .message(Blob::new(digest))
            .send()
            .await
            .map_err(|error| self.refused(&format!("Sign with {}", key.id), &error))?;
        let der = said.signature().map(AsRef::as_ref).unwrap_or_default();
        p256_signature(der).ok_or_else(|| self.bad_signature(key))
    }

    fn bad_signature(&self, key: &RemoteKey) -> VaultError {
        let message = format!("AWS KMS: the signature by {} is not one", key.id);
        let hint = "check that the vault's file belongs to this account and region";
        self.unusable(message, hint)
    }

    fn remember(&mut self, key: RemoteKey) -> SigningHandle {
        let handle = SigningHandle {
            key_type: KeyType::P256,
            bytes: key.id.clone().into_bytes(),
        };
        self.keys.retain(|known| known.id != key.id);
        self.keys.push(key);
        handle
    }
}

impl SigningVault for Kms {
    fn generate(
        &mut self,
        key_type: KeyType,
        _random: &Secret<32>,
    ) -> Result<SigningHandle, VaultError> {
        self.failure.take();
        if key_type != KeyType::P256 {
            let message = "AWS KMS has no Ed25519 keys for this".to_owned();
            self.unusable(message, "leave --type out, or use --type p256");
            return Err(VaultError::UnsupportedType);
        }
        let key = self.runtime.block_on(self.create())?;
        Ok(self.remember(key))
    }

    fn public_key(&self, handle: &SigningHandle) -> Result<PublicKey, VaultError> {
        self.key(handle).map(|key| PublicKey::P256(key.public_key))
    }

    fn handle_of(&self, public_key: &PublicKey) -> Result<SigningHandle, VaultError> {
        let key = self
            .keys
            .iter()
            .find(|key| PublicKey::P256(key.public_key) == *public_key);
        key.map(|key| SigningHandle {
            key_type: KeyType::P256,
            bytes: key.id.clone().into_bytes(),
        })
        .ok_or(VaultError::NotFound)
    }

    fn sign(&self, handle: &SigningHandle, data: &[u8]) -> Result<Signature, VaultError> {
        self.failure.take();
        let key = self.key(handle)?;
        let raw = self.runtime.block_on(self.sign_digest(key, sha256(data)))?;
        let signature = Signature::P256(raw);
        match verify(&PublicKey::P256(key.public_key), data, &signature) {
            true => Ok(signature),
            false => Err(self.bad_signature(key)),
        }
    }

    fn delete(&mut self, handle: &SigningHandle) -> Result<bool, VaultError> {
        self.failure.take();
        let id = match self.key(handle) {
            Ok(key) => key.id.clone(),
            Err(VaultError::NotFound) => return Ok(false),
            Err(error) => return Err(error),
        };
        let was_there = self.runtime.block_on(self.schedule(&id))?;
        self.keys.retain(|key| key.id != id);
        if !was_there {
            tracing::warn!(key = id, "AWS KMS did not have the key any more");
        }
        // Removed from what is remembered in any case.
        Ok(true)
    }
}

impl RemoteVault for Kms {
    fn keys(&self) -> Vec<RemoteKey> {
        self.keys.clone()
    }

    fn adopt(&mut self, id: &str) -> Result<SigningHandle, VaultError> {
        self.failure.take();
        let key = self.runtime.block_on(self.public_key(id))?;
        Ok(self.remember(key))
    }

    fn failure(&self) -> Option<RemoteFailure> {
        self.failure.borrow().clone()
    }
}

/// What to do about what AWS said.
fn hint<E, R>(error: &SdkError<E, R>, code: &str) -> &'static str {
    match (error, code) {
        (_, "AccessDeniedException") => {
            "allow this user or role kms:CreateKey, kms:GetPublicKey, kms:Sign, kms:DescribeKey and \
             kms:ScheduleKeyDeletion, in IAM and in the policy of the key"
        }
        (
            _,
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "InvalidClientTokenId",
        ) => "the credentials of AWS are wrong or expired: renew them, and check the clock",
        (_, "NotFoundException") => "check region and account: this key is not there",
        (_, "KMSInvalidStateException" | "DisabledException") => {
            "enable the key, or cancel its deletion, in the console of AWS or with `aws kms`"
        }
        (_, "ThrottlingException" | "LimitExceededException") => {
            "try again later, or ask AWS for a higher limit"
        }
        (SdkError::ConstructionFailure(_), _) => "set a region: --kms-region or AWS_REGION",
        (SdkError::DispatchFailure(_), _) => {
            "check that this machine reaches AWS KMS, and that credentials are set: AWS_PROFILE, or \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        (SdkError::TimeoutError(_), _) => "check that this machine reaches AWS KMS, and try again",
        _ => "see the message; CULVERT_LOG=aws_smithy_runtime=debug tells more",
    }
}
