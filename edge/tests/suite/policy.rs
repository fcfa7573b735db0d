//! `culvert-edge policy`: set, looked up, decided, explained.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{edge, home, text};

const IDENTIFIER: &str = "I0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

/// Runs a command that must end with `status`; what it printed.
pub(crate) fn run(home: &Path, arguments: &[&str], status: i32) -> (String, String) {
    let output = edge(home, arguments);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {stdout} {stderr}"
    );
    (stdout.trim_end().to_owned(), stderr.to_owned())
}

/// What a command that must succeed printed.
pub(crate) fn done(home: &Path, arguments: &[&str]) -> String {
    run(home, arguments, 0).0
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn policies_are_set_listed_shown_and_deleted() {
    let home = home();
    let home = home.path();
    let web = "(= subject.component \"web\")";
    let set = done(
        home,
        &["policy", "create", "--resource", "db", "component=web"],
    );
    assert_eq!(set, web);
    // A type that no resource has would protect nothing.
    let typo = ["policy", "create", "--resource-type", "tcp-outlt", "dba"];
    let (_, said) = run(home, &typo, 2);
    assert!(said.contains("did you mean 'tcp-outlet'?"), "{said}");
    let kind = ["--resource-type", "tcp-outlet"];
    done(
        home,
        &[&["policy", "create"], &kind[..], &["dba or ops"]].concat(),
    );
    // It takes the place of the other.
    let dba = "(= subject.dba \"true\")";
    assert_eq!(
        done(home, &[&["policy", "create"], &kind[..], &["dba"]].concat()),
        dba
    );

    let list = done(home, &["policy", "list"]);
    assert_eq!(
        list,
        format!(
            "OF        NAME        EXPRESSION\nresource  db          {web}\ntype      tcp-outlet  {dba}"
        )
    );
    let list = json(&done(home, &["policy", "list", "--output", "json"]));
    let expected = json!([
        { "resource": "db", "expression": web },
        { "resource_type": "tcp-outlet", "expression": dba },
    ]);
    assert_eq!(list, expected);
    assert_eq!(done(home, &["policy", "show", "--resource", "db"]), web);

    done(home, &["policy", "delete", "--resource", "db"]);
    for command in ["show", "delete"] {
        let (_, said) = run(home, &["policy", command, "--resource", "db"], 4);
        assert!(said.contains("no policy of resource 'db'"), "{said}");
    }
    assert_eq!(
        done(home, &["policy", "list"]),
        format!("OF    NAME        EXPRESSION\ntype  tcp-outlet  {dba}")
    );
}

#[test]
fn what_is_no_policy_is_refused_with_its_place() {
    let home = home();
    let create = |expression: &str, more: &[&str], status| {
        let arguments = [&["policy", "create", "--resource", "db", expression], more].concat();
        run(home.path(), &arguments, status)
    };
    let (stdout, said) = create("(= subject.a = \"true\")", &[], 2);
    assert!(stdout.is_empty());
    for part in [
        "as shorthand: ",
        "in full form: '=' is an operator and stands where an operand must be",
        "\n    (= subject.a = \"true\")\n                 ^",
        "hint: operators come first",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (_, said) = create("a andb", &["--output", "json"], 2);
    let said = json(&said);
    let message = said["error"]["message"].as_str().expect("a message");
    assert!(message.contains("at byte 2"), "{message}");

    // As Ockam reads it; what could only deny is refused all the same.
    let notary = create("notary", &["--compat"], 0).0;
    assert_eq!(notary, "(not (= subject.ary \"true\"))");
    assert_eq!(create("notary", &[], 0).0, "(= subject.notary \"true\")");
    let (_, said) = create("(and (startswith subject.a \"x\") true)", &["--compat"], 2);
    assert!(said.contains("no operator 'startswith'"), "{said}");

    let (_, said) = run(home.path(), &["policy", "create", "a"], 2);
    assert!(said.contains("--resource"), "{said}");
}

#[test]
fn decisions_have_their_own_exit_status() {
    let home = home();
    let home = home.path();
    let check = |more: &[&str], status| run(home, &[&["policy", "check"], more].concat(), status).0;
    assert_eq!(check(&["web", "--attribute", "web=true"], 0), "allow");
    let denied = check(&["web", "--attribute", "web=no"], 3);
    assert_eq!(denied, "deny: the policy is false");
    assert_eq!(check(&["web"], 3), "deny: subject.web is missing");
    assert_eq!(check(&["a or b", "--attribute", "b=true"], 0), "allow");
    // Ockam stops at the first attribute that is missing.
    let compat = check(&["a or b", "--attribute", "b=true", "--compat"], 3);
    assert_eq!(compat, "deny: subject.a is missing");
    assert_eq!(check(&[IDENTIFIER, "--identifier", IDENTIFIER], 0), "allow");
    assert_eq!(
        check(&[IDENTIFIER], 3),
        "deny: subject.identifier is missing"
    );
    let flag = "(= subject.has_credential true)";
    assert_eq!(check(&[flag, "--attribute", "a=b"], 0), "allow");
    assert_eq!(
        check(&[flag, "--no-credential"], 3),
        "deny: the policy is false"
    );
    let unbound = check(&[flag, "--no-authority"], 3);
    assert_eq!(unbound, "deny: subject.has_credential is missing");
    check(&["web", "--attribute", "identifier=x"], 2);
    check(&["web", "--attribute", "a=1", "--attribute", "a=2"], 2);
    check(&["(web"], 2);
    check(&[], 2);
}

#[test]
fn the_stored_policy_that_counts_decides() {
    let home = home();
    let home = home.path();
    let check = |more: &[&str], status| run(home, &[&["policy", "check"], more].concat(), status).0;
    let kind = ["--resource-type", "tcp-outlet"];
    let none = check(&["--resource", "db"], 3);
    assert_eq!(none, "deny: no policy is set for this resource or its type");
    done(
        home,
        &[&["policy", "create"], &kind[..], &["(= 1 1)"]].concat(),
    );
    let expression = "(and (= subject.dba \"true\") (= resource.id \"db\"))";
    done(home, &["policy", "create", "--resource", "db", expression]);
    let other = [&["--resource", "other"], &kind[..]].concat();
    assert_eq!(check(&other, 0), "allow");
    let db = [&["--resource", "db"], &kind[..]].concat();
    assert_eq!(check(&db, 3), "deny: subject.dba is missing");
    let as_dba = [&db[..], &["--attribute", "dba=true"]].concat();
    assert_eq!(check(&as_dba, 0), "allow");
}

#[test]
fn explanations_name_the_part_that_decided() {
    let home = home();
    let check = [
        "policy",
        "check",
        "web and not trial",
        "--attribute",
        "web=true",
        "--explain",
    ];
    let (said, _) = run(home.path(), &check, 3);
    assert!(
        said.starts_with("deny: subject.trial is missing\n\n"),
        "{said}"
    );
    assert!(said.ends_with("decided by: subject.trial"), "{said}");
    assert!(said.contains("(= subject.web \"true\") is true"), "{said}");
    let (said, _) = run(
        home.path(),
        &[&check[..], &["--output", "json"]].concat(),
        3,
    );
    let said = json(&said);
    assert_eq!(said["decision"], "deny");
    assert_eq!(said["decided_by"], "subject.trial");
    let parts = said["explanation"]["parts"].as_array().expect("parts");
    assert_eq!(parts[0]["value"], "true");
    assert_eq!(parts[1]["parts"][0]["parts"][0]["decided"], true);
}
