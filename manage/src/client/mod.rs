//! What the command line talks to a node with. Everything here blocks: it is for programs without a
//! runtime of their own, and must not be used on one.

mod connect;

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use self::connect::{Stream, Target};
use crate::http::{Token, kind_of};
use crate::problem::Problem;

/// How long an answer may take: a little longer than a node gives itself.
const LIMIT: Duration = Duration::from_secs(40);
/// How long a stream of events may be silent: a node says every 15 s that it is there.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer.
const LARGEST: usize = 64 << 20;
/// Bytes of one event.
const LONGEST_LINE: usize = 1 << 20;

/// A node's management API. Each request has a connection of its own.
#[derive(Debug)]
pub struct Client {
    target: Target,
    runtime: Runtime,
    limit: Duration,
}

impl Client {
    /// Of the node with this socket. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// When the process is out of descriptors.
    pub fn unix(socket: impl Into<PathBuf>) -> Result<Self, Problem> {
        Self::of(Target::Unix(socket.into()))
    }

    /// Of the node at `https://HOST:PORT`, with its token and a PEM file with certificates that vouch
    /// for it; or at `http://HOST:PORT`, where nobody can listen.
    ///
    /// # Errors
    ///
    /// When the address is none, or the file cannot be used.
    pub fn tcp(url: &str, token: Token, trusted: Option<&Path>) -> Result<Self, Problem> {
        Self::of(Target::tcp(url, token, trusted)?)
    }

    fn of(target: Target) -> Result<Self, Problem> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            let hint = "check the limit of open files";
            Problem::failed(format!("cannot talk to a node: {error}"), hint)
        })?;
        Ok(Self {
            target,
            runtime,
            limit: LIMIT,
        })
    }

    /// The same with another limit for each request.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Sends a request with a body, if there is one, and gives the body of the answer: `Null` where it
    /// has none, a text where it is no JSON.
    ///
    /// # Errors
    ///
    /// What the node answered instead; `Unavailable` where none is, `TimedOut` where it does not
    /// answer.
    pub fn request(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Problem> {
        let answer = async {
            let (status, response) = self.send(method, path, body).await?;
            let is_json = is_json(&response);
            let body = Limited::new(response.into_body(), LARGEST);
            let body = body
                .collect()
                .await
                .map_err(|error| self.target.broke_off(&*error))?
                .to_bytes();
            match (status.is_success(), body.is_empty()) {
                (true, true) => Ok(Value::Null),
                (true, false) if !is_json => Ok(String::from_utf8_lossy(&body).into_owned().into()),
                (true, false) => serde_json::from_slice(&body).map_err(|error| {
                    let hint = "node and command line may be of different versions";
                    Problem::failed(format!("the node's answer is no JSON: {error}"), hint)
                }),
                (false, _) => Err(refused(status, &body)),
            }
        };
        self.block_on(answer)
    }

    /// Asks for a stream of events: each is one JSON value.
    ///
    /// # Errors
    ///
    /// As of [`Client::request`].
    pub fn lines(&self, path: &str) -> Result<Lines<'_>, Problem> {
        let opened = async {
            let (status, response) = self.send("GET", path, None).await?;
            if status.is_success() {
                return Ok(response.into_body());
            }
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            let body = body.map(Collected::to_bytes).unwrap_or_default();
            Err(refused(status, &body))
        };
        Ok(Lines {
            body: self.block_on(opened)?,
            client: self,
            read: Vec::new(),
        })
    }

    fn block_on<T>(&self, what: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        let limited = async { timeout(self.limit, what).await };
        let done = self.runtime.block_on(limited);
        done.unwrap_or_else(|_| Err(self.target.silent(self.limit)))
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Response<Incoming>), Problem> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Problem::invalid(format!("{method} is no HTTP method"), ""))?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.target.host());
        if let Some(token) = self.target.token() {
            request = request.header(AUTHORIZATION, token.authorization());
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request
            .body(Full::new(body))
            .map_err(|error| Problem::invalid(format!("{path} is no path: {error}"), ""))?;
        let mut sender = match self.target.connect().await? {
            Stream::Unix(stream) => self.shake_hands(stream).await?,
            Stream::Tcp(stream) => self.shake_hands(stream).await?,
            Stream::Tls(stream) => self.shake_hands(*stream).await?,
        };
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| self.target.broke_off(&error))?;
        Ok((response.status(), response))
    }

    async fn shake_hands<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>, Problem>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.target.broke_off(&error))?;
        // It runs while something of this client is waited for, and ends with the answer.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// Events of a node, one JSON value each; ends when the node does.
#[derive(Debug)]
pub struct Lines<'a> {
    client: &'a Client,
    body: Incoming,
    read: Vec<u8>,
}

impl Iterator for Lines<'_> {
    type Item = Result<Value, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Some(serde_json::from_slice(&line).map_err(|error| {
                    Problem::failed(format!("an event of the node is no JSON: {error}"), "")
                }));
            }
            if self.read.len() > LONGEST_LINE {
                return Some(Err(Problem::failed("an event of the node has no end", "")));
            }
            let (runtime, target) = (&self.client.runtime, &self.client.target);
            let frame = runtime.block_on(async { timeout(SILENCE, self.body.frame()).await });
            match frame {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Ok(None) => return None,
                Ok(Some(Err(error))) => return Some(Err(target.broke_off(&error))),
                Err(_) => return Some(Err(target.silent(SILENCE))),
            }
        }
    }
}

fn is_json(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

/// What a node says that did not do what it was asked for.
fn refused(status: StatusCode, body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&body[..body.len().min(1024)]).into_owned();
        let message = match text.trim() {
            "" => format!("the node answered {status}"),
            text => format!("the node answered {status}: {text}"),
        };
        Problem::new(kind_of(status), message, "")
    })
}
