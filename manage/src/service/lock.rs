//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::problem::{Kind, Problem};

/// How often a lock that is held is asked for again: [`PidLock::holder`] holds it for a moment.
const TRIES: u32 = 10;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// A file that at most one process holds, with that process's id in it. The kernel lets go of it when
/// the process ends, however it does; the file stays.
#[derive(Debug)]
pub struct PidLock {
    _file: File,
    path: PathBuf,
}

impl PidLock {
    /// Takes the lock for this process.
    ///
    /// # Errors
    ///
    /// `Conflict` when another process holds it, which is named; otherwise why the file cannot be
    /// used.
    pub fn take(path: &Path) -> Result<Self, Problem> {
        let cannot = |error: io::Error| {
            let hint = "this user must be able to write there; choose another place, or change its \
                        permissions";
            Problem::failed(format!("cannot lock {}: {error}", path.display()), hint)
        };
        let mut file = open(path).map_err(cannot)?;
        for again in (0..TRIES).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(cannot(error)),
                Err(TryLockError::WouldBlock) if again > 0 => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(held(path, pid_in(&file))),
            }
        }
        file.set_len(0).map_err(cannot)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
            .map_err(cannot)?;
        let path = path.to_owned();
        Ok(Self { _file: file, path })
    }

    /// The process that holds a lock, if one does.
    #[must_use]
    pub fn holder(path: &Path) -> Option<u32> {
        let file = File::open(path).ok()?;
        match file.try_lock_shared() {
            // Closing the file lets go of it.
            Ok(()) | Err(TryLockError::Error(_)) => None,
            Err(TryLockError::WouldBlock) => pid_in(&file),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn pid_in(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn held(path: &Path, pid: Option<u32>) -> Problem {
    let who = pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"));
    Problem::new(
        Kind::Conflict,
        format!("{who} runs here already: it holds {}", path.display()),
        "end that process first, or give this one a place of its own",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_names_its_holder() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("lock");
        assert_eq!(PidLock::holder(&path), None);
        let lock = PidLock::take(&path).expect("the lock");
        let own = std::process::id();
        assert_eq!(PidLock::holder(&path), Some(own));
        let refused = PidLock::take(&path).expect_err("it is held");
        assert_eq!(refused.kind, Kind::Conflict);
        assert!(
            refused.message.contains(&format!("process {own} ")),
            "{refused}"
        );
        drop(lock);
        assert_eq!(PidLock::holder(&path), None);
        PidLock::take(&path).expect("the lock again");
    }

    #[test]
    fn a_lock_that_cannot_be_made_says_where() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("missing").join("lock");
        let refused = PidLock::take(&path).expect_err("no such directory");
        assert_eq!(refused.kind, Kind::Failed);
        assert!(refused.message.contains("missing/lock"), "{refused}");
    }
}
