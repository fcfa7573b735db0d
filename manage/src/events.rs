//! What happens in a node, for everybody who listens.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Body as HttpBody, Frame};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

/// Events that a reader may be behind.
const BEHIND: usize = 1024;
/// How long a stream is silent before an empty line shows that it still is one.
const SILENCE: Duration = Duration::from_secs(15);

/// Passes on what happens. Cloning is cheap; all clones are the same bus.
///
/// Nobody waits for a reader: who is too slow misses the oldest events, and is told how many.
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<Said>);

/// An event as JSON, or that there are no more.
type Said = Option<Arc<str>>;

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Events {
    /// A bus.
    #[must_use]
    pub fn new() -> Self {
        Self(broadcast::channel(BEHIND).0)
    }

    /// Tells everybody who listens now; from any thread.
    pub fn publish(&self, event: &impl Serialize) {
        if self.0.receiver_count() == 0 {
            return;
        }
        match serde_json::to_string(event) {
            Ok(line) => drop(self.0.send(Some(line.into()))),
            Err(error) => tracing::error!(%error, "an event is no JSON"),
        }
    }

    /// Tells everybody who listens now that nothing more comes: streams of events end in order.
    pub fn end(&self) {
        let _ = self.0.send(None);
    }

    /// Listens from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.0.subscribe())
    }

    /// The answer to a request for events: `hello` first, then, with `follow`, each event as one line
    /// of JSON. Empty lines come while nothing happens, so that both sides notice when the other is
    /// gone. Must be called on a Tokio runtime.
    #[must_use]
    pub fn respond(&self, hello: &Value, follow: bool) -> Response {
        let kind = [(CONTENT_TYPE, "application/x-ndjson")];
        if !follow {
            return (kind, format!("{hello}\n")).into_response();
        }
        let (lines, body) = mpsc::channel(16);
        let (subscription, hello) = (self.subscribe(), format!("{hello}\n"));
        tokio::spawn(async move {
            if lines.send(Bytes::from(hello)).await.is_ok() {
                subscription.pass_on(lines).await;
            }
        });
        (kind, Body::new(Lines(body))).into_response()
    }
}

/// Somebody who listens.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Said>);

impl Subscription {
    /// The next event, as JSON without a line end; none when the bus has ended or is gone. Where events
    /// were missed it is `{"event":"missed","missed":N}`.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        match self.0.recv().await {
            Ok(said) => said,
            Err(RecvError::Closed) => None,
            Err(RecvError::Lagged(missed)) => {
                let line = json!({ "event": "missed", "missed": missed });
                Some(line.to_string().into())
            }
        }
    }

    async fn pass_on(mut self, lines: mpsc::Sender<Bytes>) {
        loop {
            let line = tokio::select! {
                () = lines.closed() => return,
                next = timeout(SILENCE, self.next()) => match next {
                    Ok(Some(line)) => format!("{line}\n"),
                    Ok(None) => return,
                    Err(_) => "\n".to_owned(),
                },
            };
            if lines.send(line.into()).await.is_err() {
                return;
            }
        }
    }
}

/// The body of an event stream.
struct Lines(mpsc::Receiver<Bytes>);

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.0.poll_recv(context);
        next.map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(what: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(what)
    }

    #[test]
    fn everybody_hears_and_the_slow_are_told_what_they_missed() {
        let events = Events::new();
        events.publish(&json!({ "n": -1 }));
        let mut slow = events.subscribe();
        for n in 0..BEHIND + 3 {
            events.publish(&json!({ "n": n }));
        }
        let mut late = events.subscribe();
        events.publish(&json!({ "n": "last" }));
        let others = events.clone();
        events.end();
        let next = |subscription: &mut Subscription| block_on(subscription.next());
        assert_eq!(next(&mut late).as_deref(), Some(r#"{"n":"last"}"#));
        assert_eq!(next(&mut late), None);
        drop(others);
        let missed = r#"{"event":"missed","missed":5}"#;
        assert_eq!(next(&mut slow).as_deref(), Some(missed));
        assert_eq!(next(&mut slow).as_deref(), Some(r#"{"n":5}"#));
    }
}
