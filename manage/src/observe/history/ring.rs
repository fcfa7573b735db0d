//! A ring of rows, one for each step of time, kept by column.

use serde_json::{Map, Number, Value};

use super::sample::{COUNTERS, GAUGES, Sample, growth};
use super::{QUANTILES, REASONS};

/// No row is here.
const EMPTY: u64 = u64::MAX;

/// Rows of the last `length` steps. Step number `n` is the one that began `n` steps after the clock's
/// zero; its row is at `n % length`. Memory is taken at the start, and once for each reason that occurs.
pub(super) struct Ring {
    step_ms: u64,
    /// Number of the step whose row is here.
    steps: Box<[u64]>,
    gauges: [Box<[f32]>; GAUGES.len()],
    rates: [Box<[f32]>; COUNTERS.len()],
    quantiles: [Box<[f32]>; QUANTILES.len()],
    reasons: [Option<Box<[f32]>>; REASONS.len()],
    open: Option<Open>,
    newest: Option<u64>,
}

/// The step under way.
struct Open {
    step: u64,
    began_ms: u64,
    before: Sample,
    /// The most that each gauge was.
    most: [u64; GAUGES.len()],
}

impl Ring {
    /// A ring of `length` steps of `step_ms` milliseconds.
    pub(super) fn new(step_ms: u64, length: usize) -> Self {
        let column = || vec![0.0; length].into_boxed_slice();
        Self {
            step_ms,
            steps: vec![EMPTY; length].into_boxed_slice(),
            gauges: core::array::from_fn(|_| column()),
            rates: core::array::from_fn(|_| column()),
            quantiles: core::array::from_fn(|_| column()),
            reasons: core::array::from_fn(|_| None),
            open: None,
            newest: None,
        }
    }

    /// Takes a sample of `now_ms`, which never is less than that of the one before. The first of a step
    /// ends the step before, whose row tells of the time between the first samples of the two.
    pub(super) fn take(&mut self, now_ms: u64, sample: &Sample) {
        let step = now_ms / self.step_ms;
        match &mut self.open {
            Some(open) if step <= open.step => {
                for (most, n) in open.most.iter_mut().zip(sample.gauges) {
                    *most = (*most).max(n);
                }
                return;
            }
            _ => {}
        }
        let next = Open {
            step,
            began_ms: now_ms,
            before: sample.clone(),
            most: sample.gauges,
        };
        if let Some(open) = self.open.replace(next) {
            self.write(&open, now_ms, sample);
        }
    }

    fn write(&mut self, open: &Open, now_ms: u64, sample: &Sample) {
        let at = (open.step % self.steps.len() as u64) as usize;
        let seconds = now_ms.saturating_sub(open.began_ms).max(1) as f64 / 1000.0;
        let rate = |before: u64, now: u64| (growth(before, now) as f64 / seconds) as f32;
        self.steps[at] = open.step;
        self.newest = Some(open.step);
        for (column, n) in self.gauges.iter_mut().zip(open.most) {
            column[at] = n as f32;
        }
        let counters = open.before.counters.iter().zip(sample.counters);
        for (column, (before, now)) in self.rates.iter_mut().zip(counters) {
            column[at] = rate(*before, now);
        }
        let opened = sample.opening.since(&open.before.opening);
        for (column, (_, q)) in self.quantiles.iter_mut().zip(QUANTILES) {
            column[at] = opened
                .quantile(q)
                .map_or(f32::NAN, |seconds| seconds as f32);
        }
        let reasons = open.before.reasons.iter().zip(&sample.reasons);
        for (column, (before, now)) in self.reasons.iter_mut().zip(reasons) {
            let value = rate(*before, *now);
            if value > 0.0 && column.is_none() {
                *column = Some(vec![0.0; self.steps.len()].into_boxed_slice());
            }
            if let Some(column) = column {
                column[at] = value;
            }
        }
    }

    /// The rows of steps `since` and later as columns. Adds to `answer` what the module's
    /// documentation shows, but for the clock.
    pub(super) fn columns(&self, since: u64, answer: &mut Map<String, Value>) {
        let length = self.steps.len() as u64;
        let (first, last) = match self.newest {
            None => (0, 0),
            Some(newest) => {
                let kept = (newest + 1).saturating_sub(length)..=newest;
                let oldest = self.steps.iter().filter(|step| kept.contains(step)).min();
                (oldest.copied().unwrap_or(newest).max(since), newest + 1)
            }
        };
        let rows = first..last.max(first);
        let read = |column: &[f32], decimals| -> Value {
            let cells = rows.clone().map(|step| {
                let at = (step % length) as usize;
                match self.steps[at] == step {
                    true => number(column[at], decimals),
                    false => Value::Null,
                }
            });
            cells.collect()
        };
        let by_name = |names: &mut dyn Iterator<Item = &'static str>, columns: &[Box<[f32]>]| {
            let columns = columns.iter().map(|column| read(column, 2));
            names.map(str::to_owned).zip(columns).collect::<Value>()
        };
        answer.insert("step-s".into(), (self.step_ms / 1000).into());
        answer.insert("first".into(), first.into());
        answer.insert("rows".into(), (rows.end - rows.start).into());
        let gauges = by_name(&mut GAUGES.iter().map(|(name, _)| *name), &self.gauges);
        answer.insert("gauges".into(), gauges);
        let rates = by_name(&mut COUNTERS.iter().map(|(name, _)| *name), &self.rates);
        answer.insert("rates".into(), rates);
        let quantiles = QUANTILES.iter().zip(&self.quantiles);
        let quantiles = quantiles.map(|((name, _), column)| ((*name).to_owned(), read(column, 6)));
        answer.insert("stream-open-s".into(), quantiles.collect());
        for table in ["refused", "closed"] {
            let columns = REASONS.iter().zip(&self.reasons);
            let columns = columns.filter(|((of, _), _)| *of == table);
            let columns = columns.filter_map(|((_, reason), column)| {
                Some(((*reason).to_owned(), read(column.as_ref()?, 2)))
            });
            answer.insert(table.into(), columns.collect());
        }
    }

    /// Number of the step that holds `now_ms`, and when in it that is.
    pub(super) fn place(&self, now_ms: u64) -> (u64, u64) {
        (now_ms / self.step_ms, now_ms % self.step_ms)
    }
}

/// A number with as many decimals as somebody can use; nothing for none.
fn number(value: f32, decimals: i32) -> Value {
    let scale = 10f64.powi(decimals);
    let value = match value.abs() >= 100.0 {
        true => f64::from(value).round(),
        false => (f64::from(value) * scale).round() / scale,
    };
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        return (value as u64).into();
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}
