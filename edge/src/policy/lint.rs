//! What is probably not meant although it can be said.

use culvert_crypto::Identifier;
use culvert_manage::config::tree::nearest;
use culvert_manage::problem::Problem;
use culvert_proto::policy::{
    Bindings, Credential, Denial, Environment, Mode, Outcome, Part, Policy, ResourceType, Scope,
    Value,
};

/// Somebody of whom every attribute is known; its kind is all that matters.
struct Everything;

impl Bindings for Everything {
    fn get(&self, name: &str, _: Mode) -> Option<Value<'_>> {
        match name {
            "subject.has_credential" => Some(Value::Bool(true)),
            "resource.id" | "action.id" => Some(Value::Text("")),
            _ if name.starts_with("subject.") => Some(Value::Text("")),
            _ => None,
        }
    }
}

/// Refuses a type that no resource has: its policy would protect nothing.
pub(crate) fn check_type(kind: &str) -> Result<(), Problem> {
    let known = ResourceType::KNOWN;
    let known = known.each_ref().map(ResourceType::as_str);
    if known.contains(&kind) {
        return Ok(());
    }
    let near = nearest(kind, known);
    let near = near.map_or_else(String::new, |near| format!(", did you mean '{near}'?"));
    Err(Problem::invalid(
        format!("a node has no resources of type '{kind}'{near}"),
        format!("types are {}", known.join(", ")),
    ))
}

/// Warnings about a policy, for people.
pub(crate) fn warnings(policy: &Policy, scope: &Scope) -> Vec<String> {
    let mut warnings = Vec::new();
    let resource = match scope {
        Scope::Name(name) => name,
        Scope::Type(_) => "",
    };
    let stranger = Environment::new(resource, &Identifier([0; 32]), Credential::Missing);
    if policy.decide(&stranger).is_ok() {
        warnings.push("this lets in everybody, also without a credential".to_owned());
    }
    mistyped(&policy.explain(&Everything).policy, &mut warnings);
    warnings
}

/// Parts that no attributes can give a value.
fn mistyped(part: &Part, warnings: &mut Vec<String>) {
    let inner = part.parts.iter().any(|inner| is_fault(&inner.outcome));
    match &part.outcome {
        Outcome::Fault(Denial::Missing(name)) if !inner => warnings.push(format!(
            "{name} is never known: names are subject.NAME, resource.id and action.id"
        )),
        Outcome::Fault(denial) if !inner => warnings.push(format!(
            "this can never be decided, as attributes are text: {denial}"
        )),
        _ => {}
    }
    part.parts.iter().for_each(|part| mistyped(part, warnings));
}

fn is_fault(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fault(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(text: &str) -> Vec<String> {
        let policy = Policy::parse(text, Mode::Strict).expect(text);
        warnings(&policy, &Scope::Name("db".into()))
    }

    #[test]
    fn traps_are_named() {
        for text in [
            "(= 1 1)",
            "(not (= subject.has_credential true))",
            "(not (exists? subject.a))",
            "(= resource.id \"db\")",
        ] {
            let warnings = about(text);
            assert!(
                matches!(&warnings[..], [one] if one.contains("everybody")),
                "{text}: {warnings:?}"
            );
        }
        for (text, part) in [
            (
                "has_credential",
                "true or false cannot be compared with text",
            ),
            ("(and a (< subject.level 5))", "a whole number"),
            (
                "(or (= subject.a \"x\") (= subject.admin true))",
                "true or false",
            ),
            ("(= a \"x\")", "a is never known"),
        ] {
            let text = text.replace("(and a ", "(and (= subject.a \"\") ");
            let warnings = about(&text);
            assert!(
                matches!(&warnings[..], [one] if one.contains(part)),
                "{text}: {warnings:?}"
            );
        }
        for text in [
            "component=web and not trial",
            "(= subject.has_credential true)",
        ] {
            assert!(about(text).is_empty(), "{text}");
        }
    }
}
