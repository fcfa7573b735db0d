//! The near side of a stream: its socket, and what waits for it.

use std::rc::Rc;

use culvert_proto::portal;
use monoio::net::TcpStream;

use super::{Stream, tasks};
use crate::queue::{Outgoing, SendQueue};
use crate::reason::CloseReason;
use crate::shard::Shard;
use crate::socket::{self, Socket};
use crate::sys;

impl Stream {
    /// Joins the stream to its socket; a task of its own, which keeps `holds` until it ends, runs it until both
    /// directions have ended.
    pub(crate) fn run_detached(
        self: &Rc<Self>,
        shard: &Shard,
        socket: TcpStream,
        holds: impl Sized + 'static,
    ) {
        let running = Rc::clone(self).run(shard.clone(), socket);
        monoio::spawn(async move {
            running.await;
            drop(holds);
        });
    }

    async fn run(self: Rc<Self>, shard: Shard, socket: TcpStream) {
        if self.aborted.get() {
            return socket::abort(sys::descriptor(&socket));
        }
        let socket = Rc::new(Socket::new(socket));
        self.opened.set(true);
        self.socket.replace(Some(Rc::clone(&socket)));
        // What came while it was connected.
        shard.send_soon(Rc::clone(&self) as _);
        tasks::read(&shard, &self, &socket).await;
        let is_closed = || self.closed.get().then_some(());
        self.changed.until(is_closed).await;
        self.socket.take();
        self.changed.notify();
    }

    /// Ends the sending direction of the socket, or the whole of it, once what came before is written.
    pub(super) fn settle(&self) {
        let Some(socket) = self.socket().filter(|_| self.queue.is_empty()) else {
            return;
        };
        if self.end.get().is_some() {
            self.shut(&socket);
        } else if self.finish.get() && !self.finished.replace(true) {
            socket.shutdown_write();
        }
    }

    /// Ends the socket, and the wait for what it may still have to say.
    fn shut(&self, socket: &Socket) {
        // A connection that was reset is not to look like one that ended; and one that has nothing more
        // to say is closed by whoever has read that.
        if !self.closed.replace(true) && !self.aborted.get() && !self.read_ended.get() {
            socket.shutdown();
        }
        self.changed.notify();
    }

    /// Drops what waits for the socket, and resets it.
    pub(super) fn let_go(&self, shard: &Shard) {
        self.aborted.set(true);
        self.queue.end(shard.pool());
        if let Some(socket) = self.socket() {
            socket.abort();
            self.shut(&socket);
        }
        self.changed.notify();
    }

    /// Whether a stream that has ended still has data for its socket; a socket that takes nothing for
    /// too long is reset.
    pub(crate) fn is_leaving(&self, shard: &Shard) -> bool {
        if !self.is_unfinished() {
            return false;
        }
        let written = self.queue.written();
        let slow = self.progress.slow_ms(shard.now_ms(), true, written, 0);
        if slow > shard.limits().stall_timeout_ms {
            self.let_go(shard);
        }
        !self.aborted.get()
    }

    /// Whether its socket still waits for data that it is to be given.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.socket.borrow().is_some() && !self.aborted.get()
    }

    /// Whether the socket has taken nothing of what waits for it since the time was last looked at.
    pub(crate) fn is_stuck(&self) -> bool {
        self.progress.is_stuck()
    }
}

impl Outgoing for Stream {
    fn queue(&self) -> &SendQueue {
        &self.queue
    }

    fn socket(&self) -> Option<Rc<Socket>> {
        self.socket.borrow().clone()
    }

    fn wrote(&self, shard: &Shard, bytes: usize) {
        self.with(shard, |machine| machine.on_written(bytes));
    }

    fn is_idle(&self, _: &Shard) {
        self.settle();
    }

    fn broke(&self, shard: &Shard) {
        self.queue.end(shard.pool());
        self.why.set(CloseReason::Io);
        self.with(shard, portal::Stream::on_write_error);
        if let Some(socket) = self.socket() {
            self.shut(&socket);
        }
    }
}
