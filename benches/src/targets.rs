//! What Culvert has to reach, as ratios of medians of one run.

use serde_json::{Value, json};

use crate::contender::Kind;
use crate::load::bulk::Direction;
use crate::load::cpu;
use crate::load::exchange::{P99, PER_SECOND};
use crate::relays;
use crate::report::{Report, figure};
use crate::work::postgres::{TPS, select_name};
use crate::work::relay::{FORWARDERS, LINKS, SIZES, each_name, full_name, growth_name};
use crate::work::streams::{CONNECTS, bulk_name};
use crate::work::{self, OURS, idle, latency, measure_name, slow};

/// A bound for a ratio, or for a figure itself.
#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One target.
#[derive(Clone, Debug)]
struct Target {
    measure: String,
    /// Whose figure it is.
    ours: &'static str,
    beside: Beside,
    bound: Bound,
}

/// What Culvert's figure is divided by.
#[derive(Clone, Debug)]
enum Beside {
    /// The same measure of a peer.
    Peer(&'static str),
    /// Another measure of itself.
    Measure(String),
    /// Nothing.
    Nothing,
}

impl Target {
    fn new(measure: String, beside: &'static str, bound: Bound) -> Self {
        Self::of(OURS, measure, Beside::Peer(beside), bound)
    }

    fn of(ours: &'static str, measure: String, beside: Beside, bound: Bound) -> Self {
        Self {
            measure,
            ours,
            beside,
            bound,
        }
    }

    /// The figure that is bounded, if all it takes was measured.
    fn value(&self, report: &Report) -> Option<f64> {
        let ours = report.median(&self.measure, self.ours)?;
        Some(match &self.beside {
            Beside::Peer(peer) => ours / report.median(&self.measure, peer)?,
            Beside::Measure(other) => ours / report.median(other, self.ours)?,
            Beside::Nothing => ours,
        })
    }

    fn divided_by(&self) -> &str {
        match &self.beside {
            Beside::Peer(peer) => peer,
            Beside::Measure(other) => other,
            Beside::Nothing => "-",
        }
    }

    fn is_met(&self, value: f64) -> bool {
        match self.bound {
            Bound::AtLeast(least) => value >= least,
            Bound::AtMost(most) => value <= most,
        }
    }

    fn wanted(&self) -> String {
        match self.bound {
            Bound::AtLeast(least) => format!("at least {least}"),
            Bound::AtMost(most) => format!("at most {most}"),
        }
    }
}

/// All of them, in the order of the report.
fn all() -> Vec<Target> {
    let mut targets = relay();
    let (ockam, haproxy) = (Kind::Ockam.name(), Kind::Haproxy.name());
    for (clients, times) in [(1, 5.0), (64, 6.0)] {
        let tps = measure_name(&select_name(clients), TPS);
        targets.push(Target::new(tps.clone(), ockam, Bound::AtLeast(times)));
        targets.push(Target::new(tps, haproxy, Bound::AtLeast(0.85)));
    }
    for streams in [1, 16] {
        for direction in Direction::ALL {
            let rate = measure_name(&bulk_name(direction, streams), "GB/s");
            targets.push(Target::new(rate.clone(), ockam, Bound::AtLeast(1.5)));
            for peer in [Kind::Stunnel, Kind::Ssh, Kind::Rathole] {
                targets.push(Target::new(rate.clone(), peer.name(), Bound::AtLeast(1.0)));
            }
            targets.push(Target::new(rate, haproxy, Bound::AtLeast(0.8)));
        }
    }
    for work in [latency::HALF, latency::SAME] {
        for peer in [Kind::Stunnel, Kind::Ssh, Kind::Rathole, Kind::Ockam] {
            let measure = measure_name(work, P99);
            targets.push(Target::new(measure, peer.name(), Bound::AtMost(1.0)));
        }
    }
    let itself = |measure, bound| Target::of(OURS, measure, Beside::Nothing, bound);
    for streams in [1000, 10_000] {
        let each = measure_name(&idle::name(streams), idle::EACH);
        targets.push(itself(each, Bound::AtMost(8.0)));
    }
    let whole = measure_name(&work::relay::idle_name(10_000), idle::WHOLE);
    targets.push(itself(whole, Bound::AtMost(100.0)));
    let opened = measure_name(CONNECTS, PER_SECOND);
    targets.push(Target::new(opened, ockam, Bound::AtLeast(5.0)));
    let left = measure_name(slow::NAME, slow::LEFT);
    targets.push(itself(left, Bound::AtLeast(0.95)));
    targets.extend(growth());
    targets
}

/// What a relay alone costs.
fn relay() -> Vec<Target> {
    let ockam = relays::Kind::Ockam.name();
    let (one, epoll) = (relays::Kind::OneThread.name(), relays::Kind::Epoll.name());
    let mut measures = Vec::new();
    for links in [2, 100] {
        measures.push(measure_name(&full_name(65_536, links), &cpu("ms per GB")));
    }
    for name in [full_name(64, 100), each_name(64, 100)] {
        measures.push(measure_name(&name, &cpu("us each")));
    }
    let mut targets = Vec::new();
    for measure in measures {
        targets.push(Target::new(measure.clone(), ockam, Bound::AtMost(0.25)));
        let beside = Beside::Peer(epoll);
        targets.push(Target::of(one, measure, beside, Bound::AtMost(1.15)));
    }
    targets
}

/// That nothing costs more because there is more of something else.
fn growth() -> Vec<Target> {
    let cost = |name: &str| measure_name(name, &cpu("us each"));
    let full = SIZES.map(|size| LINKS.map(|links| full_name(size, links)));
    let each = LINKS.map(|links| each_name(64, links));
    let names = FORWARDERS.map(growth_name);
    let mut targets = Vec::new();
    for [few, some, many] in full.into_iter().chain([each, names]) {
        for fewer in [few, some] {
            let beside = Beside::Measure(cost(&fewer));
            targets.push(Target::of(OURS, cost(&many), beside, Bound::AtMost(1.1)));
        }
    }
    targets
}

/// The table of all targets.
pub fn markdown(report: &Report) -> String {
    let mut rows = vec![
        "| measure | of | divided by that of, or by | ratio | wanted | |".to_owned(),
        "|---|---|---|---:|---|---|".to_owned(),
    ];
    for target in all() {
        let value = target.value(report);
        let verdict = match value {
            None => "not measured",
            Some(value) if target.is_met(value) => "met",
            Some(_) => "**not met**",
        };
        rows.push(format!(
            "| {} | {} | {} | {} | {} | {verdict} |",
            target.measure,
            target.ours,
            target.divided_by(),
            value.map_or_else(|| "-".to_owned(), figure),
            target.wanted(),
        ));
    }
    rows.join("\n") + "\n"
}

/// The same for programs.
pub fn json(report: &Report) -> Value {
    let targets = all().into_iter().map(|target| {
        let value = target.value(report);
        json!({
            "measure": target.measure,
            "of": target.ours,
            "divided_by": target.divided_by(),
            "value": value,
            "wanted": target.wanted(),
            "met": value.map(|value| target.is_met(value)),
        })
    });
    Value::Array(targets.collect())
}

#[cfg(test)]
mod tests {
    use super::markdown;
    use crate::report::Report;

    #[test]
    fn ratios_are_compared_with_their_bounds() {
        let mut report = Report::default();
        let measure = "pgbench -S, 1 clients: tps";
        for (contender, sample) in [
            ("Culvert", 90.0),
            ("Ockam 0.150", 30.0),
            ("3 x HAProxy", 100.0),
        ] {
            report.add("PostgreSQL", measure, contender, sample);
        }
        let table = markdown(&report);
        let row = |rest: &str| format!("| {measure} | Culvert | {rest} |\n");
        assert!(table.contains(&row("Ockam 0.150 | 3.00 | at least 5 | **not met**")));
        assert!(table.contains(&row("3 x HAProxy | 0.900 | at least 0.85 | met")));
        assert!(table.contains(
            "pgbench -S, 64 clients: tps | Culvert | Ockam 0.150 | - | at least 6 | not measured"
        ));
    }
}
