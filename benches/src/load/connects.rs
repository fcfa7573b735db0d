//! Streams that are opened, used once and closed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use culvert_tests::PATIENCE;

use super::exchange::PER_SECOND;
use super::{Figures, Meter, Outcome, Time, Way, tried};
use crate::known;
use crate::service::Want;

/// Bytes that go there and back through each stream.
const SIZE: usize = 64;

/// Opens streams one after the other from `at_once` threads; each carries one small request and its response.
///
/// # Errors
/// When one cannot be opened or ends early.
///
/// # Panics
/// When another response comes than was asked for.
pub fn connects(way: Way<'_>, at_once: u32, time: Time) -> Outcome<Figures> {
    let (address, run) = (way.contender.address, way.service.new_run());
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once)
            .map(|id| {
                let (stop, count) = (&stop, &count);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let done = once(address, run, id);
                        if done.is_err() {
                            stop.store(true, Ordering::Relaxed);
                            return done;
                        }
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        thread::sleep(time.warm_up);
        let meter = Meter::start(way.contender);
        let before = count.load(Ordering::Relaxed);
        thread::sleep(time.measured);
        while count.load(Ordering::Relaxed) == before && meter.waits() {
            thread::sleep(Duration::from_millis(10));
        }
        let done = (count.load(Ordering::Relaxed) - before) as f64;
        let (took, used) = meter.stop(done, "us each", 1e6);
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().expect("a thread that opens streams")?;
        }
        way.settle(run)?;
        let mut figures = vec![(PER_SECOND.to_owned(), done / took)];
        figures.extend(used);
        Ok(figures)
    })
}

fn once(address: SocketAddr, run: u16, id: u32) -> Outcome<()> {
    let request = known::bytes(u64::from(id) * 127, SIZE);
    let mut response = [0; SIZE];
    let mut exchange = || {
        // Few calls to the system: what the generator needs, nobody else has. A listener of this machine
        // that has room in its queue takes the connection at once.
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&[&Want::Echo.header(run, id)[..], request].concat())?;
        stream.read_exact(&mut response)
    };
    tried("a stream", exchange())?;
    assert!(response == request, "another response came");
    Ok(())
}
