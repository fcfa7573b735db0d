//! What Culvert has to reach, as ratios of medians of one run.

use serde_json::{Value, json};

use crate::contender::Kind;
use crate::load::bulk::Direction;
use crate::load::exchange::PER_SECOND;
use crate::report::{Report, figure};
use crate::work::postgres::{TPS, select_name};
use crate::work::streams::{CONNECTS, bulk_name};
use crate::work::{OURS, measure_name};

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
    /// Whose figure Culvert's is divided by; its own is looked at without.
    beside: Option<&'static str>,
    /// What is divided by, if it is another measure.
    by: Option<String>,
    bound: Bound,
}

impl Target {
    fn new(measure: String, beside: &'static str, bound: Bound) -> Self {
        Self {
            measure,
            beside: Some(beside),
            by: None,
            bound,
        }
    }

    /// The figure that is bounded, if both were measured.
    fn value(&self, report: &Report) -> Option<f64> {
        let ours = report.median(&self.measure, OURS)?;
        let by = self.by.as_deref().unwrap_or(&self.measure);
        match (self.beside, &self.by) {
            (None, None) => Some(ours),
            (beside, _) => Some(ours / report.median(by, beside.unwrap_or(OURS))?),
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
    let (ockam, haproxy) = (Kind::Ockam.name(), Kind::Haproxy.name());
    let encrypted = [Kind::Stunnel, Kind::Ssh, Kind::Rathole].map(Kind::name);
    let mut targets = Vec::new();
    for (clients, times) in [(1, 5.0), (64, 6.0)] {
        let tps = measure_name(&select_name(clients), TPS);
        targets.push(Target::new(tps.clone(), ockam, Bound::AtLeast(times)));
        targets.push(Target::new(tps, haproxy, Bound::AtLeast(0.85)));
    }
    for streams in [1, 16] {
        for direction in Direction::ALL {
            let rate = measure_name(&bulk_name(direction, streams), "GB/s");
            targets.push(Target::new(rate.clone(), ockam, Bound::AtLeast(1.5)));
            for peer in encrypted {
                targets.push(Target::new(rate.clone(), peer, Bound::AtLeast(1.0)));
            }
            targets.push(Target::new(rate, haproxy, Bound::AtLeast(0.8)));
        }
    }
    let opened = measure_name(CONNECTS, PER_SECOND);
    targets.push(Target::new(opened, ockam, Bound::AtLeast(5.0)));
    targets
}

/// The table of all targets.
pub fn markdown(report: &Report) -> String {
    let mut rows = vec![
        "| measure | of Culvert, divided by that of | ratio | wanted | |".to_owned(),
        "|---|---|---:|---|---|".to_owned(),
    ];
    for target in all() {
        let value = target.value(report);
        let verdict = match value {
            None => "not measured",
            Some(value) if target.is_met(value) => "met",
            Some(_) => "**not met**",
        };
        rows.push(format!(
            "| {} | {} | {} | {} | {verdict} |",
            target.measure,
            match (target.beside, &target.by) {
                (None, None) => "-",
                (Some(beside), _) => beside,
                (None, Some(by)) => by,
            },
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
            "beside": target.beside,
            "divided_by": target.by,
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
        let row = |rest: &str| format!("| {measure} | {rest} |\n");
        assert!(table.contains(&row("Ockam 0.150 | 3.00 | at least 5 | **not met**")));
        assert!(table.contains(&row("3 x HAProxy | 0.900 | at least 0.85 | met")));
        assert!(
            table.contains(
                "pgbench -S, 64 clients: tps | Ockam 0.150 | - | at least 6 | not measured"
            )
        );
    }
}
