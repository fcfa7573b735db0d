//! Commands about vaults.

use std::os::unix::fs::OpenOptionsExt;

use serde_json::Value;
use tempfile::TempDir;

use crate::run::{Program, text};

fn secret_file(home: &TempDir, name: &str, content: &str) -> String {
    let path = home.path().join(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&path).expect("open");
    std::io::Write::write_all(&mut file, content.as_bytes()).expect("write");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_plain_vault_says_so() {
    let program = Program::new();
    let made = program.ok(&["vault", "create", "--name", "v"]);
    assert!(made.contains("not encrypted"), "{made}");
    program.ok(&["identity", "create", "--name", "x", "--vault", "v"]);
    let shown = program.ok(&["vault", "show", "--name", "v"]);
    assert!(
        shown.contains("not encrypted") && shown.contains("used by x"),
        "{shown}"
    );
    assert!(shown.contains("EdDSACurve25519  of x"), "{shown}");
    let list = program.json(&["vault", "list"]);
    assert_eq!(list[0]["name"], "v");
    assert_eq!(list[0]["encrypted"], false);
    program.fails(&["vault", "create", "--name", "v"], 5, "already a vault");
}

#[test]
fn an_encrypted_vault_needs_its_passphrase() {
    let program = Program::new();
    let words = secret_file(&program.home, "words", "correct horse\n");
    let wrong = secret_file(&program.home, "wrong", "battery staple\n");
    let made = program.ok(&[
        "vault",
        "create",
        "--name",
        "v",
        "--passphrase-file",
        &words,
    ]);
    assert!(made.contains("encrypted with a passphrase"), "{made}");
    let create = ["identity", "create", "--name", "x", "--vault", "v"];
    program.fails(&create, 1, "--passphrase-file");
    let with = |file: &str| {
        [&create[..], &["--passphrase-file", file]]
            .concat()
            .join(" ")
    };
    let run = |line: String| program.run(&line.split(' ').collect::<Vec<_>>());
    let refused = run(with(&wrong));
    assert!(
        text(&refused.stderr).contains("does not open"),
        "{refused:?}"
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(run(with(&words)).status.success());
    // What is public needs none.
    let identifier = program.ok(&["identity", "show", "--name", "x"]);
    assert!(program.ok(&["identity", "list"]).contains(&identifier));
    let shown = program.json(&["vault", "show", "--name", "v"]);
    assert_eq!(shown["with"], "passphrase");
    assert_eq!(shown["keys"], Value::Null);
    let shown = program.json(&["vault", "show", "--name", "v", "--passphrase-file", &words]);
    assert_eq!(shown["keys"][0]["identities"][0], "x");
    // A portal tells before it does anything else.
    let portal = [
        "outlet",
        "--relay",
        "127.0.0.1:1",
        "--name",
        "db",
        "--to",
        "127.0.0.1:1",
    ];
    let portal = [&portal[..], &["--allow-any", "--identity", "x"]].concat();
    program.fails(&portal, 1, "the vault 'v' is encrypted with a passphrase");
    // The environment does as well.
    let rotate = ["identity", "rotate", "--name", "x"];
    let mut command = program.command(&rotate);
    let rotated = command.env("CULVERT_PASSPHRASE", "correct horse").output();
    let rotated = rotated.expect("run");
    assert_eq!(text(&rotated.stdout).trim(), identifier, "{rotated:?}");
}

#[test]
fn a_passphrase_is_changed_and_keys_are_moved() {
    let program = Program::new();
    let old = secret_file(&program.home, "old", "old passphrase\n");
    let new = secret_file(&program.home, "new", "new passphrase\n");
    let key = secret_file(&program.home, "key", &"k".repeat(32));
    let identifier = program.ok(&["identity", "create"]);
    let to = [
        "vault",
        "move",
        "--name",
        "default",
        "--protect",
        "passphrase",
    ];
    program.fails(&to, 1, "--new-passphrase-file");
    program.ok(&[&to[..], &["--passphrase-file", &old]].concat());
    let change = ["--passphrase-file", &old, "--new-passphrase-file", &new];
    program.ok(&[&to[..], &change].concat());
    let rotate = ["identity", "rotate", "--passphrase-file"];
    program.fails(&[&rotate[..], &[&old]].concat(), 1, "does not open");
    assert_eq!(program.ok(&[&rotate[..], &[&new]].concat()), identifier);

    program.ok(&["vault", "create", "--name", "other", "--key-file", &key]);
    let refused = ["vault", "delete", "--name", "default"];
    program.fails(&refused, 1, "used by 'default'");
    let move_keys = ["vault", "move", "--identity", "default", "--to", "other"];
    let with = ["--passphrase-file", &new, "--new-key-file", &key];
    program.ok(&[&move_keys[..], &with].concat());
    program.ok(&refused);
    let rotated = program.ok(&["identity", "rotate", "--key-file", &key]);
    assert_eq!(rotated, identifier);
    let shown = program.json(&["vault", "show", "--name", "other", "--key-file", &key]);
    assert_eq!(shown["with"], "key-file");
    let name = shown["keys"][0]["key"].as_str().expect("a key").to_owned();
    let delete = [
        "vault",
        "delete",
        "--name",
        "other",
        "--key",
        &name,
        "--key-file",
        &key,
    ];
    program.fails(&delete, 1, "used by 'default'");
    program.ok(&[&delete[..], &["--force"]].concat());
    program.fails(&["identity", "rotate", "--key-file", &key], 1, "has no key");
}

#[test]
fn a_key_service_that_was_left_out_is_told() {
    if cfg!(feature = "aws-kms") {
        return;
    }
    let program = Program::new();
    program.fails(&["vault", "create", "--name", "v", "--kms"], 1, "aws-kms");
    assert_eq!(program.ok(&["vault", "list"]), "NAME  KEYS");
}

#[test]
fn wrong_usage_of_vaults_is_explained() {
    let program = Program::new();
    for arguments in [
        &["vault", "move"][..],
        &["vault", "move", "--name", "a"],
        &["vault", "move", "--identity", "a"],
        &[
            "vault",
            "move",
            "--identity",
            "a",
            "--to",
            "b",
            "--name",
            "c",
        ],
        &["vault", "create"],
        &["vault", "create", "--name", "a", "--kms-region", "r"],
        &["vault", "create", "--name", "a", "--protect", "rot13"],
    ] {
        program.fails(arguments, 2, "error: ");
    }
    program.fails(&["vault", "show", "--name", "../x"], 1, "is not a name");
}
