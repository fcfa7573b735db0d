//! Fast readers beside one that does not read.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use culvert_tests::PATIENCE;
use culvert_tests::net::try_connect;

use super::Run;
use crate::load::bulk::{Direction, Transfer};
use crate::load::{Figures, Outcome, Time, Way};
use crate::service::Want;

/// Fast readers.
const FAST: u32 = 4;
/// Name of this work.
pub const NAME: &str = "4 fast readers";
/// Name of the figure of what the fast readers get by themselves.
pub const ALONE: &str = "GB/s by themselves";
/// Name of the figure of what the fast readers get beside a slow one.
pub const BESIDE: &str = "GB/s beside one that does not read";

pub(super) fn slow(run: &mut Run<'_>) {
    let (service, contenders) = super::streams::all(run);
    let time = run.time();
    run.rounds("One slow reader", NAME, &contenders, |contender| {
        // In turns, so that neither has the better half of the time.
        let way = contender.to(&service);
        let alone = fast(way, time)?;
        let run = service.new_run();
        let slow = stuck(way, run)?;
        let beside = fast(way, time)?;
        drop(slow);
        way.settle(run)?;
        let again = fast(way, time)?;
        Ok(figures(f64::midpoint(alone, again), beside))
    });
}

fn figures(alone: f64, beside: f64) -> Figures {
    vec![
        (ALONE.to_owned(), alone),
        (BESIDE.to_owned(), beside),
        (LEFT.to_owned(), beside / alone),
    ]
}

/// Name of the figure of what is left of the speed of the fast readers.
pub const LEFT: &str = "part that is left";

/// A reader that reads a little, to show that it gets something, and then nothing any more.
fn stuck(way: Way<'_>, run: u16) -> Outcome<TcpStream> {
    let open = || {
        let mut stream = try_connect(way.contender.address, PATIENCE)?;
        stream.write_all(&Want::Source.header(run, 0))?;
        stream.read_exact(&mut [0; 1024])?;
        Ok::<_, std::io::Error>(stream)
    };
    open().map_err(|error| format!("the slow reader: {error}"))
}

fn fast(way: Way<'_>, time: Time) -> Outcome<f64> {
    let mut transfer = Transfer::open(way, Direction::Down, FAST)?;
    transfer.run(time.warm_up)?;
    let (before, began) = (transfer.received, Instant::now());
    transfer.run(time.measured)?;
    while transfer.received == before && began.elapsed() < PATIENCE {
        transfer.run(time.measured)?;
    }
    let took = began.elapsed().as_secs_f64();
    let moved = (transfer.received - before) as f64;
    transfer.close(way)?;
    if moved == 0.0 {
        return Err("the fast readers got nothing".to_owned());
    }
    Ok(moved / 1e9 / took)
}
