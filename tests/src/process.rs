//! Running a program, reading the events it prints, ending it by its own id.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::PATIENCE;

/// One line a process printed on its standard output.
#[derive(Clone, Debug)]
pub struct Event {
    /// When this side read it.
    pub at: Instant,
    /// The line; one that is not JSON becomes `{"line": "..."}`.
    pub json: Value,
}

impl Event {
    /// The value of its `event` member, or nothing.
    pub fn kind(&self) -> &str {
        self.json["event"].as_str().unwrap_or_default()
    }

    /// The text of member `name`.
    ///
    /// # Panics
    /// When there is no such text.
    pub fn text(&self, name: &str) -> &str {
        self.json[name]
            .as_str()
            .unwrap_or_else(|| panic!("no text `{name}` in {}", self.json))
    }
}

/// A running program. It ends at the latest when this value is dropped or the test process dies.
pub struct Process {
    name: String,
    id: u32,
    handle: OwnedFd,
    lines: Receiver<Event>,
    exit: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    errors: PathBuf,
    _directory: TempDir,
}

/// What to run: a program, its arguments and changes to its environment.
pub struct Spec {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    user: Option<String>,
}

impl Spec {
    /// A program without arguments.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            user: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs it as another user; only root can.
    #[must_use]
    pub fn user(mut self, user: Option<&str>) -> Self {
        self.user = user.map(str::to_owned);
        self
    }

    /// The command. `setpriv` runs the program in its own place (same process id), killed by the
    /// kernel when the thread that started it ends, so that nothing outlives the tests.
    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        if let Some(user) = &self.user {
            command.args([format!("--reuid={user}"), "--init-groups".to_owned()]);
            command.arg(format!("--regid={user}"));
        }
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .args(&self.arguments);
        command.env("RUST_BACKTRACE", "0");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Starts it.
    pub fn start(self, name: &str) -> Process {
        Process::start(name, self)
    }

    /// Runs it to its end and returns what it printed.
    ///
    /// # Panics
    /// When it takes longer than `limit`.
    pub fn output(self, limit: Duration) -> Output {
        let program = self.program.clone();
        let mut command = self.command();
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {program:?}: {error}"));
        let handle = open(child.id());
        let (send, receive) = mpsc::channel();
        thread::spawn(move || send.send(child.wait_with_output()));
        match receive.recv_timeout(limit) {
            Ok(output) => output.expect("wait for a program"),
            Err(_) => {
                let _ = pidfd_send_signal(&handle, Signal::KILL);
                let output = receive
                    .recv()
                    .expect("output thread")
                    .expect("wait for a program");
                panic!(
                    "{program:?} took longer than {limit:?}: {}",
                    describe(&output)
                );
            }
        }
    }

    /// Runs it to its end and returns its standard output.
    ///
    /// # Panics
    /// When it fails or takes longer than a minute.
    pub fn run(self) -> String {
        let program = self.program.clone();
        let output = self.output(PATIENCE);
        assert!(
            output.status.success(),
            "{program:?} failed: {}",
            describe(&output)
        );
        String::from_utf8(output.stdout).expect("UTF-8 output")
    }
}

/// Exit status and both outputs, for messages.
fn describe(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn open(id: u32) -> OwnedFd {
    let pid = i32::try_from(id)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    pidfd_open(pid, PidfdFlags::empty()).expect("open a child's handle")
}

impl Process {
    fn start(name: &str, spec: Spec) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("culvert-log-")
            .tempdir()
            .expect("directory for the log");
        let errors = directory.path().join("stderr");
        let log = File::create(&errors).expect("create the log");
        let (started, start) = mpsc::channel();
        let (send_exit, exit) = mpsc::channel();
        // This thread lives as long as the program: the kernel ties the two together.
        thread::spawn(move || {
            let child = spec.command().stdout(Stdio::piped()).stderr(log).spawn();
            let mut child = match child {
                Ok(child) => child,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let out = child.stdout.take().expect("piped");
            let _ = started.send(Ok((child.id(), open(child.id()), out)));
            if let Ok(status) = child.wait() {
                let _ = send_exit.send(status);
            }
        });
        let (id, handle, out) = start
            .recv()
            .expect("starter thread")
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        let (send_line, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let Ok(line) = line else { return };
                let json = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "line": line }));
                if send_line
                    .send(Event {
                        at: Instant::now(),
                        json,
                    })
                    .is_err()
                {
                    return;
                }
            }
        });
        Self {
            name: name.to_owned(),
            id,
            handle,
            lines,
            exit,
            status: None,
            errors,
            _directory: directory,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits for the next event that `wanted` accepts, passing over others.
    ///
    /// # Panics
    /// When none comes within `limit`, or the process closed its output before.
    pub fn expect(&self, what: &str, limit: Duration, wanted: impl Fn(&Event) -> bool) -> Event {
        match self.next(limit, wanted) {
            Ok(event) => event,
            Err(why) => panic!("{}: {why} before `{what}`\n{}", self.name, self.log_tail()),
        }
    }

    /// Waits for the next event of a kind, within [`PATIENCE`].
    pub fn event(&self, kind: &str) -> Event {
        self.expect(kind, PATIENCE, |event| event.kind() == kind)
    }

    /// Like [`Self::expect`], but says why there is none instead of failing.
    ///
    /// # Errors
    /// When `limit` is over or the process closed its output.
    pub fn next(
        &self,
        limit: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, &'static str> {
        let end = Instant::now() + limit;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(event) if wanted(&event) => return Ok(event),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err("time is up"),
                Err(RecvTimeoutError::Disconnected) => return Err("its output ended"),
            }
        }
    }

    /// Events printed so far and not yet waited for.
    pub fn drain(&self) -> Vec<Event> {
        self.lines.try_iter().collect()
    }

    /// Sends a signal; nothing happens when the process has ended.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    /// Asks it to end (SIGTERM) and returns how it did.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exit_status()
    }

    /// Ends it without warning (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.exit_status();
    }

    /// Stops it where it is (SIGSTOP).
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.exit.try_recv().ok();
        }
        self.status.is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    pub fn exit_status(&mut self) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        match self.exit.recv_timeout(PATIENCE) {
            Ok(status) => *self.status.insert(status),
            Err(_) => panic!("{} does not end\n{}", self.name, self.log_tail()),
        }
    }

    /// What it wrote to its standard error.
    pub fn log(&self) -> String {
        fs::read(&self.errors)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// File with its standard error.
    pub fn log_path(&self) -> &Path {
        &self.errors
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "--- its last words\n{}",
            lines[lines.len().saturating_sub(20)..].join("\n")
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.signal(Signal::KILL);
            let _ = self.exit.recv_timeout(Duration::from_secs(10));
        }
        if thread::panicking() {
            // Captured with the test's own output, so it shows only for a test that failed.
            #[expect(
                clippy::print_stderr,
                reason = "the log belongs to the failed test's output"
            )]
            {
                eprintln!("=== {} ({})\n{}", self.name, self.id, self.log_tail());
            }
        } else {
            // A panic in one of its threads need not have ended it, but must fail the test.
            let log = self.log();
            assert!(
                !log.contains(" panicked at "),
                "{} panicked:\n{log}",
                self.name
            );
        }
    }
}
