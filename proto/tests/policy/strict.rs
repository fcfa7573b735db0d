//! What strict mode refuses, and how it says so; limits of both modes.

use culvert_proto::credential::Attributes;
use culvert_proto::identity::Identifier;
use culvert_proto::policy::{
    Credential, Denial, Environment, MAX_DEPTH, MAX_NODES, MAX_TEXT, Mode, ParseError, Policy,
    Problem, is_reserved_attribute,
};

fn refusals(text: &str, mode: Mode) -> (Problem, Problem) {
    match Policy::parse(text, mode) {
        Err(ParseError::Neither { shorthand, full }) => (shorthand.problem, full.problem),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn mistakes_are_named_at_their_place() {
    // The text, the place of the likely mistake, a part of what is said about it.
    let cases = [
        ("", 0, "nothing"),
        ("a andb", 2, "'and', 'or' or the end"),
        ("a=\"x\"and b", 5, "blank is needed before 'and'"),
        ("a or", 4, "'not' or '('"),
        ("a and or", 6, "'or' is no attribute"),
        ("a = b", 2, "no blank"),
        ("a=", 2, "value"),
        ("a=\"b", 2, "does not end"),
        ("(a or b", 7, "')'"),
        ("subject.a", 0, "subject.subject.a"),
        ("a or subject.a", 5, "subject.subject.a"),
        ("(= subject.a = \"true\")", 13, "'=' is an operator"),
        ("(and (startswith subject.a \"x\") true)", 6, "startswith"),
        ("(not true false)", 0, "'not' takes one operand, not 2"),
        ("(or a (= 1))", 6, "two or more operands, not 1"),
        ("(= subject.a \"x\"))", 17, "closes nothing"),
        ("(= subject.a \"x\"", 0, "not closed"),
        ("(= subject.a \"x\") and b", 18, "shorthand cannot continue"),
        ("(= $subject.a \"x\")", 3, "'$'"),
        ("(= subject.a \"\\00\")", 13, "NUL"),
        ("(= subject.a 'x')", 13, "no name"),
        ("(= subject.a \"x)", 13, "string does not end"),
        ("(= subject.a 99999999999999999999)", 13, "64 bits"),
    ];
    for (text, at, says) in cases {
        let error = Policy::parse(text, Mode::Strict).expect_err(text);
        let likely = error.likely().expect(text);
        assert_eq!(likely.at, at, "{text}: {error}");
        assert!(likely.to_string().contains(says), "{text}: {likely}");
        assert!(!error.hint().is_empty());
    }
}

#[test]
fn stored_texts_read_back_as_the_same() {
    // Empty lists of the full form are shorthand when they are read again: `(and)` allows
    // everybody, the attribute `and` does not.
    for text in ["(and) ;; all", "(not (or)) ;; all"] {
        assert!(Policy::parse(text, Mode::Compat).is_ok(), "{text}");
        let error = Policy::parse(text, Mode::Strict);
        assert!(
            matches!(error, Err(ParseError::Ambiguous(_))),
            "{text}: {error:?}"
        );
    }
}

#[test]
fn both_modes_have_limits() {
    for mode in [Mode::Strict, Mode::Compat] {
        let parse = |text: &str| Policy::parse(text, mode);
        let wrap = |open: &str, inner: &str, close: &str, times: usize| {
            format!("{}{inner}{}", open.repeat(times), close.repeat(times))
        };
        assert!(parse(&wrap("(not ", "(= 1 1)", ")", MAX_DEPTH - 1)).is_ok());
        let full = refusals(&wrap("(not ", "(= 1 1)", ")", MAX_DEPTH), mode).1;
        assert_eq!(full, Problem::TooDeep);
        assert!(parse(&wrap("(", "a", ")", MAX_DEPTH - 1)).is_ok());
        assert_eq!(
            refusals(&wrap("(", "a", ")", 2000), mode).0,
            Problem::TooDeep
        );
        assert_eq!(refusals(&"(".repeat(MAX_TEXT), mode).1, Problem::TooDeep);
        assert_eq!(refusals(&"[".repeat(MAX_TEXT), mode).1, Problem::TooDeep);
        let negations = format!("{}a=\"b\"", "not ".repeat(1000));
        assert_eq!(refusals(&negations, mode).0, Problem::TooDeep);
        let operands = |count: usize| vec!["a"; count].join(" or ");
        assert!(parse(&operands(MAX_DEPTH)).is_ok());
        assert_eq!(refusals(&operands(MAX_DEPTH + 1), mode).0, Problem::TooDeep);

        let numbers = |count: usize| format!("(= {})", vec!["1"; count].join(" "));
        assert!(parse(&numbers(MAX_NODES - 2)).is_ok());
        assert_eq!(refusals(&numbers(MAX_NODES - 1), mode).1, Problem::TooMany);
        let text = format!("a=\"{}\"", "x".repeat(MAX_TEXT - 4));
        // Its canonical text is longer.
        assert!(matches!(parse(&text), Err(ParseError::TooLong(_))));
        let text = format!("(= 1 1){}", " ".repeat(MAX_TEXT));
        assert!(matches!(parse(&text), Err(ParseError::TooLong(_))));
    }
    let surplus = format!("= 1 1{}", ")".repeat(MAX_DEPTH + 1));
    assert_eq!(refusals(&surplus, Mode::Compat).1, Problem::TooDeep);
}

#[test]
fn comparison_with_a_missing_attribute_is_unknown() {
    let attributes = Attributes::new(1, [("a", "true"), ("b", "no")]);
    let subject = Identifier([7; 32]);
    let environment = Environment::new("db", &subject, Credential::Valid(&attributes));
    let decide = |text: &str| {
        let policy = Policy::parse(text, Mode::Strict).expect(text);
        policy.decide(&environment)
    };
    let missing = |name: &str| Err(Denial::Missing(format!("subject.{name}")));
    for allowed in [
        "a or x",
        "x or a",
        "not (x and b)",
        "not (b and x)",
        "(or (= subject.x \"1\") (< subject.a 5) (= subject.a \"true\"))",
        "(if (exists? subject.x) false (= subject.a \"true\"))",
    ] {
        assert_eq!(decide(allowed), Ok(()), "{allowed}");
    }
    assert_eq!(decide("a and x"), missing("x"));
    assert_eq!(decide("x and a"), missing("x"));
    assert_eq!(decide("b or x"), missing("x"));
    assert_eq!(decide("not x"), missing("x"));
    assert_eq!(decide("x and b"), Err(Denial::False));
    assert_eq!(decide("b and x"), Err(Denial::False));
}

#[test]
fn reserved_attributes_are_left_out_and_counted() {
    let names: [&[u8]; 6] = [
        b"identifier",
        b"has_credential",
        b"a b",
        b"tab\there",
        "\u{a0}".as_bytes(),
        b"\xff",
    ];
    assert!(names.iter().all(|name| is_reserved_attribute(name)));
    let free: [&[u8]; 3] = [b"identifiers", b"role", "gr\u{f6}\u{df}e".as_bytes()];
    assert!(!free.iter().any(|name| is_reserved_attribute(name)));

    let mut pairs: Vec<(&[u8], &[u8])> = names.iter().map(|name| (*name, &b"x"[..])).collect();
    pairs.extend([
        (&b"role"[..], &b"dba"[..]),
        (b"bin", b"\xff"),
        (b"resource.id", b"x"),
    ]);
    let attributes = Attributes::new(1, pairs);
    let subject = Identifier([7; 32]);
    let environment = Environment::new("db", &subject, Credential::Valid(&attributes));
    assert_eq!(environment.left_out(Mode::Strict), 8);
    assert_eq!(environment.left_out(Mode::Compat), 3);
    let decide = |text: &str| {
        Policy::parse(text, Mode::Strict)
            .expect(text)
            .decide(&environment)
    };
    assert_eq!(decide("role=dba"), Ok(()));
    assert_eq!(decide(&subject.to_string()), Ok(()));
    assert_eq!(decide("(= subject.has_credential true)"), Ok(()));
    assert_eq!(decide("(exists? subject.bin)"), Err(Denial::False));
    let nobody = Environment::new("db", &subject, Credential::Missing);
    assert_eq!(nobody.left_out(Mode::Strict), 0);
}
