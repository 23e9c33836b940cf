//! Reads files that the user has named, never further than a limit, and never one that may have no end.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::error::BadValue;

/// Reads at most `limit_bytes` of a file; `None` where it is longer.
///
/// # Errors
///
/// The system's reason, or that this is a folder, a pipe or a device. It is asked before the file is opened: opening a
/// pipe waits for its other end.
pub(crate) fn read(path: &Path, limit_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    if !kind.is_file() {
        return Err(io::Error::other("it is a pipe or a device, and not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit_bytes).then_some(bytes))
}

/// Reads a text of at most `limit_bytes` that a value names. `right` is the correction where there is no such file.
pub(super) fn read_text(path: &Path, limit_bytes: usize, right: &str) -> Result<String, BadValue> {
    let shown = path.display();
    let bytes = read(path, limit_bytes)
        .map_err(|error| BadValue::new(format!("cannot read {shown}: {error}"), right))?
        .ok_or_else(|| {
            BadValue::new(format!("{shown} is too long"), format!("at most {limit_bytes} bytes are read"))
        })?;
    String::from_utf8(bytes)
        .map_err(|_| BadValue::new(format!("{shown} is not UTF-8 text"), "save it as UTF-8"))
}
