//! Requests as somebody else's program may send them.

use std::time::Duration;

use culvert_node::session::request::AskError;
use culvert_proto::authority::{
    CreateToken, MemberAttributes, OneTimeCode, Service, UNKNOWN_TOKEN, USED_TOKEN,
};
use culvert_proto::identity::encode;
use culvert_proto::limits::MAX_AUTHORITY_REQUEST;
use culvert_proto::request::{Method, Status};
use culvert_proto::ticket::Ticket;
use culvert_tests::wire::{Received, Wire};
use culvert_tests::{PATIENCE, metrics};

use crate::asker::{Asker, endpoint, now};
use crate::support::{Authority, json, text};

#[test]
fn a_hundred_redeem_a_ticket_of_five_uses() {
    let authority = Authority::start(&[]);
    let ticket = authority.ticket(&["--usage-count", "5", "--attribute", "a=b"]);
    let ticket = Ticket::parse(text(&ticket, "ticket")).expect("a ticket");
    let asker = Asker::new(&authority);
    let body = encode(&ticket.code);
    let answers: Vec<_> = (0..100)
        .map(|_| {
            let question = (
                Service::TokenAcceptor,
                Method::Post,
                "/",
                Some(body.clone()),
            );
            asker.begin(&endpoint(now()), question, PATIENCE)
        })
        .collect();
    let mut accepted = 0;
    for answer in answers {
        let answer = answer
            .recv_timeout(2 * PATIENCE)
            .expect("in time")
            .expect("an answer");
        match answer.is_ok() {
            true => accepted += 1,
            false => assert_eq!(answer.message(), USED_TOKEN),
        }
    }
    assert_eq!(accepted, 5);
    assert_eq!(authority.members().len(), 5);
    let counted = metrics::scrape(authority.metrics);
    assert_eq!(counted.count("ticket_used"), 95.0);
    assert_eq!(counted.get("culvert_authority_requests_total"), 5.0);
    asker.node.shutdown();
}

#[test]
fn requests_that_make_no_sense_are_answered() {
    let authority = Authority::start(&[]);
    let asker = Asker::new(&authority);
    let me = endpoint(now());
    let member = me.identifier().to_string();
    let home = authority.home.path();
    json(
        home,
        &["authority", "member", "add", &member, "--role", "enroller"],
    );
    let ask = |service, method, path, body: Option<&[u8]>| {
        let answer = asker.ask(&me, service, method, path, body);
        (answer.status, answer.message().to_owned())
    };
    let (get, post) = (Method::Get, Method::Post);
    let long = vec![0; MAX_AUTHORITY_REQUEST];
    let reserved = |name: &str| {
        let attributes = MemberAttributes::from([(name.to_owned(), "x".to_owned())]);
        encode(&CreateToken {
            attributes,
            ..CreateToken::default()
        })
    };
    let (identifier, blank) = (reserved("identifier"), reserved("a b"));
    let cases: [(Service, Method, &str, Option<&[u8]>); 12] = [
        (Service::TokenIssuer, post, "/", None),
        (Service::TokenIssuer, post, "/tokens", Some(b"\xff\x00")),
        (Service::TokenIssuer, post, "/", Some(&identifier)),
        (Service::TokenIssuer, post, "/", Some(&blank)),
        (Service::TokenAcceptor, post, "/", Some(b"")),
        (Service::TokenAcceptor, post, "/", Some(b"\xa1\x01\x41\x00")),
        (Service::TokenAcceptor, post, "/", Some(&long)),
        (
            Service::DirectAuthenticator,
            post,
            "/members",
            Some(b"\xa0"),
        ),
        (Service::DirectAuthenticator, get, "/members/I11", None),
        (Service::DirectAuthenticator, Method::Delete, "/me", None),
        (Service::DirectAuthenticator, Method::Put, "/", None),
        (Service::CredentialIssuer, get, "/", None),
    ];
    for (service, method, path, body) in cases {
        let (status, message) = ask(service, method, path, body);
        assert_eq!(
            status,
            Some(Status::BadRequest),
            "{service:?} {path}: {message}"
        );
        assert!(!message.is_empty(), "{service:?} {path}");
    }
    let (_, message) = ask(Service::CredentialIssuer, get, "/", None);
    assert_eq!(message, "unknown path");
    let code = encode(&OneTimeCode { bytes: [1; 32] });
    let stranger = asker.ask(
        &endpoint(now()),
        Service::TokenAcceptor,
        post,
        "/",
        Some(&code),
    );
    assert_eq!(
        (stranger.status, stranger.message()),
        (Some(Status::Forbidden), UNKNOWN_TOKEN)
    );
    let counted = metrics::scrape(authority.metrics);
    assert_eq!(counted.count("authority_request"), 11.0);
    assert_eq!(counted.count("member_attributes"), 2.0);
    // It still works.
    let issued = asker.ask(&me, Service::CredentialIssuer, post, "/credential", None);
    assert!(issued.is_ok() && issued.body.is_some_and(|body| body.len() > 200));
    asker.node.shutdown();
}

#[test]
fn services_are_reached_through_channels_only() {
    let authority = Authority::start(&[]);
    let before = metrics::scrape(authority.metrics);
    let mut wire = Wire::open(authority.address);
    for service in Service::ALL {
        let request = hex::decode("0ea4011a0102030402612f030104f4").expect("digits");
        wire.send_message(&[service.address()], &["me"], &request);
    }
    metrics::await_count(authority.metrics, &before, "not_permitted", 4.0, PATIENCE);
    let nothing = wire.frame(Duration::from_millis(1));
    assert!(!matches!(nothing, Received::Frame(_)), "{nothing:?}");
}

#[test]
fn keys_from_the_future_are_not_believed() {
    let authority = Authority::start(&[]);
    let asker = Asker::new(&authority);
    let before = metrics::scrape(authority.metrics);
    let limit = Duration::from_millis(500);
    for (ahead, believed) in [(0, true), (50, true), (70, false)] {
        let question = (Service::CredentialIssuer, Method::Post, "/", None);
        let answer = asker.begin(
            &endpoint(now() + ahead),
            question,
            if believed { PATIENCE } else { limit },
        );
        match answer.recv_timeout(2 * PATIENCE).expect("in time") {
            // Believed, but no member.
            Ok(answer) => assert!(believed && answer.message() == "unauthorized member"),
            Err(error) => assert!(
                !believed && matches!(error, AskError::Timeout { .. }),
                "{error}"
            ),
        }
    }
    metrics::await_count(
        authority.metrics,
        &before,
        "handshake_failed",
        1.0,
        PATIENCE,
    );
    assert_eq!(metrics::scrape(authority.metrics).count("not_member"), 2.0);
    asker.node.shutdown();
}
