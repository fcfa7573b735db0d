//! `abac_policies.json`: what the reference evaluator made of 212 texts and 27 situations.

use std::collections::BTreeMap;

use culvert_proto::credential::Attributes;
use culvert_proto::identity::Identifier;
use culvert_proto::policy::{
    Credential, Denial, Environment, Mode, Policy, PolicySet, ResourceType, Scope,
};
use serde_json::Value as Json;

use crate::Names;
use crate::common::{list, text, vectors};

/// What came of a text, in the words of the vectors.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    expected: &'static str,
    error_kind: Option<&'static str>,
    value: Option<String>,
    canonical: Option<String>,
}

fn run(policy: &str, env: &Json, mode: Mode) -> Came {
    let Ok(policy) = Policy::parse(policy, mode) else {
        return Came {
            expected: "parse_error",
            error_kind: None,
            value: None,
            canonical: None,
        };
    };
    let names = Names::new(env);
    let decision = policy.decide(&names);
    assert_eq!(policy.explain(&names).decision, decision, "{policy}");
    let (expected, error_kind, value) = match decision {
        Ok(()) => ("allow", None, None),
        Err(Denial::False) => ("deny", None, None),
        Err(Denial::NotBoolean(value)) => ("non_boolean", None, Some(value)),
        Err(error) => ("eval_error", Some(kind(&error)), None),
    };
    Came {
        expected,
        error_kind,
        value,
        canonical: Some(policy.canonical()),
    }
}

fn kind(error: &Denial) -> &'static str {
    match error {
        Denial::Missing(_) => "unbound",
        Denial::Malformed(_) => "malformed",
        Denial::InvalidType { .. } => "invalid_type",
        Denial::TypeMismatch { .. } => "type_mismatch",
        Denial::UnknownOperator(_) => "unknown_operator",
        other => panic!("{other}"),
    }
}

fn all() -> Vec<Json> {
    let vectors = list(&vectors("abac_policies.json"), "expression_vectors").to_vec();
    assert_eq!(vectors.len(), 212);
    vectors
}

#[test]
fn compat_is_the_reference() {
    for vector in all() {
        let came = run(text(&vector, "policy"), &vector["env"], Mode::Compat);
        let id = text(&vector, "id");
        assert_eq!(came.expected, text(&vector, "expected"), "{id}");
        assert_eq!(came.error_kind, vector["error_kind"].as_str(), "{id}");
        assert_eq!(came.value.as_deref(), vector["value"].as_str(), "{id}");
        let canonical = came.canonical.as_deref();
        assert_eq!(canonical, vector["canonical"].as_str(), "{id}");
    }
}

/// Worked examples that show what strict mode changes.
const WORKED: [(&str, &str); 5] = [
    // `a or b` with `b` only.
    ("worked-12", "allow"),
    // An operator that does not exist, and one in the middle.
    ("worked-24", "parse_error"),
    ("worked-25", "parse_error"),
    // An identifier in upper case.
    ("worked-30", "allow"),
    // `notable` with `able` only.
    ("worked-33", "eval_error"),
];

/// Strict mode differs where the vectors say so, and in two more ways that decide nothing else. A
/// wrong number of operands is found when the text is read (`protocol/20-policies.md` 9.2) and
/// never an error of the evaluation. A false operand of `and` makes it false wherever it stands
/// (9.4), whatever is wrong with the others.
#[test]
fn strict_differs_as_proposed() {
    let (mut proposed, mut counted) = (0, Vec::new());
    for vector in all() {
        let id = text(&vector, "id");
        let (policy, env) = (text(&vector, "policy"), &vector["env"]);
        let strict = run(policy, env, Mode::Strict);
        let proposal = &vector["proposal"];
        if let Some(expected) = proposal["expected"].as_str() {
            proposed += 1;
            // "deny" in a proposal is any way of not being let in.
            let denied = ["deny", "eval_error"].contains(&strict.expected);
            assert!(
                strict.expected == expected || expected == "deny" && denied,
                "{id}: {strict:?}"
            );
            if let Some(canonical) = proposal["canonical"].as_str() {
                assert_eq!(strict.canonical.as_deref(), Some(canonical), "{id}");
            }
            continue;
        }
        if vector["error_kind"] == "malformed" {
            assert_eq!(strict.expected, "parse_error", "{id}");
            counted.push(id.to_owned());
            continue;
        }
        // The worked examples have no proposals of their own.
        if let Some((_, expected)) = WORKED.iter().find(|(worked, _)| *worked == id) {
            assert_eq!(strict.expected, *expected, "{id}");
            continue;
        }
        let compat = run(policy, env, Mode::Compat);
        if id == "and-order" {
            assert_eq!((compat.expected, strict.expected), ("eval_error", "deny"));
            continue;
        }
        assert_eq!(strict, compat, "{id}");
    }
    assert_eq!(proposed, 25);
    let arity = [
        "eq-one-arg",
        "lt-arity",
        "not-arity",
        "if-arity",
        "member-arity",
    ];
    assert_eq!(counted, arity);
}

/// The attributes that count: of the last credential, if it is the authority's and has not ended.
fn attributes(vector: &Json) -> Option<Attributes> {
    let stored = vector["stored_attributes"].as_array()?.last()?;
    let has_ended = stored["expires_in_s"]
        .as_i64()
        .is_some_and(|seconds| seconds < 0);
    if has_ended || stored["attested_by"] != vector["authority"] {
        return None;
    }
    let pairs = stored["attributes"].as_object()?.iter();
    Some(Attributes::new(
        1,
        pairs.map(|(name, value)| {
            let value = match value.as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => hex::decode(text(value, "$hex")).expect("hex"),
            };
            (name.as_str(), value)
        }),
    ))
}

fn policies(vector: &Json, mode: Mode) -> PolicySet {
    let mut set = PolicySet::default();
    let texts = |member: &str| -> BTreeMap<String, String> {
        serde_json::from_value(vector[member].clone()).unwrap_or_default()
    };
    if vector["default_policies"] == true {
        for kind in ["tcp-inlet", "tcp-outlet", "relay", "echoer"] {
            let policy = Policy::parse("(= subject.has_credential true)", mode);
            set.set(Scope::Type(kind.into()), policy);
        }
    }
    // What is stored is the canonical text.
    let stored = |text: &str| {
        let canonical = Policy::parse(text, mode)?.canonical();
        Policy::parse(&canonical, mode)
    };
    for (name, text) in texts("resource_policies") {
        set.set(Scope::Name(name), stored(&text));
    }
    for (kind, text) in texts("resource_type_policies") {
        set.set(Scope::Type(kind.as_str().into()), stored(&text));
    }
    set
}

fn decide(vector: &Json, mode: Mode) -> Result<(), Denial> {
    let subject: Identifier = text(vector, "subject").parse().expect("an identifier");
    let attributes = attributes(vector);
    let credential = match (&vector["authority"], &attributes) {
        (Json::Null, _) => Credential::NoAuthority,
        (_, None) => Credential::Missing,
        (_, Some(attributes)) => Credential::Valid(attributes),
    };
    let resource = text(vector, "resource_name");
    let environment = Environment::new(resource, &subject, credential);
    let kind = ResourceType::from(text(vector, "resource_type"));
    policies(vector, mode).decide(resource, &kind, &environment)
}

#[test]
fn access_is_decided_as_by_the_reference() {
    let file = vectors("abac_policies.json");
    let vectors = list(&file, "access_vectors");
    assert_eq!(vectors.len(), 27);
    for vector in vectors {
        let decision = decide(vector, Mode::Compat);
        let came = match &decision {
            Ok(()) => "allow",
            Err(Denial::Unreadable(_)) => "error",
            Err(_) => "deny",
        };
        assert_eq!(
            came,
            text(vector, "expected"),
            "{}: {decision:?}",
            vector["id"]
        );
    }
}

/// In strict mode attributes cannot stand for the built-in names.
#[test]
fn attributes_shadow_nothing_in_strict_mode() {
    let file = vectors("abac_policies.json");
    for vector in list(&file, "access_vectors") {
        let (id, decision) = (text(vector, "id"), decide(vector, Mode::Strict));
        let expected = match id {
            "access-attribute-named-identifier" => false,
            "access-attribute-named-identifier-2" | "access-attribute-named-has-credential" => true,
            _ => text(vector, "expected") == "allow",
        };
        assert_eq!(decision.is_ok(), expected, "{id}: {decision:?}");
    }
}
