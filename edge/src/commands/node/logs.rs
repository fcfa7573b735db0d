//! `culvert-edge node logs`: where the log of a node is, the end of it, and what is added to it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{LogsArgs, stored};
use crate::daemon::background::LOG;
use crate::daemon::lock;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;

/// Most bytes of a log that are looked through for its last lines.
const TAIL: u64 = 4 << 20;
/// How many lines come first where what is added is followed.
const BEFORE: usize = 10;
/// How often it is looked for what was added.
const LOOK: Duration = Duration::from_millis(200);
/// A line longer than this, in bytes, is printed as several.
const LONGEST: usize = 64 << 10;
/// Bytes of one read.
const CHUNK: u64 = 1 << 20;

/// Says where the log of a node is, prints its end, or prints what is added to it until the process is
/// ended.
///
/// # Errors
///
/// That there is none; what keeps it from being read.
pub fn logs(store: &Store, args: &LogsArgs, output: Output) -> Result<(), Failure> {
    let node = stored(store, args.name.as_deref())?;
    let path = lock::directory(store, &node.name)?.join(LOG);
    let last = match (args.lines, args.follow) {
        (Some(lines), _) => lines,
        (None, true) => BEFORE,
        (None, false) => {
            let shown = path.display().to_string();
            output.print(&shown, &json!({ "name": node.name, "path": shown }));
            return Ok(());
        }
    };
    let failed = |error: io::Error| {
        Failure::new(
            format!("cannot read the log {}: {error}", path.display()),
            "nodes have one that were started in the background",
        )
    };
    let mut log = Log::open(path.clone()).map_err(failed)?;
    let lines = log.end().map_err(failed)?;
    let skipped = lines.len().saturating_sub(last);
    let mut is_read = print(&lines[skipped..], output);
    while args.follow && is_read {
        thread::sleep(LOOK);
        is_read = print(&log.added().map_err(failed)?, output);
    }
    if !args.follow && is_read {
        // A last line that has no end yet.
        print(&log.rest(), output);
    }
    Ok(())
}

/// Prints lines; whether somebody still reads them.
fn print(lines: &[String], output: Output) -> bool {
    let mut out = io::stdout().lock();
    let mut write = |line: &String| match output {
        Output::Text => writeln!(out, "{line}"),
        Output::Json => writeln!(out, "{}", json!({ "line": line })),
    };
    let written = lines.iter().try_for_each(&mut write);
    written.and_then(|()| out.flush()).is_ok()
}

/// A log that is read while it is written. One that got long was copied to a file beside it, and
/// emptied.
struct Log {
    path: PathBuf,
    /// What tells it from another one of the same name.
    inode: u64,
    /// How much of it was read.
    at: u64,
    /// The beginning of a line whose end was not there yet.
    begun: Vec<u8>,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Self> {
        let inode = File::open(&path)?.metadata()?.ino();
        Ok(Self {
            path,
            inode,
            at: 0,
            begun: Vec::new(),
        })
    }

    /// Its last lines.
    fn end(&mut self) -> io::Result<Vec<String>> {
        let length = File::open(&self.path)?.metadata()?.len();
        self.at = length.saturating_sub(TAIL);
        self.added()
    }

    /// The lines that were added since it was looked at last.
    fn added(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        let data = File::open(&self.path)?.metadata()?;
        let is_other = data.ino() != self.inode;
        if is_other || data.len() < self.at {
            if !is_other {
                // What was written last before it was moved; that may be gone too, by now.
                let _ = self.read(&self.path.with_extension("log.1"), &mut lines);
            }
            lines.extend(self.rest());
            (self.inode, self.at) = (data.ino(), 0);
        }
        self.read(&self.path.clone(), &mut lines)?;
        Ok(lines)
    }

    /// Reads a file from where the reading is to its end.
    fn read(&mut self, path: &Path, lines: &mut Vec<String>) -> io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.at))?;
        loop {
            let mut chunk = Vec::new();
            let read = (&mut file).take(CHUNK).read_to_end(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            self.at += read as u64;
            for part in chunk.split_inclusive(|byte| *byte == b'\n') {
                self.begun.extend_from_slice(part);
                if part.ends_with(b"\n") || self.begun.len() > LONGEST {
                    lines.extend(self.rest());
                }
            }
        }
    }

    /// What there is of a line, without its end.
    fn rest(&mut self) -> Vec<String> {
        let line = std::mem::take(&mut self.begun);
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
        match line.is_empty() {
            true => Vec::new(),
            false => vec![text],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_added_is_told_once_and_survives_moving() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join(LOG);
        fs::write(&path, "one\ntwo\nthr").expect("written");
        let mut log = Log::open(path.clone()).expect("a log");
        assert_eq!(log.end().expect("its end"), ["one", "two"]);
        fs::write(&path, "one\ntwo\nthree\nfour\n").expect("written");
        assert_eq!(log.added().expect("more"), ["three", "four"]);
        assert!(log.added().expect("nothing more").is_empty());
        // Five is written just before it is moved, six after that.
        fs::write(
            place.path().join("node.log.1"),
            "one\ntwo\nthree\nfour\nfive\n",
        )
        .expect("moved");
        fs::write(&path, "six\n").expect("written");
        assert_eq!(log.added().expect("more"), ["five", "six"]);
        // Made anew.
        fs::remove_file(&path).expect("removed");
        let other = place.path().join("other");
        fs::write(&other, "a longer line than there was\n").expect("written");
        fs::rename(&other, &path).expect("another one");
        log.inode = 0;
        let added = log.added().expect("more");
        assert_eq!(added, ["a longer line than there was"]);
        fs::remove_file(&path).expect("removed");
        assert!(log.added().is_err(), "there is none");
    }
}
