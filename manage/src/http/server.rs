//! The control thread: accepts, and serves each connection within limits.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::Service;
use super::bind::{Bound, Listener};
use super::gate::Caller;
use super::{Address, Limits, Place};
use crate::problem::{Kind, Problem};

/// How long requests under way may take once the server is to stop.
const GRACE: Duration = Duration::from_secs(2);
/// Threads for what blocks.
const BLOCKING: usize = 16;
/// Bytes of the head of a request.
const HEAD: usize = 32 << 10;

/// The management listeners of a node, on a thread of their own. Dropping it stops them.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<Address>,
    handle: Handle,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `routes` at all places, with the usual limits.
    ///
    /// # Errors
    ///
    /// When one of the places cannot be listened on: then none is.
    pub fn start(places: Vec<Place>, routes: Router) -> Result<Self, Problem> {
        Self::start_with(places, routes, Limits::default())
    }

    /// Serves `routes` at all places.
    ///
    /// # Errors
    ///
    /// When one of the places cannot be listened on: then none is.
    pub fn start_with(places: Vec<Place>, routes: Router, limits: Limits) -> Result<Self, Problem> {
        let failed = |error: io::Error| {
            Problem::failed(
                format!("cannot start the control thread: {error}"),
                "check the limits of open files and of processes",
            )
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING)
            .build()
            .map_err(failed)?;
        let bound = {
            let _inside = runtime.enter();
            places
                .into_iter()
                .map(Bound::open)
                .collect::<Result<Vec<_>, _>>()?
        };
        let addresses = bound.iter().map(|bound| bound.address.clone()).collect();
        let handle = runtime.handle().clone();
        let (stop, stopped) = watch::channel(false);
        let thread = thread::Builder::new()
            .name("control".into())
            .spawn(move || serve(runtime, bound, &routes, limits, stopped))
            .map_err(failed)?;
        Ok(Self {
            addresses,
            handle,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it serves, in the order of the places.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The runtime of the control thread, for others to run things on. What runs there must not
    /// block; `spawn_blocking` is for what does.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs something on the control thread until it is done or the server stops.
    pub fn spawn(&self, what: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(what));
    }

    /// Accepts nothing more, lets requests under way end for two seconds, and removes the sockets.
    pub fn stop(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn serve(
    runtime: Runtime,
    bound: Vec<Bound>,
    routes: &Router,
    limits: Limits,
    stopped: watch::Receiver<bool>,
) {
    runtime.block_on(async move {
        let mut places = JoinSet::new();
        for Bound { listener, gate, .. } in bound {
            let service = Service::new(gate, routes.clone(), limits);
            places.spawn(accept(listener, service.into(), stopped.clone()));
        }
        until(stopped).await;
        let all = async { while places.join_next().await.is_some() {} };
        let _ = timeout(GRACE, all).await;
    });
    runtime.shutdown_timeout(GRACE);
}

/// Waits until the server is to stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the server is gone.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn accept(listener: Listener, service: Arc<Service>, stopped: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(service.limits.connections));
    // Those who are told that there is no room take room as well.
    let refusals = Arc::new(Semaphore::new(service.limits.connections));
    let mut connections = JoinSet::new();
    let mut end = pin!(until(stopped.clone()));
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = next(&listener) => accepted,
            () = &mut end => break,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Typically out of descriptors: leave room for some to be closed.
                tracing::warn!(%error, "cannot accept a management connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (slot, is_full) = match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => (slot, false),
            Err(_) => match Arc::clone(&refusals).try_acquire_owned() {
                Ok(slot) => (slot, true),
                Err(_) => continue,
            },
        };
        let (service, stopped) = (Arc::clone(&service), stopped.clone());
        connections.spawn(async move {
            accepted.serve(service, is_full, stopped).await;
            drop(slot);
        });
    }
    // Closes the socket, so that nobody waits for an answer that does not come.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A connection that was accepted.
enum Accepted {
    Unix(UnixStream),
    Tcp(tokio::net::TcpStream, Option<tokio_rustls::TlsAcceptor>),
}

async fn next(listener: &Listener) -> io::Result<Accepted> {
    match listener {
        Listener::Unix(listener, _) => {
            let (stream, _) = listener.accept().await?;
            Ok(Accepted::Unix(stream))
        }
        Listener::Tcp(listener, tls) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Accepted::Tcp(stream, tls.clone()))
        }
    }
}

impl Accepted {
    async fn serve(self, service: Arc<Service>, is_full: bool, stopped: watch::Receiver<bool>) {
        match self {
            Self::Unix(stream) => {
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                connection(stream, Caller { uid }, service, is_full, stopped).await;
            }
            Self::Tcp(stream, None) => {
                connection(stream, Caller { uid: None }, service, is_full, stopped).await;
            }
            Self::Tcp(stream, Some(tls)) => {
                match timeout(service.limits.head, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let caller = Caller { uid: None };
                        connection(stream, caller, service, is_full, stopped).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS with a management client"),
                    Err(_) => tracing::debug!("a management client was too slow for TLS"),
                }
            }
        }
    }
}

async fn connection<S>(
    stream: S,
    caller: Caller,
    service: Arc<Service>,
    is_full: bool,
    stopped: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = service.limits.head;
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = Arc::clone(&service);
        async move {
            Ok::<_, Infallible>(match is_full {
                true => full(service.limits.connections).into_response(),
                false => service.answer(caller, request).await,
            })
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .max_buf_size(HEAD)
            .keep_alive(!is_full)
            .serve_connection(TokioIo::new(stream), answer)
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = until(stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a management connection broke off");
    }
}

fn full(most: usize) -> Problem {
    Problem::new(
        Kind::Unavailable,
        format!("{most} management connections are open, and no more are possible"),
        "end some of those that follow events, and try again",
    )
}
