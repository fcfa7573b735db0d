//! An authority and those who enroll with it, as real processes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use culvert_crypto::Identifier;
use culvert_crypto::channel::Endpoint;
use culvert_crypto::identity::Identity;
use culvert_crypto::primitives::curve25519::x25519_public_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningVault, SoftwareVault};
use culvert_node::channel::{API, Credentials};
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::session::request::{Answer, AskError, Connection, Place, Question};
use culvert_node::shard::Shard;
use culvert_node::{SeenHistories, random_bytes};
use culvert_proto::authority::{
    CreateToken, MemberAttributes, OneTimeCode, Service, UNKNOWN_TOKEN, USED_TOKEN,
};
use culvert_proto::credential::PurposePublicKey;
use culvert_proto::identity::encode;
use culvert_proto::limits::MAX_AUTHORITY_REQUEST;
use culvert_proto::request::{Method, Status};
use culvert_proto::ticket::Ticket;
use culvert_tests::chain::{Edge, Relay};
use culvert_tests::net::{eventually, free_address};
use culvert_tests::process::Process;
use culvert_tests::wire::{Received, Wire};
use culvert_tests::{PATIENCE, metrics};
use serde_json::Value;
use tempfile::TempDir;

/// A running `culvert-edge authority`.
struct Authority {
    process: Process,
    home: TempDir,
    address: SocketAddr,
    metrics: SocketAddr,
    identifier: Identifier,
    event: Value,
}

impl Authority {
    fn start(more: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self::start_at("127.0.0.1:0", home, more)
    }

    fn start_at(listen: &str, home: TempDir, more: &[&str]) -> Self {
        let metrics = free_address();
        let process = Edge::command(home.path())
            .args([
                "authority",
                "create",
                "--listen",
                listen,
                "--output",
                "json",
            ])
            .args(["--metrics", &metrics.to_string()])
            .args(more)
            .start("authority");
        let event = process.event("listening");
        Self {
            address: event.text("address").parse().expect("an address"),
            identifier: event.text("identifier").parse().expect("an identifier"),
            event: event.json,
            process,
            home,
            metrics,
        }
    }

    /// Kills it and starts it again with the same directory.
    fn restart(mut self, more: &[&str]) -> Self {
        self.process.kill();
        let listen = self.address.to_string();
        Self::start_at(&listen, self.home, more)
    }

    fn ticket(&self, more: &[&str]) -> Value {
        json(
            self.home.path(),
            &[&["authority", "ticket", "create"], more].concat(),
        )
    }

    fn members(&self) -> Vec<Value> {
        let all = json(self.home.path(), &["authority", "member", "list"]);
        all.as_array().expect("a list").clone()
    }
}

/// Runs a command: its exit status and what it says, which is JSON.
fn run(home: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = Edge::command(home)
        .args(arguments)
        .args(["--output", "json"])
        .output(PATIENCE);
    let code = output.status.code().expect("an exit status");
    let text = if code == 0 {
        &output.stdout
    } else {
        &output.stderr
    };
    let text = String::from_utf8_lossy(text);
    let last = text.trim().lines().last().unwrap_or_default();
    let said = serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("{arguments:?} ended with {code}: {error} in: {text}"));
    (code, said)
}

/// What a command that succeeds says.
fn json(home: &Path, arguments: &[&str]) -> Value {
    let (code, said) = run(home, arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    said
}

fn enroll(home: &Path, ticket: &str) -> (i32, Value) {
    run(home, &["project", "enroll", ticket])
}

/// The exit status and reason of an enrollment that fails.
fn refused(home: &Path, ticket: &str) -> (i32, String) {
    let (code, said) = enroll(home, ticket);
    let error = &said["error"];
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{said}"
    );
    assert!(
        error["hint"].as_str().is_some_and(|text| !text.is_empty()),
        "{said}"
    );
    (
        code,
        error["reason"].as_str().unwrap_or_default().to_owned(),
    )
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn home() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

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
    assert_eq!((code, text(&said["error"], "reason")), (1, "refused"));
    json(two.path(), &["project", "delete", "shop"]);
    let (code, _) = run(two.path(), &["project", "show"]);
    assert_eq!(code, 1);
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

#[test]
fn each_bad_ticket_has_its_own_error() {
    let authority = Authority::start(&[]);
    let new = home();
    let used = authority.ticket(&[]);
    assert_eq!(enroll(home().path(), text(&used, "ticket")).0, 0);
    assert_eq!(
        refused(new.path(), text(&used, "ticket")),
        (1, "ticket_used".into())
    );

    let revoked = authority.ticket(&[]);
    let reference = text(&revoked, "reference");
    json(
        authority.home.path(),
        &["authority", "ticket", "revoke", reference],
    );
    assert_eq!(
        refused(new.path(), text(&revoked, "ticket")),
        (1, "ticket_revoked".into())
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
        (1, "ticket_expired".into())
    );

    let good = authority.ticket(&[]);
    let good = Ticket::parse(text(&good, "ticket")).expect("a ticket");
    let with = |change: fn(&mut Ticket)| {
        let mut ticket = good.clone();
        change(&mut ticket);
        ticket.reveal_hex().expect("a text")
    };
    let unknown = with(|ticket| ticket.code.bytes[0] ^= 1);
    assert_eq!(refused(new.path(), &unknown), (1, "ticket_unknown".into()));
    let forged = with(|ticket| ticket.authority_history[60] ^= 1);
    assert_eq!(refused(new.path(), &forged), (1, "ticket_forged".into()));
    let misnamed = with(|ticket| ticket.project_identifier = Some(Identifier([7; 32])));
    assert_eq!(refused(new.path(), &misnamed), (1, "ticket_forged".into()));
    let text = good.reveal_hex().expect("a text");
    assert_eq!(
        refused(new.path(), &text[1..]),
        (2, "ticket_undecodable".into())
    );
    assert_eq!(
        refused(new.path(), "hello"),
        (2, "ticket_undecodable".into())
    );

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
        (1, "authority_unreachable".into())
    );

    // None of these used the good one up, or left anything behind.
    let listed = json(new.path(), &["project", "list"]);
    assert_eq!(listed, Value::Array(Vec::new()));
    assert_eq!(enroll(new.path(), &text).0, 0);
    let foreign = Ticket {
        project_name: "default".into(),
        ..Ticket::parse(self::text(&other.ticket(&[]), "ticket")).expect("a ticket")
    };
    let foreign = foreign.reveal_json().expect("a text");
    assert_eq!(refused(new.path(), &foreign), (1, "project_taken".into()));
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

    let counted = metrics::scrape(authority.metrics);
    for reason in [
        "ticket_used",
        "ticket_revoked",
        "ticket_expired",
        "ticket_unknown",
    ] {
        assert_eq!(counted.count(reason), 1.0, "{reason}");
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// A new identity whose channel key was attested at this time.
fn endpoint(attested_at: u64) -> Endpoint {
    let mut vault = SoftwareVault::new();
    let key = vault
        .generate(KeyType::Ed25519, &Secret::new(random_bytes()))
        .expect("a key");
    let created = now() - 10;
    let identity = Identity::create(&vault, &key, created, created + 1_000_000).expect("identity");
    let secret = Secret::new(random_bytes());
    let public = PurposePublicKey::SecureChannel(x25519_public_key(&secret));
    let attestation = culvert_crypto::purpose_key::attest(&vault, &identity, &public, attested_at);
    Endpoint::new(
        &identity,
        secret,
        attestation.expect("attested"),
        Vec::new(),
    )
    .expect("endpoint")
}

/// Somebody who asks an authority by hand.
struct Asker {
    node: Node,
    place: Place,
    trust: Trust,
}

impl Asker {
    fn new(authority: &Authority) -> Self {
        let config = NodeConfig {
            shards: 1,
            listen: None,
            limits: Limits::default(),
        };
        Self {
            node: Node::start(&config, |_| ()).expect("a node"),
            place: Place {
                host: authority.address.ip().to_string(),
                port: authority.address.port(),
                hops: vec![API.to_vec()],
            },
            trust: Trust::only(authority.identifier),
        }
    }

    /// Begins to ask; the answer comes later.
    fn begin(
        &self,
        me: &Endpoint,
        question: (Service, Method, &'static str, Option<Vec<u8>>),
        limit: Duration,
    ) -> mpsc::Receiver<Result<Answer, AskError>> {
        let (sender, receiver) = mpsc::channel();
        let (me, trust, place) = (me.clone(), self.trust.clone(), self.place.clone());
        let (service, method, path, body) = question;
        let start = move |shard: &Shard| {
            let asking = shard.clone();
            shard.spawn(async move {
                let question = Question {
                    service: service.address(),
                    method,
                    path,
                    body: body.as_deref(),
                };
                let credentials = Credentials::new(me, trust, SeenHistories::default());
                let answer = match Connection::open(&asking, &credentials, &place, PATIENCE).await {
                    Ok(connection) => connection.ask(&question, limit).await,
                    Err(error) => Err(error),
                };
                let _ = sender.send(answer);
            });
        };
        self.node.on_shard(0, start).expect("started");
        receiver
    }

    fn ask(
        &self,
        me: &Endpoint,
        service: Service,
        method: Method,
        path: &'static str,
        body: Option<&[u8]>,
    ) -> Answer {
        let question = (service, method, path, body.map(<[u8]>::to_vec));
        let answer = self
            .begin(me, question, PATIENCE)
            .recv_timeout(2 * PATIENCE);
        answer.expect("in time").expect("an answer")
    }
}

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
