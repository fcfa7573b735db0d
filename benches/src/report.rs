//! Figures of several rounds, and their medians as a table and as JSON.

use serde_json::{Value, json};

/// All samples of one measure of one contender.
#[derive(Clone, Debug)]
struct Series {
    measure: String,
    contender: String,
    samples: Vec<f64>,
}

/// The figures of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    series: Vec<Series>,
}

impl Report {
    /// Adds one sample. `measure` names what it is and its unit.
    pub fn add(&mut self, measure: &str, contender: &str, sample: f64) {
        let known = self
            .series
            .iter_mut()
            .find(|series| series.measure == measure && series.contender == contender);
        match known {
            Some(series) => series.samples.push(sample),
            None => self.series.push(Series {
                measure: measure.to_owned(),
                contender: contender.to_owned(),
                samples: vec![sample],
            }),
        }
    }

    /// Median of the samples of one measure of one contender.
    pub fn median(&self, measure: &str, contender: &str) -> Option<f64> {
        let found = self
            .series
            .iter()
            .find(|series| series.measure == measure && series.contender == contender);
        found.map(|series| median(&series.samples))
    }

    /// A Markdown table: a row for each measure, a column for each contender; beside the median the
    /// lowest and the highest sample.
    pub fn markdown(&self) -> String {
        let mut contenders: Vec<&str> = Vec::new();
        let mut measures: Vec<&str> = Vec::new();
        for series in &self.series {
            if !contenders.contains(&series.contender.as_str()) {
                contenders.push(&series.contender);
            }
            if !measures.contains(&series.measure.as_str()) {
                measures.push(&series.measure);
            }
        }
        let mut rows = vec![
            format!("| measure | {} |", contenders.join(" | ")),
            format!("|---|{}", "---:|".repeat(contenders.len())),
        ];
        for measure in measures {
            let cells: Vec<String> = contenders
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
        let low = series.samples.iter().copied().fold(f64::INFINITY, f64::min);
        let high = series
            .samples
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let middle = median(&series.samples);
        format!("{} ({} - {})", figure(middle), figure(low), figure(high))
    }

    /// Everything, with all samples.
    pub fn json(&self) -> Value {
        let series = self.series.iter().map(|series| {
            json!({
                "measure": series.measure,
                "contender": series.contender,
                "median": median(&series.samples),
                "samples": series.samples,
            })
        });
        Value::Array(series.collect())
    }
}

/// The middle one; of an even number, the mean of the middle two.
fn median(samples: &[f64]) -> f64 {
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
fn figure(value: f64) -> String {
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
    use super::Report;

    #[test]
    fn medians_and_table() {
        let mut report = Report::default();
        for sample in [3.0, 1.0, 2.0] {
            report.add("tps", "a", sample);
        }
        report.add("tps", "b", 1000.0);
        report.add("tps", "b", 2000.0);
        report.add("only a", "a", 0.5);
        assert_eq!(report.median("tps", "a"), Some(2.0));
        assert_eq!(report.median("tps", "b"), Some(1500.0));
        let expected = "| measure | a | b |\n|---|---:|---:|\n\
                        | tps | 2.00 (1.00 - 3.00) | 1500 (1000 - 2000) |\n\
                        | only a | 0.500 (0.500 - 0.500) | - |\n";
        assert_eq!(report.markdown(), expected);
    }
}
