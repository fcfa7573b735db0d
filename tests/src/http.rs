//! Plain HTTP with JSON, one connection a request: what tests ask management listeners and WebDriver with.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::net::try_connect;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The headers, as they came.
    pub head: String,
    /// The body, as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the answer {}: {}", self.status, self.body))
    }
}

/// Sends a request and reads the answer. Each read and write may take `limit`.
///
/// # Panics
/// When there is no answer.
pub fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
    limit: Duration,
) -> Answer {
    let mut stream = try_connect(address, limit)
        .unwrap_or_else(|error| panic!("{method} {path}: connect to {address}: {error}"));
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += "Content-Type: application/json\r\n";
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream
        .write_all((head + &body).as_bytes())
        .and_then(|()| read(&mut BufReader::new(stream)))
        .unwrap_or_else(|error| panic!("{method} {path} at {address}: {error}"))
}

fn read(stream: &mut impl BufRead) -> io::Result<Answer> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let length = field("content-length").and_then(|length| length.parse().ok());
    let mut body = Vec::new();
    match length {
        // Not everybody closes the connection, though asked to.
        Some(length) => stream.take(length).read_to_end(&mut body)?,
        None => stream.read_to_end(&mut body)?,
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    Ok(Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        body: match field("transfer-encoding") {
            Some(_) => unchunk(&body),
            None => body,
        },
        head,
    })
}

/// The content of a body that came in chunks.
fn unchunk(mut body: &str) -> String {
    let mut content = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("the size of a chunk");
        if size == 0 {
            break;
        }
        content += &rest[..size];
        body = rest[size..].trim_start_matches("\r\n");
    }
    content
}
