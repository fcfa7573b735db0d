//! The program itself, as far as it needs no relay.

use std::path::Path;
use std::process::{Command, Output};

use clap::CommandFactory;
use culvert_edge::cli::Cli;
use serde_json::Value;
use tempfile::TempDir;

const IDENTIFIER: &str = "I0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

pub(crate) fn home() -> TempDir {
    tempfile::tempdir().expect("directory")
}

pub(crate) fn edge(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_culvert-edge"))
        .args(arguments)
        .env("CULVERT_HOME", home)
        .env_remove("CULVERT_LOG")
        .output()
        .expect("run the program")
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_usage_is_explained() {
    let outlet = ["outlet", "--relay", "r:1", "--name", "x", "--to", "t:1"];
    let inlet = ["inlet", "--from", "0"];
    let in_clear = "/ip4/127.0.0.1/tcp/1/service/forward_to_x/service/outlet";
    let route = "/ip4/127.0.0.1/tcp/1/service/forward_to_x/secure/api/service/outlet";
    let allow = ["--allow", IDENTIFIER];
    let cases: [(Vec<&str>, &str); 9] = [
        (outlet.to_vec(), "--allow-any"),
        (
            [&outlet[..], &["--allow", "I12"]].concat(),
            "64 hexadecimal digits",
        ),
        (
            [&outlet[..], &allow, &["--allow-any"]].concat(),
            "cannot be used with",
        ),
        (
            [
                &outlet[..],
                &allow,
                &["--plain-registration", "--relay-identity", IDENTIFIER],
            ]
            .concat(),
            "cannot be used with",
        ),
        ([&inlet[..], &allow, &["--relay", "r:1"]].concat(), "--via"),
        (
            [&inlet[..], &allow, &["--relay", "r:1", "--via", "a#b"]].concat(),
            "--via",
        ),
        (
            [&inlet[..], &["--relay", "r:1", "--via", "x"]].concat(),
            "--allow-any",
        ),
        (
            [&inlet[..], &["--route", route, "--insecure"]].concat(),
            "--allow-any",
        ),
        (
            [&inlet[..], &allow, &["--route", in_clear]].concat(),
            "no secure channel",
        ),
    ];
    let home = home();
    for (arguments, expected) in cases {
        let output = edge(home.path(), &arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(
            said.starts_with("error: ") && said.contains(expected),
            "{arguments:?}: {said}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    // Nothing was made on the way.
    assert_eq!(home.path().read_dir().expect("list").count(), 0);
}

#[test]
fn wrong_usage_is_json_when_asked() {
    let home = home();
    for arguments in [
        &["--output", "json", "identity", "create", "--type", "rsa"][..],
        &[
            "outlet",
            "--relay",
            "r:1",
            "--name",
            "x",
            "--to",
            "t:1",
            "--output=json",
        ],
    ] {
        let output = edge(home.path(), arguments);
        assert_eq!(output.status.code(), Some(2));
        let said: Value = serde_json::from_slice(&output.stderr).expect("JSON");
        for part in ["message", "hint"] {
            let said = said["error"][part].as_str().expect(part);
            assert!(!said.is_empty() && !said.contains('\n'), "{said:?}");
        }
    }
}

#[test]
fn failures_are_told_to_people_and_programs() {
    let home = home();
    let plain = edge(home.path(), &["identity", "show"]);
    assert_eq!(plain.status.code(), Some(4));
    let said = text(&plain.stderr);
    assert!(
        said.starts_with("error: there is no identity 'default' in "),
        "{said}"
    );
    assert!(
        said.contains("hint: run `culvert-edge identity create"),
        "{said}"
    );
    let json = edge(home.path(), &["identity", "show", "--output", "json"]);
    let error: Value = serde_json::from_slice(&json.stderr).expect("JSON on stderr");
    assert!(error["error"]["message"].is_string(), "{error}");
    let event: Value = serde_json::from_slice(&json.stdout).expect("JSON on stdout");
    assert_eq!(event["event"], "failed");
    assert_eq!(event["kind"], "not-found");
    assert_eq!(error["error"]["kind"], "not-found");
    assert_eq!(event["error"], error["error"]["message"]);
}

#[test]
fn identities_are_made_shown_and_listed() {
    let home = home();
    let run = |arguments: &[&str]| {
        let output = edge(home.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    let identifier = run(&["identity", "create"]);
    assert!(
        identifier.starts_with('I') && identifier.len() == 65,
        "{identifier}"
    );
    assert_eq!(run(&["identity", "show"]), identifier);
    let other = run(&["identity", "create", "--name", "two", "--type", "p256"]);
    let list = run(&["identity", "list"]);
    let of = |rows: &str| format!("{:65}  NAME\n{rows}{other}  two", "IDENTIFIER");
    assert_eq!(list, of(&format!("{identifier}  default\n")));
    let list: Value =
        serde_json::from_str(&run(&["identity", "list", "--output", "json"])).expect("JSON");
    assert_eq!(list[1]["name"], "two");
    assert_eq!(list[1]["identifier"], other.as_str());

    // One that cannot be read does not hide the others.
    std::fs::write(home.path().join("identities/default.json"), "").expect("write");
    let output = edge(home.path(), &["identity", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout).trim(), of(""));
}

#[test]
fn a_demo_needs_its_parts() {
    let home = home();
    let output = edge(
        home.path(),
        &["demo", "--once", "--relay-binary", "/no/such/relay"],
    );
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("/no/such/relay"), "{said}");
    let output = edge(
        home.path(),
        &[
            "demo",
            "--once",
            "--relay-binary",
            "true",
            "--to",
            "127.0.0.1:1",
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("127.0.0.1:1"),
        "{}",
        text(&output.stderr)
    );
    // A child without the demo that wants it.
    let output = edge(home.path(), &["demo-child", "1", "echo", "hello"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}
