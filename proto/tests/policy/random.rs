//! Properties over made-up policies and texts.

use culvert_proto::policy::{Denial, Mode, Policy};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::Names;

/// Texts that are often almost policies.
fn almost() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "(",
        ")",
        "[",
        "]",
        " ",
        "\t",
        "and",
        "or",
        "not",
        "if",
        "=",
        "!=",
        "<",
        "member?",
        "exists?",
        "a",
        "subject.a",
        "subject.",
        "\"x\"",
        "\"",
        "\\",
        "\\u{",
        "}",
        "1",
        "-1.5",
        "0x",
        "nan",
        "true",
        "$",
        "@",
        ";;",
        "(;",
        ";)",
        "\n",
        "=b",
        "\u{e9}",
        "\u{202e}",
        "\0",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

/// Values and expressions of every kind, in full form.
fn expression() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["subject.a", "subject.b", "subject.x", "resource.id"]);
    let leaf = prop_oneof![
        name.prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(float),
        any::<bool>().prop_map(|value| value.to_string()),
        "[ -~\u{a0}-\u{2029}]{0,6}".prop_map(|text| format!("{text:?}")),
        Just("()".to_owned()),
    ];
    leaf.prop_recursive(5, 60, 4, |inner| {
        let operator = prop::sample::select(vec![
            "and", "or", "not", "if", "=", "!=", "<", ">", "member?", "exists?", "(= 1 1)",
        ]);
        let items = prop::collection::vec(inner, 0..4);
        (operator, items, any::<bool>()).prop_map(|(operator, items, is_list)| {
            let items = items.join(" ");
            if is_list {
                format!("({operator} {items})")
            } else {
                format!("[{items}]")
            }
        })
    })
}

fn float(number: f64) -> String {
    match number {
        _ if number.is_nan() => "nan".into(),
        _ if number.is_infinite() => "inf".into(),
        _ => format!("{number:?}"),
    }
}

/// Expressions that are true, false or unknown, as pairs: the same with operands turned round.
fn turned() -> impl Strategy<Value = (String, String)> {
    let leaf = prop::sample::select(vec![
        "(= subject.a \"true\")",
        "(= subject.b \"true\")",
        "(= subject.x \"true\")",
        "(< subject.a 5)",
        "(exists? subject.x)",
        "subject.flag",
        "subject.a",
        "7",
        "true",
        "false",
    ]);
    let leaf = leaf.prop_map(|text| (text.to_owned(), text.to_owned()));
    leaf.prop_recursive(4, 40, 4, |inner| {
        let operands = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            (prop::sample::select(vec!["and", "or"]), operands).prop_map(|(operator, operands)| {
                let (ahead, mut back): (Vec<_>, Vec<_>) = operands.into_iter().unzip();
                back.reverse();
                let list = |items: Vec<String>| format!("({operator} {})", items.join(" "));
                (list(ahead), list(back))
            }),
            inner.prop_map(|(a, b)| (format!("(not {a})"), format!("(not {b})"))),
        ]
    })
}

fn names() -> Json {
    json!({ "subject.a": "true", "subject.b": "no", "subject.flag": true, "resource.id": "db" })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof![almost(), any::<String>()]) {
        for mode in [Mode::Strict, Mode::Compat] {
            match Policy::parse(&text, mode) {
                Ok(policy) => {
                    let decision = policy.decide(&Names::new(&names()));
                    let explained = policy.explain(&Names::new(&names()));
                    prop_assert_eq!(&explained.decision, &decision);
                    prop_assert!(explained.decided().decided);
                }
                Err(error) => {
                    prop_assert!(!error.hint().is_empty());
                    if let Some(refusal) = error.likely() {
                        prop_assert!(text.is_char_boundary(refusal.at));
                    }
                }
            }
        }
    }

    #[test]
    fn canonical_texts_are_read_as_the_same(text in prop_oneof![almost(), expression()]) {
        for mode in [Mode::Strict, Mode::Compat] {
            if let Ok(policy) = Policy::parse(&text, mode) {
                let canonical = policy.canonical();
                if mode == Mode::Compat && text.contains(['$', '@', '\0']) {
                    continue;
                }
                match Policy::parse(&canonical, mode) {
                    Ok(again) => prop_assert!(
                        again == policy || mode == Mode::Compat && is_shorthand(&canonical),
                        "{} is not {}", again, policy
                    ),
                    Err(error) => prop_assert!(false, "{}: {}", canonical, error),
                }
            }
        }
    }

    #[test]
    fn strict_only_adds_results_of_another_order((ahead, back) in turned()) {
        let decide = |text: &str, mode| {
            let text = format!("(and {text} true)");
            let policy = Policy::parse(&text, mode).expect("it is built right");
            policy.decide(&Names::new(&names()))
        };
        let strict = decide(&ahead, Mode::Strict);
        let turned = decide(&back, Mode::Strict);
        prop_assert_eq!(strict.is_ok(), turned.is_ok(), "{} / {}", ahead, back);
        prop_assert_eq!(
            strict == Err(Denial::False),
            turned == Err(Denial::False),
            "{} / {}", ahead, back
        );
        // What the reference has a result for keeps it.
        match decide(&ahead, Mode::Compat) {
            Ok(()) => prop_assert_eq!(strict, Ok(())),
            Err(Denial::False) => prop_assert_eq!(strict, Err(Denial::False)),
            Err(_) => {}
        }
    }
}

/// Whether a canonical text is also shorthand, which is tried first: only without any operand.
fn is_shorthand(canonical: &str) -> bool {
    !canonical.contains(['"', '=', '?', '<', '>', '!', '['])
}
