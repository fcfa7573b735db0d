//! The database of a state directory: what people and authorities decided, shared by the processes
//! that use the directory.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::StoreError;
use super::file::{FILE_MODE, make_directory};

/// Name of the file.
const FILE: &str = "culvert.db";
/// How long to wait for another process that is writing.
const BUSY: Duration = Duration::from_secs(5);

/// What brings the tables from one version to the next; the version is the number of those applied.
/// Only ever added to.
const STEPS: [&str; 2] = [
    "
    CREATE TABLE policy (
        -- 'name': of one resource; 'type': of all resources of a type
        scope TEXT NOT NULL CHECK (scope IN ('name', 'type')),
        resource TEXT NOT NULL,
        -- canonical text
        expression TEXT NOT NULL,
        PRIMARY KEY (scope, resource)
    ) STRICT;

    -- Authorities in this directory: what their tickets say.
    CREATE TABLE authority (
        identifier BLOB NOT NULL PRIMARY KEY,
        project_name TEXT NOT NULL,
        project_route TEXT NOT NULL,
        project_history BLOB NOT NULL,
        route TEXT NOT NULL
    ) STRICT;

    -- Members of the authorities in this directory. Identifiers are 32 bytes, times UNIX seconds,
    -- attributes JSON objects of text.
    CREATE TABLE member (
        authority BLOB NOT NULL,
        identifier BLOB NOT NULL,
        attributes TEXT NOT NULL,
        added_by BLOB NOT NULL,
        added_at INTEGER NOT NULL,
        pre_trusted INTEGER NOT NULL,
        PRIMARY KEY (authority, identifier)
    ) STRICT;

    -- One-time codes, by the SHA-256 of the code: the code itself is a secret of its bearer.
    CREATE TABLE ticket (
        authority BLOB NOT NULL,
        reference TEXT NOT NULL,
        code_hash BLOB NOT NULL,
        attributes TEXT NOT NULL,
        issued_by BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        uses_left INTEGER NOT NULL,
        -- Kept for a while after its end, to say how it ended.
        revoked INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (authority, reference),
        UNIQUE (authority, code_hash)
    ) STRICT;

    -- Credentials of the identities in this directory: encoded credential with purpose key.
    CREATE TABLE credential (
        subject BLOB NOT NULL,
        issuer BLOB NOT NULL,
        credential BLOB NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (subject, issuer)
    ) STRICT;

    -- Projects: an authority, where it is, and which identity is enrolled with it.
    CREATE TABLE project (
        name TEXT NOT NULL PRIMARY KEY,
        id TEXT NOT NULL,
        route TEXT NOT NULL,
        change_history BLOB NOT NULL,
        authority BLOB NOT NULL,
        authority_history BLOB NOT NULL,
        authority_route TEXT NOT NULL,
        identity TEXT NOT NULL
    ) STRICT;
",
    "
    -- Nodes of this machine: what each is started with, as JSON, and whether it is to run.
    CREATE TABLE node (
        name TEXT NOT NULL PRIMARY KEY,
        spec TEXT NOT NULL,
        -- the one that is meant where none is named
        is_default INTEGER NOT NULL,
        wanted INTEGER NOT NULL
    ) STRICT;

    -- What nodes are to have, as JSON. kind: tcp-inlet, tcp-outlet, relay, secure-channel,
    -- tcp-listener, tcp-connection.
    CREATE TABLE resource (
        node TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        spec TEXT NOT NULL,
        PRIMARY KEY (node, kind, name)
    ) STRICT;
",
];

/// An open database. Changes of other processes are seen at the next query.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    connection: Connection,
}

impl Database {
    /// Opens the database of a state directory; makes it where it is missing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], [`StoreError::Later`], [`StoreError::Io`].
    pub fn open(home: &Path) -> Result<Self, StoreError> {
        make_directory(home)?;
        let path = home.join(FILE);
        make_file(&path)?;
        close_to_others(&path)?;
        let failed = |error| StoreError::Database {
            what: "open",
            path: path.clone(),
            error,
        };
        let mut connection = Connection::open(&path).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            .map_err(failed)?;
        let work = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed)?;
        let version: u32 = work
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        let Some(missing) = STEPS.get(version as usize..) else {
            return Err(StoreError::Later(path));
        };
        for step in missing {
            work.execute_batch(step).map_err(failed)?;
        }
        work.pragma_update(None, "user_version", STEPS.len() as u32)
            .map_err(failed)?;
        work.commit().map_err(failed)?;
        Ok(Self { path, connection })
    }

    /// Does something with the connection; `what` it is completes "cannot … the database".
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn with<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&mut self.connection).map_err(|error| StoreError::Database {
            what,
            path: self.path.clone(),
            error,
        })
    }

    /// Number of the file that has its name now.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] when there is none.
    pub fn file(&self) -> Result<u64, StoreError> {
        let data = std::fs::metadata(&self.path);
        data.map(|data| data.ino())
            .map_err(|error| StoreError::io("find", &self.path, error))
    }

    /// A number that is another one after another connection has changed something.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn data_version(&mut self) -> Result<i64, StoreError> {
        self.with("read", |connection| {
            connection.pragma_query_value(None, "data_version", |row| row.get(0))
        })
    }
}

/// Makes the file where it is missing: SQLite gives its further files the mode of the first.
///
/// One that is there must not be opened here. Closing it would take away the locks that this process's
/// other connections hold, as POSIX locks do; the next program to end would then take itself for the
/// last one, remove the log that is in use, and the database would be damaged.
fn make_file(path: &Path) -> Result<(), StoreError> {
    let made = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(FILE_MODE)
        .open(path);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(StoreError::io("open", path, error))
        }
        _ => Ok(()),
    }
}

/// Takes rights of others away: whom the members of a project are is nobody else's business. Nothing is
/// opened for it, for the reason above.
fn close_to_others(path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("change the permissions of", path, error);
    let mode = std::fs::metadata(path)
        .map_err(failed)?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "others could read it: its mode is 0600 now");
    std::fs::set_permissions(path, Permissions::from_mode(FILE_MODE)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_for_its_owner_only() {
        let home = tempfile::tempdir().expect("a directory");
        let mut first = Database::open(home.path()).expect("a database");
        let before = first.data_version().expect("a version");
        let mut second = Database::open(home.path()).expect("the same database");
        let insert = "INSERT INTO policy VALUES ('name', 'db', 'true')";
        let changed = second.with("write", |db| db.execute(insert, []));
        assert_eq!(changed.expect("written"), 1);
        assert_ne!(first.data_version().expect("a version"), before);
        for entry in std::fs::read_dir(home.path()).expect("entries").flatten() {
            let mode = entry.metadata().expect("data").permissions().mode();
            assert_eq!(mode & 0o777, FILE_MODE, "{:?}", entry.path());
        }
    }

    #[test]
    fn one_that_others_can_read_is_closed_to_them() {
        let home = tempfile::tempdir().expect("a directory");
        drop(Database::open(home.path()).expect("a database"));
        let path = home.path().join(FILE);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("opened");
        drop(Database::open(home.path()).expect("the same database"));
        let mode = std::fs::metadata(&path).expect("data").permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE);
    }

    /// Whether this process holds a lock on a file.
    fn is_locked(path: &Path) -> bool {
        let inode = std::fs::metadata(path).expect("a file").ino();
        let (owner, file) = (std::process::id().to_string(), format!(":{inode}"));
        let locks = std::fs::read_to_string("/proc/locks").expect("locks");
        locks.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.any(|word| word == owner) && words.any(|word| word.ends_with(&file))
        })
    }

    #[test]
    fn another_connection_leaves_the_locks_of_the_first() {
        let home = tempfile::tempdir().expect("a directory");
        let first = Database::open(home.path()).expect("a database");
        let path = home.path().join(FILE);
        assert!(is_locked(&path), "an open database is locked");
        let second = Database::open(home.path()).expect("the same database");
        assert!(is_locked(&path), "locked with two connections");
        drop(second);
        assert!(is_locked(&path), "locked when one is left");
        drop(first);
        assert!(!is_locked(&path), "not locked any more");
    }

    #[test]
    fn a_later_version_is_left_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let mut database = Database::open(home.path()).expect("a database");
        let later = STEPS.len() as u32 + 1;
        let set = database.with("write", |db| db.pragma_update(None, "user_version", later));
        set.expect("written");
        let opened = Database::open(home.path());
        assert!(matches!(opened, Err(StoreError::Later(_))));
    }
}
