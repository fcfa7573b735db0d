//! `culvert-edge backup`, `restore`, `reset`: the state directory as a whole.
//!
//! ```text
//! backup DIR     culvert.db (a consistent copy), identities/, vaults/, histories/
//! restore DIR    checked, copied to HOME/.restore, then moved into place;
//!                what was there goes to HOME/before-restore
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use culvert_node::store::database::Database;
use culvert_node::store::file::{Existing, lock, make_directory, read, write};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::resource::ConfirmArgs;
use crate::daemon::NodeLock;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;

/// What a state directory holds besides the database: directories of files.
const PARTS: [&str; 3] = ["identities", "vaults", "histories"];
/// The database.
const DATABASE: &str = "culvert.db";
/// Directory of the nodes: locks, sockets, logs, tokens. Nothing in it has to be kept.
const NODES: &str = "nodes";
/// Where a backup is put together before it takes its place.
const STAGE: &str = ".restore";
/// Where what was there before goes.
const BEFORE: &str = "before-restore";

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Directory to make; it must not be there yet. It holds secret keys and belongs to this user only.
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Directory that `culvert-edge backup` made.
    #[arg(value_name = "DIR")]
    pub from: PathBuf,
    /// Restore although there is something: that is moved to `before-restore` in the state directory.
    #[arg(long, short)]
    pub force: bool,
}

/// Copies the state directory, while nodes run or not.
///
/// # Errors
///
/// When something cannot be read or written; what was written by then is removed.
pub fn backup(store: &Store, args: &BackupArgs, output: Output) -> Result<(), Failure> {
    let to = args.to.as_path();
    if to.exists() {
        return Err(Failure::conflict(
            format!("{} is there already", to.display()),
            "name a directory that is to be made",
        ));
    }
    // Nothing changes meanwhile.
    let held = lock(store.home())?;
    let copied = copy_all(store, to);
    drop(held);
    if copied.is_err() {
        // Half a backup is none.
        let _ = fs::remove_dir_all(to);
    }
    let files = copied?;
    let shown = to.display().to_string();
    output.print(
        format!("saved {files} files in {shown}; keep them secret"),
        &json!({ "directory": shown, "files": files }),
    );
    Ok(())
}

fn copy_all(store: &Store, to: &Path) -> Result<usize, Failure> {
    make_directory(to)?;
    let database = to.join(DATABASE);
    // SQLite gives a copy the mode of nothing in particular: the file has to be there.
    write(&database, b"", Existing::Keep)?;
    let copy = database.display().to_string();
    Database::open(store.home())?.with("copy", |db| db.execute("VACUUM INTO ?1", [copy]))?;
    Ok(1 + copy_parts(store.home(), to)?)
}

/// Copies the directories of files; how many files there were.
fn copy_parts(from: &Path, to: &Path) -> Result<usize, Failure> {
    let mut files = 0;
    for part in PARTS {
        let directory = from.join(part);
        if !directory.is_dir() {
            continue;
        }
        make_directory(&to.join(part))?;
        for path in entries(&directory)? {
            let Some(name) = path.file_name().filter(|_| path.is_file()) else {
                continue;
            };
            let bytes = read(&path)?;
            write(&to.join(part).join(name), &bytes, Existing::Keep)?;
            files += 1;
        }
    }
    Ok(files)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let listed = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut all = listed().map_err(|error| cannot("list", directory, &error))?;
    all.sort();
    Ok(all)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        format!("cannot {what} {}: {error}", path.display()),
        "check that the directory belongs to this user, and that there is room",
    )
}

/// Takes the locks of all nodes, so that none runs or is started.
///
/// They are found by their directories: a process keeps its lock there, and the database may be
/// damaged, which is when this is needed most.
fn no_node_runs(store: &Store) -> Result<Vec<NodeLock>, Failure> {
    let directory = store.home().join(NODES);
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut locks = Vec::new();
    for path in entries(&directory)? {
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|_| path.is_dir()) {
            locks.push(NodeLock::take(store, name)?);
        }
    }
    Ok(locks)
}

/// Puts a backup into the state directory.
///
/// # Errors
///
/// Conflict when there is something already; when the backup is damaged. Nothing is changed then.
pub fn restore(store: &Store, args: &RestoreArgs, output: Output) -> Result<(), Failure> {
    let (home, from) = (store.home(), args.from.as_path());
    check(from)?;
    let mut locks = Vec::new();
    if holds_anything(home) {
        if !args.force {
            return Err(Failure::conflict(
                format!(
                    "there are identities or a database in {} already",
                    home.display()
                ),
                "choose another --home, or pass --force: what is there is kept in before-restore",
            ));
        }
        locks = no_node_runs(store)?;
    }
    make_directory(home)?;
    let (stage, before) = (home.join(STAGE), home.join(BEFORE));
    if before.exists() {
        return Err(Failure::conflict(
            format!("{} is there from an earlier restore", before.display()),
            "move it away or delete it first",
        ));
    }
    if stage.exists() {
        fs::remove_dir_all(&stage).map_err(|error| cannot("remove", &stage, &error))?;
    }
    make_directory(&stage)?;
    let bytes = fs::read(from.join(DATABASE));
    let bytes = bytes.map_err(|error| cannot("read", &from.join(DATABASE), &error))?;
    write(&stage.join(DATABASE), &bytes, Existing::Keep)?;
    let files = 1 + copy_parts(from, &stage)?;
    put_in_place(home, &stage, &before)?;
    drop(locks);
    if !args.force {
        // There was nothing but an empty database.
        let _ = fs::remove_dir_all(&before);
    }
    let shown = home.display().to_string();
    output.print(
        format!(
            "restored {files} files to {shown}; start the nodes with `culvert-edge node start`"
        ),
        &json!({ "home": shown, "files": files }),
    );
    Ok(())
}

/// Whether a state directory holds more than an empty database, which looking into it makes.
fn holds_anything(home: &Path) -> bool {
    let is_used = |part: &str| {
        let mut entries = fs::read_dir(home.join(part)).into_iter().flatten();
        entries.next().is_some()
    };
    if PARTS.into_iter().any(is_used) {
        return true;
    }
    if !home.join(DATABASE).exists() {
        return false;
    }
    let rows = Database::open(home).and_then(|mut database| {
        database.with("read", |db| {
            let tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
            let mut tables = db.prepare(tables)?;
            let names = tables.query_map([], |row| row.get::<_, String>(0))?;
            let mut rows = 0_u64;
            for name in names {
                let count = format!("SELECT count(*) FROM \"{}\"", name?);
                rows += db.query_row(&count, [], |row| row.get::<_, u64>(0))?;
            }
            Ok(rows)
        })
    });
    // What cannot be read may be worth something.
    rows.map_or(true, |rows| rows > 0)
}

/// Moves what is there aside, then the new in. All of both is kept at any moment.
fn put_in_place(home: &Path, stage: &Path, before: &Path) -> Result<(), Failure> {
    let move_to =
        |from: &Path, to: &Path| fs::rename(from, to).map_err(|error| cannot("move", from, &error));
    let wal = [format!("{DATABASE}-wal"), format!("{DATABASE}-shm")];
    let old = [DATABASE].into_iter().chain(PARTS);
    let old: Vec<&str> = old.chain(wal.iter().map(String::as_str)).collect();
    let old: Vec<_> = old
        .into_iter()
        .filter(|name| home.join(name).exists())
        .collect();
    if !old.is_empty() {
        make_directory(before)?;
    }
    for name in old {
        move_to(&home.join(name), &before.join(name))?;
    }
    // The database last: without it nothing starts.
    for name in PARTS.into_iter().chain([DATABASE]) {
        if stage.join(name).exists() {
            move_to(&stage.join(name), &home.join(name))?;
        }
    }
    fs::remove_dir(stage).map_err(|error| cannot("remove", stage, &error))
}

/// Whether a directory is a backup whose database is whole.
fn check(from: &Path) -> Result<(), Failure> {
    let path = from.join(DATABASE);
    let damaged = |what: &dyn std::fmt::Display| {
        Failure::new(
            format!("{} is not a whole database: {what}", path.display()),
            "use another backup",
        )
    };
    if !path.is_file() {
        return Err(Failure::not_found(
            format!("there is no backup in {}", from.display()),
            "name a directory that `culvert-edge backup` made",
        ));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(|error| damaged(&error))?;
    let found: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| damaged(&error))?;
    match found.as_str() {
        "ok" => Ok(()),
        other => Err(damaged(&other)),
    }
}

/// Deletes everything that this program keeps.
///
/// # Errors
///
/// Wrong usage when nobody agreed; when a node runs; when something cannot be deleted.
pub fn reset(store: &Store, confirm: ConfirmArgs, output: Output) -> Result<(), Failure> {
    use std::io::IsTerminal;
    let home = store.home();
    if !confirm.yes && !io::stdin().is_terminal() {
        return Err(Failure::usage(
            format!(
                "this deletes all identities, keys and nodes in {}",
                home.display()
            ),
            "pass --yes if that is meant; `culvert-edge backup` keeps a copy",
        ));
    }
    confirm.ask(&format!(
        "delete all identities, keys and nodes in {}",
        home.display()
    ))?;
    drop(no_node_runs(store)?);
    let mut deleted = Vec::new();
    let files = [
        DATABASE.to_owned(),
        format!("{DATABASE}-wal"),
        format!("{DATABASE}-shm"),
    ];
    for name in files.iter().map(String::as_str).chain(PARTS).chain([NODES]) {
        let path = home.join(name);
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        match removed {
            Ok(()) => deleted.push(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot("delete", &path, &error)),
        }
    }
    let text = format!("deleted everything in {}", home.display());
    output.print(text, &json!({ "deleted": deleted }));
    Ok(())
}
