//! Work for streams to the harness's own service.

use super::Run;
use crate::contender::{Contender, Kind};
use crate::load;
use crate::load::bulk::Direction;
use crate::service::Service;
use crate::settings::Settings;

/// What every contender carries streams to.
pub(super) fn all(run: &Run<'_>) -> (Service, Vec<Contender>) {
    let service = Service::start();
    let kinds = run.settings.kinds().into_iter();
    let contenders = kinds
        .map(|kind| fresh(kind, run.settings, &service))
        .collect();
    (service, contenders)
}

/// One that carries streams to the service. For a single measurement where streams wear contenders out: some slow
/// down with each that was opened and closed.
pub(super) fn fresh(kind: Kind, settings: &Settings, service: &Service) -> Contender {
    let contender = kind.start(settings, service.address());
    contender.check();
    contender
}

/// Name of bulk work.
pub fn bulk_name(direction: Direction, streams: u32) -> String {
    format!("bulk {}, {streams} streams", direction.name())
}

pub(super) fn bulk(run: &mut Run<'_>) {
    let (service, contenders) = all(run);
    let time = run.time();
    for streams in [1, 16] {
        for direction in Direction::ALL {
            let name = bulk_name(direction, streams);
            run.rounds("Bulk transfer", &name, &contenders, |contender| {
                load::bulk::bulk(contender.to(&service), direction, streams, time)
            });
        }
    }
}

/// Name of work with requests and responses.
pub fn requests_name(size: usize, streams: u32) -> String {
    format!("{size} B, {streams} streams")
}

pub(super) fn requests(run: &mut Run<'_>) {
    let time = run.time();
    let settings = run.settings;
    let kinds = settings.kinds();
    let service = Service::start();
    for size in [64, 1024, 16 * 1024] {
        for streams in run.quick_or([1, 64, 1000], [1, 8, 20]) {
            let name = requests_name(size, streams);
            run.rounds("Requests and responses", &name, &kinds, |kind| {
                let contender = fresh(*kind, settings, &service);
                load::exchange::closed(contender.to(&service), streams, size, time)
            });
        }
    }
}

/// Name of the work of opening streams.
pub const CONNECTS: &str = "streams opened, used once and closed";

pub(super) fn connects(run: &mut Run<'_>) {
    let settings = run.settings;
    let time = run.time();
    run.rounds("Opening streams", CONNECTS, &settings.kinds(), |kind| {
        // A port that nobody has connected to: what was opened and closed before keeps the system from
        // giving the same pair of ports out again.
        let service = Service::start();
        let contender = fresh(*kind, settings, &service);
        load::connects::connects(contender.to(&service), 16, time)
    });
}
