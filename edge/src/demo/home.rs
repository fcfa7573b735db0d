//! A temporary state directory.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::store::file::DIRECTORY_MODE;

/// A directory for one run, removed with all it holds when dropped.
pub struct TemporaryHome(PathBuf);

impl TemporaryHome {
    /// Makes one that nobody else can look into.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn new() -> Result<Self, Failure> {
        let random = hex::encode(culvert_node::random_bytes::<8>());
        let path = std::env::temp_dir().join(format!("culvert-demo-{random}"));
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) => Err(Failure::new(
                format!("cannot create the directory {}: {error}", path.display()),
                "set TMPDIR to a directory that can be written to",
            )),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryHome {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
