//! Accepting TCP connections until told not to.

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use monoio::net::TcpListener;

use crate::stop::Stop;
use crate::sys::{self, SocketFd};

/// Gives on what a listener accepts, until one of the two says to stop. From then on nothing listens
/// there.
pub(crate) async fn accept(
    listener: &TcpListener,
    stop: &Stop,
    draining: &Stop,
    give: impl Fn(TcpStream),
) {
    let accepting = async {
        while !stop.is_stopped() && !draining.is_stopped() {
            match listener.accept().await.map(|(socket, _)| socket) {
                Ok(socket) => match sys::into_std(socket) {
                    Ok(socket) => give(socket),
                    Err(error) => tracing::warn!(%error, "an accepted connection was lost"),
                },
                Err(_) if stop.is_stopped() || draining.is_stopped() => {}
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
        // Ends the accept under way. Giving that up instead would lose a connection that it has
        // taken already.
        SocketFd::new(listener.as_raw_fd()).shutdown();
        core::future::pending::<()>().await;
    };
    monoio::select! {
        () = accepting => {}
        () = stopping => {}
    }
}
