//! Who may register a name (`protocol/04-relay.md` 5).

use std::sync::atomic::{AtomicBool, Ordering};

use culvert_node::channel::Channel;
use culvert_node::policy::{Guard, Subject};

/// Attribute that names what its subject may register.
const RELAY: &[u8] = b"ockam-relay";
/// Its value for every name.
const EVERY: &[u8] = b"*";

/// What decides about registrations beside who holds a name.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Whether the attribute [`RELAY`] is needed: where authorities are believed.
    pub by_attribute: AtomicBool,
    /// Policies about resources of type `relay`.
    pub guard: Guard,
}

impl Admission {
    /// Decides about the peer of a channel, or about one that is not known.
    ///
    /// # Errors
    ///
    /// Why not, for the operator.
    pub(crate) fn decide(&self, name: &str, channel: Option<&Channel>) -> Result<(), String> {
        let by_attribute = self.by_attribute.load(Ordering::Relaxed);
        let Some(channel) = channel else {
            if by_attribute {
                return Err("a credential is needed, and nobody proved who they are".into());
            }
            let nobody = Subject {
                identifier: None,
                attested: &[],
                has_authorities: false,
            };
            return self.ask(name, nobody);
        };
        let attested = channel.attested();
        if by_attribute {
            let values = attested.iter().filter_map(|one| one.attributes.get(RELAY));
            if !values
                .into_iter()
                .any(|value| value == EVERY || value == name.as_bytes())
            {
                return Err(format!(
                    "no credential with the attribute ockam-relay={name} or ockam-relay=*"
                ));
            }
        }
        self.ask(
            name,
            Subject {
                identifier: channel.peer(),
                attested: &attested,
                has_authorities: channel.has_authorities(),
            },
        )
    }

    fn ask(&self, name: &str, subject: Subject<'_>) -> Result<(), String> {
        let decision = self.guard.of(name).decide(subject);
        decision.map_err(|denial| denial.to_string())
    }
}
