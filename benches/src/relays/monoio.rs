//! The same relay of bytes with monoio, on one thread and on io_uring where that is allowed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt as _, Splitable as _};
use monoio::net::{TcpListener, TcpStream};
use monoio::{FusionDriver, RuntimeBuilder};

use crate::known::CHUNK;
use crate::service::announce;

/// Connects each connection it gets with a new one to `target`, until the process is killed.
///
/// # Errors
/// When it cannot listen.
pub fn serve(target: SocketAddr) -> io::Result<()> {
    // The flags that Culvert's own shards set (Linux 6.1).
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    let mut runtime = RuntimeBuilder::<FusionDriver>::new()
        .with_entries(4096)
        .uring_builder(ring)
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        announce(listener.local_addr()?);
        loop {
            let (near, _) = listener.accept().await?;
            let far = TcpStream::connect(target).await?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            let ((near_read, near_write), (far_read, far_write)) =
                (near.into_split(), far.into_split());
            monoio::spawn(copy(near_read, far_write));
            monoio::spawn(copy(far_read, near_write));
        }
    })
}

/// Copies until the connection ends.
async fn copy(mut from: impl AsyncReadRent, mut to: impl AsyncWriteRent) {
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        let (read, mut filled) = from.read(chunk).await;
        let Ok(n @ 1..) = read else { break };
        filled.truncate(n);
        let (written, back) = to.write_all(filled).await;
        if written.is_err() {
            break;
        }
        chunk = back;
        chunk.clear();
    }
    let _ = to.shutdown().await;
}
