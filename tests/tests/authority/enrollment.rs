//! Enrolling in four commands, and what a restart leaves.

use culvert_proto::ticket::Ticket;
use culvert_tests::chain::Relay;
use serde_json::Value;

use crate::support::{Authority, enroll, home, json, run, text};

#[test]
fn two_edges_enroll_in_four_commands() {
    let relay = Relay::start(&[]);
    let at = relay.address.to_string();
    let authority = Authority::start(&["--relay", &at, "--project", "shop"]);
    assert_eq!(text(&authority.event, "project"), "shop");
    let first = authority.ticket(&["--role", "enroller"]);

    let (one, two) = (home(), home());
    let (code, enrolled) = enroll(one.path(), text(&first, "ticket"));
    assert_eq!(code, 0, "{enrolled}");
    assert_eq!(
        text(&enrolled, "authority"),
        authority.identifier.to_string()
    );
    let arguments = [
        "project",
        "ticket",
        "--attribute",
        "component=web",
        "--relay",
        "db",
    ];
    let second = json(one.path(), &arguments);
    let ticket = Ticket::parse(text(&second, "ticket")).expect("a ticket");
    let project = ticket.project_identifier.expect("the relay").to_string();
    assert_eq!(project, relay.identifier);

    let file = two.path().join("ticket");
    std::fs::write(&file, text(&second, "ticket")).expect("written");
    let (code, enrolled) = enroll(two.path(), file.to_str().expect("a path"));
    assert_eq!(code, 0, "{enrolled}");
    assert_eq!(enrolled["attributes"]["component"], "web");
    assert_eq!(enrolled["attributes"]["ockam-relay"], "db");
    assert_eq!(enrolled["was_member"], false);
    // Twice is as good as once, though the ticket has no uses left.
    let (code, again) = enroll(two.path(), file.to_str().expect("a path"));
    assert_eq!((code, &again["was_member"]), (0, &Value::Bool(true)));

    let shown = json(two.path(), &["project", "show"]);
    assert_eq!(shown["attributes"]["component"], "web");
    assert_eq!(shown["expires_at"], again["expires_at"]);
    let listed = json(two.path(), &["project", "list"]);
    assert_eq!(listed[0]["name"], "shop");
    // Who is no enroller makes no tickets.
    let (code, said) = run(two.path(), &["project", "ticket"]);
    assert_eq!((code, text(&said["error"], "reason")), (3, "refused"));
    json(two.path(), &["project", "delete", "shop"]);
    let (code, _) = run(two.path(), &["project", "show"]);
    assert_eq!(code, 4);
    assert_eq!(authority.members().len(), 2);
}

#[test]
fn members_and_tickets_outlive_a_restart() {
    let authority = Authority::start(&[]);
    let identifier = authority.identifier;
    let ticket = authority.ticket(&["--usage-count", "2", "--attribute", "a=b"]);
    let (one, two) = (home(), home());
    assert_eq!(enroll(one.path(), text(&ticket, "ticket")).0, 0);
    let trusted = home();
    let file = trusted.path().join("trusted.json");
    let me = text(&json(trusted.path(), &["identity", "create"]), "identifier").to_owned();
    let said = format!("{{\"{me}\": {{\"ockam-role\": \"enroller\"}}}}");
    std::fs::write(&file, said).expect("written");
    let path = file.to_str().expect("a path");

    let authority = authority.restart(&["--trusted-identities", path]);
    assert_eq!(authority.identifier, identifier);
    let (code, again) = enroll(one.path(), text(&ticket, "ticket"));
    assert_eq!((code, &again["was_member"]), (0, &Value::Bool(true)));
    assert_eq!(again["attributes"]["a"], "b");
    assert_eq!(enroll(two.path(), text(&ticket, "ticket")).0, 0);
    let configured = |authority: &Authority| {
        let all = authority.members();
        all.iter()
            .filter(|member| member["pre_trusted"] == true)
            .count()
    };
    assert_eq!((authority.members().len(), configured(&authority)), (3, 1));

    // What is not in the configuration any more is gone, the others stay.
    let authority = authority.restart(&[]);
    assert_eq!((authority.members().len(), configured(&authority)), (2, 0));
    let wrong = home();
    let file = wrong.path().join("trusted.json");
    for bad in [
        "{\"I11\": {}}",
        "[]",
        "{",
        &format!("{{\"{me}\": {{\"identifier\": \"x\"}}}}"),
    ] {
        std::fs::write(&file, bad).expect("written");
        let path = file.to_str().expect("a path");
        let (code, _) = run(
            wrong.path(),
            &["authority", "create", "--trusted-identities", path],
        );
        assert_eq!(code, 2, "{bad}");
    }
}
