//! A connected TCP socket of a shard.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use bytes::BytesMut;
use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};

use crate::sys::{self, Parts};

/// The runtime says when the socket has something or takes something; what is then read or written is read or
/// written at once. So a socket that waits holds no buffer, and one buffer that stays in the processor's
/// cache serves all of them.
pub(crate) struct Socket(TcpStream);

impl Socket {
    /// Small messages leave at once.
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).ok();
        Self(stream)
    }

    /// Waits until there is something to read, or the end.
    pub(crate) async fn readable(&self) {
        // What is wrong with a socket, reading tells.
        let _ = self.0.readable(false).await;
    }

    /// Waits until something can be written, or nothing ever will.
    pub(crate) async fn writable(&self) {
        let _ = self.0.writable(false).await;
    }

    /// Appends what is there, at most `most` bytes; gives how many, 0 at the end, or nothing if there is
    /// nothing at present.
    pub(crate) fn receive(&self, buffer: &mut BytesMut, most: usize) -> io::Result<Option<usize>> {
        at_once(sys::receive(sys::descriptor(&self.0), buffer, most))
    }

    /// Writes what the socket takes now; gives how many bytes, or nothing if it takes none at present.
    pub(crate) fn send<'a>(
        &self,
        parts: &mut Parts,
        buffers: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> io::Result<Option<usize>> {
        at_once(parts.send(sys::descriptor(&self.0), buffers))
    }

    /// Ends both directions: pending and later reads see the end, writes fail.
    pub(crate) fn shutdown(&self) {
        let _ = rustix::net::shutdown(sys::descriptor(&self.0), Shutdown::Both);
    }

    /// Ends the sending direction after what is queued in the kernel.
    pub(crate) fn shutdown_write(&self) {
        let _ = rustix::net::shutdown(sys::descriptor(&self.0), Shutdown::Write);
    }

    /// Resets the connection.
    pub(crate) fn abort(&self) {
        abort(sys::descriptor(&self.0));
    }

    /// The same connection outside of the runtime; it stays open when this handle is dropped.
    pub(crate) fn to_std(&self) -> io::Result<StdStream> {
        let descriptor = rustix::io::fcntl_dupfd_cloexec(sys::descriptor(&self.0), 0)?;
        Ok(StdStream::from(descriptor))
    }
}

/// Connects to `address`. What is on this machine, as the service of an outlet mostly is, has taken the connection
/// by the time that the system returns; then nothing is waited for.
///
/// # Errors
/// What the system says.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Asked once more, a connection that has been begun says how far it is.
    let is_done = match rustix::net::connect(&socket, &address) {
        Err(Errno::INPROGRESS) => rustix::net::connect(&socket, &address),
        other => other,
    };
    let socket = TcpStream::from_std(StdStream::from(socket))?;
    match is_done {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::ALREADY) => {
            socket.writable(false).await?;
            rustix::net::sockopt::socket_error(sys::descriptor(&socket))??;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(socket)
}

fn at_once(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Resets a connection: the peer sees at once that it did not end in order, and pending reads and writes
/// fail.
pub(crate) fn abort(socket: BorrowedFd<'_>) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
    // Connecting to nothing is how Linux disconnects; unlike a shutdown it sends a reset, and
    // unlike a close it does not wait for operations under way.
    if rustix::net::connect_unspec(socket).is_err() {
        let _ = rustix::net::shutdown(socket, Shutdown::Read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    use monoio::{FusionDriver, RuntimeBuilder};

    fn run<T>(work: impl Future<Output = T>) -> T {
        let built = RuntimeBuilder::<FusionDriver>::new().enable_timer().build();
        built.expect("a runtime").block_on(work)
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    #[test]
    fn a_listener_of_this_machine_is_connected_to() {
        let (listener, address) = listener();
        let socket = run(connect(address)).expect("connected");
        let (_, peer) = listener.accept().expect("accepted");
        assert_eq!(socket.local_addr().expect("its address"), peer);
    }

    #[test]
    fn nobody_there_is_an_error() {
        let (listener, address) = listener();
        drop(listener);
        let error = run(connect(address)).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// The system drops what finds no place in the queue, and tries again a second later.
    #[test]
    fn a_connection_that_takes_a_while_is_waited_for() {
        let (listener, address) = listener();
        rustix::net::listen(&listener, 0).expect("a short queue");
        let first = StdStream::connect(address).expect("takes the place");
        let connected = run(async {
            let mut connecting = std::pin::pin!(connect(address));
            let soon = monoio::time::timeout(Duration::from_millis(100), &mut connecting).await;
            assert!(soon.is_err(), "there is no place in the queue");
            listener.accept().expect("accepted");
            connecting.await
        });
        assert_eq!(
            connected.expect("connected").peer_addr().ok(),
            Some(address)
        );
        drop(first);
    }
}
