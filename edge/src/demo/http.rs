//! As much HTTP as the demo needs: a service to put behind the outlet, and a client.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;

/// What the service answers to `/`.
pub const GREETING: &str = "Hello from the service behind the outlet.\n";
/// Longest head of a request or an answer.
const LONGEST_HEAD: u64 = 16 * 1024;
/// Most bytes that one request can ask for.
const MOST: u64 = 1 << 40;
/// Bytes written at once.
const CHUNK: usize = 1 << 17;

/// Starts the service on a free port of this machine: `/` greets, `/bytes/N` sends N bytes.
///
/// # Errors
///
/// When there is no port for it.
pub fn start_service() -> Result<SocketAddr, Failure> {
    let failed = |error| {
        Failure::new(
            format!("cannot start the HTTP service: {error}"),
            "try again",
        )
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that goes away or talks nonsense ends its own connection only.
            thread::spawn(move || serve(client));
        }
    });
    Ok(address)
}

fn serve(client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut writer = client.try_clone()?;
    let mut reader = BufReader::new(client);
    let chunk = vec![b'.'; CHUNK];
    loop {
        let head = read_head(&mut reader)?;
        let Some(path) = head
            .strip_prefix("GET ")
            .and_then(|rest| rest.split(' ').next())
        else {
            return answer(&mut writer, "405 Method Not Allowed", "only GET\n");
        };
        match path.strip_prefix("/bytes/").map(str::parse::<u64>) {
            Some(Ok(size)) if size <= MOST => {
                write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")?;
                let mut left = size;
                while left > 0 {
                    let n = left.min(CHUNK as u64);
                    writer.write_all(&chunk[..n as usize])?;
                    left -= n;
                }
            }
            None if path == "/" => answer(&mut writer, "200 OK", GREETING)?,
            _ => answer(&mut writer, "404 Not Found", "try / or /bytes/1000\n")?,
        }
    }
}

fn answer(writer: &mut TcpStream, status: &str, text: &str) -> io::Result<()> {
    let length = text.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}");
    writer.write_all(format!("{head}\r\n\r\n{text}").as_bytes())
}

/// Reads up to the empty line.
fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    let mut limited = reader.take(LONGEST_HEAD);
    loop {
        let before = head.len();
        let n = limited.read_line(&mut head)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if before > 0 && head[before..].trim_end().is_empty() {
            return Ok(head);
        }
    }
}

/// A kept connection to an HTTP service.
pub struct Client {
    reader: BufReader<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects; no answer may take longer than `patience`.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self {
            reader: BufReader::with_capacity(4096, stream),
            buffer: vec![0; CHUNK],
        })
    }

    /// The text of a request, with a line that nobody else would send.
    #[must_use]
    pub fn request(path: &str, mark: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: demo\r\nX-Demo: {mark}\r\n\r\n")
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn send(&mut self, request: &str) -> io::Result<()> {
        self.reader.get_mut().write_all(request.as_bytes())
    }

    /// Receives a whole answer; gives the length of its body. `go_on` is asked now and then.
    ///
    /// # Errors
    ///
    /// When it is not HTTP, or its end cannot be told from its head.
    pub fn receive(&mut self, go_on: impl Fn() -> bool) -> io::Result<u64> {
        let head = read_head(&mut self.reader)?;
        if !head.starts_with("HTTP/1.") {
            return Err(io::Error::other("the answer is not HTTP"));
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<u64>().ok())?
        });
        let length = length.ok_or_else(|| io::Error::other("the answer has no Content-Length"))?;
        let mut left = length;
        while left > 0 {
            let room = left.min(CHUNK as u64) as usize;
            match self.reader.read(&mut self.buffer[..room])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => left -= n as u64,
            }
            if !go_on() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        Ok(length)
    }

    /// Requests `path` and receives all of it.
    ///
    /// # Errors
    ///
    /// As [`Client::receive`].
    pub fn get(&mut self, path: &str, go_on: impl Fn() -> bool) -> io::Result<u64> {
        self.send(&Self::request(path, "none"))?;
        self.receive(go_on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_and_service_understand_each_other() {
        let service = start_service().expect("service");
        let mut client = Client::connect(service, Duration::from_secs(10)).expect("connect");
        assert_eq!(client.get("/", || true).expect("/"), GREETING.len() as u64);
        assert_eq!(
            client.get("/bytes/300000", || true).expect("bytes"),
            300_000
        );
        assert_eq!(client.get("/bytes/0", || true).expect("nothing"), 0);
        assert!(client.get("/bytes/x", || true).is_ok());
        assert!(client.get("/bytes/300000", || false).is_err());
    }
}
