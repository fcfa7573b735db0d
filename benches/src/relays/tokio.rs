//! The same relay of bytes with tokio, on one thread.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

use crate::known::CHUNK;
use crate::service::announce;

/// Connects each connection it gets with a new one to `target`, until the process is killed.
///
/// # Errors
/// When it cannot listen.
pub fn serve(target: SocketAddr) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        announce(listener.local_addr()?);
        loop {
            let (mut near, _) = listener.accept().await?;
            let mut far = TcpStream::connect(target).await?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            // One whose connection breaks is over.
            tokio::spawn(async move {
                let _ = copy_bidirectional_with_sizes(&mut near, &mut far, CHUNK, CHUNK).await;
            });
        }
    })
}
