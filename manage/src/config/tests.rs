//! Files, good and bad, and what is said about them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
struct Sample {
    name: String,
    max_memory: Option<u32>,
    shards: u8,
    names: Vec<String>,
    tcp_inlets: BTreeMap<String, Inlet>,
    level: Option<Level>,
    any: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Inlet {
    from: String,
    #[serde(default)]
    tcp_inlet: bool,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    Info,
    Debug,
}

fn given(pairs: &[(&str, &str)]) -> Variables {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Variables::without_environment(pairs.iter().map(owned))
}

fn sample(text: &str) -> Result<Sample, String> {
    let read = read::<Sample>("x.yaml", text, &given(&[]));
    read.map(|(sample, _)| sample)
        .map_err(|findings| findings.to_string())
}

#[test]
fn yaml_and_json_are_read() {
    let yaml =
        "name: a\nmax_memory: 5\nnames: [b, 'c']\ntcp-inlets:\n  web: {from: 80}\nlevel: debug\n";
    let json = r#"{"name": "a", "max-memory": "5", "names": ["b", "c"],
        "tcp_inlets": {"web": {"from": "80", "tcp-inlet": false}}, "level": "debug", "any": null}"#;
    let expected = sample(yaml).expect(yaml);
    assert_eq!(expected.max_memory, Some(5));
    assert_eq!(expected.names, ["b", "c"]);
    assert_eq!(expected.tcp_inlets["web"].from, "80");
    assert_eq!(expected.level, Some(Level::Debug));
    assert_eq!(sample(json), Ok(expected));
    assert_eq!(sample(""), Ok(Sample::default()));
    assert_eq!(sample("# nothing\n---\n"), Ok(Sample::default()));
}

#[test]
fn one_value_is_a_list_of_one() {
    assert_eq!(
        sample("names: a").map(|read| read.names),
        Ok(vec!["a".to_owned()])
    );
}

#[test]
fn untyped_values_have_the_types_of_yaml() {
    let text = "any: [1, -2, 1.5, true, 'true', ~, a, 1.2.3, {b: 1}]";
    let expected = serde_json::json!([1, -2, 1.5, true, "true", null, "a", "1.2.3", {"b": 1}]);
    assert_eq!(sample(text).map(|read| read.any), Ok(Some(expected)));
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, expected) in [
        (
            "name: a\nshard: 2",
            "2:1: unknown key 'shard', did you mean 'shards'?",
        ),
        (
            "tcp-inlets:\n  web:\n    from: 80\n    tcp-inlte: true",
            "4:5: unknown key 'tcp-inlte' in tcp-inlets.web, did you mean 'tcp-inlet'?",
        ),
        (
            "tcp-inlets: {web: {from: 80, zz: true}}",
            "1:30: unknown key 'zz' in tcp-inlets.web; there are from, tcp-inlet",
        ),
        (
            "name: a\nname: b",
            "2:1: the key 'name' is there already, in line 1",
        ),
        (
            "max-memory: 1\nmax_memory: 1",
            "2:1: the key 'max_memory' is there already, as 'max-memory'",
        ),
        (
            "shards: 256",
            "1:9: shards: expected a whole number from 0 to 255, found '256'",
        ),
        (
            "shards: [1]",
            "1:9: shards: expected a whole number from 0 to 255, found a list",
        ),
        (
            "names: [a, {b: c}]",
            "1:12: names[1]: expected text, found keys and values",
        ),
        (
            "names: {a: b}",
            "1:8: names: expected a list, found keys and values",
        ),
        ("name:", "1:1: name: expected text, found nothing"),
        (
            "tcp-inlets:\n  web:\n    tcp-inlet: yes\n    from: 1",
            "3:16: tcp-inlets.web.tcp-inlet: expected true or false, found 'yes'",
        ),
        (
            "tcp-inlets:\n  web:\n    tcp-inlet: true",
            "3:5: tcp-inlets.web: 'from' is missing",
        ),
        (
            "tcp-inlets: 5",
            "1:13: tcp-inlets: expected keys and values, found '5'",
        ),
        (
            "level: degub",
            "1:8: level: expected 'info' or 'debug', found 'degub'; did you mean 'debug'?",
        ),
        ("- a", "1:1: expected keys and values, found a list"),
        (
            "a: b: c",
            "1:5: ':' is not expected here; put text that has it in quotes, and check how the line is indented",
        ),
        ("name: 'a", "1:7: a quote is opened and not closed"),
        (
            "name: a\n---\nname: b",
            "2:1: a second document begins here; one is read",
        ),
        ("name: !secret a", "1:15: tags ('!…') have no meaning here"),
        ("? [a]\n: b", "1:3: a key has to be text"),
        (
            "name: *a",
            "1:7: nothing was given this name with '&' before",
        ),
        (
            "any: &a {<<: b}",
            "1:10: merging with '<<' is not supported; write the keys out",
        ),
        (
            "any: &a [*a]",
            "1:10: this refers to something that contains it",
        ),
    ] {
        let found = sample(text).expect_err(text);
        let found = found.lines().next().unwrap_or_default();
        assert_eq!(found, format!("x.yaml:{expected}"), "{text}");
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = "\
naem: a
shards: x
max-memory: -1
names: [a, [b], {}]
tcp-inlets:
  a: {from: 1, form: 2}
  b: {tcp-inlet: 7}
  c: {from: [], tcp-inlet: nope}
";
    let expected = "\
x.yaml:1:1: unknown key 'naem', did you mean 'name'?
x.yaml:2:9: shards: expected a whole number from 0 to 255, found 'x'
x.yaml:3:13: max-memory: expected a whole number from 0 to 4294967295, found '-1'
x.yaml:4:12: names[1]: expected text, found a list
x.yaml:4:17: names[2]: expected text, found keys and values
x.yaml:6:16: unknown key 'form' in tcp-inlets.a, did you mean 'from'?
x.yaml:7:6: tcp-inlets.b: 'from' is missing
x.yaml:7:18: tcp-inlets.b.tcp-inlet: expected true or false, found '7'
x.yaml:8:13: tcp-inlets.c.from: expected text, found a list
x.yaml:8:28: tcp-inlets.c.tcp-inlet: expected true or false, found 'nope'";
    assert_eq!(sample(text), Err(expected.to_owned()));
}

#[test]
fn findings_are_bounded() {
    let text: String = (0..5000).map(|number| format!("k{number}: 1\n")).collect();
    let findings = read::<Sample>("x", &text, &given(&[])).expect_err("unknown keys");
    assert_eq!(findings.findings.len(), findings::MAX_FINDINGS);
}

#[test]
fn variables_are_replaced() {
    let variables = given(&[("A", "given"), ("N", "7")]);
    let text = "\
variables: {A: file, B: 'x-${A}', C: cc}
name: $A/$B/${C}d/$$A
shards: $N
names: ['$C.$C', \"${N}\", C]
";
    let (sample, _) = read::<Sample>("x", text, &variables).expect(text);
    assert_eq!(sample.name, "given/x-given/ccd/$A");
    assert_eq!(sample.shards, 7);
    assert_eq!(sample.names, ["cc.cc", "7", "C"]);
}

#[test]
fn the_environment_counts_between_what_is_given_and_the_file() {
    let text = "variables: {PATH: file}\nname: $PATH";
    let path = std::env::var("PATH").expect("PATH");
    let name = |variables: &Variables| read::<Sample>("x", text, variables).expect(text).0.name;
    assert_eq!(name(&Variables::new([])), path);
    assert_eq!(
        name(&Variables::new([("PATH".into(), "given".into())])),
        "given"
    );
    assert_eq!(name(&given(&[])), "file");
}

#[test]
fn variables_without_a_value_are_named_with_their_place() {
    let variables = given(&[("EMPTY", "")]);
    for (text, expected) in [
        (
            "name: a $DB b",
            "1:9: the variable DB has no value; give it with --variable DB=VALUE, in the environment \
             or under 'variables' (a dollar sign is written '$$')",
        ),
        (
            "variables: {HOST: h}\nname: 'a: ${HOTS}'",
            "2:11: the variable HOTS has no value, did you mean 'HOST'?",
        ),
        (
            "name: $EMPTY",
            "1:7: the variable EMPTY is empty; give it a value, or take it out of the environment",
        ),
        ("name: ${A", "1:7: '${' is opened and not closed with '}'"),
        (
            "name: 5$",
            "1:8: no name of a variable follows '$'; a dollar sign itself is written '$$'",
        ),
        (
            "variables: {A: ''}",
            "1:16: variables.A: expected text, found nothing",
        ),
        (
            "variables: {A: [1]}",
            "1:16: variables.A: expected text, found a list",
        ),
        (
            "variables: [A]",
            "1:12: variables: expected names and values, found a list",
        ),
        (
            "variables: {1A: b}",
            "1:13: '1A' is not the name of a variable: letters, digits and '_', no digit first",
        ),
    ] {
        let findings = read::<Sample>("x", text, &variables).expect_err(text);
        assert_eq!(findings.to_string(), format!("x:{expected}"), "{text}");
    }
}

#[test]
fn pairs_are_checked() {
    assert_eq!(Variables::pair("A=b=c"), Ok(("A".into(), "b=c".into())));
    for text in ["", "A", "=b", "A=", "1=b", "a b=c"] {
        assert!(Variables::pair(text).is_err(), "{text}");
    }
}

#[test]
fn files_that_grow_are_refused() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol]\n");
    for level in 1..20 {
        let before = level - 1;
        laughs +=
            &format!("a{level}: &a{level} [*a{before}, *a{before}, *a{before}, *a{before}]\n");
    }
    let long = format!(
        "a: &a '{}'\nb: [{}]",
        "x".repeat(100_000),
        "*a,".repeat(100)
    );
    let variables = format!(
        "variables: {{A: '{}'}}\nb: {}",
        "x".repeat(100_000),
        "$A".repeat(100)
    );
    for (text, expected) in [
        (laughs, "aliases counted"),
        (long, "aliases counted"),
        (variables, "too long for a file"),
        ("[".repeat(1000), "levels are inside each other"),
        (
            "a: ".to_owned() + &"[".repeat(100) + &"]".repeat(100),
            "levels are inside each other",
        ),
        (
            "a:\n".to_owned() + &"- ".repeat(100),
            "levels are inside each other",
        ),
        ("x".repeat(MAX_FILE + 1), "at most 262144 are read"),
    ] {
        let found = sample(&text).expect_err(expected);
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn places_inside_of_texts() {
    let text = "a: bcd\nb: 'bcd'\nc: \"b\\tcd\"\nd: |\n  bcd\n";
    let document = Document::parse("x", text, &given(&[])).expect(text);
    let place = |key: &str| document.tree().get(key).expect(key).place_of(1);
    let at = |line, column| Place { line, column };
    assert_eq!(place("a"), at(1, 5));
    assert_eq!(place("b"), at(2, 6));
    assert_eq!(
        place("c"),
        at(3, 4),
        "the value: its text is not written like that"
    );
    assert_eq!(place("d"), at(5, 3), "the first line");
}

#[test]
fn json_of_a_file_is_read_as_the_file() {
    let text = "name: $N$$\nshards: 3\nmax-memory:\ntcp-inlets: {a: {from: 1, tcp-inlet: true}}";
    let variables = given(&[("N", "a$b")]);
    let document = Document::parse("x", text, &variables).expect(text);
    let json = document.tree().to_json().to_string();
    let (again, _) = read::<Sample>("x", &json, &given(&[])).expect(&json);
    let (first, _) = read::<Sample>("x", text, &variables).expect(text);
    assert_eq!(again, first);
    assert_eq!(first.name, "a$b$");
}

#[test]
fn files_that_cannot_be_read() {
    let home = tempfile::tempdir().expect("directory");
    let path = home.path().join("x.yaml");
    assert_eq!(
        load(&path).expect_err("missing").kind,
        crate::problem::Kind::NotFound
    );
    std::fs::write(&path, b"name: \xff").expect("write");
    let problem = load(&path).expect_err("not UTF-8");
    assert!(
        problem.message.ends_with("byte 6 is not UTF-8"),
        "{problem}"
    );
    std::fs::write(&path, vec![b'#'; MAX_FILE + 1]).expect("write");
    assert!(
        load(&path)
            .expect_err("long")
            .message
            .contains("longer than")
    );
    assert!(load(home.path()).is_err());
}

/// Text that is nearly a file.
fn yamlish() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "name",
        "names",
        "tcp-inlets",
        "from",
        "variables",
        "level",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n- ",
        " - ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        "\"",
        "&a ",
        "*a",
        "<<",
        "!!str ",
        "|",
        ">-",
        "$A",
        "${A}",
        "$",
        "$$",
        "~",
        "1",
        "-1",
        "true",
        "\u{e9}",
        "\t",
        "#",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "? ",
        "\r\n",
        "\u{feff}",
        "\\x",
        "\u{0}",
    ]);
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = read::<Sample>("x", &text, &given(&[("A", "a")]));
        let _ = read::<serde_json::Value>("x", &text, &given(&[]));
    }

    #[test]
    fn nearly_a_file_does_not_make_it_panic(text in yamlish()) {
        let result = read::<Sample>("x", &text, &given(&[("A", "a")]));
        if let Err(findings) = result {
            prop_assert!(findings.has_errors());
            let lines = text.split(['\n', '\r']).count();
            for finding in &findings.findings {
                prop_assert!((1..=lines + 1).contains(&finding.place.line), "{findings}");
            }
        }
        let _ = read::<serde_json::Value>("x", &text, &given(&[("A", "a")]));
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it(
        name in any::<String>(),
        shards in any::<u8>(),
        names in prop::collection::vec("[ -~]{0,20}", 0..4),
        from in "[^\u{0}-\u{1f}\u{7f}-\u{9f}\u{feff}]{0,20}",
    ) {
        let inlet = Inlet { from: from.replace('$', "$$"), tcp_inlet: true };
        let mut names: Vec<_> = names;
        for name in &mut names {
            *name = name.replace('$', "$$");
        }
        let written = Sample {
            name: name.replace('$', "$$"),
            shards,
            names,
            tcp_inlets: BTreeMap::from([("a".to_owned(), inlet)]),
            ..Sample::default()
        };
        let text = serde_json::to_string(&written).expect("JSON");
        let (read, _) = read::<Sample>("x", &text, &given(&[])).map_err(|findings| {
            TestCaseError::fail(findings.to_string())
        })?;
        prop_assert_eq!(read.name, name);
        prop_assert_eq!(&read.tcp_inlets["a"].from, &from);
        prop_assert_eq!(read.shards, shards);
    }
}
