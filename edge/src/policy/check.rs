//! `policy check`: a decision as if somebody wanted to use a resource.

use std::collections::BTreeMap;
use std::process::ExitCode;

use culvert_crypto::Identifier;
use culvert_crypto::credential;
use culvert_node::store::database::Database;
use culvert_proto::credential::Attributes;
use culvert_proto::policy::{
    Bindings, Credential, Denial, Environment, Mode, Outcome, Part, Policy, ResourceType,
    Value as Bound,
};
use serde_json::{Value, json};

use super::{CheckArgs, DENIED, parse};
use crate::commands::now_s;
use crate::credential::{explained, verify};
use crate::failure::Failure;
use crate::given;
use crate::output::Output;
use crate::store::Store;

/// Who wants to use the resource.
struct Somebody {
    identifier: Option<Identifier>,
    /// None without a credential.
    attributes: Option<Attributes>,
    /// Of a credential: whether it was verified.
    verified: Option<bool>,
}

/// What is asked: names that nothing was said about are not bound.
struct Asked<'a> {
    environment: Environment<'a>,
    args: &'a CheckArgs,
    has_identifier: bool,
}

impl Bindings for Asked<'_> {
    fn get(&self, name: &str, mode: Mode) -> Option<Bound<'_>> {
        let is_known = match name {
            "resource.id" => self.args.resource.is_some(),
            "subject.identifier" => self.has_identifier,
            _ => true,
        };
        self.environment.get(name, mode).filter(|_| is_known)
    }
}

pub(super) fn run(store: &Store, args: &CheckArgs, output: Output) -> Result<ExitCode, Failure> {
    let somebody = somebody(args)?;
    let credential = match &somebody.attributes {
        _ if args.no_authority => Credential::NoAuthority,
        None => Credential::Missing,
        Some(attributes) => Credential::Valid(attributes),
    };
    let name = args.resource.as_deref().unwrap_or_default();
    let subject = somebody.identifier.unwrap_or(Identifier([0; 32]));
    let asked = Asked {
        environment: Environment::new(name, &subject, credential),
        args,
        has_identifier: somebody.identifier.is_some(),
    };
    let left_out = asked.environment.left_out(Mode::Strict);
    if left_out > 0 && !args.compat {
        tracing::warn!(
            "{left_out} attributes of the credential are ignored: their names are reserved, or they are not text"
        );
    }
    let (policy, decision) = match &args.expression {
        Some(text) => {
            let mode = if args.compat {
                Mode::Compat
            } else {
                Mode::Strict
            };
            let policy = parse(text, mode, output)?;
            let decision = policy.decide(&asked);
            (Some(policy), decision)
        }
        None => stored(store, args, &asked)?,
    };
    report(args, output, &somebody, policy.as_ref(), &decision, &asked);
    Ok(match decision {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(DENIED),
    })
}

/// The stored policy that counts, and what it decides.
fn stored(
    store: &Store,
    args: &CheckArgs,
    asked: &Asked<'_>,
) -> Result<(Option<Policy>, Result<(), Denial>), Failure> {
    let set = Database::open(store.home())?.policy_set()?;
    let name = args.resource.as_deref().unwrap_or_default();
    let kind = ResourceType::from(args.resource_type.as_deref().unwrap_or_default());
    let found = set.find(name, &kind).and_then(Result::ok).cloned();
    Ok((found, set.decide(name, &kind, asked)))
}

fn somebody(args: &CheckArgs) -> Result<Somebody, Failure> {
    let Some(given) = &args.credential else {
        let attributes = given::attributes(&args.attribute)?;
        return Ok(Somebody {
            identifier: args.identifier,
            attributes: (!args.attribute.is_empty()).then_some(attributes),
            verified: None,
        });
    };
    let bytes = given::bytes(given, "credential")?;
    let (subject, attributes) = match &args.authority {
        Some(history) => {
            let authority = given::history(history, "history of the authority")?;
            let verified = verify(&bytes, args.identifier.as_ref(), &authority, now_s())?;
            (Some(verified.subject), verified.attributes)
        }
        None => {
            tracing::warn!("the credential is not verified: pass --authority");
            let claims = credential::read(&bytes).map_err(explained)?;
            (claims.subject, claims.attributes)
        }
    };
    if let (Some(wanted), Some(subject)) = (args.identifier, subject)
        && wanted != subject
    {
        return Err(explained(credential::CredentialError::OtherSubject));
    }
    Ok(Somebody {
        identifier: args.identifier.or(subject),
        attributes: Some(attributes),
        verified: Some(args.authority.is_some()),
    })
}

fn report(
    args: &CheckArgs,
    output: Output,
    somebody: &Somebody,
    policy: Option<&Policy>,
    decision: &Result<(), Denial>,
    asked: &Asked<'_>,
) {
    let (word, reason) = match decision {
        Ok(()) => ("allow", None),
        Err(denial) => ("deny", Some(denial.to_string())),
    };
    let line = match &reason {
        Some(reason) => format!("{word}: {reason}"),
        None => word.to_owned(),
    };
    let mut value = json!({
        "decision": word,
        "reason": reason,
        "policy": policy.map(Policy::canonical),
    });
    if let Some(verified) = somebody.verified {
        value["credential_verified"] = verified.into();
    }
    let mut text = line;
    if let (true, Some(policy)) = (args.explain, policy) {
        let explanation = policy.explain(asked);
        let decided = &explanation.decided().text;
        text = format!("{text}\n\n{explanation}\ndecided by: {decided}");
        value["decided_by"] = decided.as_str().into();
        value["explanation"] = tree(&explanation.policy);
    }
    output.print(text, &value);
}

/// A part of a policy as an object.
fn tree(part: &Part) -> Value {
    let mut object = BTreeMap::from([("expression", Value::from(part.text.as_str()))]);
    match &part.outcome {
        Outcome::Value(value) => object.insert("value", value.as_str().into()),
        Outcome::Fault(denial) => object.insert("error", denial.to_string().into()),
        Outcome::Skipped => object.insert("skipped", true.into()),
    };
    if part.decided {
        object.insert("decided", true.into());
    }
    if !part.parts.is_empty() {
        object.insert("parts", part.parts.iter().map(tree).collect());
    }
    json!(object)
}
