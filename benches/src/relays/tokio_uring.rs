//! The same relay of bytes with tokio-uring, on one thread.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::rc::Rc;

use tokio_uring::buf::BoundedBuf as _;
use tokio_uring::net::{TcpListener, TcpStream};

use crate::known::CHUNK;
use crate::service::announce;

/// Connects each connection it gets with a new one to `target`, until the process is killed.
///
/// # Errors
/// When it cannot listen.
pub fn serve(target: SocketAddr) -> io::Result<()> {
    // Deferred task work, which Culvert's own shards ask for, this runtime cannot have: it waits for the ring with
    // epoll.
    let mut ring = tokio_uring::uring_builder();
    ring.setup_single_issuer().setup_coop_taskrun();
    let mut runtime = tokio_uring::builder();
    runtime.entries(4096).uring_builder(&ring);
    runtime.start(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        announce(listener.local_addr()?);
        loop {
            let (near, _) = listener.accept().await?;
            let far = TcpStream::connect(target).await?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            let (near, far) = (Rc::new(near), Rc::new(far));
            tokio_uring::spawn(copy(Rc::clone(&near), Rc::clone(&far)));
            tokio_uring::spawn(copy(far, near));
        }
    })
}

/// Copies until the connection ends.
async fn copy(from: Rc<TcpStream>, to: Rc<TcpStream>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let (read, filled) = from.read(chunk).await;
        let Ok(n @ 1..) = read else { break };
        let (written, back) = to.write_all(filled.slice(..n)).await;
        if written.is_err() {
            break;
        }
        chunk = back.into_inner();
    }
    let _ = to.shutdown(Shutdown::Write);
}
