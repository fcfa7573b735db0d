//! What `/proc` says about a process.

use std::fs;
use std::time::Duration;

/// Memory in use now (resident set), in bytes.
///
/// # Panics
/// When the process has ended.
pub fn resident(id: u32) -> u64 {
    status_line(id, "VmRSS:") * 1024
}

/// The most memory it ever used (peak resident set), in bytes.
///
/// # Panics
/// When the process has ended.
pub fn peak_resident(id: u32) -> u64 {
    status_line(id, "VmHWM:") * 1024
}

/// Processor time it has used, user and system, all threads. The kernel counts it in ticks of
/// 10 ms.
///
/// # Panics
/// When the process has ended.
pub fn cpu_time(id: u32) -> Duration {
    stat_time(&format!("/proc/{id}/stat"))
}

/// The same for each of its threads whose name starts with `prefix`.
///
/// # Panics
/// When the process has ended.
pub fn cpu_time_of_threads(id: u32, prefix: &str) -> Vec<Duration> {
    fs::read_dir(format!("/proc/{id}/task"))
        .expect("a running process")
        .flatten()
        .map(|task| task.path())
        .filter(|task| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(prefix))
        })
        .map(|task| stat_time(&task.join("stat").to_string_lossy()))
        .collect()
}

fn stat_time(path: &str) -> Duration {
    let stat = fs::read_to_string(path).expect("a running process");
    // The command name is in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')').expect("a stat line");
    let fields: Vec<u64> = rest
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    let ticks = fields[11] + fields[12];
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Number of file descriptors it has open.
///
/// # Panics
/// When the process has ended.
pub fn open_files(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd"))
        .expect("a running process")
        .count()
}

/// The children of a process, and theirs.
pub fn descendants(id: u32) -> Vec<u32> {
    let mut all = Vec::new();
    let mut look_at = vec![id];
    while let Some(parent) = look_at.pop() {
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
                all.push(child);
                look_at.push(child);
            }
        }
    }
    all
}

fn status_line(id: u32, name: &str) -> u64 {
    let status =
        fs::read_to_string(format!("/proc/{id}/status")).expect("status of a running process");
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in the status of process {id}"))
}
