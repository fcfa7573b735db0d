//! Memory of streams that were used once and wait.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use culvert_tests::PATIENCE;
use culvert_tests::net::try_connect;

use super::Run;
use super::streams::fresh;
use crate::contender::{Contender, Kind};
use crate::known;
use crate::load::{DETAIL, Figures, MIB, Outcome};
use crate::service::{Service, Want};
use crate::usage::resident;

/// Name of the figure of memory of one stream or link.
pub const EACH: &str = "KiB each";
/// Name of the figure of memory of all processes.
pub const WHOLE: &str = "MiB in all";
/// Files that a process has open beside those of streams, at most.
const RESERVE: usize = 100;
/// How long opening all of them may take.
const LONGEST: Duration = Duration::from_secs(120);
/// How long memory has to come to rest.
const REST: Duration = Duration::from_secs(2);

/// Name of this work.
pub fn name(streams: usize) -> String {
    format!("{streams} idle streams")
}

/// Contenders are started afresh for each measurement: what they have used before, they keep.
pub(super) fn idle(run: &mut Run<'_>) {
    let settings = run.settings;
    let service = Service::start();
    let mut kinds = settings.kinds();
    kinds.retain(|kind| *kind != Kind::Direct);
    for streams in run.quick_or([1000, 10_000], [50, 100]) {
        let rest = run.quick_or(REST, Duration::ZERO);
        run.rounds("Idle streams", &name(streams), &kinds, |kind| {
            let files = streams * kind.files_per_stream();
            let limit = files_allowed();
            if files + RESERVE > limit {
                let files = files + RESERVE;
                return Err(format!("needs {files} files; {limit} may be open here"));
            }
            let contender = fresh(*kind, settings, &service);
            measure(&contender, &service, streams, rest)
        });
    }
}

/// Files that a process may have open here.
fn files_allowed() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map_or(usize::MAX, |limit| limit as usize)
}

fn measure(
    contender: &Contender,
    service: &Service,
    count: usize,
    rest: Duration,
) -> Outcome<Figures> {
    let number = service.new_run();
    let before = resident(&contender.processes);
    let text = known::bytes(0, 64);
    let mut streams = Vec::new();
    let began = Instant::now();
    for id in 0..count {
        let open = || {
            let mut stream = try_connect(contender.address, PATIENCE)?;
            stream.write_all(&[&Want::Echo.header(number, id as u32)[..], text].concat())?;
            let mut back = [0; 64];
            stream.read_exact(&mut back)?;
            assert!(back == text, "other bytes came back");
            Ok::<_, std::io::Error>(stream)
        };
        if began.elapsed() > LONGEST {
            return Err(format!("only {id} streams were open after {LONGEST:?}"));
        }
        streams.push(open().map_err(|error| format!("stream {id}: {error}"))?);
    }
    thread::sleep(rest);
    let after = resident(&contender.processes);
    let open = service.counted(number).open;
    if open != count as u64 {
        return Err(format!("{open} of {count} streams are still open"));
    }
    let total = |memory: &[(_, u64)]| memory.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>();
    let each = |bytes: f64| bytes / count as f64 / 1024.0;
    let mut figures = vec![
        (EACH.to_owned(), each(total(&after) - total(&before))),
        (WHOLE.to_owned(), total(&after) / MIB),
    ];
    for ((role, after), (_, before)) in after.iter().zip(&before) {
        let grown = *after as f64 - *before as f64;
        // Names of roles differ between contenders: there would be a row for each.
        figures.push((format!("{DETAIL}{EACH}, {role}"), each(grown)));
    }
    drop(streams);
    Ok(figures)
}
