//! Whether contenders that should encrypt do so: listens in between their processes for a text that is sent
//! through them. Whether those that should splice do so, too.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use culvert_tests::service::Service as Tap;

use super::{Kind, haproxy};
use crate::settings::Settings;

/// What is listened for.
const SECRET: &[u8] = b"nobody in between can read this.";
/// How often it is sent, one behind the other.
const TIMES: usize = 512;

/// Listens in on `kind` while a text goes through it to the service at `target` and back.
///
/// # Panics
/// When the text did not pass where it was listened for, could be read although `kind` encrypts, could not be
/// although it does not, or was not spliced although that is what `kind` is for.
pub fn verify(kind: Kind, settings: &Settings, target: SocketAddr) {
    if kind == Kind::Direct {
        return;
    }
    let mut taps = Vec::new();
    let contender = kind.start_through(settings, target, &mut |address| {
        let heard = Arc::default();
        let tap = listen_in(address, &heard);
        let at = tap.address();
        taps.push((tap, heard));
        at
    });
    contender.check();
    let text = SECRET.repeat(TIMES);
    contender
        .echoes(&text)
        .unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
    for (_, heard) in &taps {
        let heard = heard.lock().expect("what was heard");
        // There and back.
        assert!(
            heard.len() >= 2 * text.len(),
            "{}: only {} of {} bytes passed where they have to",
            kind.name(),
            heard.len(),
            2 * text.len()
        );
        let readable = heard.windows(SECRET.len()).any(|part| part == SECRET);
        assert_eq!(
            readable,
            !kind.encrypts(),
            "{}: whether the text can be read between its processes is not as it should be",
            kind.name()
        );
    }
    assert!(
        kind != Kind::Splice || haproxy::has_spliced(&contender.processes),
        "{}: not each of its processes spliced",
        kind.name()
    );
}

/// Passes bytes on to `target` and adds them to `heard`.
fn listen_in(target: SocketAddr, heard: &Arc<Mutex<Vec<u8>>>) -> Tap {
    let heard = Arc::clone(heard);
    Tap::start(move |near, _| {
        let Ok(far) = TcpStream::connect(target) else {
            return;
        };
        let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else {
            return;
        };
        let up = Arc::clone(&heard);
        let other = thread::spawn(move || pump(near_again, far_again, &up));
        pump(far, near, &heard);
        let _ = other.join();
    })
}

fn pump(mut from: TcpStream, mut to: TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut chunk = vec![0; 65536];
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        if let Ok(mut heard) = heard.lock() {
            heard.extend_from_slice(&chunk[..n]);
        }
        if to.write_all(&chunk[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
