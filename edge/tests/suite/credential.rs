//! `culvert-edge credential`: issued, shown, verified, refused; and decided on by policies.

use std::path::Path;

use serde_json::Value;

use crate::cli::home;
use crate::policy::{done, run};

/// Makes an identity; its identifier and its change history.
fn identity(home: &Path, name: &str) -> (String, String) {
    let create = ["identity", "create", "--name", name, "--output", "json"];
    let made: Value = serde_json::from_str(&done(home, &create)).expect("JSON");
    let text = |member: &str| made[member].as_str().expect("text").to_owned();
    (text("identifier"), text("change_history"))
}

fn issue(home: &Path, subject: &str, more: &[&str]) -> String {
    let issue = ["credential", "issue", "--as", "authority", "--for", subject];
    done(home, &[&issue, more].concat())
}

#[test]
fn issued_credentials_verify() {
    let home = home();
    let home = home.path();
    let (authority, authority_history) = identity(home, "authority");
    let (subject, subject_history) = identity(home, "subject");
    let credential = issue(
        home,
        &subject,
        &["--attribute", "component=web", "--ttl", "1h"],
    );
    assert!(hex_digits(&credential), "{credential}");

    let show = ["credential", "show", &credential, "--output", "json"];
    let shown: Value = serde_json::from_str(&done(home, &show)).expect("JSON");
    assert_eq!(shown["issuer"], authority.as_str());
    assert_eq!(shown["subject"], subject.as_str());
    assert_eq!(shown["subject_latest_change"], Value::Null);
    assert_eq!(shown["attributes"]["component"], "web");
    assert_eq!(shown["verified"], false);
    let (created, expires) = (shown["created_at"].as_u64(), shown["expires_at"].as_u64());
    assert_eq!(
        expires.zip(created).map(|(end, start)| end - start),
        Some(3600)
    );
    let (text, said) = run(home, &["credential", "show", &credential], 0);
    assert!(
        text.starts_with("not verified\n") && text.contains("component = web"),
        "{text}"
    );
    assert!(said.contains("nothing of this has been verified"), "{said}");

    // With the history, the latest change is stated. Both may come out of files.
    let history_file = home.join("subject.history");
    std::fs::write(&history_file, subject_history).expect("write");
    let credential_file = home.join("credential");
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let with_history = issue(
        home,
        &path(&history_file),
        &["--attribute", "component=web"],
    );
    std::fs::write(&credential_file, format!("{with_history}\n")).expect("write");
    let verify = [
        "credential",
        "verify",
        &path(&credential_file),
        "--authority",
        &authority_history,
    ];
    let (text, _) = run(home, &[&verify[..], &["--subject", &subject]].concat(), 0);
    assert!(
        text.starts_with("valid: ") && text.contains("component = web"),
        "{text}"
    );
    let show = [
        "credential",
        "show",
        &path(&credential_file),
        "--output",
        "json",
    ];
    assert!(done(home, &show).contains("\"subject_latest_change\":\""));
}

#[test]
fn policies_decide_on_credentials() {
    let home = home();
    let home = home.path();
    let (authority, authority_history) = identity(home, "authority");
    let (subject, stranger_history) = identity(home, "subject");
    let credential = issue(home, &subject, &["--attribute", "component=web"]);
    let check = [
        "policy",
        "check",
        "component=web",
        "--credential",
        &credential,
    ];
    let (text, said) = run(home, &check, 0);
    assert_eq!(text, "allow");
    assert!(said.contains("not verified"), "{said}");
    let verified = [
        &check[..],
        &["--authority", &authority_history, "--output", "json"],
    ]
    .concat();
    let (text, said) = run(home, &verified, 0);
    assert!(
        text.contains("\"credential_verified\":true") && said.is_empty(),
        "{text} {said}"
    );
    let (_, said) = run(
        home,
        &[&check[..], &["--authority", &stranger_history]].concat(),
        1,
    );
    assert!(said.contains("not accepted"), "{said}");
    let identifier = ["policy", "check", &subject, "--credential", &credential];
    assert_eq!(run(home, &identifier, 0).0, "allow");
    let (_, said) = run(
        home,
        &[&identifier[..], &["--identifier", &authority]].concat(),
        1,
    );
    assert!(said.contains("another identity"), "{said}");
}

#[test]
fn refused_credentials_say_why_and_what_to_do() {
    let home = home();
    let home = home.path();
    let (authority, history) = identity(home, "authority");
    let (subject, stranger_history) = identity(home, "subject");
    let credential = issue(home, &subject, &[]);
    let verify = |credential: &str, authority: &str, more: &[&str]| {
        let verify = ["credential", "verify", credential, "--authority", authority];
        run(home, &[&verify[..], more].concat(), 1).1
    };
    let says = |said: &str, parts: [&str; 2]| {
        assert!(
            parts.iter().all(|part| said.contains(part)),
            "{parts:?}: {said}"
        );
    };
    says(
        &verify(&credential, &stranger_history, &[]),
        [
            "authority that is not accepted",
            "hint: ask the right authority",
        ],
    );
    says(
        &verify(&credential, &history, &["--subject", &authority]),
        [
            "about another identity",
            "hint: use the credential of that identity",
        ],
    );
    let cut = &credential[..credential.len() - 2];
    says(
        &verify(cut, &history, &[]),
        ["not the expected CBOR structure", "give all of"],
    );
    let longer = format!("{credential}00");
    says(
        &verify(&longer, &history, &[]),
        ["1 bytes after the end", "give all of"],
    );
    let last = if credential.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &credential[..credential.len() - 1]);
    says(
        &verify(&forged, &history, &[]),
        ["not signed by its identity", "forged"],
    );
    says(
        &run(
            home,
            &[
                "credential",
                "verify",
                "no-such-file",
                "--authority",
                &history,
            ],
            4,
        )
        .1,
        ["no-such-file", "hexadecimal"],
    );
    says(
        &verify(&credential, &credential, &[]),
        ["not a valid change history", "identity show"],
    );
}

#[test]
fn reserved_names_are_not_issued() {
    let home = home();
    let home = home.path();
    let (subject, _) = identity(home, "authority");
    for attribute in [
        "identifier=x",
        "has_credential=true",
        "a b=x",
        "noequals",
        "=x",
    ] {
        let issue = [
            "credential",
            "issue",
            "--as",
            "authority",
            "--for",
            &subject,
        ];
        let (stdout, _) = run(home, &[&issue[..], &["--attribute", attribute]].concat(), 2);
        assert!(stdout.is_empty(), "{attribute}");
    }
    let large = format!("a={}", "x".repeat(40_000));
    let issue = [
        "credential",
        "issue",
        "--as",
        "authority",
        "--for",
        &subject,
    ];
    let (_, said) = run(home, &[&issue[..], &["--attribute", &large]].concat(), 1);
    assert!(said.contains("too large"), "{said}");
    // It cannot last longer than its issuer.
    let (credential, said) = run(home, &[&issue[..], &["--ttl", "99999d"]].concat(), 0);
    assert!(
        hex_digits(&credential) && said.contains("ends with its issuer"),
        "{said}"
    );
    let (_, said) = run(
        home,
        &["credential", "issue", "--as", "nobody", "--for", &subject],
        4,
    );
    assert!(said.contains("no identity 'nobody'"), "{said}");
}

fn hex_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
