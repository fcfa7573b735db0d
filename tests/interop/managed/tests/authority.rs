//! Enrollment across: a real node with Culvert's authority, Culvert's edge with a real authority.

use std::path::Path;

use culvert_tests::PATIENCE;
use culvert_tests::chain::Edge;
use culvert_tests::net::free_address;
use culvert_tests::process::Spec;
use serde_json::Value;
use tempfile::TempDir;

fn home() -> TempDir {
    tempfile::tempdir().expect("a state directory")
}

fn ockam(home: &TempDir) -> Spec {
    // Nothing leaves the machine.
    Spec::new(env!("CARGO_BIN_EXE_managed-node"))
        .env("OCKAM_HOME", home.path())
        .env("HOME", home.path())
        .env("OCKAM_OPENTELEMETRY_EXPORT", "false")
}

/// What a real node says about an enrollment.
fn enroll_ockam(home: &TempDir, ticket: &str, more: &[&str]) -> Value {
    let output = ockam(home).args(["enroll", ticket]).args(more).run();
    let last = output.lines().last().expect("an event");
    serde_json::from_str(last).expect("an event")
}

/// What Culvert's edge says about a command: its exit status, and JSON.
fn edge(home: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = Edge::command(home)
        .args(arguments)
        .args(["--output", "json"])
        .output(PATIENCE);
    let code = output.status.code().expect("an exit status");
    let text = if code == 0 {
        output.stdout
    } else {
        output.stderr
    };
    let text = String::from_utf8_lossy(&text);
    let last = text.trim().lines().last().unwrap_or_default();
    let said = serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("{arguments:?} ended with {code}: {error} in: {text}"));
    (code, said)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// The real node verifies our credential, and is an enroller whose ticket our edge takes.
#[test]
fn a_real_node_enrolls_with_our_authority() {
    let (authority, node, other) = (home(), home(), home());
    let running = Edge::command(authority.path())
        .args([
            "authority",
            "create",
            "--listen",
            "127.0.0.1:0",
            "--output",
            "json",
        ])
        .args(["--project", "shop"])
        .start("authority");
    running.event("listening");
    let ticket = [
        "authority",
        "ticket",
        "create",
        "--attribute",
        "component=db",
    ];
    let ticket = [&ticket[..], &["--role", "enroller"]].concat();
    let (_, ticket) = edge(authority.path(), &ticket);
    let ticket = text(&ticket, "ticket");

    let enrolled = enroll_ockam(&node, ticket, &["--issue"]);
    assert_eq!(text(&enrolled, "status"), "EnrolledSuccessfully");
    assert_eq!(text(&enrolled, "project"), "shop");
    for pair in [
        "component=db",
        "ockam-role=enroller",
        "trust_context_id=api",
    ] {
        assert!(text(&enrolled, "attributes").contains(pair), "{enrolled}");
    }
    let again = enroll_ockam(&node, ticket, &[]);
    assert_eq!(text(&again, "status"), "AlreadyEnrolled");

    let (code, said) = edge(
        other.path(),
        &["project", "enroll", text(&enrolled, "ticket")],
    );
    assert_eq!(code, 0, "{said}");
    assert_eq!(said["attributes"]["component"], "web");
    let (_, members) = edge(authority.path(), &["authority", "member", "list"]);
    let members = members.as_array().expect("a list");
    let ids: Vec<&str> = members
        .iter()
        .map(|member| text(member, "identifier"))
        .collect();
    assert!(ids.contains(&text(&enrolled, "identifier")), "{ids:?}");
    let ours = members
        .iter()
        .find(|member| member["identifier"] == said["identifier"]);
    let by = &ours.expect("the edge")["added_by"];
    assert_eq!(*by, enrolled["identifier"], "who made the ticket");
}

#[test]
fn our_edge_enrolls_with_a_real_authority() {
    let real = home();
    let port = free_address().port().to_string();
    let running = ockam(&real)
        .args(["authority", "--port", &port])
        .start("ockam authority");
    let listening = running.event("listening");
    let [route, history] = ["route", "change_history"].map(|name| listening.text(name));
    let ticket = format!(
        "{route},{},default,{},{history},{history},{route}",
        listening.text("identifier"),
        listening.text("code"),
    );
    // Its code is good for two.
    let homes = [home(), home(), home()];
    for home in &homes[..2] {
        let (code, said) = edge(home.path(), &["project", "enroll", &ticket]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(said["attributes"]["component"], "db");
        assert_eq!(said["attributes"]["trust_context_id"], "p-1");
        assert_eq!(said["was_member"], false);
    }
    let (code, said) = edge(homes[0].path(), &["project", "enroll", &ticket]);
    assert_eq!((code, &said["was_member"]), (0, &Value::Bool(true)));
    let (code, said) = edge(homes[2].path(), &["project", "enroll", &ticket]);
    assert_eq!(
        (code, text(&said["error"], "reason")),
        (3, "ticket_unknown"),
        "{said}"
    );
    // Who is no enroller is told so.
    let (code, said) = edge(homes[0].path(), &["project", "ticket"]);
    assert_eq!(
        (code, text(&said["error"], "reason")),
        (3, "refused"),
        "{said}"
    );
}
