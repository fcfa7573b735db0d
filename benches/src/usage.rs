//! Processor time and memory of the processes of a contender.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use culvert_tests::proc;

/// A process, and what it is there for. The processes it starts count as it.
pub type Role = (&'static str, u32);

/// What processor time is counted in where threads have ended.
const TICK: Duration = Duration::from_millis(10);

/// Processor time at one moment, of each role.
#[derive(Clone, Debug)]
pub struct Usage(Vec<(&'static str, BTreeMap<u32, Times>)>);

/// What one process has used.
#[derive(Clone, Debug, Default)]
struct Times {
    /// All its threads, with those that have ended; in ticks of 10 ms.
    ticks: Duration,
    /// Its threads, to the nanosecond.
    threads: BTreeMap<u32, u64>,
}

impl Usage {
    /// What has been used so far.
    pub fn now(roles: &[Role]) -> Self {
        let times = roles.iter().map(|(role, id)| {
            let family = family(*id);
            (*role, family.map(|id| (id, Times::now(id))).collect())
        });
        Self(times.collect())
    }

    /// What each role used since `before`, which is of the same contender.
    pub fn since(&self, before: &Self) -> Vec<(&'static str, Duration)> {
        let pairs = self.0.iter().zip(&before.0);
        pairs
            .map(|((role, after), (_, before))| {
                let nothing = Times::default();
                let used = after
                    .iter()
                    .map(|(id, times)| times.since(before.get(id).unwrap_or(&nothing)));
                (*role, used.sum())
            })
            .collect()
    }
}

impl Times {
    fn now(id: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter();
        let threads = tasks.flatten().flatten().filter_map(|task| {
            let times = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let used = times.split_whitespace().next()?.parse().ok()?;
            Some((task.file_name().to_str()?.parse().ok()?, used))
        });
        Self {
            threads: threads.collect(),
            // A child may be gone by now.
            ticks: if fs::exists(format!("/proc/{id}/stat")).unwrap_or(false) {
                proc::cpu_time(id)
            } else {
                Duration::ZERO
            },
        }
    }

    fn since(&self, before: &Self) -> Duration {
        // What threads used that have ended is only here; some come and go in between.
        let ticks = self.ticks.saturating_sub(before.ticks);
        if self.threads.is_empty() || !self.threads.keys().eq(before.threads.keys()) {
            return ticks;
        }
        let total = |times: &Self| times.threads.values().sum::<u64>();
        let exact = Duration::from_nanos(total(self).saturating_sub(total(before)));
        if ticks > exact + 2 * TICK {
            ticks
        } else {
            exact
        }
    }
}

fn family(id: u32) -> impl Iterator<Item = u32> {
    [id].into_iter().chain(proc::descendants(id))
}

/// Memory in use now by each role, in bytes.
pub fn resident(roles: &[Role]) -> Vec<(&'static str, u64)> {
    let of = |id: u32| family(id).map(proc::resident).sum();
    roles.iter().map(|(role, id)| (*role, of(*id))).collect()
}

/// The most memory they used together since [`forget_peaks`], if at the same time; in bytes.
pub fn peak(roles: &[Role]) -> u64 {
    let all = roles.iter().flat_map(|(_, id)| family(*id));
    all.map(proc::peak_resident).sum()
}

/// Begins anew with noting the most memory used.
pub fn forget_peaks(roles: &[Role]) {
    for id in roles.iter().flat_map(|(_, id)| family(*id)) {
        // Where that is not allowed, peaks stay those since the start.
        let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
    }
}
