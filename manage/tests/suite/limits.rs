//! What is too large, too slow or too much.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use culvert_manage::http::Limits;
use serde_json::json;

use super::{answer, ask, bearer, connect, tcp};

const JSON: &str = "Content-Type: application/json";

#[test]
fn ten_megabytes_are_answered_and_not_kept() {
    let (_server, at) = tcp(Limits::default());
    let large = format!("{{\"a\":1,\"b\":2,\"c\":\"{}\"}}", "x".repeat(10 << 20));
    let (status, body) = ask(at, "POST /v1/sums", &[JSON, &bearer()], &large);
    assert_eq!((status, &body["kind"]), (413, &json!("too-large")));
    let message = body["message"].as_str().expect("a message");
    assert!(message.contains("262144 bytes"), "{message}");

    // In chunks, so that nothing is announced.
    let mut stream = connect(at);
    write!(
        stream,
        "POST /v1/sums HTTP/1.1\r\nHost: {at}\r\n{JSON}\r\n{}\r\nTransfer-Encoding: chunked\r\n\r\n",
        bearer()
    )
    .expect("send");
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    for _ in 0..10 {
        stream.write_all(chunk.as_bytes()).expect("send");
    }
    stream.write_all(b"0\r\n\r\n").expect("send");
    assert_eq!(answer(stream).0, 413);

    // Just as much as may be.
    let fits = format!("{{\"a\":1,\"b\":2}}{}", " ".repeat((256 << 10) - 13));
    let answered = ask(at, "POST /v1/sums", &[JSON, &bearer()], &fits);
    assert_eq!(answered, (200, json!({ "sum": 3 })));
}

#[test]
fn bad_json_says_where() {
    let (_server, at) = tcp(Limits::default());
    let post = |body: &str| ask(at, "POST /v1/sums", &[JSON, &bearer()], body);
    let deep = "[".repeat(200_000);
    for (body, expected) in [
        ("{\"a\":1,\n \"b\":}", "line 2 column 6"),
        ("", "EOF"),
        ("{\"a\":1}", "missing field `b`"),
        ("{\"a\":\"x\",\"b\":1}", "a: invalid type"),
        (deep.as_str(), "invalid type: sequence"),
    ] {
        let (status, answer) = post(body);
        assert_eq!((status, &answer["kind"]), (400, &json!("invalid")));
        let message = answer["message"].as_str().expect("a message");
        assert!(message.contains(expected), "{message}");
        assert!(message.starts_with("the body "), "{message}");
    }
    let (status, answer) = ask(at, "POST /v1/sums", &[&bearer()], "{}");
    assert_eq!((status, &answer["kind"]), (415, &json!("invalid")));
    let (status, answer) = ask(at, "PUT /v1/sums", &[&bearer()], "");
    assert_eq!((status, &answer["kind"]), (405, &json!("invalid")));
}

#[test]
fn slow_clients_are_not_waited_for() {
    let (_server, at) = tcp(Limits {
        head: Duration::from_millis(200),
        request: Duration::from_millis(200),
        ..Limits::default()
    });
    // A head that does not end.
    let mut stream = connect(at);
    stream.write_all(b"GET /v1/self HTT").expect("send");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(!rest.contains("200 OK"), "{rest}");
    // A body that does not.
    let mut stream = connect(at);
    write!(
        stream,
        "POST /v1/sums HTTP/1.1\r\nHost: {at}\r\n{JSON}\r\n{}\r\nContent-Length: 20\r\n\r\n{{",
        bearer()
    )
    .expect("send");
    let (status, body) = answer(stream);
    assert_eq!((status, &body["kind"]), (504, &json!("timed-out")));
    // A route that does not answer.
    let (status, body) = ask(at, "GET /v1/never", &[&bearer()], "");
    assert_eq!((status, &body["kind"]), (504, &json!("timed-out")));
}

#[test]
fn connections_are_limited_and_given_back() {
    let (_server, at) = tcp(Limits {
        connections: 2,
        ..Limits::default()
    });
    let follow = || {
        let mut stream = connect(at);
        write!(
            stream,
            "GET /v1/events HTTP/1.1\r\nHost: {at}\r\n{}\r\n\r\n",
            bearer()
        )
        .expect("send");
        let mut first = [0; 16];
        stream.read_exact(&mut first).expect("an answer");
        assert_eq!(&first[9..12], b"200");
        stream
    };
    let open = [follow(), follow()];
    let get = || ask(at, "GET /v1/self", &[&bearer()], "");
    let (status, body) = get();
    assert_eq!((status, &body["kind"]), (503, &json!("unavailable")));
    drop(open);
    // Their ends are noticed a moment later.
    let served = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        get().0 == 200
    });
    assert!(served, "the connections are not given back");
}
