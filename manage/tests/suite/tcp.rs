//! TCP: with a token, on this machine or with TLS.

use std::fs;
use std::net::SocketAddr;

use culvert_manage::client::Client;
use culvert_manage::events::Events;
use culvert_manage::http::{Limits, Place, Server, TlsFiles, Token};
use culvert_manage::problem::Kind;
use serde_json::json;

use super::{TOKEN, address, ask, bearer, routes, tcp, token};

#[test]
fn only_who_has_the_token_comes_in() {
    let (_server, at) = tcp(Limits::default());
    let get = |headers: &[&str]| ask(at, "GET /v1/self", headers, "");
    assert_eq!(get(&[&bearer()]), (200, json!({ "name": "n" })));
    assert_eq!(get(&[&format!("authorization: bearer {TOKEN}")]).0, 200);
    let wrong = TOKEN.replace('f', "e");
    for headers in [
        &[][..],
        &["Authorization: Bearer"],
        &["Authorization: Bearer "],
        &[&format!("Authorization: Bearer {wrong}")],
        &[&format!("Authorization: Bearer {TOKEN}x")],
        &[&format!("Authorization: Basic {TOKEN}")],
        &[&format!("Authorization: {TOKEN}")],
    ] {
        let (status, body) = get(headers);
        assert_eq!(
            (status, &body["kind"]),
            (401, &json!("unauthenticated")),
            "{headers:?}"
        );
    }
    // What is not there is nobody's business either.
    assert_eq!(ask(at, "GET /v1/nothing", &[], "").0, 401);
    assert_eq!(ask(at, "POST /live", &[], "").0, 401);
    assert_eq!(ask(at, "GET /live", &[], ""), (200, json!("ok\n")));

    let url = format!("http://{at}");
    let client = Client::tcp(&url, token(), None).expect("a client");
    assert_eq!(
        client.request("GET", "/v1/self", None),
        Ok(json!({ "name": "n" }))
    );
    let other = Client::tcp(&url, Token::random(), None).expect("a client");
    let refused = other
        .request("GET", "/v1/self", None)
        .expect_err("a wrong token");
    assert_eq!(refused.kind, Kind::Unauthenticated);
}

#[test]
fn a_page_elsewhere_cannot_ask_under_its_own_name() {
    let (_server, at) = tcp(Limits::default());
    let host = format!("Host: evil.example:{}", at.port());
    let (status, body) = ask(at, "GET /v1/self", &[&host, &bearer()], "");
    assert_eq!((status, &body["kind"]), (403, &json!("denied")));
    let (status, _) = ask(at, "GET /", &[&host], "");
    assert_eq!(status, 403);
    let host = format!("Host: localhost:{}", at.port());
    assert_eq!(ask(at, "GET /v1/self", &[&host, &bearer()], "").0, 200);
}

#[test]
fn others_are_served_with_tls_only() {
    let place = |address: &str, insecure| Place::Tcp {
        address: address.parse().expect("an address"),
        token: token(),
        tls: None,
        insecure,
    };
    let start = |place| Server::start(vec![place], routes(&Events::new()));
    for address in ["0.0.0.0:0", "[::]:0"] {
        let refused = start(place(address, false)).expect_err("without TLS");
        assert_eq!(refused.kind, Kind::Invalid);
        assert!(refused.hint.contains("certificate"), "{}", refused.hint);
    }
    start(place("0.0.0.0:0", true)).expect("asked for");
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_left_open() {
    let (_server, at) = tcp(Limits::default());
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("api.sock");
    let places = vec![Place::Unix(socket.clone()), Place::Figures(at)];
    let refused = Server::start(places, routes(&Events::new())).expect_err("in use");
    assert_eq!(refused.kind, Kind::Conflict);
    assert!(refused.message.contains(&at.to_string()), "{refused}");
    assert!(!socket.exists());
}

#[test]
fn tls_is_served_and_checked() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("write");
        path
    };
    let made = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]);
        let made = made.expect("a certificate");
        TlsFiles {
            certificate: file(&format!("{name}.crt"), &made.cert.pem()),
            key: file(&format!("{name}.key"), &made.signing_key.serialize_pem()),
        }
    };
    let (good, other) = (made("good"), made("other"));
    let place = |tls: &TlsFiles| Place::Tcp {
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        token: token(),
        tls: Some(tls.clone()),
        insecure: false,
    };
    let start = |tls: &TlsFiles| Server::start(vec![place(tls)], routes(&Events::new()));
    let server = start(&good).expect("a server");
    let port = address(&server).port();
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{port}");
        let trusting = |file| Client::tcp(&url, token(), Some(file)).expect("a client");
        let answer = trusting(&good.certificate).request("GET", "/v1/self", None);
        assert_eq!(answer, Ok(json!({ "name": "n" })));
        let refused = trusting(&other.certificate).request("GET", "/v1/self", None);
        let refused = refused.expect_err("a certificate that is not trusted");
        assert_eq!(refused.kind, Kind::Unavailable);
        assert!(refused.message.contains("no TLS with"), "{refused}");
    }
    let url = format!("https://localhost:{port}");
    assert_eq!(
        Client::tcp(&url, token(), None).expect_err("whom?").kind,
        Kind::Invalid
    );
    for url in [
        "localhost:1",
        "ftp://localhost:1",
        "https://localhost",
        "http://x:y",
    ] {
        let refused = Client::tcp(url, token(), None).expect_err(url);
        assert_eq!(refused.kind, Kind::Invalid);
    }

    let mixed = TlsFiles {
        key: other.key,
        ..good.clone()
    };
    let refused = start(&mixed).expect_err("the key of another one");
    assert!(refused.message.contains("good.crt"), "{refused}");
    let empty = TlsFiles {
        certificate: file("empty.crt", "nothing"),
        ..good
    };
    let refused = start(&empty).expect_err("no certificate");
    assert!(refused.message.contains("there is none in it"), "{refused}");
}

#[test]
fn figures_are_for_everybody_and_nothing_else_is() {
    let place = Place::Figures(SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = Server::start(vec![place], routes(&Events::new())).expect("a server");
    let at = address(&server);
    let (status, text) = ask(at, "GET /metrics", &["Host: prometheus.example"], "");
    assert_eq!((status, text), (200, json!("culvert_links 0\n")));
    let (status, body) = ask(at, "GET /v1/self", &[&bearer()], "");
    assert_eq!((status, &body["kind"]), (404, &json!("not-found")));
}
