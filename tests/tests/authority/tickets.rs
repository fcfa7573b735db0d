//! Tickets that are not good.

use culvert_crypto::Identifier;
use culvert_proto::ticket::Ticket;
use culvert_tests::net::{eventually, free_address};
use culvert_tests::{PATIENCE, metrics};
use serde_json::Value;

use crate::support::{Authority, enroll, home, json, refused, run, text};

#[test]
fn a_ticket_that_has_ended_says_how() {
    let authority = Authority::start(&[]);
    let new = home();
    let used = authority.ticket(&[]);
    assert_eq!(enroll(home().path(), text(&used, "ticket")).0, 0);
    assert_eq!(
        refused(new.path(), text(&used, "ticket")),
        (3, "ticket_used".into())
    );

    let revoked = authority.ticket(&[]);
    let reference = text(&revoked, "reference");
    json(
        authority.home.path(),
        &["authority", "ticket", "revoke", reference],
    );
    assert_eq!(
        refused(new.path(), text(&revoked, "ticket")),
        (3, "ticket_revoked".into())
    );
    let (code, _) = run(
        authority.home.path(),
        &["authority", "ticket", "revoke", "nothing"],
    );
    assert_eq!(code, 1);

    let expired = authority.ticket(&["--expires-in", "1s"]);
    eventually("end of the ticket", PATIENCE, || {
        let all = json(authority.home.path(), &["authority", "ticket", "list"]);
        let all = all.as_array().expect("a list").clone();
        let ours = all
            .iter()
            .find(|one| one["reference"] == expired["reference"]);
        match text(ours.expect("the ticket"), "state") {
            "expired" => Ok(()),
            state => Err(state.to_owned()),
        }
    });
    assert_eq!(
        refused(new.path(), text(&expired, "ticket")),
        (3, "ticket_expired".into())
    );

    let counted = metrics::scrape(authority.metrics);
    for reason in ["ticket_used", "ticket_revoked", "ticket_expired"] {
        assert_eq!(counted.count(reason), 1.0, "{reason}");
    }
}

#[test]
fn a_ticket_that_cannot_be_believed_says_why() {
    let authority = Authority::start(&[]);
    let new = home();
    let good = authority.ticket(&[]);
    let good = Ticket::parse(text(&good, "ticket")).expect("a ticket");
    let with = |change: fn(&mut Ticket)| {
        let mut ticket = good.clone();
        change(&mut ticket);
        ticket.reveal_hex().expect("a text")
    };
    let unknown = with(|ticket| ticket.code.bytes[0] ^= 1);
    assert_eq!(refused(new.path(), &unknown), (3, "ticket_unknown".into()));
    let forged = with(|ticket| ticket.authority_history[60] ^= 1);
    assert_eq!(refused(new.path(), &forged), (2, "ticket_forged".into()));
    let misnamed = with(|ticket| ticket.project_identifier = Some(Identifier([7; 32])));
    assert_eq!(refused(new.path(), &misnamed), (2, "ticket_forged".into()));
    let text = good.reveal_hex().expect("a text");
    assert_eq!(
        refused(new.path(), &text[1..]),
        (2, "ticket_undecodable".into())
    );
    assert_eq!(
        refused(new.path(), "hello"),
        (2, "ticket_undecodable".into())
    );
    let counted = metrics::scrape(authority.metrics);
    assert_eq!(counted.count("ticket_unknown"), 1.0);
    // None of these used the good one up, or left anything behind.
    let listed = json(new.path(), &["project", "list"]);
    assert_eq!(listed, Value::Array(Vec::new()));
    assert_eq!(enroll(new.path(), &text).0, 0);
}

#[test]
fn a_ticket_of_somebody_else_is_told_apart() {
    let authority = Authority::start(&[]);
    let new = home();
    let good = authority.ticket(&[]);
    let good = Ticket::parse(text(&good, "ticket")).expect("a ticket");
    // Another authority answers where the ticket's should.
    let other = Authority::start(&["--project", "other"]);
    let mut elsewhere = good.clone();
    elsewhere.authority_route = format!("/ip4/127.0.0.1/tcp/{}/service/api", other.address.port())
        .parse()
        .expect("a route");
    let elsewhere = elsewhere.reveal_hex().expect("a text");
    assert_eq!(
        refused(new.path(), &elsewhere),
        (1, "authority_other".into())
    );
    let nowhere = good.reveal().expect("a text").replace(
        &format!("tcp/{}/", authority.address.port()),
        &format!("tcp/{}/", free_address().port()),
    );
    assert_eq!(
        refused(new.path(), &nowhere),
        (6, "authority_unreachable".into())
    );

    let good = good.reveal_hex().expect("a text");
    assert_eq!(enroll(new.path(), &good).0, 0);
    let foreign = Ticket {
        project_name: "default".into(),
        ..Ticket::parse(text(&other.ticket(&[]), "ticket")).expect("a ticket")
    };
    let foreign = foreign.reveal_json().expect("a text");
    assert_eq!(refused(new.path(), &foreign), (5, "project_taken".into()));
    assert_eq!(
        run(
            new.path(),
            &["project", "enroll", &foreign, "--name", "two"]
        )
        .0,
        0
    );
    let (code, _) = run(new.path(), &["project", "ticket"]);
    assert_eq!(code, 2, "which of the two?");
}
