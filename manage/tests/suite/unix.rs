//! The Unix socket: for one user, and for one server at a time.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use culvert_manage::client::Client;
use culvert_manage::problem::Kind;
use serde_json::json;

use super::{answer, unix};

#[test]
fn requests_are_answered_and_refusals_explained() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("api.sock");
    let server = unix(&path).expect("a server");
    assert_eq!(
        server.addresses()[0].to_string(),
        format!("unix:{}", path.display())
    );
    let client = Client::unix(&path).expect("a client");
    let ask = |method: &str, at: &str, body| client.request(method, at, body);
    assert_eq!(ask("GET", "/v1/self", None), Ok(json!({ "name": "n" })));
    assert_eq!(ask("GET", "/live", None), Ok(json!("ok\n")));
    let sum = ask("POST", "/v1/sums", Some(json!({ "a": 1, "b": 2 })));
    assert_eq!(sum, Ok(json!({ "sum": 3 })));

    let refused = |method: &str, at: &str, body| ask(method, at, body).expect_err("refused");
    let own = refused("POST", "/v1/sums", Some(json!({ "a": u32::MAX, "b": 1 })));
    assert_eq!(
        (own.kind, own.message.as_str()),
        (Kind::Conflict, "too much")
    );
    let unknown = refused("GET", "/v1/nothing", None);
    assert_eq!(unknown.kind, Kind::NotFound);
    assert!(unknown.message.contains("/v1/nothing"), "{unknown}");
    let method = refused("DELETE", "/v1/sums", None);
    assert_eq!(method.kind, Kind::Invalid);
    assert!(method.hint.contains("POST"), "{}", method.hint);
    let unfit = refused("POST", "/v1/sums", Some(json!({ "a": 1, "b": -2 })));
    assert_eq!(unfit.kind, Kind::Invalid);
    assert!(unfit.message.contains("b: invalid value"), "{unfit}");
    assert!(unfit.message.contains("line 1 column"), "{unfit}");
    let misspelt = refused("POST", "/v1/sums", Some(json!({ "a": 1, "bb": 2 })));
    assert!(
        misspelt.message.contains("unknown field `bb`"),
        "{misspelt}"
    );
    let missing = refused("POST", "/v1/sums", None);
    assert!(missing.hint.contains("application/json"), "{missing}");
}

#[test]
fn the_socket_is_for_this_user_only() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("api.sock");
    let server = unix(&path).expect("a server");
    let mode = fs::metadata(&path)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // Another user whom somebody opened the socket to is refused all the same. Only root can become
    // one.
    if rustix::process::geteuid().is_root() {
        for (path, mode) in [(place.path(), 0o755), (&path, 0o666)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["curl", "-s", "-w", "%{http_code}", "--unix-socket"])
            .arg(&path)
            .arg("http://localhost/v1/self")
            .output()
            .expect("run curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains("\"kind\":\"denied\"") && text.ends_with("403"),
            "{text}"
        );
    }
    server.stop();
    assert!(!path.exists(), "the socket is removed");
    let client = Client::unix(&path).expect("a client");
    let refused = client
        .request("GET", "/v1/self", None)
        .expect_err("no node");
    assert_eq!(refused.kind, Kind::Unavailable);
    assert!(refused.message.contains("api.sock"), "{refused}");
}

#[test]
fn one_server_has_a_socket() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("api.sock");
    let first = unix(&path).expect("a server");
    let second = unix(&path).expect_err("it is taken");
    assert_eq!(second.kind, Kind::Conflict);
    let pid = format!("process {} ", std::process::id());
    assert!(second.message.contains(&pid), "{second}");
    Client::unix(&path)
        .and_then(|client| client.request("GET", "/v1/self", None))
        .expect("the first goes on");
    first.stop();
    unix(&path).expect("the place is free again");
}

#[test]
fn what_a_killed_process_left_is_replaced_and_nothing_else() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("api.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists(), "stale");
    let server = unix(&path).expect("a server");
    let mut stream = UnixStream::connect(&path).expect("connect");
    stream
        .write_all(b"GET /v1/self HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("send");
    assert_eq!(answer(stream), (200, json!({ "name": "n" })));
    server.stop();

    // A server that does not know of locks.
    let other = UnixListener::bind(&path).expect("a socket");
    assert_eq!(unix(&path).expect_err("taken").kind, Kind::Conflict);
    drop(other);
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "precious").expect("a file");
    let refused = unix(&path).expect_err("no socket");
    assert!(refused.message.contains("is no socket"), "{refused}");
    assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");
}

#[test]
fn a_path_that_no_socket_can_have_is_refused() {
    let place = tempfile::tempdir().expect("a directory");
    let refused = unix(&place.path().join("x".repeat(120))).expect_err("too long");
    assert_eq!(refused.kind, Kind::Invalid);
    assert!(refused.hint.contains("--home"), "{}", refused.hint);
}
