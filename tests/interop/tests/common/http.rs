//! An HTTP service for the far end of a portal, and its client. Every body has a length, so that
//! nothing depends on half-closed connections, which Ockam does not have.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use culvert_tests::net::{connect, digest, write_pattern};
use culvert_tests::service::Service;

/// Starts it. `GET /<seed>/<length>` gives that many bytes of the pattern with that seed; `PUT`
/// gives the SHA-256 of the body. Connections are kept until the client closes.
pub fn service() -> Service {
    Service::start(|stream, _| {
        let _ = serve(stream);
    })
}

/// Serves one connection.
///
/// # Errors
/// Those of the socket.
pub fn serve(stream: TcpStream) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::with_capacity(1 << 16, stream);
    while let Some((first, length)) = head(&mut input)? {
        let mut words = first.split([' ', '/']).filter(|word| !word.is_empty());
        match words.next() {
            Some("GET") => {
                let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
                let (seed, length) = (number(), number());
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
                write_pattern(&mut out, seed, length as usize)?;
            }
            _ => {
                let (_, hash) = digest(&mut (&mut input).take(length))?;
                out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n")?;
                out.write_all(&hash)?;
            }
        }
    }
    Ok(())
}

/// Reads a head; returns its first line and the length of the body, or nothing at the end of the connection.
fn head(input: &mut impl BufRead) -> io::Result<Option<(String, u64)>> {
    let (mut first, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(first.map(|first| (first, length)));
        }
        if let Some(number) = line.strip_prefix("Content-Length: ") {
            length = number.parse().map_err(io::Error::other)?;
        }
        first.get_or_insert_with(|| line.to_owned());
    }
}

/// A client's connection to the service.
pub struct Client {
    out: TcpStream,
    input: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let out = connect(address);
        let input = BufReader::with_capacity(1 << 16, out.try_clone().expect("a second handle"));
        Self { out, input }
    }

    /// Fetches `length` bytes and checks each of them.
    pub fn get(&mut self, seed: u64, length: usize) -> io::Result<()> {
        write!(
            self.out,
            "GET /{seed}/{length} HTTP/1.1\r\nHost: test\r\n\r\n"
        )?;
        let announced = self.answer()?;
        let got = digest(&mut (&mut self.input).take(announced))?;
        let expected = write_pattern(&mut io::sink(), seed, length)?;
        same((length as u64, expected), got)
    }

    /// Sends `length` bytes and compares what arrived.
    pub fn put(&mut self, seed: u64, length: usize) -> io::Result<()> {
        write!(
            self.out,
            "PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
        )?;
        let sent = write_pattern(&mut self.out, seed, length)?;
        let announced = self.answer()?;
        let mut hash = [0; 32];
        self.input.read_exact(&mut hash)?;
        same((32, sent), (announced, hash))
    }

    fn answer(&mut self) -> io::Result<u64> {
        match head(&mut self.input)? {
            Some((first, length)) if first == "HTTP/1.1 200 OK" => Ok(length),
            other => Err(io::Error::other(format!("answered with {other:?}"))),
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(expected: T, got: T) -> io::Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "expected {expected:?}, got {got:?}"
    )))
}
