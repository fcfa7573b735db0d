//! The names that a policy may use.
//!
//! Specification: `protocol/20-policies.md` 5.
//!
//! | name | value |
//! |---|---|
//! | `resource.id` | name of the resource |
//! | `action.id` | what is done with it |
//! | `subject.identifier` | `I` and 64 lower-case hexadecimal digits |
//! | `subject.has_credential` | true or false; only bound where there is an authority |
//! | `subject.<attribute>` | text, of the credential |

use super::Mode;
use super::value::Value;
use crate::credential::Attributes;
use crate::identity::Identifier;

/// The only action there is.
pub const HANDLE_MESSAGE: &str = "handle_message";

const SUBJECT: &str = "subject.";
const IDENTIFIER: &str = "identifier";
const HAS_CREDENTIAL: &str = "has_credential";

/// What names stand for. [`Environment`] is what a node decides on.
pub trait Bindings {
    /// The value of a name, if it is bound.
    fn get(&self, name: &str, mode: Mode) -> Option<Value<'_>>;
}

/// What is known about the attributes of a subject.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// This node has no authority, so it believes nobody's attributes.
    NoAuthority,
    /// The subject has no valid credential of this node's authority.
    Missing,
    /// The attributes of its valid credential.
    Valid(&'a Attributes),
}

/// Everything a decision is based on. Made without allocating.
#[derive(Clone, Copy, Debug)]
pub struct Environment<'a> {
    resource: &'a str,
    /// Text of the identifier.
    identifier: [u8; 65],
    credential: Credential<'a>,
}

impl<'a> Environment<'a> {
    /// For a resource by its name, and the identity that proved itself on the channel.
    #[must_use]
    pub fn new(resource: &'a str, subject: &Identifier, credential: Credential<'a>) -> Self {
        let mut identifier = [b'I'; 65];
        // The lengths always fit.
        let _ = hex::encode_to_slice(subject.0, &mut identifier[1..]);
        Self {
            resource,
            identifier,
            credential,
        }
    }

    /// How many attributes are left out in this mode: for a counter and a line in the log.
    #[must_use]
    pub fn left_out(&self, mode: Mode) -> usize {
        let Credential::Valid(attributes) = self.credential else {
            return 0;
        };
        let names = attributes.map.keys().map(|name| name.as_slice());
        names
            .filter(|name| {
                let text = core::str::from_utf8(name);
                text.is_ok_and(|text| self.attribute(text, mode).is_none()) || text.is_err()
            })
            .count()
    }

    /// An attribute, if policies see it.
    fn attribute(&self, name: &str, mode: Mode) -> Option<&'a str> {
        let Credential::Valid(attributes) = self.credential else {
            return None;
        };
        if mode == Mode::Strict && is_reserved_attribute(name.as_bytes()) {
            return None;
        }
        let value = attributes.get(name.as_bytes())?;
        let value = core::str::from_utf8(value).ok()?;
        let is_taken = match name.strip_prefix(SUBJECT) {
            Some(IDENTIFIER | HAS_CREDENTIAL) => true,
            // The reference binds attributes in the order of their names and never twice.
            Some(inner) => inner < name && self.attribute(inner, mode).is_some(),
            None => name == "resource.id" || name == "action.id",
        };
        (!is_taken).then_some(value)
    }

    fn subject(&self, name: &str, mode: Mode) -> Option<Value<'_>> {
        if let Some(value) = self.attribute(name, mode) {
            return Some(Value::Text(value));
        }
        match (name, self.credential) {
            (IDENTIFIER, _) => core::str::from_utf8(&self.identifier).ok().map(Value::Text),
            (HAS_CREDENTIAL, Credential::Missing) => Some(Value::Bool(false)),
            (HAS_CREDENTIAL, Credential::Valid(_)) => Some(Value::Bool(true)),
            _ => None,
        }
    }
}

impl Bindings for Environment<'_> {
    fn get(&self, name: &str, mode: Mode) -> Option<Value<'_>> {
        match name {
            "resource.id" => Some(Value::Text(self.resource)),
            "action.id" => Some(Value::Text(HANDLE_MESSAGE)),
            _ => self.subject(name.strip_prefix(SUBJECT)?, mode),
        }
    }
}

/// Whether nobody may issue an attribute with this name, because it would mean something else to
/// policies, or nothing: the built-in ones, and names with blanks or control characters or that
/// are not UTF-8. Policies ignore such attributes in strict mode.
///
/// Specification: `protocol/20-policies.md` 9.1.
#[must_use]
pub fn is_reserved_attribute(name: &[u8]) -> bool {
    let Ok(name) = core::str::from_utf8(name) else {
        return true;
    };
    name == IDENTIFIER
        || name == HAS_CREDENTIAL
        || name.contains(|c: char| c.is_whitespace() || c.is_control())
}
