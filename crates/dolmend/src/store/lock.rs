//! The lock of a state folder: two servers would overwrite each other's tables.
//!
//! It is a file that one process holds, and that the system releases with the process, however that ends. So there is
//! nothing to clean up after `kill -9`. On Unix it is `flock`; on Windows the file is open for one process only. The file
//! stays when the lock is released: to remove it would let a second server lock a file that a third cannot find.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::file;

/// The name of the file in the folder.
const NAME: &str = "dolmend.lock";

/// Holds the folder until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a folder.
    ///
    /// # Errors
    ///
    /// A text for the operator: another process has it, or there can be no lock in this folder.
    pub fn take(folder: &Path) -> Result<Lock, String> {
        let shown = folder.display();
        let mut options = OpenOptions::new();
        // Never truncated: nothing is written to it.
        file::private(options.write(true).create(true).truncate(false));
        match hold(&options, &folder.join(NAME)) {
            Ok(file) => Ok(Lock { _file: file }),
            Err(error) if is_held(&error) => Err(format!(
                "another dolmend is using the state folder {shown}; stop that one, or give this one a 'state folder' \
                 of its own"
            )),
            Err(error) => Err(format!(
                "cannot lock {NAME} in the state folder {shown}: {error}; name a folder that the server may write to, \
                 on a disk of this machine"
            )),
        }
    }
}

#[cfg(unix)]
fn hold(options: &OpenOptions, path: &Path) -> io::Result<File> {
    use rustix::fs::{FlockOperation, flock};
    let file = options.open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[cfg(unix)]
fn is_held(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(windows)]
fn hold(options: &OpenOptions, path: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt as _;
    options.clone().share_mode(0).open(path)
}

#[cfg(windows)]
fn is_held(error: &io::Error) -> bool {
    /// `ERROR_SHARING_VIOLATION`.
    const SHARING_VIOLATION: i32 = 32;
    error.raw_os_error() == Some(SHARING_VIOLATION)
}
