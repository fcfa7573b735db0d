//! What members and enrollers ask of a project's authority.
//!
//! Specification: `protocol/12-credentials.md` 11 to 13; the envelope is that of [`crate::request`].
//!
//! ```text
//! credential_issuer           POST / or /credential                    -> credential with its key
//! enrollment_token_issuer     POST / or /tokens        { 1: attributes, 2: seconds, 3: uses }
//!                                                                      -> { 1: code }
//! enrollment_token_acceptor   POST / or /credential    { 1: code }     -> nothing
//! direct_authenticator        POST / or /members       { 1: member, 2: attributes } -> nothing
//!                             GET /member_ids, / or /members, /<id> or /members/<id>
//!                             DELETE /members, /<id> or /members/<id>
//! ```

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::identity::{Identifier, WireError, decode_exact};
use crate::limits::{MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES};
use crate::request::{Method, Request, segments};

/// The attribute that says what a member may do at the authority.
pub const ROLE: &str = "ockam-role";
/// The value of [`ROLE`] of those who may add members and issue tickets.
pub const ENROLLER: &str = "enroller";
/// The attribute with the name of the relay that a member may register, or `*`.
pub const RELAY: &str = "ockam-relay";
/// The attribute with the id of the project, in every credential of an authority.
pub const TRUST_CONTEXT: &str = "trust_context_id";
/// Names that policies give a meaning of their own: an attribute of that name could pretend to be it.
pub const RESERVED: [&str; 2] = ["identifier", "has_credential"];
/// Number of the meaning of attribute names in credentials of authorities.
pub const SCHEMA: u64 = 1;
/// What the acceptor says to who is a member already. Clients count it as success.
pub const ALREADY_A_MEMBER: &str = "Already a member";
/// What the acceptor says about a code it has never issued, or has forgotten.
pub const UNKNOWN_TOKEN: &str = "Unknown enrollment token";
/// What Culvert's acceptor says about a code whose time has passed.
pub const EXPIRED_TOKEN: &str = "The enrollment token has expired";
/// What Culvert's acceptor says about a code that was used as often as it may be.
pub const USED_TOKEN: &str = "The enrollment token was used already";
/// What Culvert's acceptor says about a code that was taken back.
pub const REVOKED_TOKEN: &str = "The enrollment token was revoked";

/// Names and values about a member.
pub type MemberAttributes = BTreeMap<String, String>;

/// Why attributes are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// Empty, or with blanks or control characters, which no policy can name.
    #[error(
        "'{0}' cannot be the name of an attribute: it is empty or has blanks or control characters"
    )]
    Name(String),
    /// One of [`RESERVED`].
    #[error("'{0}' cannot be the name of an attribute: it has a meaning of its own in policies")]
    Reserved(String),
    /// Control characters.
    #[error("the value of the attribute '{0}' has control characters")]
    Value(String),
    /// More than [`MAX_ATTRIBUTES`], or longer than [`MAX_ATTRIBUTE_BYTES`] together.
    #[error(
        "too many or too long attributes (at most {MAX_ATTRIBUTES}, together {MAX_ATTRIBUTE_BYTES} bytes)"
    )]
    TooMany,
}

/// Checks attributes that somebody wants a member to have.
///
/// # Errors
/// [`AttributeError`], for the first that is not acceptable.
pub fn check_attributes(attributes: &MemberAttributes) -> Result<(), AttributeError> {
    let bytes: usize = attributes
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if attributes.len() > MAX_ATTRIBUTES || bytes > MAX_ATTRIBUTE_BYTES {
        return Err(AttributeError::TooMany);
    }
    for (name, value) in attributes {
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AttributeError::Name(name.escape_debug().to_string()));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(AttributeError::Reserved(name.clone()));
        }
        if value.chars().any(char::is_control) {
            return Err(AttributeError::Value(name.clone()));
        }
    }
    Ok(())
}

/// Whether these attributes make an enroller.
#[must_use]
pub fn is_enroller(attributes: &MemberAttributes) -> bool {
    attributes.get(ROLE).is_some_and(|role| role == ENROLLER)
}

/// 32 random bytes that make their bearer a member: a secret, never printed by `Debug`.
///
/// CBOR: `a1 01 58 20 <32 bytes>`. Text: 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OneTimeCode {
    /// The bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: [u8; 32],
}

impl OneTimeCode {
    /// The text form. Whoever sees it can enroll.
    #[must_use]
    pub fn reveal(&self) -> String {
        hex::encode(self.bytes)
    }
}

impl fmt::Debug for OneTimeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeCode(..)")
    }
}

/// A text that is not a [`OneTimeCode`].
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a one-time code is 64 hexadecimal digits")]
pub struct CodeError;

impl FromStr for OneTimeCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| CodeError)?;
        Ok(Self { bytes })
    }
}

/// Body of a request for a ticket.
///
/// ```text
/// { 1: { name: value }, 2: seconds u64, 3: uses u64 }       2 and 3 may be left out
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct CreateToken {
    /// What the credentials of those who redeem it will say.
    #[n(1)]
    pub attributes: MemberAttributes,
    /// How long it can be redeemed, seconds.
    #[n(2)]
    pub ttl_secs: Option<u64>,
    /// How often it can be redeemed.
    #[n(3)]
    pub ttl_count: Option<u64>,
}

/// Body of a request to add a member.
///
/// ```text
/// { 1: identifier, 2: { name: value } }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct AddMember {
    /// Who becomes a member.
    #[n(1)]
    pub member: Identifier,
    /// What its credentials will say.
    #[n(2)]
    pub attributes: MemberAttributes,
}

/// What is known about one member. The names and values of its attributes are arrays of numbers on
/// the wire.
///
/// ```text
/// { 1: { [name bytes]: [value bytes] }, 2: added u64, 3: expires u64, 4: identifier }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct AttributesEntry {
    /// Names and values.
    #[n(1)]
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// UNIX seconds.
    #[n(2)]
    pub added_at: u64,
    /// UNIX seconds; members have none.
    #[n(3)]
    pub expires_at: Option<u64>,
    /// Who added the member.
    #[n(4)]
    pub attested_by: Option<Identifier>,
}

impl AttributesEntry {
    /// What is known about a member.
    #[must_use]
    pub fn of_member(attributes: &MemberAttributes, added_at: u64, added_by: Identifier) -> Self {
        let pairs = attributes.iter();
        Self {
            attributes: pairs
                .map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes()))
                .collect(),
            added_at,
            expires_at: None,
            attested_by: Some(added_by),
        }
    }
}

/// Answer to a request for all members: a map on the wire.
pub type MemberList = BTreeMap<Identifier, AttributesEntry>;

/// Answer to a request for the identifiers of all members: an array on the wire.
pub type MemberIds = Vec<Identifier>;

/// The services of an authority.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Service {
    /// Gives a member its credential.
    CredentialIssuer,
    /// Makes tickets.
    TokenIssuer,
    /// Makes a member of who has a ticket.
    TokenAcceptor,
    /// Adds, shows and removes members.
    DirectAuthenticator,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::CredentialIssuer,
        Self::TokenIssuer,
        Self::TokenAcceptor,
        Self::DirectAuthenticator,
    ];

    /// Its usual address.
    #[must_use]
    pub const fn address(self) -> &'static str {
        match self {
            Self::CredentialIssuer => "credential_issuer",
            Self::TokenIssuer => "enrollment_token_issuer",
            Self::TokenAcceptor => "enrollment_token_acceptor",
            Self::DirectAuthenticator => "direct_authenticator",
        }
    }
}

/// What an authority is asked to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Issue a credential about the caller.
    Issue,
    /// Make a ticket.
    CreateToken(CreateToken),
    /// Make the caller a member.
    Redeem(OneTimeCode),
    /// Add a member, or replace what is known about it.
    Add(AddMember),
    /// List the identifiers of all members.
    ListIds,
    /// List all members.
    List,
    /// Show one member.
    Show(Identifier),
    /// Remove all members but the caller that may be removed.
    RemoveAll,
    /// Remove one member.
    Remove(Identifier),
}

/// Why a request makes no sense. All are answered with 400; the texts of the first are fixed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The service has no such path, or not for this method.
    #[error("unknown path")]
    UnknownPath,
    /// The body is not what it must be.
    #[error("the body cannot be read: {0}")]
    Body(WireError),
    /// There is no body.
    #[error("the body is missing")]
    NoBody,
    /// The last part of the path is not an identifier.
    #[error("the path does not end with an identifier: the letter I and 64 hexadecimal digits")]
    Identifier,
}

impl Command {
    /// Reads what a request to a service asks for.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn parse(service: Service, request: &Request<'_>) -> Result<Self, CommandError> {
        let path: Vec<&str> = segments(request.path).collect();
        let method = request.method.ok_or(CommandError::UnknownPath)?;
        match (service, method, path.as_slice()) {
            (Service::CredentialIssuer, Method::Post, ["" | "credential"]) => Ok(Self::Issue),
            (Service::TokenIssuer, Method::Post, ["" | "tokens"]) => {
                body(request).map(Self::CreateToken)
            }
            (Service::TokenAcceptor, Method::Post, ["" | "credential"]) => {
                body(request).map(Self::Redeem)
            }
            (Service::DirectAuthenticator, method, path) => match (method, path) {
                (Method::Post, ["" | "members"]) => body(request).map(Self::Add),
                (Method::Get, ["member_ids"]) => Ok(Self::ListIds),
                (Method::Get, ["" | "members"]) => Ok(Self::List),
                (Method::Get, [id] | ["members", id]) => identifier(id).map(Self::Show),
                (Method::Delete, ["members"]) => Ok(Self::RemoveAll),
                (Method::Delete, [id] | ["members", id]) => identifier(id).map(Self::Remove),
                _ => Err(CommandError::UnknownPath),
            },
            _ => Err(CommandError::UnknownPath),
        }
    }
}

fn body<'b, T: Decode<'b, ()>>(request: &Request<'b>) -> Result<T, CommandError> {
    let bytes = request.body.ok_or(CommandError::NoBody)?;
    decode_exact(bytes).map_err(CommandError::Body)
}

fn identifier(text: &str) -> Result<Identifier, CommandError> {
    text.parse().map_err(|_| CommandError::Identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_else_are_refused() {
        let check = |name: &str, value: &str| {
            check_attributes(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
        };
        assert_eq!(check("component", "web server"), Ok(()));
        assert_eq!(check("ockam-relay", "*"), Ok(()));
        for name in RESERVED {
            assert_eq!(check(name, "x"), Err(AttributeError::Reserved(name.into())));
        }
        for name in ["", "a b", "a\t", "\u{a0}a", "a\0", "a\u{2028}b"] {
            assert!(
                matches!(check(name, "x"), Err(AttributeError::Name(_))),
                "{name:?}"
            );
        }
        assert_eq!(check("a", "\n"), Err(AttributeError::Value("a".into())));
        let long = "v".repeat(MAX_ATTRIBUTE_BYTES);
        assert_eq!(check("a", &long), Err(AttributeError::TooMany));
        assert_eq!(check("a", &long[1..]), Ok(()));
        let many = |count: usize| -> MemberAttributes {
            (0..count)
                .map(|n| (format!("a{n}"), String::new()))
                .collect()
        };
        assert_eq!(check_attributes(&many(MAX_ATTRIBUTES)), Ok(()));
        let refused = check_attributes(&many(MAX_ATTRIBUTES + 1));
        assert_eq!(refused, Err(AttributeError::TooMany));
    }

    #[test]
    fn a_code_is_not_printed_by_accident() {
        let code = OneTimeCode { bytes: [7; 32] };
        assert_eq!(format!("{code:?}"), "OneTimeCode(..)");
        assert_eq!(code.reveal().parse(), Ok(code.clone()));
        for wrong in ["", "07", &code.reveal()[1..], &"zz".repeat(32)] {
            assert_eq!(wrong.parse::<OneTimeCode>(), Err(CodeError));
        }
    }
}
