//! The lock of a state folder: two servers would overwrite each other's tables.
//!
//! One process holds it, and the system releases it with the process, however that ends. So there is nothing to clean up
//! after `kill -9`. On Unix it is `flock` of the folder itself, which needs no file: one that root had made, by trying the
//! configuration, would keep the server's user out. On Windows, where a folder cannot be held like that, it is a file
//! that is open for one process only. The file stays when the lock is released: to remove it would let a second server
//! lock a file that a third cannot find.

use std::fs::File;
use std::io;
use std::path::Path;

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
        match hold(folder) {
            Ok(file) => Ok(Lock { _file: file }),
            Err(error) if is_held(&error) => Err(format!(
                "another dolmend is using the state folder {shown}; stop that one, or give this one a 'state folder' \
                 of its own"
            )),
            Err(error) => Err(format!(
                "cannot lock the state folder {shown}: {error}; name a folder of the server's own, on a disk of this \
                 machine"
            )),
        }
    }
}

#[cfg(unix)]
fn hold(folder: &Path) -> io::Result<File> {
    use rustix::fs::{FlockOperation, flock};
    let folder = File::open(folder)?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    Ok(folder)
}

#[cfg(unix)]
fn is_held(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(windows)]
fn hold(folder: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt as _;
    let mut options = File::options();
    // Never truncated: nothing is written to it.
    options.write(true).create(true).truncate(false).share_mode(0).open(folder.join("dolmend.lock"))
}

#[cfg(windows)]
fn is_held(error: &io::Error) -> bool {
    /// `ERROR_SHARING_VIOLATION`.
    const SHARING_VIOLATION: i32 = 32;
    error.raw_os_error() == Some(SHARING_VIOLATION)
}
