//! Latency of requests at half of what a contender can do.

use super::streams::fresh;
use super::{Run, measure_name};
use crate::contender::Kind;
use crate::load::exchange::{PER_SECOND, closed, open_loop};
use crate::service::Service;

/// Streams that requests are spread over.
const STREAMS: u32 = 64;
/// Bytes of each request and response.
const SIZE: usize = 1024;

/// Name of the work at half of each contender's own saturation.
pub const HALF: &str = "1024 B, 64 streams, at half of saturation";
/// Name of the work at a load that all can carry.
pub const SAME: &str = "1024 B, 64 streams, at half of the slowest's saturation";

pub(super) fn latency(run: &mut Run<'_>) {
    const SECTION: &str = "Latency, open loop";
    const SATURATED: &str = "1024 B, 64 streams, saturated";
    let settings = run.settings;
    let service = Service::start();
    let kinds = settings.kinds();
    let time = run.time();
    let needed_by = [SATURATED, HALF, SAME];
    run.rounds_for(SECTION, SATURATED, &needed_by, &kinds, |kind| {
        let contender = fresh(*kind, settings, &service);
        let mut figures = closed(contender.to(&service), STREAMS, SIZE, time)?;
        figures.retain(|(name, _)| name == PER_SECOND);
        Ok(figures)
    });
    let saturated = measure_name(SATURATED, PER_SECOND);
    let rates: Vec<_> = kinds
        .iter()
        .map(|kind| run.report.median(&saturated, kind.name()))
        .collect();
    let rate_of = |kind: Kind| {
        let place = kinds.iter().position(|other| *other == kind);
        let rate = place.and_then(|place| rates[place]);
        rate.ok_or("its saturation was not found")
    };
    run.rounds(SECTION, HALF, &kinds, |kind| {
        let rate = rate_of(*kind)? / 2.0;
        let contender = fresh(*kind, settings, &service);
        open_loop(contender.to(&service), STREAMS, SIZE, rate, time)
    });
    let slowest = rates
        .iter()
        .flatten()
        .copied()
        .fold(f64::INFINITY, f64::min);
    run.rounds(SECTION, SAME, &kinds, |kind| {
        let rate = slowest / 2.0;
        let contender = fresh(*kind, settings, &service);
        open_loop(contender.to(&service), STREAMS, SIZE, rate, time)
    });
}
