//! What a node did in the last minutes and hours, for `GET /v1/history`.
//!
//! Once a second the counters are read and put into two rings, of 600 steps of a second and of 1440
//! steps of ten. An answer has one of them, by column:
//!
//! ```text
//! GET /v1/history?range=10m        or 4h; &since=N leaves out the steps before number N
//! {
//!   "node-started-ms": 1735689600000,   UNIX time when this began; another one: forget what you have
//!   "now-ms": 1735689903250,            UNIX time of the answer
//!   "now-step": 303, "now-step-ms": 250 the step under way, and how far it is
//!   "step-s": 1,                        seconds of a step
//!   "first": 288, "rows": 15,           number of the step of the first cell of every column; cells
//!   "gauges": {"streams": [2, 2, null, 3]},         the most in the step
//!   "rates": {"bytes-in": [1024, 0, null, 99.5]},   per second
//!   "stream-open-s": {"p50": [0.0012, null, null, 0.002], "p99": [...]},
//!   "refused": {"policy_denied": [0, 0.5, null, 0]},  per second; reasons that never occurred are left out
//!   "closed": {"peer_closed": [0, 1, null, 0]},       likewise
//!   "now": {"streams": 3, "bytes-in": 88123, "refused": {...}, "closed": {...}}   now, and since the start
//! }
//! ```
//!
//! A `null` is a step without a sample (the process was stopped), or, of a quantile, without a stream
//! that was opened. The step before such a gap has the average over it.

mod ring;
mod sample;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use culvert_node::metrics::{Counters, Snapshot};
use culvert_node::reason::{CloseReason, Refusal};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::{Map, Value};

use ring::Ring;
use sample::Sample;

/// The quantiles of how long streams took to open.
const QUANTILES: [(&str, f64); 2] = [("p50", 0.5), ("p99", 0.99)];

/// Every reason, with the table it belongs to.
const REASONS: [(&str, &str); Refusal::ALL.len() + CloseReason::ALL.len()] = {
    let mut all = [("", ""); Refusal::ALL.len() + CloseReason::ALL.len()];
    let mut i = 0;
    while i < Refusal::ALL.len() {
        all[i] = ("refused", Refusal::ALL[i].name());
        i += 1;
    }
    while i < all.len() {
        all[i] = ("closed", CloseReason::ALL[i - Refusal::ALL.len()].name());
        i += 1;
    }
    all
};

/// Which of the rings.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum Range {
    /// Ten minutes, by the second.
    #[default]
    #[serde(rename = "10m")]
    TenMinutes,
    /// Four hours, by ten seconds.
    #[serde(rename = "4h")]
    FourHours,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Which of the rings.
    #[serde(default)]
    pub range: Range,
    /// Number of the first step.
    #[serde(default)]
    pub since: u64,
}

/// The time of a sample or an answer.
#[derive(Clone, Copy, Debug)]
struct Now {
    /// Milliseconds of a clock that never goes back, and goes on while the machine is suspended.
    steady_ms: u64,
    /// UNIX milliseconds.
    unix_ms: u64,
}

impl Now {
    fn read() -> Self {
        let steady = clock_gettime(ClockId::Boottime);
        let steady = Duration::new(
            u64::try_from(steady.tv_sec).unwrap_or_default(),
            u32::try_from(steady.tv_nsec).unwrap_or_default(),
        );
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            steady_ms: u64::try_from(steady.as_millis()).unwrap_or(u64::MAX),
            unix_ms: unix.map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }),
        }
    }
}

/// The rings of a node. Clones are the same.
#[derive(Clone)]
pub struct History(Arc<Mutex<Rings>>);

struct Rings {
    started_ms: u64,
    seconds: Ring,
    tens: Ring,
    latest: Sample,
}

impl Default for History {
    fn default() -> Self {
        Self::starting(Now::read())
    }
}

impl History {
    fn starting(now: Now) -> Self {
        Self(Arc::new(Mutex::new(Rings {
            started_ms: now.unix_ms,
            seconds: Ring::new(1_000, 600),
            tens: Ring::new(10_000, 1_440),
            latest: Sample::default(),
        })))
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples the counters once a second, for as long as it is polled.
    pub async fn keep(self, counters: Vec<Arc<Counters>>) {
        loop {
            let now = Now::read();
            self.take(now, &Snapshot::sum(&counters));
            // In the middle of a second, so that one that comes a little late is still in it.
            let into = now.steady_ms % 1_000;
            let pause = if into < 500 { 500 - into } else { 1_500 - into };
            tokio::time::sleep(Duration::from_millis(pause.max(100))).await;
        }
    }

    fn take(&self, now: Now, snapshot: &Snapshot) {
        let mut rings = self.rings();
        let sample = Sample::from(snapshot);
        rings.seconds.take(now.steady_ms, &sample);
        rings.tens.take(now.steady_ms, &sample);
        rings.latest = sample;
    }

    /// What `GET /v1/history` answers.
    #[must_use]
    pub fn answer(&self, wanted: Wanted) -> Value {
        self.answer_at(Now::read(), wanted)
    }

    fn answer_at(&self, now: Now, wanted: Wanted) -> Value {
        let rings = self.rings();
        let ring = match wanted.range {
            Range::TenMinutes => &rings.seconds,
            Range::FourHours => &rings.tens,
        };
        let (step, into) = ring.place(now.steady_ms);
        let mut answer = Map::new();
        answer.insert("node-started-ms".into(), rings.started_ms.into());
        answer.insert("now-ms".into(), now.unix_ms.into());
        answer.insert("now-step".into(), step.into());
        answer.insert("now-step-ms".into(), into.into());
        ring.columns(wanted.since, &mut answer);
        answer.insert("now".into(), rings.latest.json());
        Value::Object(answer)
    }

    /// `GET /v1/history`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/history", get(answer))
            .with_state(self)
    }
}

async fn answer(State(history): State<History>, Query(wanted): Query<Wanted>) -> Json<Value> {
    Json(history.answer(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history with a clock that tests turn.
    struct Turned {
        history: History,
        now: Now,
        counted: Snapshot,
    }

    impl Turned {
        /// Begins half a second into step 1000 of a second, which is step 100 of ten.
        fn new() -> Self {
            let now = Now {
                steady_ms: 1_000_500,
                unix_ms: 1_735_689_600_000,
            };
            let new = Self {
                history: History::starting(now),
                now,
                counted: Snapshot::sum(&[]),
            };
            new.sample();
            new
        }

        fn sample(&self) {
            self.history.take(self.now, &self.counted);
        }

        /// Lets time pass, then samples.
        fn after(&mut self, ms: u64) {
            self.now.steady_ms += ms;
            self.now.unix_ms += ms;
            self.sample();
        }

        fn answer(&self, range: Range, since: u64) -> Value {
            self.history.answer_at(self.now, Wanted { range, since })
        }
    }

    fn column<'a>(answer: &'a Value, table: &str, name: &str) -> &'a Vec<Value> {
        answer[table][name].as_array().expect("a column")
    }

    #[test]
    fn rates_are_per_second_of_the_time_between_samples() {
        let mut node = Turned::new();
        node.counted.bytes_in = 1_000;
        node.counted.streams = 2;
        node.after(1_000);
        node.counted.bytes_in = 4_000;
        node.counted.streams = 1;
        node.after(1_250);
        let answer = node.answer(Range::TenMinutes, 0);
        assert_eq!(answer["first"], 1_000);
        assert_eq!(answer["rows"], 2);
        assert_eq!(answer["step-s"], 1);
        assert_eq!(answer["now-step"], 1_002);
        assert_eq!(answer["now-step-ms"], 750);
        assert_eq!(*column(&answer, "rates", "bytes-in"), [1_000, 2_400]);
        assert_eq!(*column(&answer, "gauges", "streams"), [0, 2]);
        assert_eq!(answer["now"]["bytes-in"], 4_000);
        assert_eq!(answer["now"]["streams"], 1);
    }

    #[test]
    fn a_step_without_a_sample_is_a_gap() {
        let mut node = Turned::new();
        node.after(1_000);
        node.counted.messages_in = 30;
        node.after(3_000);
        node.counted.messages_in = 31;
        node.after(1_000);
        let answer = node.answer(Range::TenMinutes, 0);
        let messages = column(&answer, "rates", "messages");
        let expected = [
            0.into(),
            10.into(),
            Value::Null,
            Value::Null,
            Value::from(1),
        ];
        assert_eq!(*messages, expected);
        assert_eq!(column(&answer, "gauges", "links")[2], Value::Null);
    }

    #[test]
    fn counters_that_begin_anew_do_not_make_a_peak() {
        let mut node = Turned::new();
        node.counted.messages_in = 1_000_000;
        node.after(1_000);
        node.counted.messages_in = 7;
        node.after(1_000);
        let answer = node.answer(Range::TenMinutes, 1_001);
        assert_eq!(*column(&answer, "rates", "messages"), [7]);
    }

    #[test]
    fn reasons_appear_once_they_occur() {
        let mut node = Turned::new();
        node.after(1_000);
        assert_eq!(
            node.answer(Range::TenMinutes, 0)["refused"],
            serde_json::json!({})
        );
        node.counted.refused[Refusal::PolicyDenied as usize] = 3;
        node.counted.closed[CloseReason::PeerReset as usize] = 1;
        node.after(2_000);
        node.after(1_000);
        let answer = node.answer(Range::TenMinutes, 0);
        let denied = [0.into(), Value::from(1.5), Value::Null, 0.into()];
        assert_eq!(*column(&answer, "refused", "policy_denied"), denied);
        assert_eq!(column(&answer, "closed", "peer_reset")[1], 0.5);
        assert_eq!(answer["refused"].as_object().map(Map::len), Some(1));
        // The totals have all, with their zeros.
        let totals = answer["now"]["refused"].as_object().expect("a table");
        assert_eq!(totals.len(), Refusal::ALL.len());
        assert_eq!(totals["policy_denied"], 3);
        assert_eq!(answer["now"]["closed"]["peer_reset"], 1);
    }

    #[test]
    fn quantiles_are_those_of_the_streams_opened_in_a_step() {
        let mut node = Turned::new();
        // Ten streams within 250 microseconds, then one that took between 5 and 10 seconds.
        node.counted.opening.counts[0] = 10;
        node.after(1_000);
        node.counted.opening.counts[14] = 1;
        node.after(1_000);
        node.after(1_000);
        let answer = node.answer(Range::TenMinutes, 0);
        let medians = column(&answer, "stream-open-s", "p50");
        assert_eq!(medians[0], 0.000125);
        assert_eq!(medians[1], 7.5);
        assert_eq!(medians[2], Value::Null);
        assert_eq!(column(&answer, "stream-open-s", "p99")[1], 9.95);
        let coarse = {
            node.after(10_000);
            node.answer(Range::FourHours, 0)
        };
        assert_eq!(column(&coarse, "stream-open-s", "p99")[0], 9.45);
    }

    #[test]
    fn old_steps_make_room_and_ten_seconds_have_the_most_of_a_gauge() {
        let mut node = Turned::new();
        for second in 0..2_000 {
            node.counted.bytes_out += 10;
            node.counted.links = u64::from(second % 10 == 4) * 5;
            node.after(1_000);
        }
        let fine = node.answer(Range::TenMinutes, 0);
        assert_eq!(fine["rows"], 600);
        assert_eq!(fine["first"], 3_000 - 600);
        assert!(
            column(&fine, "rates", "bytes-out")
                .iter()
                .all(|rate| *rate == 10)
        );
        let coarse = node.answer(Range::FourHours, 0);
        assert_eq!(coarse["rows"], 200);
        assert_eq!(coarse["first"], 100);
        let links = column(&coarse, "gauges", "links");
        assert!(links.iter().all(|most| *most == 5), "{links:?}");
        // Only what is new, nothing when there is nothing new.
        assert_eq!(node.answer(Range::TenMinutes, 2_998)["rows"], 2);
        assert_eq!(node.answer(Range::TenMinutes, 3_000)["rows"], 0);
        assert_eq!(node.answer(Range::TenMinutes, u64::MAX)["rows"], 0);
    }

    #[test]
    fn a_gap_longer_than_the_ring_leaves_nothing_of_before() {
        let mut node = Turned::new();
        node.after(1_000);
        node.after(3_600_000);
        node.after(1_000);
        let answer = node.answer(Range::TenMinutes, 0);
        assert_eq!(answer["first"], 4_601);
        assert_eq!(answer["rows"], 1);
    }

    #[test]
    fn an_answer_before_the_first_row_is_empty() {
        let answer = Turned::new().answer(Range::FourHours, 0);
        assert_eq!(answer["rows"], 0);
        assert_eq!(answer["rates"]["bytes-in"], serde_json::json!([]));
        assert_eq!(answer["stream-open-s"]["p50"], serde_json::json!([]));
    }
}
