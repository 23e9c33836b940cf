//! Whether the server will be able to write where a configuration says, found out without making anything.
//!
//! A check as another user than the server's has the answer for that other user.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use super::error::BadValue;

/// Whether this folder can be used, or made where it is absent.
pub(super) fn folder(path: &Path) -> Result<(), BadValue> {
    const RIGHT: &str = "name a folder that the server may write to";
    let refused = |problem: String| BadValue::new(problem, RIGHT);
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Err(refused(format!("{} is not a folder", path.display()))),
        Ok(_) => {
            entry_in(path).map_err(|error| refused(format!("cannot write to {}: {error}", path.display())))
        }
        // A file on the way to it, too, is in the way.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            let cannot = |error: io::Error| refused(format!("cannot make {}: {error}", path.display()));
            let above = path.ancestors().skip(1).find(|above| above.symlink_metadata().is_ok());
            entry_in(above.unwrap_or(path)).map_err(cannot)
        }
        Err(error) => Err(refused(format!("cannot look at {}: {error}", path.display()))),
    }
}

/// Whether this file can be appended to, or made in its folder where it is absent.
pub(super) fn file(path: &Path) -> Result<(), BadValue> {
    let opened = match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.parent().map_or(Ok(()), entry_in),
        opened => opened.map(drop),
    };
    opened.map_err(|error| {
        BadValue::new(
            format!("cannot write to {}: {error}", path.display()),
            "name a file that the server may write to",
        )
    })
}

/// Whether something can be made in this folder.
#[cfg(target_os = "linux")]
fn entry_in(folder: &Path) -> io::Result<()> {
    use rustix::fs::{Access, Mode, OFlags};
    if !folder.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
    // The administrator has access to /proc, in which nothing can be made. Such a file system has no blocks; a memory file
    // system may have none either, but takes files without a name.
    if rustix::fs::statvfs(folder)?.f_blocks == 0 {
        rustix::fs::open(folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR)?;
    }
    Ok(())
}

/// Other systems are not asked: on Windows, permissions are no answer to that.
#[cfg(not(target_os = "linux"))]
fn entry_in(folder: &Path) -> io::Result<()> {
    if folder.metadata()?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}
