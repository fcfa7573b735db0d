//! The one fenced module with `unsafe` code: what the safe crates cannot express.
//!
//! Three things live here and nothing else: a batch of buffers handed to the kernel as an iovec
//! array, operations on the raw descriptor of a socket that monoio owns, and turning a monoio
//! socket back into a standard one so that it can move to another shard.
#![allow(unsafe_code)]

use std::io;
use std::net::TcpStream;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, RawFd};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use monoio::buf::IoVecBuf;

/// Most buffers one vectored write carries (`IOV_MAX` is 1024).
pub(crate) const MAX_IOV: usize = 512;

/// Buffers of one vectored write, in order, with the iovec array that describes them.
///
/// Invariant: between [`IovBatch::seal`] and the next `&mut` access the array describes exactly
/// the bytes of `chunks`; adjacent buffers share one entry.
#[derive(Default)]
pub(crate) struct IovBatch {
    chunks: std::collections::VecDeque<BytesMut>,
    iov: Vec<libc::iovec>,
    bytes: usize,
}

impl IovBatch {
    /// Bytes still to be written.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is left to write.
    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether another buffer fits.
    pub(crate) fn has_room(&self) -> bool {
        self.chunks.len() < MAX_IOV
    }

    /// Appends a buffer.
    pub(crate) fn push(&mut self, chunk: BytesMut) {
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// Rebuilds the iovec array; call after the last change and before a write.
    pub(crate) fn seal(&mut self) {
        self.iov.clear();
        for chunk in &self.chunks {
            let base = chunk.as_ptr().cast_mut().cast::<libc::c_void>();
            match self.iov.last_mut() {
                Some(last) if last.iov_base as usize + last.iov_len == base as usize => {
                    last.iov_len += chunk.len();
                }
                _ => self.iov.push(libc::iovec {
                    iov_base: base,
                    iov_len: chunk.len(),
                }),
            }
        }
    }

    /// Forgets the first `written` bytes, releasing buffers that were written completely.
    pub(crate) fn consume(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.chunks.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.chunks.pop_front();
        }
    }

    /// Drops what was not written.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.iov.clear();
        self.bytes = 0;
    }
}

// SAFETY: the array lives on the heap and is not touched while the runtime owns the batch (the
// batch is moved into the operation), so the pointer is stable; every entry points into a buffer
// that `chunks` keeps alive and that nobody else can change, because a `BytesMut` is the only
// handle to its part of the storage.
unsafe impl IoVecBuf for IovBatch {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.iov.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.iov.len()
    }
}

/// A descriptor that its owner keeps open for as long as this value is used.
///
/// The owner (a link or a stream) clears its copy before the socket is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketFd(RawFd);

impl SocketFd {
    /// Remembers the descriptor of a socket that is open now.
    pub(crate) const fn new(fd: RawFd) -> Self {
        Self(fd)
    }

    fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: links and streams forget their `SocketFd` before they drop the socket, so the
        // descriptor is open and still names that socket.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }

    /// Ends both directions: pending and later reads see the end, writes fail.
    pub(crate) fn shutdown(self) {
        let _ = rustix::net::shutdown(self.borrow(), rustix::net::Shutdown::Both);
    }

    /// Ends the sending direction after what is queued in the kernel.
    pub(crate) fn shutdown_write(self) {
        let _ = rustix::net::shutdown(self.borrow(), rustix::net::Shutdown::Write);
    }

    /// Resets the connection: the peer sees at once that it did not end in order, and pending reads
    /// and writes fail.
    pub(crate) fn abort(self) {
        let _ = rustix::net::sockopt::set_socket_linger(self.borrow(), Some(Duration::ZERO));
        // Connecting to nothing is how Linux disconnects; unlike a shutdown it sends a reset, and
        // unlike a close it does not wait for operations under way.
        if rustix::net::connect_unspec(self.borrow()).is_err() {
            let _ = rustix::net::shutdown(self.borrow(), rustix::net::Shutdown::Read);
        }
    }
}

/// Takes the socket out of the runtime of this thread.
pub(crate) fn into_std(stream: monoio::net::TcpStream) -> io::Result<TcpStream> {
    let fd = stream.into_raw_fd();
    // SAFETY: `into_raw_fd` gives up ownership of an open socket, and this takes it.
    Ok(unsafe { TcpStream::from_raw_fd(fd) })
}
