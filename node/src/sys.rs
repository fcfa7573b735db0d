//! The one fenced module with `unsafe` code: what the safe crates cannot express.
//!
//! Four things live here and nothing else: reading into storage that is not initialised, writing many
//! buffers with one call, borrowing the descriptor of a socket that monoio owns, and turning a monoio
//! socket back into a standard one.
#![allow(unsafe_code)]

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};

use bytes::{BufMut, BytesMut};
use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendFlags};

/// Most parts that one call writes (`IOV_MAX` is 1024).
const MAX_PARTS: usize = 512;
/// Most bytes that one call writes.
const MAX_BYTES: usize = 1 << 20;

/// The descriptor of a socket, which is open for as long as the socket is borrowed.
pub(crate) fn descriptor(owner: &monoio::net::TcpStream) -> BorrowedFd<'_> {
    // SAFETY: a socket of the runtime owns an open descriptor until it is dropped, and the result
    // borrows the socket.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// Takes what a socket has at once, at most `most` bytes, and appends it to a buffer that has so much spare
/// capacity. Gives how many bytes there were: 0 at the end.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if there is nothing at present.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut BytesMut,
    most: usize,
) -> io::Result<usize> {
    let spare = buffer.spare_capacity_mut();
    let most = most.min(spare.len());
    let (_, read) = rustix::net::recv(socket, &mut spare[..most], RecvFlags::DONTWAIT)?;
    // SAFETY: the call has initialised the first `read` bytes of the spare capacity, and `read` is at
    // most `most` because no flag asks for the length of what was cut off.
    unsafe { buffer.advance_mut(read) };
    Ok(read)
}

/// Storage for the description of what one call writes, to be used again and again.
#[derive(Default)]
pub(crate) struct Parts(Vec<libc::iovec>);

impl Parts {
    /// Writes what a socket takes at once of some buffers, in order. Gives how many bytes that were.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if it takes nothing at present.
    pub(crate) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        buffers: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> io::Result<usize> {
        let mut first = buffers.clone();
        if let (Some(only), None) = (first.next(), first.next()) {
            // The usual case needs no description.
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            return Ok(retry_on_intr(|| rustix::net::send(socket, only, flags))?);
        }
        self.describe(buffers);
        // SAFETY: all zeros is a valid `msghdr`: no address, no parts, no control data.
        let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
        message.msg_iov = self.0.as_mut_ptr();
        message.msg_iovlen = self.0.len();
        loop {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: the descriptor is open, `message` points to `msg_iovlen` parts, and each of them
            // describes bytes that `buffers` borrows beyond this call, which only reads them.
            let written = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
            match usize::try_from(written) {
                Ok(written) => return Ok(written),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Buffers that lie one behind the other share a part.
    fn describe<'a>(&mut self, buffers: impl Iterator<Item = &'a [u8]>) {
        self.0.clear();
        let mut bytes = 0;
        for buffer in buffers {
            let base = buffer.as_ptr().cast_mut().cast::<libc::c_void>();
            let is_full = self.0.len() == MAX_PARTS;
            match self.0.last_mut() {
                Some(last) if last.iov_base as usize + last.iov_len == base as usize => {
                    last.iov_len += buffer.len();
                }
                _ if is_full => break,
                _ => self.0.push(libc::iovec {
                    iov_base: base,
                    iov_len: buffer.len(),
                }),
            }
            bytes += buffer.len();
            if bytes >= MAX_BYTES {
                break;
            }
        }
    }
}

/// Takes the socket out of the runtime of this thread.
pub(crate) fn into_std(stream: monoio::net::TcpStream) -> io::Result<TcpStream> {
    let fd = stream.into_raw_fd();
    // SAFETY: `into_raw_fd` gives up ownership of an open socket, and this takes it.
    Ok(unsafe { TcpStream::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    fn pair() -> [TcpStream; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connected");
        [near, listener.accept().expect("accepted").0]
    }

    #[test]
    fn what_is_there_is_appended_and_no_more_than_asked_for() {
        let [mut near, far] = pair();
        let mut buffer = BytesMut::from(&b"had "[..]);
        buffer.reserve(100);
        let nothing = receive(far.as_fd(), &mut buffer, 100).expect_err("nothing is there");
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        near.write_all(b"more and more").expect("written");
        far.peek(&mut [0; 13]).expect("arrived");
        assert_eq!(receive(far.as_fd(), &mut buffer, 4).expect("read"), 4);
        assert_eq!(&buffer[..], b"had more");
        drop(near);
        let mut rest = BytesMut::with_capacity(64);
        while receive(far.as_fd(), &mut rest, 64).is_ok_and(|n| n > 0) {}
        assert_eq!(&rest[..], b" and more");
    }

    #[test]
    fn buffers_are_written_in_order_and_neighbours_as_one() {
        let [near, mut far] = pair();
        let mut whole = BytesMut::from(&b"onetwothree"[..]);
        let (one, two) = (whole.split_to(3), whole.split_to(3));
        let mut parts = Parts::default();
        let list = [&one[..], &two[..], b"-", &whole[..]];
        let sent = parts.send(near.as_fd(), list.into_iter());
        assert_eq!(sent.expect("sent"), 12);
        assert_eq!(parts.0.len(), 3);
        let mut got = [0; 12];
        far.read_exact(&mut got).expect("arrived");
        assert_eq!(&got, b"onetwo-three");
    }

    #[test]
    fn a_socket_that_is_full_or_broken_says_so() {
        let [near, _far] = pair();
        let block = vec![0; MAX_BYTES];
        let mut parts = Parts::default();
        let mut send = || parts.send(near.as_fd(), [&block[..]].into_iter());
        let full = loop {
            if let Err(error) = send() {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        near.shutdown(std::net::Shutdown::Both).expect("shut down");
        let broken = send().expect_err("nobody is there");
        assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    }
}
