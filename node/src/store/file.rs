//! Files with secrets: nobody else may read them, and a crash leaves the old or the new one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::StoreError;

/// Mode of files with secrets.
pub const FILE_MODE: u32 = 0o600;
/// Mode of directories made here.
pub const DIRECTORY_MODE: u32 = 0o700;
/// Largest file that is read: far more than an identity with the longest history takes.
const LARGEST: u64 = 1 << 20;
/// Held by whoever changes something in a state directory.
const LOCK: &str = ".lock";

/// What a new file does with an old one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new one is refused.
    Keep,
    /// It is replaced.
    Replace,
}

/// Makes a directory and those above it, for their owner only. One that exists is left as it is.
///
/// # Errors
///
/// [`StoreError::Io`].
pub fn make_directory(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|error| StoreError::io("create the directory", path, error))
}

/// Reads a file with secrets.
///
/// # Errors
///
/// [`StoreError::Readable`] when others may read or write it, [`StoreError::Corrupt`] when it is
/// too large, [`StoreError::Io`].
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let reading = |error| StoreError::io("read", path, error);
    let file = File::open(path).map_err(reading)?;
    let data = file.metadata().map_err(reading)?;
    let mode = data.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(StoreError::Readable { path, mode });
    }
    if data.len() > LARGEST {
        return Err(StoreError::corrupt(path, "it is too large"));
    }
    // Room for all of it at once: a buffer that grows leaves copies of secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(data.len() as usize + 1));
    file.take(LARGEST)
        .read_to_end(&mut bytes)
        .map_err(reading)?;
    Ok(bytes)
}

/// Waits until no other process changes what is below this directory, and keeps others out until the
/// result is dropped. What only reads needs none: files are replaced whole.
///
/// # Errors
///
/// [`StoreError::Io`].
pub fn lock(directory: &Path) -> Result<File, StoreError> {
    make_directory(directory)?;
    let path = directory.join(LOCK);
    let failed = |error| StoreError::io("lock", &path, error);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// Removes a file for good.
///
/// # Errors
///
/// [`StoreError::Io`].
pub fn remove(path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("delete", path, error);
    std::fs::remove_file(path).map_err(failed)?;
    sync_directory(path).map_err(failed)
}

/// Writes a file with secrets: whole or not at all, also when the machine fails in between.
///
/// # Errors
///
/// [`StoreError::Exists`] when there is one that stays, [`StoreError::Io`].
pub fn write(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), StoreError> {
    #[cfg(test)]
    let late = faults::strike(path)?;
    let beside = beside(path);
    let written = create(&beside, bytes).and_then(|()| match existing {
        Existing::Replace => std::fs::rename(&beside, path),
        // Unlike a rename, a link never takes the place of what is there.
        Existing::Keep => {
            std::fs::hard_link(&beside, path).and_then(|()| std::fs::remove_file(&beside))
        }
    });
    if let Err(error) = written {
        let _ = std::fs::remove_file(&beside);
        if existing == Existing::Keep && error.kind() == io::ErrorKind::AlreadyExists {
            return Err(StoreError::Exists(path.to_owned()));
        }
        return Err(StoreError::io("write", path, error));
    }
    #[cfg(test)]
    late?;
    sync_directory(path).map_err(|error| StoreError::io("write", path, error))
}

/// A new name in the same directory; a dot in front keeps it out of listings.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let random = u64::from_le_bytes(crate::random_bytes());
    path.with_file_name(format!(".{name}.{random:016x}"))
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes that fail, to see what is left: as when the disk is full, or the process ends there.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::Cell;

    use super::*;

    /// Which writes of this thread fail.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Fault {
        /// How many succeed before.
        pub(in super::super) after: u32,
        /// Whether all later ones fail too, as after a crash.
        pub(in super::super) for_good: bool,
        /// Whether it is in the file all the same, but nobody can say so.
        pub(in super::super) late: bool,
    }

    thread_local! {
        static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    pub(in super::super) fn set(fault: Option<Fault>) {
        FAULT.set(fault);
    }

    /// Whether the fault is still to come.
    pub(in super::super) fn is_pending() -> bool {
        FAULT.get().is_some_and(|fault| fault.after > 0)
    }

    /// The outer result is of now, the inner of when the file is there.
    pub(super) fn strike(path: &Path) -> Result<Result<(), StoreError>, StoreError> {
        let failed = || StoreError::io("write", path, io::Error::other("a fault of the test"));
        let Some(fault) = FAULT.get() else {
            return Ok(Ok(()));
        };
        if fault.after > 0 {
            let after = fault.after - 1;
            FAULT.set(Some(Fault { after, ..fault }));
            return Ok(Ok(()));
        }
        // What comes after a crash does not happen at all.
        FAULT.set(fault.for_good.then_some(Fault {
            late: false,
            ..fault
        }));
        match fault.late {
            true => Ok(Err(failed())),
            false => Err(failed()),
        }
    }
}
