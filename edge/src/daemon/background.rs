//! Nodes in the background: starting, ending and forgetting them.
//!
//! ```text
//! node start --- child in a session of its own, standard error -> node.log
//!     ^               |
//!     '--- pipe ------'   one line: it is ready, or why not
//! ```

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use culvert_manage::client::Client;
use culvert_manage::problem::{Kind, Problem};
use culvert_node::store::StoreError;
use culvert_node::store::database::Database;
use culvert_node::store::file::FILE_MODE;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, setsid};
use serde_json::{Value, json};

use super::lock::{self, NodeLock};
use super::run::{self, SOCKET};
use super::stored;
use crate::failure::Failure;
use crate::model::NodeSpec;
use crate::process;
use crate::store::Store;

/// Log of a node in its directory.
pub const LOG: &str = "node.log";
/// The hidden command that a child is.
pub const CHILD: &str = "node-child";
/// How long a node may take to start.
const START: Duration = Duration::from_secs(60);
/// How much longer than its streams a node may take to end.
const END: Duration = Duration::from_secs(10);
/// Most bytes of the answer of a child.
const LINE: u64 = 64 << 10;

/// Starts a node that is stored, as a process in the background, and waits until it is ready. Nothing
/// happens if it runs already.
///
/// # Errors
///
/// Why it does not run: what it says itself.
pub fn start(store: &Store, name: &str) -> Result<(), Failure> {
    if lock::holder(store, name)?.is_some() {
        return Ok(());
    }
    let directory = lock::directory(store, name)?;
    culvert_node::store::file::make_directory(&directory)?;
    let path = directory.join(LOG);
    let failed = |error: std::io::Error| {
        Failure::new(
            format!("cannot start the node '{name}' in the background: {error}"),
            "see the message",
        )
    };
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(|error| StoreError::Io {
            what: "write",
            path: path.clone(),
            error,
        })?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command
        .arg(CHILD)
        .arg(name)
        .env("CULVERT_HOME", store.home())
        .envs(store.unlock_variables())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().map_err(failed)?;
    let told = answer_of(&mut child);
    if told.is_err() {
        // It cannot be left half started.
        let _ = child.kill();
    }
    let hint = format!("its log may say more: {}", path.display());
    match told {
        Ok(line) => read_answer(name, &line, &hint),
        Err(problem) => Err(Failure::new(format!("the node '{name}' {problem}"), hint)),
    }
}

/// The line that a child says.
fn answer_of(child: &mut Child) -> Result<String, &'static str> {
    let Some(out) = child.stdout.take() else {
        return Err("cannot be heard");
    };
    let (told, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(out.take(LINE)).read_line(&mut line);
        let _ = told.send(line);
    });
    match answer.recv_timeout(START) {
        Ok(line) if line.is_empty() => Err("ended while it was starting"),
        Ok(line) => Ok(line),
        Err(_) => Err("did not start within a minute"),
    }
}

fn read_answer(name: &str, line: &str, hint: &str) -> Result<(), Failure> {
    let problem: Problem = match serde_json::from_str::<Value>(line) {
        Ok(answer) if answer["ready"] == true => return Ok(()),
        Ok(answer) => match serde_json::from_value(answer["problem"].clone()) {
            Ok(problem) => problem,
            Err(_) => Problem::failed(format!("the node '{name}' said: {line}"), hint),
        },
        Err(_) => Problem::failed(format!("the node '{name}' said: {line}"), hint),
    };
    Err(problem.into())
}

/// Is the child: runs the node of this name, and says on standard output when it is ready, or why it
/// is not.
///
/// # Errors
///
/// When it cannot start; that has been said.
pub fn child(store: &Store, name: &str) -> Result<(), Failure> {
    // Signals of the terminal it was started from are not for it. Fails where it has a session already.
    let _ = setsid();
    let say = |answer: Value| {
        let mut out = std::io::stdout().lock();
        // Nobody listening changes nothing.
        let _ = writeln!(out, "{answer}").and_then(|()| out.flush());
    };
    let ran = find(store, name).and_then(|spec| {
        process::keep_log(&lock::directory(store, name)?.join(LOG));
        run::run(store, spec, None, |_| say(json!({ "ready": true })))
    });
    if let Err(failure) = &ran {
        let kind = serde_json::from_value(json!(failure.kind)).unwrap_or(Kind::Failed);
        let problem = Problem::new(kind, &failure.message, &failure.hint);
        say(json!({ "problem": problem }));
        tracing::error!(hint = failure.hint, "{failure}");
    }
    ran
}

/// What a stored node is started with.
///
/// # Errors
///
/// Not found when there is none of this name.
pub fn find(store: &Store, name: &str) -> Result<NodeSpec, Failure> {
    let found = Database::open(store.home())?.node(name)?;
    let found = found.ok_or_else(|| {
        Failure::not_found(
            format!("there is no node '{name}'"),
            format!("make it with `culvert-edge node create {name}`"),
        )
    })?;
    serde_json::from_str(&found.spec).map_err(|error| {
        Failure::new(
            format!("what is stored about the node '{name}' cannot be read: {error}"),
            format!("`culvert-edge node delete {name}` forgets it; then make it anew"),
        )
    })
}

/// Ends the process of a node and waits until it is gone; its streams have `drain` to end in, or what the
/// node was told. With none left, a process that does not end is killed. Whether it was running.
///
/// # Errors
///
/// When it does not end.
pub fn stop(store: &Store, name: &str, drain: Option<Duration>) -> Result<bool, Failure> {
    let Some(pid) = lock::holder(store, name)? else {
        return Ok(false);
    };
    let asked = ask_to_end(store, name, drain);
    if let Err(problem) = &asked {
        tracing::debug!(%problem, "the node cannot be asked to end, so it is sent a signal");
        signal(store, name, pid, Signal::TERM)?;
    }
    let streams = drain.unwrap_or_else(|| {
        let seconds =
            find(store, name).map_or_else(|_| NodeSpec::default_drain(), |spec| spec.drain);
        Duration::from_secs(seconds)
    });
    let is_forced = drain == Some(Duration::ZERO);
    let patience = if is_forced { END / 3 } else { END };
    let mut gone = wait_for_end(store, name, streams.saturating_add(patience))?;
    if !gone && is_forced {
        signal(store, name, pid, Signal::KILL)?;
        gone = wait_for_end(store, name, END)?;
    }
    if !gone {
        return Err(Failure::unavailable(
            format!("the node '{name}' (process {pid}) does not end"),
            format!("`culvert-edge node stop {name} --force` kills it"),
        ));
    }
    Database::open(store.home())?.set_node_wanted(name, false)?;
    Ok(true)
}

fn ask_to_end(store: &Store, name: &str, drain: Option<Duration>) -> Result<(), Failure> {
    let socket = lock::directory(store, name)?.join(SOCKET);
    let client = Client::unix(socket)?.within(END / 3);
    let body = match drain {
        Some(drain) => json!({ "drain-s": drain.as_secs() }),
        None => json!({}),
    };
    client.request("POST", "/v1/self/stop", Some(body))?;
    Ok(())
}

/// Sends a signal to the process that holds the lock, and to no other that got its id later.
fn signal(store: &Store, name: &str, pid: u32, signal: Signal) -> Result<(), Failure> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(process) = process else {
        return Ok(());
    };
    let failed = |error: rustix::io::Errno| {
        Failure::new(
            format!("cannot end the process {pid} of the node '{name}': {error}"),
            "see whose process it is: `ps -fp` and its id",
        )
    };
    let handle = match pidfd_open(process, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    // The handle is of the process that had the id when it was opened: the one with the lock.
    if lock::holder(store, name)? != Some(pid) {
        return Ok(());
    }
    match pidfd_send_signal(handle, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Waits until nobody holds the lock of a node, for so long at most; whether that is so.
fn wait_for_end(store: &Store, name: &str, limit: Duration) -> Result<bool, Failure> {
    let path = lock::directory(store, name)?.join("lock");
    let Ok(file) = fs::File::open(&path) else {
        return Ok(true);
    };
    let (free, freed) = mpsc::channel();
    // Ends with this process, at the latest.
    std::thread::spawn(move || {
        let _ = file.lock_shared();
        let _ = free.send(());
    });
    Ok(freed.recv_timeout(limit).is_ok())
}

/// Forgets a node that does not run, with all it was to have, its log and its token.
///
/// # Errors
///
/// Conflict when it runs; not found when there is none of this name.
pub fn delete(store: &Store, name: &str) -> Result<(), Failure> {
    let held = NodeLock::take(store, name)?;
    let mut database = Database::open(store.home())?;
    let known = database.delete_node(name).map_err(stored)?;
    remove(held.directory())?;
    match known {
        true => Ok(()),
        false => Err(Failure::not_found(
            format!("there is no node '{name}'"),
            "`culvert-edge node list` shows all of them",
        )),
    }
}

fn remove(directory: &Path) -> Result<(), Failure> {
    fs::remove_dir_all(directory).map_err(|error| {
        let path = directory.to_owned();
        let what = "delete";
        StoreError::Io { what, path, error }.into()
    })
}
