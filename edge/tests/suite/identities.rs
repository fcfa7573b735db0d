//! Commands about identities that the reference has too: rotate, export, import, compare.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::run::{Program, text};

fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/identities.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("vectors")).expect("JSON")
}

#[test]
fn a_rotation_goes_on_where_the_history_ended() {
    let program = Program::new();
    for kind in ["ed25519", "p256"] {
        let identifier = program.ok(&["identity", "create", "--name", kind, "--type", kind]);
        let before = program.ok(&["identity", "export", kind]);
        let rotate = [
            "identity",
            "rotate",
            "--name",
            kind,
            "--revoke-purpose-keys",
        ];
        assert_eq!(program.ok(&rotate), identifier);
        let after = program.ok(&["identity", "export", kind]);
        // One change more, and nothing else: only the length of the list differs before it.
        assert!(after[2..].starts_with(&before[2..]), "{after}");
        assert_eq!(
            program.ok(&["identity", "compare", &after, &before]),
            "newer"
        );
        assert_eq!(program.ok(&["identity", "compare", &before, kind]), "older");
        let shown = program.json(&["identity", "show", "--name", kind]);
        assert_eq!(shown["changes"], 2);
        assert_eq!(shown["change_history"], after);
    }
    let other = program.ok(&["identity", "rotate", "--name", "p256", "--type", "ed25519"]);
    let shown = program.ok(&["identity", "show", "--name", "p256", "--full"]);
    let expected = format!("Identifier:     {other}\nChange history: ");
    assert!(shown.starts_with(&expected), "{shown}");
    program.fails(
        &["identity", "rotate", "--name", "nobody"],
        4,
        "no identity 'nobody'",
    );
}

/// Recorded comparisons of real nodes.
#[test]
fn comparisons_are_those_of_real_nodes() {
    for vector in vectors()["comparison"].as_array().expect("a list") {
        let program = Program::new();
        let field = |name: &str| vector[name].as_str().expect("text");
        let (received, known) = (field("received"), field("known"));
        let expected = field("result").to_lowercase();
        let compare = ["identity", "compare", received, known];
        assert_eq!(program.ok(&compare), expected);
        assert_eq!(program.json(&compare)["result"], expected);
        // With what was imported before.
        let imported = program.json(&["identity", "import", known]);
        assert_eq!(imported["result"], "new");
        let identifier = imported["identifier"].as_str().expect("text");
        assert_eq!(program.ok(&["identity", "export", identifier]), known);
        let imported = program.ok(&["identity", "list", "--imported"]);
        assert_eq!(imported, format!("IDENTIFIER\n{identifier}"));
        let against = ["identity", "compare", received];
        match program.json(&["identity", "compare", received, known])["received"] == identifier {
            true => assert_eq!(program.ok(&against), expected),
            false => program.fails(&against, 1, "was imported"),
        }
    }
}

#[test]
fn histories_are_read_in_several_forms() {
    let program = Program::new();
    let vectors = vectors();
    let history = vectors["change_history_text"]["text"]
        .as_str()
        .expect("text");
    let file = program.home.path().join("history");
    std::fs::write(&file, format!("{history}\n")).expect("write");
    let from_file = format!("@{}", file.display());
    assert_eq!(
        program.ok(&["identity", "compare", history, &from_file]),
        "equal"
    );
    let upper = history.to_uppercase();
    assert_eq!(
        program.ok(&["identity", "compare", &upper, history]),
        "equal"
    );
    let mut child = program
        .command(&["identity", "import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run");
    let mut input = child.stdin.take().expect("stdin");
    input.write_all(history.as_bytes()).expect("write");
    drop(input);
    let output = child.wait_with_output().expect("output");
    assert!(text(&output.stdout).contains("new"), "{output:?}");
    // An older one is refused, and the newer stays.
    let older = vectors["comparison"].as_array().expect("a list");
    let older = older
        .iter()
        .find(|one| one["name"] == "short_vs_long")
        .expect("a vector");
    let older = older["received"].as_str().expect("text");
    program.fails(&["identity", "import", older], 1, "a newer one");
    for rejected in vectors["rejected"].as_array().expect("a list") {
        let text = rejected["change_history_cbor"].as_str().expect("text");
        if rejected["expected_identifier"].is_null() && text.len() > 65 {
            program.fails(&["identity", "import", text], 1, "cannot be taken");
        }
    }
    program.fails(&["identity", "compare", "-", "-"], 2, "one history only");
    program.fails(&["identity", "import", "@/no/such/file"], 1, "cannot read");
}

#[test]
fn an_identity_is_deleted_with_its_keys() {
    let program = Program::new();
    program.ok(&["identity", "create", "--name", "x"]);
    program.fails(&["identity", "delete", "--name", "x"], 2, "--yes");
    program.ok(&["identity", "delete", "--name", "x", "--yes"]);
    program.fails(&["identity", "show", "--name", "x"], 4, "no identity 'x'");
    let vault = program.json(&["vault", "show"]);
    assert_eq!(vault["keys"], Value::Array(vec![]));
    // With its key kept it can be made again, from its history.
    let identifier = program.ok(&["identity", "create", "--name", "y"]);
    let history = program.ok(&["identity", "export", "y"]);
    program.ok(&["identity", "delete", "--name", "y", "--keep-keys", "--yes"]);
    let import = [
        "identity", "import", &history, "--name", "z", "--vault", "default",
    ];
    assert_eq!(program.ok(&import), identifier);
    assert_eq!(
        program.ok(&["identity", "rotate", "--name", "z"]),
        identifier
    );
}
