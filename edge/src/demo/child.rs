//! Programs that the demo starts: they say what happens in JSON, and end together with it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child as OsChild, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use serde_json::Value;

use super::stop::Stop;
use crate::cli::DemoChildArgs;
use crate::failure::Failure;

/// How long a program may take to say what is expected of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to end when asked to.
const END: Duration = Duration::from_secs(3);
/// How often somebody who waits looks whether it is time to end.
const LOOK: Duration = Duration::from_millis(50);

/// Replaces this process by a program that the kernel ends as soon as the demo is gone, however
/// that ends. Returns only when that fails.
pub fn become_program(args: &DemoChildArgs) -> Failure {
    let tied = set_parent_process_death_signal(Some(Signal::TERM));
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs());
    if tied.is_err() || parent != Some(args.parent) {
        return Failure::new("the demo that wanted this program is gone", "");
    }
    let Some((program, arguments)) = args.command.split_first() else {
        return Failure::usage("no program is named", "");
    };
    let error = Command::new(program).args(arguments).exec();
    Failure::new(
        format!("cannot run {}: {error}", Path::new(program).display()),
        "",
    )
}

/// A running program.
pub struct Child {
    name: &'static str,
    process: OsChild,
    lines: Receiver<Value>,
    errors: PathBuf,
}

impl Child {
    /// Starts `program`; what it says on stderr goes to a file in `directory`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        directory: &Path,
    ) -> Result<Self, Failure> {
        let errors = directory.join(format!("{name}.log"));
        let failed = |error| {
            let hint = "the demo needs culvert-relay beside culvert-edge, or --relay-binary";
            Failure::new(format!("cannot start {}: {error}", program.display()), hint)
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(&errors)
            .map_err(failed)?;
        let own = std::env::current_exe().map_err(failed)?;
        let mut process = Command::new(own)
            .args(["demo-child", &std::process::id().to_string()])
            .arg(program)
            .args(arguments)
            .env_remove("CULVERT_HOME")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for the demo, which ends its programs in order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (send, lines) = mpsc::channel();
        if let Some(out) = process.stdout.take() {
            thread::spawn(move || {
                BufReader::new(out)
                    .lines()
                    .map_while(Result::ok)
                    .filter_map(|line| serde_json::from_str(&line).ok())
                    .all(|event| send.send(event).is_ok())
            });
        }
        Ok(Self {
            name,
            process,
            lines,
            errors,
        })
    }

    /// Waits for an event of a kind, passing over others.
    ///
    /// # Errors
    ///
    /// When the program ends or takes too long; says what it last wrote to its log.
    pub fn event(&mut self, kind: &str, stop: &Stop) -> Result<Value, Failure> {
        let end = Instant::now() + PATIENCE;
        let why = loop {
            stop.check()?;
            match self.lines.recv_timeout(LOOK) {
                Ok(event) if event["event"] == kind => return Ok(event),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if Instant::now() < end => {}
                Err(RecvTimeoutError::Timeout) => break format!("says no '{kind}' for too long"),
                Err(RecvTimeoutError::Disconnected) => break "ended".to_owned(),
            }
        };
        Err(self.failure(&why))
    }

    /// Fails if the program has ended.
    ///
    /// # Errors
    ///
    /// That it has.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failure(&format!("ended ({status})"))),
            Err(error) => Err(self.failure(&error.to_string())),
        }
    }

    fn failure(&self, why: &str) -> Failure {
        let log = fs::read(&self.errors).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last: VecDeque<&str> = log.lines().rev().take(8).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Failure::new(
            format!("the {} {why}", self.name),
            format!("its last words:\n    {}", last.join("\n    ")),
        )
    }

    /// Asks it to end, and makes it if it does not.
    pub fn end(&mut self) {
        if !matches!(self.process.try_wait(), Ok(None)) {
            return;
        }
        if let Ok(id) = i32::try_from(self.process.id())
            && let Some(id) = Pid::from_raw(id)
        {
            // Not waited for yet, so the id is still this program's.
            let _ = kill_process(id, Signal::TERM);
        }
        let end = Instant::now() + END;
        while Instant::now() < end {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}
