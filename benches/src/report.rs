//! Figures of several rounds, and their medians as tables and as JSON.

use serde_json::{Value, json};

use crate::load::DETAIL;

/// All samples of one measure of one contender.
#[derive(Clone, Debug)]
struct Series {
    section: String,
    measure: String,
    contender: String,
    samples: Vec<f64>,
}

/// What samples are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The lowest.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The highest.
    pub high: f64,
}

impl Series {
    fn is_of(&self, work: &str) -> bool {
        let rest = self.measure.strip_prefix(work);
        rest.is_some_and(|rest| rest.starts_with(": "))
    }

    fn spread(&self) -> Spread {
        let samples = || self.samples.iter().copied();
        Spread {
            low: samples().fold(f64::INFINITY, f64::min),
            median: median(&self.samples),
            high: samples().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// The figures of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    series: Vec<Series>,
    left_out: Vec<String>,
}

impl Report {
    /// Adds one sample. `measure` names what it is and its unit, and must be in one section only.
    pub fn add(&mut self, section: &str, measure: &str, contender: &str, sample: f64) {
        let known = self
            .series
            .iter_mut()
            .find(|series| series.measure == measure && series.contender == contender);
        match known {
            Some(series) => series.samples.push(sample),
            None => self.series.push(Series {
                section: section.to_owned(),
                measure: measure.to_owned(),
                contender: contender.to_owned(),
                samples: vec![sample],
            }),
        }
    }

    /// Says once that something was not measured, and why.
    pub fn leave_out(&mut self, what: String) {
        if !self.left_out.contains(&what) {
            self.left_out.push(what);
        }
    }

    /// Forgets what was measured of some work of a contender: too little for a median.
    pub fn forget(&mut self, work: &str, contender: &str) {
        self.series
            .retain(|series| series.contender != contender || !series.is_of(work));
    }

    /// Forgets that some work of a contender was left out: it is measured now.
    pub fn take_up(&mut self, work: &str, contender: &str) {
        let before = format!("{contender}: {work}: ");
        self.left_out.retain(|what| !what.starts_with(&before));
    }

    /// What was not measured, and why.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// What the samples of one measure of one contender are like.
    pub fn spread(&self, measure: &str, contender: &str) -> Option<Spread> {
        let found = self
            .series
            .iter()
            .find(|series| series.measure == measure && series.contender == contender);
        found.map(Series::spread)
    }

    /// Their median.
    pub fn median(&self, measure: &str, contender: &str) -> Option<f64> {
        self.spread(measure, contender).map(|spread| spread.median)
    }

    /// Markdown: for each section a table with a row for each measure and a column for each contender, in the
    /// order of `contenders`; beside the median the lowest and the highest sample.
    pub fn markdown(&self, contenders: &[&str]) -> String {
        let mut parts = Vec::new();
        let mut sections = Vec::new();
        for series in &self.series {
            if !sections.contains(&&*series.section) {
                sections.push(&*series.section);
            }
        }
        for section in sections {
            parts.push(format!(
                "### {section}\n\n{}",
                self.table(section, contenders)
            ));
        }
        parts.join("\n")
    }

    fn table(&self, section: &str, contenders: &[&str]) -> String {
        let shown =
            |series: &&Series| series.section == section && !series.measure.contains(DETAIL);
        let mut measures: Vec<&str> = Vec::new();
        for series in self.series.iter().filter(shown) {
            if !measures.contains(&series.measure.as_str()) {
                measures.push(&series.measure);
            }
        }
        let mut columns = contenders.to_vec();
        columns.retain(|name| {
            let mut all = self.series.iter().filter(shown);
            all.any(|series| series.contender == **name)
        });
        let mut rows = vec![
            format!("| measure | {} |", columns.join(" | ")),
            format!("|---|{}", "---:|".repeat(columns.len())),
        ];
        for measure in measures {
            let cells: Vec<String> = columns
                .iter()
                .map(|contender| self.cell(measure, contender))
                .collect();
            rows.push(format!("| {measure} | {} |", cells.join(" | ")));
        }
        rows.join("\n") + "\n"
    }

    fn cell(&self, measure: &str, contender: &str) -> String {
        let same = |series: &&Series| series.measure == measure && series.contender == contender;
        let Some(series) = self.series.iter().find(same) else {
            return "-".to_owned();
        };
        let Spread { low, median, high } = series.spread();
        match series.samples.len() {
            1 => figure(median),
            _ => format!("{} ({} - {})", figure(median), figure(low), figure(high)),
        }
    }

    /// Whether anything of some work of a contender was measured.
    pub fn has(&self, work: &str, contender: &str) -> bool {
        let mut own = self.series.iter().filter(|s| s.contender == contender);
        own.any(|series| series.is_of(work))
    }

    /// Takes up what [`Report::json`] gave; nothing if it is something else.
    pub fn of_json(results: &Value, left_out: &Value) -> Option<Self> {
        let series = |value: &Value| {
            let text = |name: &str| value[name].as_str().map(str::to_owned);
            let mut measure = text("measure")?;
            if value["detail"].as_bool()? {
                let at = measure.rfind(": ")? + 2;
                measure.insert_str(at, DETAIL);
            }
            let samples = value["samples"].as_array()?.iter().map(Value::as_f64);
            Some(Series {
                section: text("section")?,
                measure,
                contender: text("contender")?,
                samples: samples.collect::<Option<_>>()?,
            })
        };
        let series = results.as_array()?.iter().map(series);
        let left_out = left_out.as_array()?.iter();
        Some(Self {
            series: series.collect::<Option<_>>()?,
            left_out: left_out
                .map(|what| what.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
        })
    }

    /// Everything, with all samples.
    pub fn json(&self) -> Value {
        let series = self.series.iter().map(|series| {
            json!({
                "section": series.section,
                "measure": series.measure.replace(DETAIL, ""),
                "detail": series.measure.contains(DETAIL),
                "contender": series.contender,
                "median": median(&series.samples),
                "samples": series.samples,
            })
        });
        Value::Array(series.collect())
    }
}

/// The middle one; of an even number, the mean of the middle two.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Three significant digits.
pub(crate) fn figure(value: f64) -> String {
    let digits = match value.abs() {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        n if n >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::{DETAIL, Report};

    #[test]
    fn medians_and_table() {
        let mut report = Report::default();
        for sample in [3.0, 1.0, 2.0] {
            report.add("First", "tps", "a", sample);
        }
        report.add("First", "tps", "b", 1000.0);
        report.add("First", "tps", "b", 2000.0);
        report.add("First", &format!("{DETAIL}hidden"), "a", 1.0);
        report.add("Second", "only a", "a", 0.5);
        assert_eq!(report.median("tps", "a"), Some(2.0));
        assert_eq!(report.median("tps", "b"), Some(1500.0));
        let expected = "### First\n\n| measure | b | a |\n|---|---:|---:|\n\
                        | tps | 1500 (1000 - 2000) | 2.00 (1.00 - 3.00) |\n\n\
                        ### Second\n\n| measure | a |\n|---|---:|\n| only a | 0.500 |\n";
        assert_eq!(report.markdown(&["b", "a", "c"]), expected);
        assert_eq!(report.json()[2]["measure"], "hidden");
    }

    #[test]
    fn what_was_written_is_taken_up_again() {
        let mut report = Report::default();
        report.add("First", "some work: tps", "a", 1.0);
        report.add("First", &format!("some work: {DETAIL}CPU"), "a", 2.5);
        report.leave_out("b: not here".to_owned());
        let again = Report::of_json(&report.json(), &serde_json::json!(report.left_out()));
        let again = again.expect("a report");
        assert_eq!(again.json(), report.json());
        assert_eq!(again.markdown(&["a"]), report.markdown(&["a"]));
        assert_eq!(again.left_out(), report.left_out());
        assert!(again.has("some work", "a") && !again.has("some", "a"));
        assert!(!again.has("some work", "b"));
        let mut again = again;
        again.leave_out("a: some work: broke".to_owned());
        again.take_up("some work", "a");
        again.forget("some work", "a");
        assert!(!again.has("some work", "a"));
        assert_eq!(again.left_out(), ["b: not here"]);
        assert!(Report::of_json(&serde_json::json!([{}]), &serde_json::json!([])).is_none());
    }
}
