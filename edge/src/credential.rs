//! Commands about credentials: an identity's statements about another one.
//!
//! Specification: `protocol/12-credentials.md` 5, 6 and 8.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use culvert_crypto::Identifier;
use culvert_crypto::credential::{self, Claims, CredentialError, Subject, VerifiedCredential};
use culvert_crypto::identity::{Identity, update};
use culvert_crypto::purpose_key::PurposeKeyError;
use culvert_node::store::database::Database;
use culvert_node::store::projects::StoredCredential;
use culvert_proto::credential::Attributes;
use serde_json::{Map, Value, json};

use crate::cli::identifier;
use crate::commands::{identity_for_use, now_s};
use crate::duration;
use crate::failure::Failure;
use crate::given;
use crate::moment;
use crate::output::Output;
use crate::store::{DEFAULT_NAME, Store};

/// Issue, show and verify credentials.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Issue a credential as an identity of this machine.
    Issue(IssueArgs),
    /// Show what a credential claims. Nothing is verified.
    Show {
        /// The credential, as hexadecimal text or a file.
        #[arg(value_name = "HEX|FILE")]
        credential: String,
    },
    /// Verify a credential as a node would that accepts the authority.
    Verify(VerifyArgs),
    /// Verify a credential of an identity of this machine and keep it: portals that run as this identity
    /// and believe the authority show it.
    Store(StoreArgs),
    /// List the credentials that are kept: of projects, and those that were stored.
    List,
}

/// Arguments of `credential store`.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The credential, as hexadecimal text or a file.
    #[arg(value_name = "HEX|FILE")]
    pub credential: String,
    /// Change history of the authority that must have issued it.
    #[arg(long, value_name = "HEX|FILE")]
    pub authority: String,
    /// Name of the identity it must be about.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub identity: String,
}

/// Arguments of `credential issue`.
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// Name of the identity that issues it.
    #[arg(long = "as", value_name = "NAME", default_value = DEFAULT_NAME)]
    pub issuer: String,
    /// Whom it is about: an identifier, or a change history as hexadecimal text or a file.
    #[arg(long = "for", value_name = "IDENTIFIER|HISTORY")]
    pub subject: String,
    /// An attribute; may be repeated.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = given::pair)]
    pub attribute: Vec<(String, String)>,
    /// How long it is valid: seconds, or a number with s, m, h or d.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = duration::parse_whole)]
    pub ttl: Duration,
}

/// Arguments of `credential verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The credential, as hexadecimal text or a file.
    #[arg(value_name = "HEX|FILE")]
    pub credential: String,
    /// Change history of the authority that must have issued it.
    #[arg(long, value_name = "HEX|FILE")]
    pub authority: String,
    /// Whom it must be about.
    #[arg(long, value_name = "IDENTIFIER", value_parser = identifier)]
    pub subject: Option<Identifier>,
}

/// Runs a command about credentials.
///
/// # Errors
///
/// What the store says; why a credential is refused.
pub fn run(store: &Store, command: &CredentialCommand, output: Output) -> Result<(), Failure> {
    match command {
        CredentialCommand::Issue(args) => issue(store, args, output),
        CredentialCommand::Show { credential } => {
            let bytes = given::bytes(credential, "credential")?;
            let claims = credential::read(&bytes).map_err(explained)?;
            show(&claims, output);
            Ok(())
        }
        CredentialCommand::Verify(args) => {
            let bytes = given::bytes(&args.credential, "credential")?;
            let authority = given::history(&args.authority, "history of the authority")?;
            let verified = verify(&bytes, args.subject.as_ref(), &authority, now_s())?;
            tell("valid", &verified, output);
            Ok(())
        }
        CredentialCommand::List => list(store, output),
        CredentialCommand::Store(args) => {
            let bytes = given::bytes(&args.credential, "credential")?;
            let authority = given::history(&args.authority, "history of the authority")?;
            let subject = store.entry(&args.identity)?.identifier();
            let verified = verify(&bytes, Some(&subject), &authority, now_s())?;
            let kept = StoredCredential {
                encoded: bytes,
                expires_at: verified.expires_at,
            };
            Database::open(store.home())?.save_credential(&subject, &verified.issuer, &kept)?;
            tell("stored", &verified, output);
            Ok(())
        }
    }
}

fn list(store: &Store, output: Output) -> Result<(), Failure> {
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for (subject, issuer, kept) in Database::open(store.home())?.credentials()? {
        let (subject, issuer) = (subject.to_string(), issuer.to_string());
        let valid = kept.expires_at >= now_s();
        all.push(json!({
            "subject": subject,
            "issuer": issuer,
            "expires_at": kept.expires_at,
            "expired": !valid,
        }));
        let until = moment::shown(kept.expires_at, now_s());
        rows.push(vec![subject, issuer, until]);
    }
    output.table(&["SUBJECT", "ISSUER", "UNTIL"], rows, &Value::Array(all));
    Ok(())
}

/// Says what a verified credential says, and what was done with it.
fn tell(done: &str, verified: &VerifiedCredential, output: Output) {
    let (subject, issuer) = (verified.subject, verified.issuer);
    let until = moment::shown(verified.expires_at, now_s());
    output.print(
        format!(
            "{done}: {issuer} says about {subject}, until {until}:\n{}",
            lines(&verified.attributes)
        ),
        &json!({
            done: true,
            "subject": subject.to_string(),
            "issuer": issuer.to_string(),
            "attributes": object(&verified.attributes),
            "expires_at": verified.expires_at,
        }),
    );
}

fn issue(store: &Store, args: &IssueArgs, output: Output) -> Result<(), Failure> {
    let attributes = given::attributes(&args.attribute)?;
    let subject = match args.subject.parse() {
        Ok(identifier) => Subject {
            identifier,
            latest_change: None,
        },
        Err(_) => Subject::from(&given::history(&args.subject, "history of the subject")?),
    };
    let (issuer, now) = (identity_for_use(store, &args.issuer)?, now_s());
    let ttl = args.ttl.as_secs();
    let issued = issuer.issue_credential(&subject, attributes, now, ttl);
    let bytes = issued.map_err(explained)?;
    let claims = credential::read(&bytes).map_err(explained)?;
    if claims.expires_at < now.saturating_add(ttl) {
        let end = moment::shown(claims.expires_at, now);
        tracing::warn!("the credential ends with its issuer, at {end}");
    }
    let mut value = describe(&claims);
    value["credential"] = hex::encode(&bytes).into();
    output.print(hex::encode(&bytes), &value);
    Ok(())
}

fn show(claims: &Claims, output: Output) {
    tracing::warn!("nothing of this has been verified: see `credential verify`");
    let subject = claims
        .subject
        .map_or_else(|| "nobody".to_owned(), |id| id.to_string());
    let now = now_s();
    let text = format!(
        "not verified\nsubject   {subject}\nissuer    {}\nissued    {}\nexpires   {}\nkey until {}\n{}",
        claims.issuer,
        moment::shown(claims.created_at, now),
        moment::shown(claims.expires_at, now),
        moment::shown(claims.key_expires_at, now),
        lines(&claims.attributes),
    );
    let mut value = describe(claims);
    value["verified"] = false.into();
    output.print(text, &value);
}

fn describe(claims: &Claims) -> Value {
    json!({
        "subject": claims.subject.map(|subject| subject.to_string()),
        "subject_latest_change": claims.subject_latest_change.map(|hash| hex::encode(hash.0)),
        "issuer": claims.issuer.to_string(),
        "schema": claims.attributes.schema,
        "attributes": object(&claims.attributes),
        "created_at": claims.created_at,
        "expires_at": claims.expires_at,
        "key_expires_at": claims.key_expires_at,
    })
}

/// Bytes as text, or in hexadecimal where they are none that can be shown.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => format!("0x{}", hex::encode(bytes)),
    }
}

fn lines(attributes: &Attributes) -> String {
    let pairs = attributes.map.iter();
    let lines = pairs.map(|(name, value)| format!("  {} = {}", shown(name), shown(value)));
    lines.collect::<Vec<_>>().join("\n")
}

fn object(attributes: &Attributes) -> Map<String, Value> {
    let pairs = attributes.map.iter();
    pairs
        .map(|(name, value)| (shown(name), shown(value).into()))
        .collect()
}

/// Verifies a credential of one authority.
///
/// # Errors
///
/// Why it is refused, and what to do about it.
pub fn verify(
    bytes: &[u8],
    subject: Option<&Identifier>,
    authority: &Identity,
    now_s: u64,
) -> Result<VerifiedCredential, Failure> {
    let claims = credential::read(bytes).map_err(explained)?;
    // Otherwise it would only be said that the issuer is not known.
    if claims.issuer != authority.identifier() {
        return Err(explained(CredentialError::UnknownAuthority));
    }
    let mut known = BTreeMap::new();
    // Nothing is known yet that it could contradict.
    let _ = update(authority, &mut known);
    let authorities = [authority.identifier()];
    credential::verify(bytes, subject, &authorities, &known, now_s).map_err(explained)
}

/// Why a credential is refused, with what to do about it.
#[must_use]
pub fn explained(error: CredentialError) -> Failure {
    Failure::new(format!("the credential is refused: {error}"), hint(error))
}

fn hint(error: CredentialError) -> &'static str {
    match error {
        CredentialError::Wire(_) | CredentialError::Envelope(_) => {
            "give all of what `credential issue` printed, and nothing else"
        }
        CredentialError::TooLarge => "use fewer or shorter attributes",
        CredentialError::UnknownAuthority => "ask the right authority, or give its change history",
        CredentialError::WrongPurpose => {
            "its issuer signed it with a key for something else: have it issued again"
        }
        CredentialError::Signature => {
            "it was changed on the way or is forged: get it from its issuer again"
        }
        CredentialError::NoSubject => "have it issued for an identity",
        CredentialError::OtherSubject => "use the credential of that identity",
        CredentialError::OutsidePurposeKey => "have it issued for a shorter time",
        CredentialError::FromTheFuture => "check the clocks of this machine and of the issuer's",
        CredentialError::Expired => "have a new one issued, and check the clock of this machine",
        CredentialError::Vault(_) => "check the keys of the identity that issues it",
        CredentialError::PurposeKey(error) => match error {
            PurposeKeyError::Superseded => {
                "its issuer has another key now: have it issued again, or give the latest change \
                 history of the authority"
            }
            PurposeKeyError::OutsideIdentity => {
                "the identity of its issuer ends earlier, or has ended: issue with another one"
            }
            PurposeKeyError::FromTheFuture => {
                "check the clocks of this machine and of the issuer's"
            }
            PurposeKeyError::Expired => {
                "have a new one issued, and check the clock of this machine"
            }
            PurposeKeyError::Signature => {
                "it was changed on the way or is forged: get it from its issuer again"
            }
            PurposeKeyError::OtherSubject | PurposeKeyError::UnknownSubject => {
                "give the change history of the authority that issued it"
            }
            PurposeKeyError::Wire(_) | PurposeKeyError::Envelope(_) => {
                "give all of what `credential issue` printed, and nothing else"
            }
            PurposeKeyError::Vault(_) => "check the keys of the identity that issues it",
        },
    }
}
