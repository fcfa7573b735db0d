//! What authorities say about the peer of a channel, and what this node shows it of itself.

use culvert_crypto::channel::accept_refresh;
use culvert_crypto::credential::{self, CredentialError, VerifiedCredential};

use super::Channel;
use crate::reason::Refusal;
use crate::shard::Shard;

impl Channel {
    /// Whether authorities are asked about peers at all.
    pub fn has_authorities(&self) -> bool {
        !self.credentials.authorities.is_empty()
    }

    /// What is known about the peer, by accepted authorities, and has not expired.
    ///
    /// It belongs to this channel: what the same identity shows elsewhere counts there only.
    pub fn attested(&self) -> std::cell::Ref<'_, [VerifiedCredential]> {
        std::cell::Ref::map(self.attested.borrow(), Vec::as_slice)
    }

    /// Changes whenever [`Channel::attested`] does.
    pub fn attested_version(&self) -> u64 {
        self.attested_version.get()
    }

    /// Takes the credentials that the peer shows. One that is refused is as if it had not been shown:
    /// the channel stays (`protocol/12-credentials.md` 7).
    pub(super) fn learn(&self, shard: &Shard, shown: &[Vec<u8>]) {
        let Some(peer) = self.peer() else { return };
        if !self.has_authorities() {
            return;
        }
        let known = self.credentials.histories.borrow();
        for bytes in shown {
            let authorities = &self.credentials.authorities;
            match credential::verify(bytes, Some(&peer), authorities, &*known, shard.now_s()) {
                Ok(verified) => {
                    tracing::debug!(%peer, issuer = %verified.issuer, "a credential was accepted");
                    let mut attested = self.attested.borrow_mut();
                    // One of each authority, the latest shown, in the order of the authorities.
                    attested.retain(|other| other.issuer != verified.issuer);
                    attested.push(verified);
                    attested.sort_by_key(|one| authorities.iter().position(|a| *a == one.issuer));
                }
                Err(error) => {
                    if shard.may_log() {
                        tracing::warn!(%peer, %error, "a credential was refused");
                    }
                    shard.counters().refuse(refusal(&error));
                }
            }
        }
        self.attested_version.set(self.attested_version.get() + 1);
    }

    /// Takes what the peer shows on a channel that is up (`protocol/13-secure-channel.md` 8).
    pub(super) fn learn_again(&self, shard: &Shard, content: &[u8]) {
        let Some(peer) = self.peer() else { return };
        let accepted = {
            let mut known = self.credentials.histories.borrow_mut();
            accept_refresh(&peer, content, &mut *known)
        };
        match accepted {
            Ok(shown) => self.learn(shard, &shown),
            Err(error) => {
                if shard.may_log() {
                    tracing::warn!(%peer, %error, "new credentials were refused");
                }
                shard.counters().refuse(Refusal::CredentialMalformed);
            }
        }
    }

    /// Asks the guard about the peer, if what it decides on has changed.
    pub(super) fn is_admitted(&self, shard: &Shard) -> bool {
        let Some(guard) = self.guard.get() else {
            return true;
        };
        let basis = guard.basis(Some(self));
        self.basis.replace(basis) == basis || guard.admits(shard, Some(self))
    }

    /// Has the link that carries it count as one whose peer is known.
    pub(super) fn vouch(&self, shard: &Shard) {
        let link = shard.authenticate(self.encryptor.key);
        self.vouched.replace(link);
    }

    /// Takes that back from the link that it was said of, whatever has become of the way there.
    pub(super) fn stop_vouching(&self, shard: &Shard) {
        if let Some(link) = self.vouched.take() {
            shard.revoke_authentication(&link);
        }
    }

    /// Shows the peer what has changed about this node since the handshake.
    pub(super) fn show_again(&self, shard: &Shard) {
        let version = self.credentials.own.generation();
        if self.shown.replace(version) != version
            && let Ok(refresh) = self.credentials.own.endpoint().refresh()
        {
            self.tell(shard, &refresh, "new credentials");
        }
    }

    /// Forgets what has expired.
    pub(super) fn expire(&self, now_s: u64) {
        let mut attested = self.attested.borrow_mut();
        let before = attested.len();
        attested.retain(|credential| credential.expires_at >= now_s);
        if attested.len() != before {
            self.attested_version.set(self.attested_version.get() + 1);
        }
    }
}

/// The counter of a refused credential.
fn refusal(error: &CredentialError) -> Refusal {
    match error {
        CredentialError::UnknownAuthority | CredentialError::PurposeKey(_) => {
            Refusal::CredentialIssuer
        }
        CredentialError::WrongPurpose => Refusal::CredentialPurpose,
        CredentialError::Signature => Refusal::CredentialForged,
        CredentialError::NoSubject | CredentialError::OtherSubject => Refusal::CredentialSubject,
        CredentialError::FromTheFuture => Refusal::CredentialEarly,
        CredentialError::Expired | CredentialError::OutsidePurposeKey => Refusal::CredentialExpired,
        _ => Refusal::CredentialMalformed,
    }
}
