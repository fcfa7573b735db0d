//! The router without a listener, over a node that has nothing.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::{document, router};
use crate::daemon::{Manager, NodeLock};
use crate::model::NodeSpec;
use crate::store::Store;

/// Methods that paths of the document have.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

struct Under {
    router: Router,
    _home: TempDir,
}

impl Under {
    fn test() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let store = Store::open(Some(home.path().into())).expect("a store");
        let lock = NodeLock::take(&store, "one").expect("the lock");
        let manager = Manager::start(&store, NodeSpec::named("one"), lock).expect("a node");
        Self {
            router: router(manager),
            _home: home,
        }
    }

    fn ask(&self, method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        let (status, _, body) = self.ask_all(method, path, body);
        (status, body)
    }

    /// Status, the methods that would be allowed, and the body.
    fn ask_all(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> (StatusCode, BTreeSet<String>, Value) {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).expect("a method"))
            .uri(path)
            .body(body.into())
            .expect("a request");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.expect("always");
            let status = answer.status();
            let allowed = answer.headers().get(header::ALLOW);
            let allowed = allowed.map_or("", |allowed| allowed.to_str().expect("text"));
            let methods = allowed.split(',').map(str::trim).filter(|m| !m.is_empty());
            let methods = methods.map(ToOwned::to_owned).collect();
            let bytes = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            (status, methods, body)
        })
    }
}

/// Each path of the document with its methods.
fn documented() -> Vec<(String, BTreeSet<String>)> {
    let document = serde_json::to_value(document::document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let methods = |item: &Value| {
        let keys = item.as_object().expect("an item").keys();
        let upper = keys.map(|key| key.to_uppercase());
        upper
            .filter(|key| METHODS.contains(&key.as_str()))
            .collect()
    };
    paths
        .iter()
        .map(|(path, item)| (path.clone(), methods(item)))
        .collect()
}

#[test]
fn the_document_has_exactly_the_routes_there_are() {
    let under = Under::test();
    // What the router itself says that it has.
    let said = format!("{:?}", under.router);
    let routes: BTreeSet<&str> = said
        .split('"')
        .filter(|text| text.starts_with("/v1/{"))
        .collect();
    let documented = documented();
    let paths: BTreeSet<&str> = documented.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(routes, paths);
    for (path, methods) in &documented {
        let path = path.replace("{node}", "self").replace(['{', '}'], "");
        for path in [path.as_str(), path.trim_start_matches("/v1")] {
            let (status, mut allowed, _) = under.ask_all("TRACE", path, "");
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            allowed.remove("HEAD");
            assert_eq!(&allowed, methods, "{path}");
        }
    }
}

#[test]
fn the_document_in_docs_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let made = document::document().to_pretty_json().expect("JSON") + "\n";
    if std::env::var_os("CULVERT_WRITE_DOCS").is_some() {
        std::fs::write(path, &made).expect("written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/openapi.json is out of date: run this test with CULVERT_WRITE_DOCS=1"
    );
}

#[test]
fn every_answer_of_the_document_is_described() {
    let document = serde_json::to_value(document::document()).expect("JSON");
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item") {
            let responses = operation["responses"].as_object().expect("responses");
            for status in ["400", "404", "409", "413", "500", "503", "504"] {
                let of = responses[status]["$ref"].as_str().expect("a response");
                let of = of.trim_start_matches('#');
                let schema = &document.pointer(of).expect(of)["content"]["application/json"];
                let of = &schema["schema"]["$ref"];
                assert_eq!(of, "#/components/schemas/Problem", "{method} {path}");
            }
            assert!(
                responses.keys().any(|s| s.starts_with('2')),
                "{method} {path}"
            );
            assert!(operation["summary"].is_string(), "{method} {path}");
        }
    }
    // Nothing is referred to that is not there.
    let text = document.to_string();
    for of in text.split("\"#/components/schemas/").skip(1) {
        let name = of.split('"').next().expect("a name");
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
}

const INLETS: &str = "/v1/self/tcp-inlets";

#[test]
fn making_the_same_twice_changes_nothing() {
    let under = Under::test();
    let body = json!({"name": "db", "from": "127.0.0.1:0", "to": ROUTE, "allow": "web"});
    let body = body.to_string();
    let (status, made) = under.ask("POST", INLETS, body.clone());
    assert_eq!((status, &made["name"]), (StatusCode::CREATED, &json!("db")));
    assert_eq!(under.ask("POST", INLETS, body).0, StatusCode::OK);
    let other = json!({"name": "db", "from": "127.0.0.1:0", "to": ROUTE, "allow": "db"});
    let (status, problem) = under.ask("POST", INLETS, other.to_string());
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["kind"], "conflict");
    let (status, list) = under.ask("GET", "/v1/one/tcp-inlets", "");
    assert_eq!(
        (status, list.as_array().map(Vec::len)),
        (StatusCode::OK, Some(1))
    );
    let one = "/v1/self/tcp-inlets/db";
    assert_eq!(under.ask("DELETE", one, "").0, StatusCode::NO_CONTENT);
    for method in ["GET", "DELETE", "PATCH"] {
        let (status, problem) = under.ask(method, one, "");
        assert_eq!(status, StatusCode::NOT_FOUND, "{method}: {problem}");
    }
}

const ROUTE: &str = "/ip4/127.0.0.1/tcp/9/secure/api/service/outlet";

#[test]
fn a_patch_changes_what_it_names() {
    let under = Under::test();
    let id = format!("I{}", "07".repeat(32));
    let body = json!({
        "name": "db", "from": "127.0.0.1:0", "to": ROUTE, "allow": "a", "authorized": id,
    });
    under.ask("POST", INLETS, body.to_string());
    let one = "/v1/self/tcp-inlets/db";
    let patch = |body: Value| under.ask("PATCH", one, body.to_string());
    let (status, changed) = patch(json!({"direct": true, "allow": null}));
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(
        (&changed["direct"], &changed["allow"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(changed["to"], ROUTE);
    for (wrong, part) in [
        (json!({"name": "other"}), "another name"),
        (json!({"dirct": true}), "dirct"),
        (json!({"direct": 1}), "'direct'"),
        (json!({"from": null}), "'from' is missing"),
    ] {
        let (status, problem) = patch(wrong);
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let message = problem["message"].as_str().expect("a message");
        assert!(message.contains(part), "{problem}");
    }
    assert_eq!(under.ask("GET", one, "").1["direct"], true);
}

#[test]
fn scripts_for_ockam_find_their_names() {
    let under = Under::test();
    let body = json!({
        "name": "db", "kind": "regular", "tls": "none", "to": ROUTE, "allow": "web",
        "from": {"hostname": "127.0.0.1", "port": 0},
    });
    let (status, inlet) = under.ask("POST", "/self/tcp-inlets", body.to_string());
    assert_eq!(status, StatusCode::CREATED, "{inlet}");
    assert_eq!(
        (&inlet["status"], &inlet["privileged"]),
        (&json!("down"), &json!(false))
    );
    let body = json!({
        "address": "pg", "kind": "regular", "tls": "none", "allow": "web",
        "to": {"hostname": "127.0.0.1", "port": 5432},
    });
    let (status, outlet) = under.ask("POST", "/one/tcp-outlets", body.to_string());
    assert_eq!(status, StatusCode::CREATED, "{outlet}");
    assert_eq!(
        (&outlet["address"], &outlet["to"]),
        (&json!("pg"), &json!("127.0.0.1:5432"))
    );
    let body = json!({"name": "r", "to": "/ip4/127.0.0.1/tcp/9", "address": "other"});
    let (status, relay) = under.ask("POST", "/self/relays", body.to_string());
    assert_eq!(status, StatusCode::CREATED, "{relay}");
    assert_eq!(
        (&relay["relay-address"], &relay["status"]),
        (&json!("other"), &json!("down"))
    );
    for wrong in [
        json!({"name": "x", "to": ROUTE, "tls": "project-tls"}),
        json!({"name": "x", "to": ROUTE, "kind": "privileged"}),
        json!({"name": "x", "to": ROUTE, "retry-wait": 20000}),
    ] {
        let (status, problem) = under.ask("POST", "/self/tcp-inlets", wrong.to_string());
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    }
}

#[test]
fn what_is_not_there_is_a_problem() {
    let under = Under::test();
    for path in [
        "/v1/two",
        "/v1/two/tcp-inlets",
        "/two/relays",
        "/v1/self/tcp-inlets/x",
        "/v1/self/identities/x",
        "/v1/self/policies/kind/x",
    ] {
        let (status, problem) = under.ask("GET", path, "");
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(problem["kind"], "not-found", "{path}");
        assert!(problem["message"].is_string() && problem["hint"].is_string());
    }
    for (path, body) in [
        ("/v1/self/tcp-inlets", "{"),
        ("/v1/self/tcp-inlets", "[]"),
        ("/v1/self/tcp-inlets/%ff", ""),
        ("/v1/self/messages", r#"{"to":"/service/echo"}"#),
        ("/v1/self/messages", r#"{"to":"/service/echo","hex":"0"}"#),
        ("/v1/self/tickets", r#"{"usage-count":0}"#),
        ("/v1/self/tickets", r#"{"attributes":{"identifier":"x"}}"#),
        ("/v1/self/tickets/enroll", r#"{"ticket":"x"}"#),
        ("/v1/self/stop", r#"{"drain":1}"#),
    ] {
        let method = if path.ends_with("ff") {
            "PATCH"
        } else {
            "POST"
        };
        let (status, problem) = under.ask(method, path, body);
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}: {problem}");
        assert_eq!(problem["kind"], "invalid", "{path} {body}");
    }
}

#[test]
fn identities_are_made_once_and_not_taken_from_the_node() {
    let under = Under::test();
    let all = "/v1/self/identities";
    let (status, made) = under.ask("POST", all, r#"{"name":"other"}"#);
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let (status, same) = under.ask("POST", all, r#"{"name":"other"}"#);
    assert_eq!(
        (status, &same["identifier"]),
        (StatusCode::OK, &made["identifier"])
    );
    let (_, list) = under.ask("GET", all, "");
    assert!(list.as_array().expect("a list").contains(&made));
    assert_eq!(
        under.ask("DELETE", "/v1/self/identities/other", "").0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        under.ask("GET", "/v1/self/identities/other", "").0,
        StatusCode::NOT_FOUND
    );
}
