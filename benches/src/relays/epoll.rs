//! A relay of bytes over epoll, as short as it can be: what a relay's system calls alone cost.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::known::CHUNK;
use crate::poll::{Interest, Poller, now};
use crate::service::announce;

/// One of the two sockets of a connection.
struct End {
    socket: TcpStream,
    /// What has still to be written to it, that came from the other end.
    backlog: Vec<u8>,
    /// How much of that has been written.
    written: usize,
    /// Whether the other end's backlog is too much to read more.
    paused: bool,
}

impl End {
    fn interest(&self) -> Interest {
        match (self.paused, self.backlog.is_empty()) {
            (false, true) => Interest::Read,
            (false, false) => Interest::Both,
            (true, true) => Interest::Nothing,
            (true, false) => Interest::Write,
        }
    }
}

/// Connects each connection it gets with a new one to `target`, until the process is killed.
///
/// # Errors
/// When it cannot listen.
pub fn serve(target: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    announce(listener.local_addr()?);
    let mut poller = Poller::new()?;
    poller.add(&listener, 0, Interest::Read)?;
    // The ends of one connection are at 2 n and 2 n + 1; their token is 2 more.
    let mut ends: Vec<Option<End>> = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let mut ready = Vec::new();
    loop {
        poller.wait(None, &mut ready)?;
        for event in &ready {
            if event.token == 0 {
                let (near, _) = listener.accept()?;
                for socket in [near, TcpStream::connect(target)?] {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    poller.add(&socket, ends.len() as u64 + 2, Interest::Read)?;
                    ends.push(Some(End {
                        socket,
                        backlog: Vec::new(),
                        written: 0,
                        paused: false,
                    }));
                }
                continue;
            }
            let place = event.token as usize - 2;
            let pair = place & !1;
            let both = &mut ends[pair..pair + 2];
            if both.iter().any(Option::is_none) {
                continue;
            }
            let turned = turn(&poller, both, pair, place - pair, *event, &mut chunk);
            if !matches!(turned, Ok(Some(()))) {
                both.fill_with(|| None);
            }
        }
    }
}

/// Moves what can be moved. Gives nothing at the end of the connection.
fn turn(
    poller: &Poller,
    both: &mut [Option<End>],
    pair: usize,
    side: usize,
    event: crate::poll::Ready,
    chunk: &mut [u8],
) -> io::Result<Option<()>> {
    let [Some(first), Some(second)] = both else {
        return Ok(None);
    };
    let before = [first.interest(), second.interest()];
    let (this, other) = if side == 0 {
        (&mut *first, &mut *second)
    } else {
        (&mut *second, &mut *first)
    };
    if event.writable && !this.backlog.is_empty() {
        this.written += now(this.socket.write(&this.backlog[this.written..]))?.unwrap_or(0);
        if this.written == this.backlog.len() {
            this.backlog.clear();
            this.written = 0;
        }
        other.paused = !this.backlog.is_empty();
    }
    if event.readable && !this.paused {
        match now(this.socket.read(chunk))? {
            None => {}
            Some(0) => return Ok(None),
            Some(n) => {
                let written = now(other.socket.write(&chunk[..n]))?.unwrap_or(0);
                other.backlog.extend_from_slice(&chunk[written..n]);
                this.paused = written < n;
            }
        }
    }
    for (place, (end, before)) in [first, second].into_iter().zip(before).enumerate() {
        if end.interest() != before {
            poller.change(&end.socket, (pair + place) as u64 + 2, end.interest())?;
        }
    }
    Ok(Some(()))
}
