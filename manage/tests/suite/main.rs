//! The management listeners as clients meet them: real sockets, good and bad input.

mod events;
mod limits;
mod observe;
mod tcp;
mod unix;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Json, Router};
use culvert_manage::events::Events;
use culvert_manage::http::{Address, Limits, Place, Server, Token};
use culvert_manage::problem::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

/// The token of all tests.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// How long a test waits for what has no deadline.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sum {
    a: u32,
    b: u32,
}

/// Routes of every kind.
fn routes(events: &Events) -> Router {
    let events = events.clone();
    let follow = move || async move { events.respond(&json!({ "event": "hello" }), true) };
    Router::new()
        .route("/v1/self", get(|| async { Json(json!({ "name": "n" })) }))
        .route(
            "/v1/sums",
            post(|Json(sum): Json<Sum>| async move {
                match sum.a.checked_add(sum.b) {
                    Some(sum) => Ok(Json(json!({ "sum": sum }))),
                    None => Err(Problem::conflict("too much", "add less")),
                }
            }),
        )
        .route("/v1/never", get(std::future::pending::<()>))
        .route("/v1/events", get(follow))
        .route("/metrics", get(|| async { "culvert_links 0\n" }))
        .route("/live", get(|| async { "ok\n" }))
}

fn token() -> Token {
    Token::new(TOKEN).expect("a token")
}

fn unix(path: &Path) -> Result<Server, Problem> {
    Server::start(vec![Place::Unix(path.to_owned())], routes(&Events::new()))
}

/// Serves on a free port of this machine, with the limits of a hurry.
fn tcp(limits: Limits) -> (Server, SocketAddr) {
    let place = Place::Tcp {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: token(),
        tls: None,
        insecure: false,
    };
    let server = Server::start_with(vec![place], routes(&Events::new()), limits).expect("a server");
    let at = address(&server);
    (server, at)
}

/// The TCP address of a server.
fn address(server: &Server) -> SocketAddr {
    match &server.addresses()[0] {
        Address::Tcp { address, .. } | Address::Figures(address) => *address,
        Address::Unix(path) => panic!("{} is no TCP address", path.display()),
    }
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

/// Status and body of the one answer that a connection gives.
fn answer(mut stream: impl Read) -> (u16, Value) {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("an answer");
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    (status.expect("a status"), body)
}

/// Sends a request with these headers, and gives status and body of the answer.
fn ask(at: SocketAddr, line: &str, headers: &[&str], body: &str) -> (u16, Value) {
    let mut stream = connect(at);
    write!(stream, "{line} HTTP/1.1\r\nConnection: close\r\n").expect("send");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        write!(stream, "Host: {at}\r\n").expect("send");
    }
    for header in headers {
        write!(stream, "{header}\r\n").expect("send");
    }
    write!(stream, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("send");
    answer(stream)
}

/// A header with the right token.
fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}")
}
