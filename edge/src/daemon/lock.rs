//! One process per node: a locked file that holds the id of the process.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use culvert_manage::problem::Kind;
use culvert_manage::service::PidLock;
use culvert_node::store::StoreError;
use culvert_node::store::file::{DIRECTORY_MODE, make_directory};

use crate::failure::Failure;
use crate::store::Store;

/// Directory of the nodes below the state directory.
const NODES: &str = "nodes";
/// The lock in the directory of a node.
const LOCK: &str = "lock";
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

/// The process that runs a node, if one does.
///
/// # Errors
///
/// Wrong usage when the name cannot be one.
pub fn holder(store: &Store, name: &str) -> Result<Option<u32>, Failure> {
    Ok(PidLock::holder(&directory(store, name)?.join(LOCK)))
}

/// The right to be, and to change, a node; held until it is dropped.
#[derive(Debug)]
pub struct NodeLock {
    name: String,
    directory: PathBuf,
    _lock: PidLock,
}

impl NodeLock {
    /// Takes the lock of a node; makes its directory where it is missing, and takes rights of others
    /// away from one that is there.
    ///
    /// # Errors
    ///
    /// Conflict when another process holds it: the message names that.
    pub fn take(store: &Store, name: &str) -> Result<Self, Failure> {
        let directory = directory(store, name)?;
        make_directory(&directory)?;
        close_to_others(&directory)?;
        let lock = PidLock::take(&directory.join(LOCK));
        let lock = lock.map_err(|problem| match problem.kind {
            Kind::Conflict => {
                let pid = PidLock::holder(&directory.join(LOCK));
                let by = pid.map_or_else(String::new, |pid| format!(", as process {pid}"));
                Failure::conflict(
                    format!("the node '{name}' is running already{by}"),
                    format!("stop it first: `culvert-edge node stop {name}`"),
                )
            }
            _ => problem.into(),
        })?;
        Ok(Self {
            name: name.to_owned(),
            directory,
            _lock: lock,
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

/// The directory has a socket and a token in it.
fn close_to_others(directory: &Path) -> Result<(), Failure> {
    let failed = |error| StoreError::Io {
        what: "change the permissions of",
        path: directory.to_owned(),
        error,
    };
    let mode = fs::metadata(directory)
        .map_err(failed)?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        let path = directory.display().to_string();
        tracing::warn!(path, "others could look into it: its mode is 0700 now");
        fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE)).map_err(failed)?;
    }
    Ok(())
}
