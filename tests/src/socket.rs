//! Plain HTTP over the management socket of a process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use crate::PATIENCE;

/// Asks over a Unix socket; gives the status, and the body as JSON or as text.
///
/// # Panics
/// When there is no answer.
pub fn ask(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let mut stream = dial(socket);
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let body = body.map(ToString::to_string);
    if let Some(body) = &body {
        request.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    request.push_str("\r\n");
    request.push_str(body.as_deref().unwrap_or_default());
    stream
        .write_all(request.as_bytes())
        .expect("send a request");
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("read an answer");
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    (status.expect("a status"), body)
}

/// The lines of an event stream, each JSON.
///
/// # Panics
/// When it cannot be opened.
pub fn follow(socket: &Path, path: &str) -> impl Iterator<Item = Value> {
    let mut stream = dial(socket);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("send a request");
    // The sizes of chunks stand on lines of their own.
    BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(&line).expect("an event"))
}

fn dial(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("connect to the management socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}
