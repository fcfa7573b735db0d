//! The logs of both ends of a portal are joined by a trace id, where that is asked for.

use std::collections::BTreeSet;

use culvert_tests::PATIENCE;
use culvert_tests::chain::{Edge, NAME, Relay};
use culvert_tests::net::{connect, echo, eventually};
use culvert_tests::process::Process;
use culvert_tests::service::Service;

/// The trace ids in lines of the log that say `what`.
fn ids(process: &Process, what: &str) -> BTreeSet<String> {
    let log = process.log();
    let lines = log.lines().filter(|line| line.contains(what));
    lines
        .filter_map(|line| {
            let (_, rest) = line.split_once("trace_id=")?;
            rest.split_whitespace().next().map(str::to_owned)
        })
        .collect()
}

/// Two clients, one after the other, through a portal whose ends are started with more arguments. Gives
/// the ends once both have seen the connections end.
fn used(inlet: &[&str], outlet: &[&str]) -> (Process, Process) {
    let service = Service::echo();
    let relay = Relay::start(&[]);
    let (near, far) = (Edge::new(), Edge::new());
    let allow = [near.identifier.as_str()];
    let outlet = far.start_outlet(relay.address, NAME, service.address(), &allow, outlet);
    outlet.process.event("registered");
    let allow = [far.identifier.as_str()];
    let inlet = near.start_inlet(relay.address, NAME, "127.0.0.1:0", &allow, inlet);
    inlet.process.event("up");
    for _ in 0..2 {
        echo(&mut connect(inlet.address), b"hello").expect("an echo");
    }
    for metrics in [inlet.metrics, outlet.metrics] {
        eventually("both streams ended", PATIENCE, || {
            let samples = culvert_tests::metrics::scrape(metrics);
            let (open, all) = ("culvert_streams", "culvert_streams_opened_total");
            match (samples.get(open), samples.get(all)) {
                (0.0, 2.0) => Ok(()),
                other => Err(other),
            }
        });
    }
    (inlet.process, outlet.process)
}

#[test]
fn both_ends_log_the_same_ids() {
    let (inlet, outlet) = used(&["--trace"], &["--trace"]);
    let opened = ids(&inlet, "stream opened");
    assert_eq!(opened.len(), 2, "{}", inlet.log());
    assert!(opened.iter().all(|id| id.len() == 32), "{opened:?}");
    assert_eq!(ids(&inlet, "stream ended"), opened, "{}", inlet.log());
    assert_eq!(ids(&outlet, "stream opened"), opened, "{}", outlet.log());
    assert_eq!(ids(&outlet, "stream ended"), opened, "{}", outlet.log());
}

#[test]
fn one_end_alone_is_not_told_of_by_the_other() {
    let (inlet, outlet) = used(&["--trace"], &[]);
    assert_eq!(ids(&inlet, "stream").len(), 2, "{}", inlet.log());
    assert!(ids(&outlet, "").is_empty(), "{}", outlet.log());
    // Nor does an end that traces make up what it was not told.
    let (inlet, outlet) = used(&[], &["--trace"]);
    assert!(ids(&inlet, "").is_empty(), "{}", inlet.log());
    assert!(ids(&outlet, "").is_empty(), "{}", outlet.log());
}
