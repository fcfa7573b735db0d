//! What Prometheus' clients tell about their process, under the names they all use.

use std::fmt::Write as _;
use std::fs;

/// Writes what can be found out; what cannot is left out.
pub(super) fn write(out: &mut String) {
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(
        out,
        "# HELP culvert_build_info What this program is; always 1.\n\
         # TYPE culvert_build_info gauge\n\
         culvert_build_info{{version=\"{version}\"}} 1"
    );
    let mut add = |metric: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let head = format!("# HELP {metric} {help}\n# TYPE {metric} {kind}");
            let _ = writeln!(out, "{head}\n{metric} {value}");
        }
    };
    let stat = Stat::read();
    add(
        "process_start_time_seconds",
        "gauge",
        "When the process began, in seconds since 1970-01-01 UTC.",
        stat.as_ref().and_then(Stat::started),
    );
    add(
        "process_cpu_seconds_total",
        "counter",
        "User and system time spent.",
        stat.as_ref().and_then(Stat::cpu),
    );
    add(
        "process_resident_memory_bytes",
        "gauge",
        "Memory in use.",
        stat.as_ref().and_then(Stat::resident),
    );
    add(
        "process_open_fds",
        "gauge",
        "Open files.",
        fs::read_dir("/proc/self/fd")
            .ok()
            // Looking takes one.
            .map(|entries| entries.count().saturating_sub(1) as f64),
    );
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    add(
        "process_max_fds",
        "gauge",
        "Files that may be open.",
        most.current.map(|most| most as f64),
    );
}

/// The fields of `/proc/self/stat` behind the name of the program, which may contain anything.
struct Stat(Vec<f64>);

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        // The state, a letter, comes first.
        let fields = fields.split_whitespace();
        Some(Self(fields.map(|n| n.parse().unwrap_or(0.0)).collect()))
    }

    /// A field by its number in proc(5), where the state is the third.
    fn field(&self, number: usize) -> Option<f64> {
        self.0.get(number - 3).copied()
    }

    fn cpu(&self) -> Option<f64> {
        let ticks = self.field(14)? + self.field(15)?;
        Some(ticks / rustix::param::clock_ticks_per_second() as f64)
    }

    fn resident(&self) -> Option<f64> {
        Some(self.field(24)? * rustix::param::page_size() as f64)
    }

    fn started(&self) -> Option<f64> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let boot = text.lines().find_map(|line| line.strip_prefix("btime "))?;
        let after = self.field(22)? / rustix::param::clock_ticks_per_second() as f64;
        Some(boot.trim().parse::<f64>().ok()? + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let fields: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        let text = format!("77 (a) b) S {}", fields.join(" "));
        let stat = Stat::parse(&text).unwrap();
        assert_eq!((stat.field(4), stat.field(24)), (Some(4.0), Some(24.0)));
        assert!(Stat::parse("77").is_none() && Stat::parse("1 (x)").unwrap().cpu().is_none());
    }

    #[test]
    fn this_process_is_described() {
        let mut text = String::new();
        write(&mut text);
        let value = |metric: &str| {
            let line = text.lines().find(|line| line.starts_with(metric)).unwrap();
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 1e6, "{text}");
        assert!(value("process_open_fds ") >= 3.0, "{text}");
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let age = now.as_secs_f64() - value("process_start_time_seconds ");
        assert!((-2.0..600.0).contains(&age), "began {age} s ago");
    }
}
