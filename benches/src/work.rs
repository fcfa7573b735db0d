//! What is done with the contenders, each kind of work in interleaved rounds.

use std::io;

use crate::contender::{Contender, Kind};
use crate::load::{Figures, Outcome, Time};
use crate::relays;
use crate::report::Report;
use crate::settings::Settings;

pub mod channels;
pub mod idle;
pub mod latency;
pub mod postgres;
pub mod relay;
pub mod slow;
pub mod streams;

/// Names of all contenders, in the order of the report.
pub fn contenders() -> Vec<&'static str> {
    let mut names: Vec<_> = Kind::ALL.iter().map(Named::name).collect();
    let relays = relays::Kind::ALL.iter().map(Named::name);
    // Those that are both come last.
    names.splice(
        0..0,
        relays.filter(|name| !Kind::ALL.iter().any(|kind| kind.name() == *name)),
    );
    names
}

/// The one that may not fail.
pub const OURS: &str = "Culvert";

/// A kind of work, and its name for `--work`.
pub type Work = (&'static str, fn(&mut Run<'_>));

/// All there are.
pub const ALL: [Work; 9] = [
    ("postgres", postgres::postgres),
    ("bulk", streams::bulk),
    ("requests", streams::requests),
    ("latency", latency::latency),
    ("connects", streams::connects),
    ("slow", slow::slow),
    ("relay", relay::relay),
    ("channels", channels::channels),
    ("idle", idle::idle),
];

/// Something that takes part.
pub trait Named {
    /// Its name in reports.
    fn name(&self) -> &'static str;
}

impl Named for Contender {
    fn name(&self) -> &'static str {
        self.kind.name()
    }
}

impl Named for Kind {
    fn name(&self) -> &'static str {
        Self::name(*self)
    }
}

/// A run of the harness.
pub struct Run<'a> {
    /// What was asked for.
    pub settings: &'a Settings,
    /// What was measured.
    pub report: Report,
    /// Writes it: after each work, so that hours of measuring are not lost with the last minute.
    pub save: fn(&Settings, &Report) -> io::Result<()>,
    /// Whether there was any row that was asked for.
    pub found: bool,
}

impl Run<'_> {
    /// Calls `measure` for each contender in each round, beginning with another one each time, and notes the
    /// figures under the name of the work. A peer that fails is left out, with what it did before.
    ///
    /// # Panics
    /// When Culvert fails, or figures cannot be written.
    pub fn rounds<T: Named>(
        &mut self,
        section: &'static str,
        work: &str,
        contenders: &[T],
        measure: impl FnMut(&T) -> Outcome<Figures>,
    ) {
        self.rounds_for(section, work, &[work], contenders, measure);
    }

    /// The same if one of the works in `needed_by` was asked for.
    fn rounds_for<T: Named>(
        &mut self,
        section: &'static str,
        work: &str,
        needed_by: &[&str],
        contenders: &[T],
        mut measure: impl FnMut(&T) -> Outcome<Figures>,
    ) {
        let contenders = self.left(work, needed_by, contenders);
        if contenders.is_empty() {
            return;
        }
        progress(&format!("{section}: {work}"));
        for contender in &contenders {
            self.report.take_up(work, contender.name());
        }
        let mut failed = vec![false; contenders.len()];
        for round in 0..self.settings.rounds {
            for n in 0..contenders.len() {
                let place = (round + n) % contenders.len();
                if failed[place] {
                    continue;
                }
                let contender = contenders[place];
                match measure(contender) {
                    Ok(figures) => {
                        for (figure, sample) in figures {
                            let measure = measure_name(work, &figure);
                            self.report.add(section, &measure, contender.name(), sample);
                        }
                    }
                    Err(why) => {
                        assert_ne!(contender.name(), OURS, "{work}: {why}");
                        failed[place] = true;
                        self.report.forget(work, contender.name());
                        self.report
                            .leave_out(format!("{}: {work}: {why}", contender.name()));
                    }
                }
            }
        }
        self.save();
    }

    /// With whom some work is still to be done, if a work that needs it was asked for.
    fn left<'c, T: Named>(
        &mut self,
        work: &str,
        needed_by: &[&str],
        contenders: &'c [T],
    ) -> Vec<&'c T> {
        if !needed_by.iter().any(|work| self.settings.has_row(work)) {
            return Vec::new();
        }
        self.found = true;
        let left = contenders.iter();
        left.filter(|contender| !self.report.has(work, contender.name()))
            .collect()
    }

    fn save(&self) {
        (self.save)(self.settings, &self.report).expect("figures are written");
    }

    /// Notes figures.
    fn add(&mut self, section: &'static str, work: &str, contender: &impl Named, all: Figures) {
        for (figure, sample) in all {
            let measure = measure_name(work, &figure);
            self.report.add(section, &measure, contender.name(), sample);
        }
    }

    /// How long each measurement is.
    pub fn time(&self) -> Time {
        Time {
            warm_up: self.settings.warm_up(),
            measured: self.settings.time(),
        }
    }

    /// One of two, the second for `--quick`.
    pub fn quick_or<T>(&self, full: T, quick: T) -> T {
        if self.settings.quick { quick } else { full }
    }
}

/// What a figure of some work is called in the report.
pub fn measure_name(work: &str, figure: &str) -> String {
    format!("{work}: {figure}")
}

/// Says on standard error how far things are.
#[expect(clippy::print_stderr, reason = "where a program says how far it is")]
pub fn progress(what: &str) {
    eprintln!("load: {what}");
}
