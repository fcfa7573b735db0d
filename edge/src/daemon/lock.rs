//! One process per node: a locked file that holds the id of the process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use culvert_node::store::StoreError;
use culvert_node::store::file::{FILE_MODE, make_directory};

use crate::failure::Failure;
use crate::store::Store;

/// Directory of the nodes below the state directory.
const NODES: &str = "nodes";
/// Longest name of a node, in bytes: the path of its socket has to fit into 108.
const LONGEST_NAME: usize = 48;

/// Where the files of a node are.
///
/// # Errors
///
/// Wrong usage when the name cannot be one.
pub fn directory(store: &Store, name: &str) -> Result<PathBuf, Failure> {
    let is_name = (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name != "self"
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    match is_name {
        true => Ok(store.home().join(NODES).join(name)),
        false => Err(Failure::usage(
            format!("'{name}' is not a name for a node"),
            "use 1 to 48 of a-z A-Z 0-9 . _ -, not starting with . or -; 'self' is the node that is asked",
        )),
    }
}

/// The right to be, and to change, a node; held until it is dropped.
#[derive(Debug)]
pub struct NodeLock {
    name: String,
    directory: PathBuf,
    _file: File,
}

impl NodeLock {
    /// Takes the lock of a node; makes its directory where it is missing.
    ///
    /// # Errors
    ///
    /// When another process holds it: the message names that.
    pub fn take(store: &Store, name: &str) -> Result<Self, Failure> {
        let directory = directory(store, name)?;
        make_directory(&directory)?;
        let path = directory.join("lock");
        let failed = |error| StoreError::Io {
            what: "lock",
            path: path.clone(),
            error,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(failed)?;
        if file.try_lock().is_err() {
            let by = holder(&path).map_or_else(String::new, |pid| format!(" (process {pid})"));
            return Err(Failure::new(
                format!("the node '{name}' is running already{by}"),
                format!("stop it with `culvert-edge node stop {name}`, or choose another name"),
            ));
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(format!("{}\n", std::process::id()).as_bytes())
        };
        write(&mut file).map_err(failed)?;
        Ok(Self {
            name: name.to_owned(),
            directory,
            _file: file,
        })
    }

    /// Name of the node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// The process that a lock names, whether it still holds it or not.
fn holder(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(32)
        .read_to_string(&mut text)
        .ok()?;
    text.trim().parse().ok()
}
