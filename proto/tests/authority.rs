//! Requests to an authority and its answers, byte for byte, and tickets in all their forms.

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;

use common::{bytes, list, text, vectors};
use culvert_proto::authority::{
    AddMember, AttributesEntry, Command, CommandError, CreateToken, MemberAttributes, MemberIds,
    MemberList, OneTimeCode, Service,
};
use culvert_proto::credential::CredentialAndPurposeKey;
use culvert_proto::identity::{Identifier, decode_exact, encode};
use culvert_proto::limits::{MAX_MULTIADDR, MAX_TICKET};
use culvert_proto::request::{ErrorBody, Method, Request, Response, Status};
use culvert_proto::ticket::{Ticket, TicketError};
use minicbor::{Decode, Encode};
use proptest::prelude::*;

fn code() -> OneTimeCode {
    OneTimeCode {
        bytes: core::array::from_fn(|i| 0x40 + i as u8),
    }
}

fn attributes(pairs: &[(&str, &str)]) -> MemberAttributes {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn member() -> MemberAttributes {
    attributes(&[("a", "1"), ("role", "member")])
}

/// What each request of the vectors asks for; nothing for those to other services.
fn expected(name: &str) -> Option<Command> {
    let token = |attributes, ttl_secs, ttl_count| {
        Command::CreateToken(CreateToken {
            attributes,
            ttl_secs,
            ttl_count,
        })
    };
    let one = Identifier([0x11; 32]);
    Some(match name {
        "get_credential" | "get_credential_alt_path" => Command::Issue,
        "create_token_defaults" => token(BTreeMap::new(), None, None),
        "create_token_full" => token(member(), Some(3600), Some(5)),
        "create_token_only_count" => token(member(), None, Some(5)),
        "present_token" => Command::Redeem(code()),
        "add_member" => Command::Add(AddMember {
            member: one,
            attributes: member(),
        }),
        "list_member_ids" => Command::ListIds,
        "list_members" => Command::List,
        "show_member" => Command::Show(one),
        "delete_member" => Command::Remove(one),
        "delete_all_members" => Command::RemoveAll,
        _ => return None,
    })
}

fn body_of(command: &Command) -> Option<Vec<u8>> {
    match command {
        Command::CreateToken(body) => Some(encode(body)),
        Command::Redeem(code) => Some(encode(code)),
        Command::Add(body) => Some(encode(body)),
        _ => None,
    }
}

#[test]
fn requests_are_those_of_the_reference() {
    let mut found = 0;
    for case in list(&vectors("authority_services.json"), "requests") {
        let (name, payload) = (text(case, "name"), bytes(case, "payload_on_the_wire"));
        let request = Request::decode(&payload).unwrap();
        assert_eq!(request.encode(), payload, "{name}");
        assert_eq!(
            request.body.unwrap_or_default(),
            bytes(case, "body"),
            "{name}"
        );
        let address = text(case, "service_address");
        let service = Service::ALL.into_iter().find(|s| s.address() == address);
        let Some(service) = service else {
            assert_eq!(expected(name), None, "{name}");
            continue;
        };
        let command = expected(name).unwrap_or_else(|| panic!("what is {name}?"));
        assert_eq!(
            Command::parse(service, &request),
            Ok(command.clone()),
            "{name}"
        );
        assert_eq!(body_of(&command).as_deref(), request.body, "{name}");
        found += 1;
    }
    assert_eq!(found, 12);
}

fn check<T>(name: &str, body: &[u8], expected: &T)
where
    T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug,
{
    assert_eq!(decode_exact::<T>(body).as_ref(), Ok(expected), "{name}");
    assert_eq!(hex::encode(encode(expected)), hex::encode(body), "{name}");
}

#[test]
fn answers_are_those_of_the_reference() {
    let entry = AttributesEntry::of_member(
        &attributes(&[("role", "member")]),
        0x6553_f100,
        Identifier([0x33; 32]),
    );
    let (one, two) = (Identifier([0x11; 32]), Identifier([0x22; 32]));
    for case in list(&vectors("authority_services.json"), "responses") {
        let (name, payload) = (text(case, "name"), bytes(case, "payload_on_the_wire"));
        let response = Response::decode(&payload).unwrap();
        assert_eq!(response.encode(), payload, "{name}");
        let body = response.body().unwrap_or_default();
        let refused = |path: Option<&str>, text: &str| {
            let error = ErrorBody {
                path: path.map(str::to_owned),
                method: path.map(|_| Method::Post),
                ..ErrorBody::message(text)
            };
            assert_eq!(error.encode(), response.rest, "{name}");
            response.status
        };
        match name {
            "credential" => {
                let credential: CredentialAndPurposeKey = decode_exact(body).unwrap();
                assert_eq!(encode(&credential), body);
            }
            "ok_empty" => assert!(response.is_ok() && response.body().is_none()),
            "one_time_code" => check(name, body, &code()),
            "identifier_list" => check::<MemberIds>(name, body, &vec![one, two]),
            "attributes_entry" => check(name, body, &entry),
            "member_list" => check(name, body, &MemberList::from([(one, entry.clone())])),
            "forbidden" => {
                let status = refused(Some("/"), "unauthorized member");
                assert_eq!(status, Some(Status::Forbidden));
            }
            "unknown_path" => {
                let status = refused(Some("/"), &CommandError::UnknownPath.to_string());
                assert_eq!(status, Some(Status::BadRequest));
            }
            "no_secure_channel" => assert_eq!(
                refused(None, "secure channel required"),
                Some(Status::BadRequest)
            ),
            "internal_error" => assert_eq!(response.status, Some(Status::InternalServerError)),
            other => panic!("what is {other}?"),
        }
    }
}

#[test]
fn requests_that_make_no_sense_say_why() {
    let parse = |service, method, path, body: Option<&[u8]>| {
        let request = Request {
            id: 1,
            path,
            method,
            body,
        };
        Command::parse(service, &request).unwrap_err()
    };
    let unknown = CommandError::UnknownPath;
    for (service, method, path) in [
        (Service::CredentialIssuer, Method::Get, "/"),
        (Service::CredentialIssuer, Method::Post, "/other"),
        (Service::CredentialIssuer, Method::Post, "/credential/"),
        (Service::TokenIssuer, Method::Post, "/credential"),
        (Service::TokenAcceptor, Method::Put, "/"),
        (Service::DirectAuthenticator, Method::Patch, "/members"),
        (Service::DirectAuthenticator, Method::Get, "/members/a/b"),
        (Service::DirectAuthenticator, Method::Post, "/member_ids"),
    ] {
        assert_eq!(parse(service, Some(method), path, None), unknown, "{path}");
    }
    assert_eq!(parse(Service::TokenIssuer, None, "/", None), unknown);
    for (method, path) in [
        (Method::Get, "/I11"),
        (Method::Get, "/members/me"),
        (Method::Delete, "/"),
        (Method::Delete, "/members/"),
    ] {
        let error = parse(Service::DirectAuthenticator, Some(method), path, None);
        assert_eq!(error, CommandError::Identifier, "{path}");
    }
    for service in [
        Service::TokenIssuer,
        Service::TokenAcceptor,
        Service::DirectAuthenticator,
    ] {
        let missing = parse(service, Some(Method::Post), "/", None);
        assert_eq!(missing, CommandError::NoBody);
        for body in [
            &b""[..],
            b"\xff",
            b"\xa1\x01",
            b"\xa1\x01\xa0\x00\x00",
            b"\x82\x01\x02",
        ] {
            let error = parse(service, Some(Method::Post), "/", Some(body));
            assert!(
                matches!(error, CommandError::Body(_)),
                "{service:?} {body:02x?}"
            );
        }
    }
}

const HISTORY: &str = "81825837830101583285f68200815820245ba33c7729dce1c94d8c1a00fcf89a7af33689\
    d4563176f9dffbdd147d4488f41a66e2ee7b1a79aef17b820081584070856bb8da621154a39c894a2fedded55257\
    715b00940b9cffe54b51d87889aff2c077124ee6e0e1c2e711688470affbc65d909c87acf4e41d38bdfb03e2000d";

/// As an Ockam node would write it.
fn ticket() -> Ticket {
    let route = "/dnsaddr/p.example/tcp/443/service/p-1/service";
    Ticket {
        code: code(),
        project_id: "p-1".into(),
        project_route: format!("{route}/api").parse().unwrap(),
        project_identifier: Some(Identifier([0x5c; 32])),
        project_name: "my project".into(),
        project_history: hex::decode(HISTORY).unwrap(),
        authority_history: vec![1, 2, 3],
        authority_route: format!("{route}/authority/service/api").parse().unwrap(),
    }
}

fn normal() -> String {
    format!(
        "/dnsaddr/p.example/tcp/443/service/p-1/service/api,I{},my project,{},{HISTORY},010203,\
         /dnsaddr/p.example/tcp/443/service/p-1/service/authority/service/api",
        "5c".repeat(32),
        code().reveal()
    )
}

fn json() -> String {
    format!(
        r#"{{"one_time_code":"{}","project_route":{{"id":"p-1","route":"/dnsaddr/p.example/tcp/443/service/p-1/service/api"}},"project_identifier":"I{}","project_name":"my project","project_change_history":"{HISTORY}","authority_change_history":"010203","authority_route":"/dnsaddr/p.example/tcp/443/service/p-1/service/authority/service/api"}}"#,
        code().reveal(),
        "5c".repeat(32),
    )
}

fn legacy(identity: &str) -> String {
    format!(
        r#"{{"one_time_code":"{}","project":{{"id":"p-1","name":"my project","space_name":"s","access_route":"/dnsaddr/p.example/tcp/443/service/p-1/service/api","users":["a@b.example"],"space_id":"","identity":{identity},"authority_access_route":"/dnsaddr/p.example/tcp/443/service/p-1/service/authority/service/api","authority_identity":"010203","version":null,"running":true,"operation_id":null,"user_roles":[],"project_change_history":"{HISTORY}"}}}}"#,
        code().reveal(),
    )
}

#[test]
fn every_form_of_a_ticket_is_read_and_written() {
    let ticket = ticket();
    assert_eq!(ticket.reveal(), Ok(normal()));
    assert_eq!(ticket.reveal_hex(), Ok(hex::encode(normal())));
    assert_eq!(ticket.reveal_json(), Ok(json()));
    let with_identity = legacy(&format!("\"I{}\"", "5c".repeat(32)));
    let forms = [normal(), json(), with_identity];
    for form in &forms {
        assert_eq!(Ticket::parse(form).as_ref(), Ok(&ticket), "{form}");
        let digits = hex::encode(form);
        assert_eq!(Ticket::parse(&digits).as_ref(), Ok(&ticket), "{form}");
        let spaced = format!("\n {} \n", digits.to_uppercase());
        assert_eq!(Ticket::parse(&spaced).as_ref(), Ok(&ticket), "{form}");
    }
    // Further fields are for later versions; an old ticket may not say who the project is.
    assert_eq!(
        Ticket::parse(&format!("{},more,fields", normal())),
        Ok(ticket.clone())
    );
    let unnamed = Ticket {
        project_identifier: None,
        ..ticket
    };
    assert_eq!(Ticket::parse(&legacy("null")), Ok(unnamed.clone()));
    assert_eq!(unnamed.reveal(), Err(TicketError::Identifier));
}

#[test]
fn what_is_no_ticket_says_why() {
    let digits = hex::encode(normal());
    let refused = |text: &str| Ticket::parse(text).unwrap_err();
    assert_eq!(refused(" \n"), TicketError::Empty);
    assert_eq!(refused(&digits[1..]), TicketError::OddDigits);
    assert_eq!(refused("fffe"), TicketError::NotText);
    assert_eq!(refused(&digits[..200]), TicketError::Fields(2));
    assert_eq!(refused("hello"), TicketError::Fields(1));
    assert_eq!(
        refused(&"a".repeat(MAX_TICKET + 1)),
        TicketError::TooLong(MAX_TICKET + 1)
    );
    assert!(matches!(
        refused("{\"one_time_code\": 1}"),
        TicketError::Json { line: 1, .. }
    ));
    assert!(matches!(refused(&json()[..300]), TicketError::Json { .. }));
    let renamed = json().replace("authority_route", "authority_rout");
    assert_eq!(refused(&renamed), TicketError::Missing("authority_route"));
    let renamed = legacy("null").replace("authority_identity", "x");
    assert_eq!(
        refused(&renamed),
        TicketError::Missing("authority_identity")
    );

    let changed = |from: &str, to: &str| refused(&normal().replacen(from, to, 1));
    assert_eq!(changed("my project", ""), TicketError::Name);
    assert_eq!(changed("my project", "a\u{7}"), TicketError::Name);
    assert_eq!(changed("my project", &"n".repeat(65)), TicketError::Name);
    assert_eq!(changed("4041", "40"), TicketError::Code);
    assert_eq!(changed("I5c", "5c"), TicketError::Identifier);
    let history = TicketError::History("change history of the project");
    assert_eq!(changed(HISTORY, ""), history);
    assert_eq!(changed(HISTORY, "8x"), history);
    assert_eq!(
        changed("/service/p-1/service/api,", ","),
        TicketError::NoProjectId
    );
    assert!(matches!(
        changed("/dnsaddr/p", "/nowhere/p"),
        TicketError::Route {
            field: "route of the project",
            ..
        }
    ));
    let long = format!("/dnsaddr/{}", "x".repeat(MAX_MULTIADDR));
    assert!(matches!(
        changed("/dnsaddr/p.example", &long),
        TicketError::Route { .. }
    ));
}

#[test]
fn a_ticket_that_could_not_be_read_back_is_not_written() {
    let mut wrong = ticket();
    wrong.project_name = "a,b".into();
    assert_eq!(wrong.reveal(), Err(TicketError::Name));
    for route in ["/dnsaddr/a,b/tcp/1/service/p-1", "/service/p-1/service/a "] {
        let mut wrong = ticket();
        wrong.project_route = route.parse().unwrap();
        assert!(matches!(wrong.reveal(), Err(TicketError::Separator(_))));
    }
    let mut wrong = ticket();
    wrong.project_id = "p-2".into();
    assert_eq!(wrong.reveal_json(), Err(TicketError::NoProjectId));
}

proptest! {
    #[test]
    fn any_ticket_survives_all_its_forms(
        name in "[a-zA-Z0-9 ._\u{e0}-\u{ff}-]{1,30}",
        id in "[a-z0-9-]{1,36}",
        bytes in any::<[u8; 32]>(),
        history in proptest::collection::vec(any::<u8>(), 1..300),
        port in 1..=u16::MAX,
    ) {
        let route = format!("/ip4/127.0.0.1/tcp/{port}/service/{id}/secure/api");
        let ticket = Ticket {
            code: OneTimeCode { bytes },
            project_id: id,
            project_route: route.parse().unwrap(),
            project_identifier: Some(Identifier(bytes)),
            project_name: name,
            project_history: history.clone(),
            authority_history: history,
            authority_route: route.parse().unwrap(),
        };
        for form in [ticket.reveal(), ticket.reveal_hex(), ticket.reveal_json()] {
            let read = Ticket::parse(&form.unwrap());
            prop_assert_eq!(read.as_ref(), Ok(&ticket));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,300}") {
        let _ = Ticket::parse(&text);
    }
}
