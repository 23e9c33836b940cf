//! Files that are replaced in one step, and their lines.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config;

/// The version of the files that this program writes, and the newest that it reads.
const VERSION: u32 = 1;

/// The largest file that is read. No table grows that large; a file that did is not one of ours.
pub(super) const MAX_FILE_BYTES: usize = 16 << 20;

/// How much of unreadable lines is kept, for each table.
const MAX_ASIDE_BYTES: u64 = 1 << 20;

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Header<'a> {
    dolmend: &'a str,
    version: u32,
}

/// Makes a folder that only the server's user can read: it will have the hashes of passwords.
pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder)
}

/// By what a change of a file is seen: when it was written last, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

/// The stamp of a file; `None` if there is no such file.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata))
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Stamp {
        Stamp { modified: metadata.modified().ok(), bytes: metadata.len() }
    }
}

/// What a new file may take the place of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Replaces {
    /// Of any file.
    Any,
    /// Of the file with this stamp, or of none.
    Only(Option<Stamp>),
}

impl Replaces {
    /// Whether it may take the place of what is there. A file that was removed has nothing to lose.
    fn allows(self, found: Option<Stamp>) -> bool {
        match self {
            Replaces::Any => true,
            Replaces::Only(expected) => found.is_none() || found == expected,
        }
    }
}

/// Why a file is not replaced.
#[derive(Debug)]
pub(super) enum Refused {
    /// Somebody else has changed it.
    Edited,
    /// The system says no.
    Disk(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Disk(error)
    }
}

/// Replaces a file in one step: a reader of the path, at any moment, gets the old content or the new one. Returns the
/// stamp of the new file.
///
/// The new content is on the disk before it gets the name; the name is after [`sync_folder`].
pub(super) fn replace(path: &Path, bytes: &[u8], replaces: Replaces) -> Result<Stamp, Refused> {
    let new = with_suffix(path, "new");
    // What an interrupted write has left may be a link, or be readable for others.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let replaced = write_new(&new, bytes).map_err(Refused::Disk).and_then(|stamp| {
        // As late as possible.
        if !replaces.allows(self::stamp(path)) {
            return Err(Refused::Edited);
        }
        fs::rename(&new, path)?;
        Ok(stamp)
    });
    if replaced.is_err() {
        // Half a file on a full disk is of no use, and takes room.
        let _ = fs::remove_file(&new);
    }
    replaced
}

/// The file is closed when this returns: Windows cannot rename an open one. Its stamp is from before it has its name, so
/// that whatever is written to it later makes it another.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<Stamp> {
    let mut file = private(OpenOptions::new().write(true).create_new(true)).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    Ok(Stamp::of(&fs::metadata(path)?))
}

/// Brings the name of a file to the disk.
#[cfg(unix)]
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// NTFS has a journal of its names, and no way to wait for it.
#[cfg(not(unix))]
pub(super) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// A file that only the server's user can read.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// The content of a file; `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let path_shown = path.display();
    match config::file::read(path, MAX_FILE_BYTES) {
        Ok(Some(bytes)) => Ok(Some(bytes)),
        Ok(None) => Err(format!("{path_shown} is larger than {MAX_FILE_BYTES} bytes; move it away")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(format!(
            "cannot read {path_shown}: {error}; give the file to the user who runs the server, who has to own it"
        )),
        Err(error) => Err(format!("cannot read {path_shown}: {error}")),
    }
}

/// A table as lines.
pub(super) fn to_lines<T: Serialize>(table: &str, entries: impl Iterator<Item = T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_line(&mut bytes, &Header { dolmend: table, version: VERSION });
    entries.for_each(|entry| push_line(&mut bytes, &entry));
    bytes
}

fn push_line(bytes: &mut Vec<u8>, entry: &impl Serialize) {
    // Neither the memory nor our types refuse it.
    if serde_json::to_writer(&mut *bytes, entry).is_ok() {
        bytes.push(b'\n');
    }
}

/// A line that is no entry, or that was refused.
#[derive(Debug)]
pub(super) struct BadLine<'a> {
    /// Its number, from 1.
    pub number: usize,
    pub bytes: &'a [u8],
}

/// Gives each entry to `accept`, and returns the lines that are no entries or that it refused.
///
/// A newer version is refused as a whole: to write it again would lose what this program does not know.
pub(super) fn from_lines<'a, T: DeserializeOwned>(
    table: &str,
    bytes: &'a [u8],
    mut accept: impl FnMut(T) -> bool,
) -> Result<Vec<BadLine<'a>>, String> {
    let mut corrupt = Vec::new();
    let lines = bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for (number, line) in (1..).zip(lines) {
        if line.is_empty() {
            continue;
        }
        if number == 1 {
            if let Ok(header) = serde_json::from_slice::<Header<'_>>(line) {
                if header.dolmend != table {
                    return Err(format!(
                        "this is a file of {}, not of {table}; move it away",
                        header.dolmend
                    ));
                }
                if header.version > VERSION {
                    return Err(format!(
                        "a newer dolmend wrote this file (version {}); start that one, or move the file away",
                        header.version
                    ));
                }
                continue;
            }
        }
        if !serde_json::from_slice(line).is_ok_and(&mut accept) {
            corrupt.push(BadLine { number, bytes: line });
        }
    }
    Ok(corrupt)
}

/// The file beside this one that keeps its bad lines, and the text that they become there.
///
/// Where there is no room for all of them it has none: a file with so much that cannot be read is damaged as a whole, or
/// is not ours, and a person has to look at it.
pub(super) fn room_aside(path: &Path, lines: &[BadLine<'_>]) -> Result<(PathBuf, Vec<u8>), String> {
    let aside = with_suffix(path, "unreadable");
    // Opened as it would be to append: another user may own it.
    let kept = match OpenOptions::new().append(true).open(&aside).and_then(|file| file.metadata()) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(unwritable(&aside, &error)),
    };
    let text: Vec<u8> = lines.iter().flat_map(|line| line.bytes.iter().copied().chain([b'\n'])).collect();
    if kept + text.len() as u64 > MAX_ASIDE_BYTES {
        return Err(format!(
            "{} of its lines cannot be read, too many to keep them in {}, which may have {MAX_ASIDE_BYTES} bytes; \
             move both files away, or correct them. Nothing was changed",
            lines.len(),
            aside.display()
        ));
    }
    Ok((aside, text))
}

/// Appends all of these lines to the file beside this one, and returns its path.
pub(super) fn keep_aside(path: &Path, lines: &[BadLine<'_>]) -> Result<PathBuf, String> {
    let (aside, text) = room_aside(path, lines)?;
    let append = || {
        let mut file = private(OpenOptions::new().append(true).create(true)).open(&aside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        // Before the table is written without these lines.
        sync_folder(&aside)
    };
    append().map_err(|error| unwritable(&aside, &error))?;
    Ok(aside)
}

fn unwritable(aside: &Path, error: &io::Error) -> String {
    format!("its lines that cannot be read would go to {}: {error}; move that file away", aside.display())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
