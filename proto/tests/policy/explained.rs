//! Which part decided.

use culvert_proto::policy::{Explanation, Mode, Outcome, Policy};
use serde_json::json;

use crate::Names;

fn explain(text: &str, mode: Mode) -> Explanation {
    let names = json!({ "subject.a": "true", "subject.b": "no", "subject.level": "3" });
    let policy = Policy::parse(text, mode).expect(text);
    policy.explain(&Names::new(&names))
}

#[test]
fn the_smallest_responsible_part_is_found() {
    let cases = [
        ("a", "(= subject.a \"true\")"),
        ("b", "(= subject.b \"true\")"),
        ("a and b", "(= subject.b \"true\")"),
        ("b or a", "(= subject.a \"true\")"),
        ("x or a", "(= subject.a \"true\")"),
        ("a and x", "subject.x"),
        ("not (b or x)", "subject.x"),
        (
            "a and not b",
            "(and (= subject.a \"true\") (not (= subject.b \"true\")))",
        ),
        (
            "(if (exists? subject.x) (= 1 2) (= subject.b \"yes\"))",
            "(= subject.b \"yes\")",
        ),
        ("(and true (< subject.level 5))", "(< subject.level 5)"),
        ("(member? subject.role [\"a\" \"b\"])", "subject.role"),
        ("(= 1 1)", "(= 1 1)"),
    ];
    for (text, decided) in cases {
        assert_eq!(
            explain(text, Mode::Strict).decided().text,
            decided,
            "{text}"
        );
    }
    // The reference gives up at the first missing attribute.
    let compat = explain("x or a", Mode::Compat);
    assert_eq!(compat.decided().text, "subject.x");
    assert_eq!(compat.policy.parts[1].outcome, Outcome::Skipped);
}

#[test]
fn the_tree_is_printed_for_people() {
    let expected = "   \
   (or (and (= subject.a \"true\") (= subject.b \"true\")) (= subject.x \"true\")) has no value: subject.x is missing
     (and (= subject.a \"true\") (= subject.b \"true\")) is false
       (= subject.a \"true\") is true
         subject.a is \"true\"
       (= subject.b \"true\") is false
         subject.b is \"no\"
     (= subject.x \"true\") has no value: subject.x is missing
->     subject.x has no value: subject.x is missing
";
    let printed = explain("a and b or x", Mode::Strict).to_string();
    assert_eq!(printed.trim_start(), expected.trim_start());
}
