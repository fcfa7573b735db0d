//! Reads that give a large buffer back when nothing comes for a while.

use std::cell::{Cell, RefCell};
use std::io;

use bytes::BytesMut;
use monoio::BufResult;
use monoio::buf::SliceMut;
use monoio::io::{CancelableAsyncReadRent, Canceller, OwnedReadHalf};
use monoio::net::TcpStream;

/// After this long without data a connection goes back to a small buffer.
const IDLE_MS: u64 = 1_000;

/// The read that a connection with a large buffer waits in: the buffer belongs to the operation until
/// it completes, so to have it back the operation is cancelled. Data that came meanwhile is not lost:
/// the operation completes with it.
#[derive(Default)]
pub(crate) struct LazyRead {
    canceller: RefCell<Canceller>,
    since: Cell<Option<u64>>,
}

impl LazyRead {
    /// Reads; [`was_cancelled`] tells that nothing came.
    pub(crate) async fn read(
        &self,
        now_ms: u64,
        half: &mut OwnedReadHalf<TcpStream>,
        buffer: SliceMut<BytesMut>,
    ) -> BufResult<usize, SliceMut<BytesMut>> {
        self.since.set(Some(now_ms));
        let handle = self.canceller.borrow().handle();
        let result = half.cancelable_read(buffer, handle).await;
        self.since.set(None);
        result
    }

    /// Cancels a read that has waited for long, or any when memory is scarce.
    pub(crate) fn tick(&self, now_ms: u64, is_scarce: bool) {
        let limit = if is_scarce { 0 } else { IDLE_MS };
        if self
            .since
            .get()
            .is_some_and(|at| now_ms.saturating_sub(at) > limit)
        {
            let canceller = self.canceller.take();
            self.canceller.replace(canceller.cancel());
        }
    }
}

/// Whether a read ended because nothing came.
pub(crate) fn was_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}
