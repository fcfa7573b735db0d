//! A proxy in the middle of one leg that records the frames passing by and can meddle with them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::net::{ANY_PORT, try_connect};
use crate::wire::framed;

/// Which way a frame travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the side that connected to the tap.
    Up,
    /// From the side the tap connected to.
    Down,
}

/// One frame that passed.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Which way it went.
    pub direction: Direction,
    /// Which connection through the tap it belongs to, from 0.
    pub connection: usize,
    /// The message without its length.
    pub message: Vec<u8>,
}

/// Decides what is passed on in place of a frame: nothing, the same, more.
type Meddler = dyn FnMut(&Frame) -> Vec<Vec<u8>> + Send;

/// State shared with the threads that pump.
struct Shared {
    target: SocketAddr,
    recorded: Mutex<Vec<Frame>>,
    recording: AtomicBool,
    meddler: Mutex<Option<Box<Meddler>>>,
    streams: Mutex<Vec<(usize, TcpStream)>>,
    stop: AtomicBool,
}

/// A running tap.
pub struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Tap {
    /// Starts one that passes everything on to `target` and records it.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(ANY_PORT).expect("listen");
        let address = listener.local_addr().expect("address of a listener");
        let shared = Arc::new(Shared {
            target,
            recorded: Mutex::default(),
            recording: AtomicBool::new(true),
            meddler: Mutex::default(),
            streams: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let pump = Arc::clone(&shared);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                if pump.stop.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    // A target that is down shows as a connection closed at once.
                    let _ = join(&pump, connection, stream);
                }
            }
        });
        Self { address, shared }
    }

    /// Where to connect in place of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All frames so far.
    ///
    /// # Panics
    /// When a thread of the tap panicked.
    pub fn recorded(&self) -> Vec<Frame> {
        self.shared.recorded.lock().expect("record").clone()
    }

    /// Forgets what was recorded, and stops or goes on recording.
    ///
    /// # Panics
    /// When a thread of the tap panicked.
    pub fn record(&self, on: bool) {
        self.shared.recording.store(on, Ordering::SeqCst);
        self.shared.recorded.lock().expect("record").clear();
    }

    /// From now on `meddler` decides what is passed on.
    ///
    /// # Panics
    /// When a thread of the tap panicked.
    pub fn meddle(&self, meddler: impl FnMut(&Frame) -> Vec<Vec<u8>> + Send + 'static) {
        *self.shared.meddler.lock().expect("meddler") = Some(Box::new(meddler));
    }

    /// From now on everything is passed on again.
    ///
    /// # Panics
    /// When a thread of the tap panicked.
    pub fn behave(&self) {
        *self.shared.meddler.lock().expect("meddler") = None;
    }

    /// Cuts all connections.
    ///
    /// # Panics
    /// When a thread of the tap panicked.
    pub fn cut(&self) {
        self.cut_some(|_| true);
    }

    /// Cuts the connections with these numbers.
    ///
    /// # Panics
    /// When a thread of the tap panicked.
    pub fn cut_some(&self, which: impl Fn(usize) -> bool) {
        let mut streams = self.shared.streams.lock().expect("streams");
        for (_, stream) in streams.extract_if(.., |(number, _)| which(*number)) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = try_connect(self.address, Duration::from_secs(1));
        self.cut();
    }
}

/// Joins an accepted connection with a new one to the target.
fn join(shared: &Arc<Shared>, connection: usize, near: TcpStream) -> io::Result<()> {
    let far = TcpStream::connect(shared.target)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let mut streams = shared.streams.lock().expect("streams");
    streams.extend([
        (connection, near.try_clone()?),
        (connection, far.try_clone()?),
    ]);
    drop(streams);
    let pairs = [
        (Direction::Up, near.try_clone()?, far.try_clone()?),
        (Direction::Down, far, near),
    ];
    for (direction, mut from, mut to) in pairs {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let _ = pump(&shared, connection, direction, &mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
            let _ = from.shutdown(Shutdown::Read);
        });
    }
    Ok(())
}

/// Carries one direction until it ends.
fn pump(
    shared: &Shared,
    connection: usize,
    direction: Direction,
    from: &mut TcpStream,
    to: &mut TcpStream,
) -> io::Result<()> {
    let mut version = [0];
    from.read_exact(&mut version)?;
    to.write_all(&version)?;
    let mut from = io::BufReader::with_capacity(1 << 18, from);
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut message)?;
        let frame = Frame {
            direction,
            connection,
            message,
        };
        let passed = match shared.meddler.lock().expect("meddler").as_mut() {
            Some(meddler) => meddler(&frame),
            None => vec![frame.message.clone()],
        };
        if shared.recording.load(Ordering::SeqCst) {
            shared.recorded.lock().expect("record").push(frame);
        }
        for message in passed {
            to.write_all(&framed(&message))?;
        }
    }
}
