//! Accepting TCP connections until told not to.

use std::net::TcpStream;
use std::time::Duration;

use monoio::io::Canceller;
use monoio::net::TcpListener;

use crate::stop::Stop;
use crate::sys;

/// A listener that is let go of is closed the next time its shard waits: by then.
const CLOSED: Duration = Duration::from_millis(1);

/// Gives on what a listener accepts, until one of the two says to stop; then the listener is closed.
/// Whoever has another handle on its socket keeps the address, and what has connected to it since.
pub(crate) async fn accept(
    listener: TcpListener,
    stop: &Stop,
    draining: &Stop,
    give: impl Fn(TcpStream),
) {
    let canceller = Canceller::new();
    let handle = canceller.handle();
    let is_over = || stop.is_stopped() || draining.is_stopped();
    let accepting = async {
        while !is_over() {
            let accepted = listener.cancelable_accept(handle.clone()).await;
            match accepted.and_then(|(socket, _)| sys::into_std(socket)) {
                Ok(socket) => give(socket),
                Err(_) if is_over() => {}
                Err(error) => {
                    // Typically out of descriptors: leave room for some to be closed.
                    tracing::warn!(%error, "cannot accept connections (check the open files limit)");
                    monoio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    let stopping = async {
        monoio::select! {
            () = stop.stopped() => {}
            () = draining.stopped() => {}
        }
        // Giving the accept up instead would lose a connection that it has taken already.
        canceller.cancel();
        core::future::pending::<()>().await;
    };
    monoio::select! {
        () = accepting => {}
        () = stopping => {}
    }
    drop(listener);
    monoio::time::sleep(CLOSED).await;
}
